//! The plan of a text: blocks, then the model `Net` with features, scores, a loss, and now and then more.

use super::pen::{Child, Known, Part, Pen, Rate, Signature, argument};
use super::size::{Size, list};
use super::{INTEGERS, Source, images, moves};
use crate::oracle::generate::Dice;

const B: Size = Size::named("B");
const T: Size = Size::named("T");

/// What flows into the model.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Stem {
    Vectors,
    Sequences,
    Tokens,
    Images,
}

impl Stem {
    /// Number of axes of what blocks see.
    fn rank(self) -> usize {
        match self {
            Self::Vectors | Self::Images => 2,
            Self::Sequences | Self::Tokens => 3,
        }
    }

    fn dims(self) -> Vec<&'static str> {
        ["B", "T"][..self.rank() - 1].to_vec()
    }
}

/// The text of a seed.
pub fn draw(seed: u64) -> Source {
    let mut dice = Dice::new(seed.wrapping_add(1 << 32));
    let stems = [Stem::Vectors, Stem::Sequences, Stem::Tokens, Stem::Images];
    let stem = stems[dice.weighted(&[2, 2, 2, 3])];
    let rank = stem.rank();
    let mut parts = vec![block(&mut dice, "Inner", &["D"], rank, Vec::new())];
    let inner = Child {
        name: "Inner",
        n_generics: 1,
        rank,
    };
    let mut children = vec![inner];
    if dice.below(3) == 0 {
        parts.push(block(&mut dice, "Outer", &["D", "H"], rank, children.clone()));
        children.push(Child {
            name: "Outer",
            n_generics: 2,
            rank,
        });
    }
    if rank == 3 && dice.below(3) == 0 {
        parts.push(block(&mut dice, "Side", &["D"], 2, Vec::new()));
        children.push(Child {
            name: "Side",
            n_generics: 1,
            rank: 2,
        });
    }
    let (net, constants) = net(&mut dice, stem, children);
    parts.push(net);
    Source {
        constants,
        items: parts.iter().flat_map(Part::items).collect(),
    }
}

/// A model from tensors of any width to their like.
fn block(
    dice: &mut Dice,
    name: &'static str,
    generics: &[&'static str],
    rank: usize,
    children: Vec<Child>,
) -> Part {
    let mut part = Part::new(name, generics, children);
    let width = Size::named("D");
    let shape: Vec<Size> = [&[B, T][..rank - 1], &[width]].concat();
    let x = Known {
        name: "x".to_owned(),
        shape: shape.clone(),
    };
    let mut sizes = vec![
        width,
        width.plus(width).expect("2 D can be written"),
        Size::number(4),
    ];
    sizes.extend(generics.iter().skip(1).map(|name| Size::named(name)));
    let args = vec!["&self".to_owned(), argument(&x)];
    let n_moves = 1 + dice.below(3);
    // What is not public is compiled in its parents alone.
    let head = ["fn forward", "fn forward", "pub fn forward"][dice.below(3)];
    let mut pen = Pen::new(dice, &mut part, vec![x.clone()], Rate::Missing, sizes);
    wander(&mut pen, moves::MOVES, rank, n_moves);
    let last = pen.last_of_rank(rank);
    let mut y = last.clone();
    if y.shape != shape || y == x {
        y = moves::linear_to(&mut pen, &last, width);
    }
    let residual = pen.values.contains(&x) && y.name != "x" && pen.one_in(2);
    let result = if residual {
        format!("x + {}", y.name)
    } else {
        y.name
    };
    pen.finish(
        Signature::new(head, &["B", "T"][..rank - 1], args, &shape),
        &result,
    );
    part
}

/// So many statements on values of a rank.
fn wander(pen: &mut Pen<'_>, moves: &[moves::Move], rank: usize, n_moves: usize) {
    let mut n_written = 0;
    for _ in 0..8 * n_moves {
        if n_written == n_moves {
            break;
        }
        let mut x = pen.recent();
        if x.shape.len() != rank {
            x = pen.last_of_rank(rank);
        }
        let go = moves[pen.dice.below(moves.len())];
        n_written += usize::from(go(pen, &x).is_some());
    }
}

/// The arguments that every function of `Net` takes, and how they are handed on.
struct Inputs {
    args: Vec<String>,
    call: String,
    known: Known,
    rate: Rate,
}

fn inputs(dice: &mut Dice, stem: Stem) -> Inputs {
    let number = |n: usize| Size::number(n);
    let (name, shape) = match stem {
        Stem::Vectors => ("x", vec![B, number(3 + dice.below(3))]),
        Stem::Sequences => ("x", vec![B, T, number(3 + dice.below(3))]),
        Stem::Tokens => ("tokens", vec![B, T]),
        Stem::Images => {
            let sizes = [1 + dice.below(3), 5 + dice.below(3), 5 + dice.below(3)].map(number);
            ("image", [&[B][..], &sizes].concat())
        }
    };
    let known = Known {
        name: name.to_owned(),
        shape,
    };
    let rate = if dice.below(2) == 0 {
        Rate::Given
    } else {
        Rate::Missing
    };
    let written = match stem {
        Stem::Tokens => "tokens: Tensor<i64, B, T>".to_owned(),
        _ => argument(&known),
    };
    let mut args = vec!["&self".to_owned(), written];
    let mut call = name.to_owned();
    if rate == Rate::Given {
        args.push("rate: f32".to_owned());
        call += ", rate";
    }
    Inputs {
        args,
        call,
        known,
        rate,
    }
}

fn net(dice: &mut Dice, stem: Stem, children: Vec<Child>) -> (Part, Vec<(&'static str, usize)>) {
    let mut part = Part::new("Net", &[], children);
    let inputs = inputs(dice, stem);
    let value = 3 + dice.below(3);
    let (width, constants) = match dice.below(2) {
        0 => (Size::named("WIDTH"), vec![("WIDTH", value)]),
        _ => (Size::number(value), Vec::new()),
    };
    features(dice, &mut part, stem, &inputs, width);
    let classes = Size::number(INTEGERS as usize + dice.below(2));
    scores(dice, &mut part, stem, &inputs, width, classes);
    loss(dice, &mut part, stem, &inputs, classes);
    match dice.below(4) {
        0 => inspect(&mut part, stem, &inputs, width, classes),
        1 => accuracy(&mut part, stem, &inputs),
        _ => {}
    }
    (part, constants)
}

/// From the input to one vector a sample.
fn features(dice: &mut Dice, part: &mut Part, stem: Stem, inputs: &Inputs, width: Size) {
    let known = inputs.known.clone();
    let sizes = vec![width, Size::number(3), Size::number(4)];
    let mut pen = Pen::new(dice, part, vec![known.clone()], inputs.rate, sizes);
    match stem {
        Stem::Images => image_features(&mut pen, &known),
        Stem::Tokens => token_features(&mut pen, &known),
        Stem::Vectors | Stem::Sequences => {}
    }
    let n_moves = 2 + pen.dice.below(2);
    wander(&mut pen, moves::MOVES, stem.rank(), n_moves);
    if stem.rank() == 3 {
        pool_steps(&mut pen);
        let n_moves = pen.dice.below(2);
        wander(&mut pen, moves::MOVES, 2, n_moves);
    }
    let last = pen.last_of_rank(2);
    let y = moves::linear_to(&mut pen, &last, width);
    let signature = Signature::new("fn features", &stem.dims(), inputs.args.clone(), &[B, width]);
    pen.finish(signature, &y.name);
}

fn image_features(pen: &mut Pen<'_>, image: &Known) {
    // The kernel may be larger than the image.
    while images::conv(pen, &pen.last_of_rank(4)).is_none() {}
    let n_moves = 1 + pen.dice.below(2);
    wander(pen, images::MOVES, 4, n_moves);
    let x = pen.last_of_rank(image.shape.len());
    let sizes: Vec<usize> = x.shape[1..].iter().filter_map(|n| n.literal()).collect();
    let (method, width) = match pen.dice.below(4) {
        0 => (".global_avg_pool2d()", sizes[0]),
        1 => (".mean(axis = (2, 3))", sizes[0]),
        2 if sizes.iter().product::<usize>() <= 48 => (".flatten()", sizes.iter().product()),
        _ => (".adaptive_avg_pool2d((2, 1)).flatten()", 2 * sizes[0]),
    };
    let expression = format!("{}{method}", x.name);
    pen.bind(&expression, vec![B, Size::number(width)], &x.name);
}

fn token_features(pen: &mut Pen<'_>, tokens: &Known) {
    let width = pen.size();
    let rows = INTEGERS as usize + pen.dice.below(2);
    let field = pen.part.field("table", "", format!("Embedding<{rows}, {width}>"));
    // Tokens are integers: nothing else is written on them.
    pen.values.retain(|known| known != tokens);
    let name = pen.fresh();
    pen.line(format!("let {name} = self.{field}({});", tokens.name));
    pen.values.push(Known {
        name,
        shape: vec![B, T, width],
    });
}

/// One vector of all steps.
fn pool_steps(pen: &mut Pen<'_>) {
    let x = pen.last_of_rank(3);
    let shape = vec![B, x.shape[2]];
    let expression = match pen.dice.below(4) {
        0 => format!("{}.max(axis = 1)", x.name),
        1 => format!("({0} * {0}.softmax(axis = 1)).sum(axis = 1)", x.name),
        2 => format!("{}.mean(axis = 1)", x.name),
        _ => format!("{}.sum(axis = 1)", x.name),
    };
    pen.bind(&expression, shape, &x.name);
}

/// From features to a number a class.
fn scores(dice: &mut Dice, part: &mut Part, stem: Stem, inputs: &Inputs, width: Size, classes: Size) {
    let sizes = vec![width, Size::number(4)];
    let mut pen = Pen::new(dice, part, Vec::new(), inputs.rate, sizes);
    let name = pen.fresh();
    pen.line(format!("let {name} = self.features({});", inputs.call));
    let shape = vec![B, width];
    pen.values.push(Known { name, shape });
    let n_moves = pen.dice.below(2);
    wander(&mut pen, moves::MOVES, 2, n_moves);
    let last = pen.last_of_rank(2);
    let field = pen
        .part
        .field("head", "", format!("Linear<{}>", list(&[last.shape[1], classes])));
    let result = format!("self.{field}({})", last.name);
    let head = pen.word(&["fn scores", "fn scores", "pub fn scores"]);
    let signature = Signature::new(head, &stem.dims(), inputs.args.clone(), &[B, classes]);
    pen.finish(signature, &result);
}

/// A number to be made small.
fn loss(dice: &mut Dice, part: &mut Part, stem: Stem, inputs: &Inputs, classes: Size) {
    let mut pen = Pen::new(dice, part, Vec::new(), inputs.rate, vec![classes]);
    let label = pen
        .word(&["label: Tensor<u8, B>", "label: Tensor<i64, B>"])
        .to_owned();
    let target = format!("target: Tensor<B, {classes}>");
    pen.line(format!("let scores = self.scores({});", inputs.call));
    let (arg, result) = match pen.dice.below(7) {
        0 => (label, "cross_entropy(scores, label)"),
        1 => (label, "cross_entropy(scores, label, label_smoothing = 0.1)"),
        2 => (label, "cross_entropy(scores, label, ignore_index = 1)"),
        3 => (target, "mse(scores, target)"),
        4 => (target, "bce_with_logits(scores, target.sigmoid())"),
        5 => {
            pen.line("let log = scores.log_softmax(axis = 1);".to_owned());
            (label, "-log.gather(label.unsqueeze(axis = 1), axis = 1).mean()")
        }
        _ => {
            pen.line(format!("let hot = label.one_hot({classes});"));
            let log = "-(scores.log_softmax(axis = 1) * hot).sum(axis = 1)";
            pen.line(format!("let each = {log};"));
            (label, "each.mean()")
        }
    };
    let result = match pen.part.linears.first() {
        Some((field, ..)) if pen.dice.below(3) == 0 => {
            let decay = format!("let decay = self.{field}.weight.square().sum();");
            pen.line(decay);
            format!("{result} + 0.01 * decay")
        }
        _ => result.to_owned(),
    };
    let mut args = inputs.args.clone();
    args.insert(2, arg);
    pen.finish(Signature::new("pub fn loss", &stem.dims(), args, &[]), &result);
}

/// Several results, of calls that share everything.
fn inspect(part: &mut Part, stem: Stem, inputs: &Inputs, width: Size, classes: Size) {
    let mut dice = Dice::new(0);
    let mut pen = Pen::new(&mut dice, part, Vec::new(), inputs.rate, Vec::new());
    pen.line(format!("let features = self.features({});", inputs.call));
    let result = format!("(features, self.scores({}))", inputs.call);
    let signature = Signature {
        head: "pub fn inspect".to_owned(),
        dims: stem.dims(),
        args: inputs.args.clone(),
        result: format!("(Tensor<B, {width}>, Tensor<B, {classes}>)"),
    };
    pen.finish(signature, &result);
}

/// The share of samples whose largest score is that of the label.
fn accuracy(part: &mut Part, stem: Stem, inputs: &Inputs) {
    let mut dice = Dice::new(0);
    let mut pen = Pen::new(&mut dice, part, Vec::new(), inputs.rate, Vec::new());
    pen.line(format!(
        "let best = self.scores({}).argmax(axis = 1);",
        inputs.call
    ));
    let mut args = inputs.args.clone();
    args.insert(2, "label: Tensor<i64, B>".to_owned());
    let signature = Signature::new("pub fn accuracy", &stem.dims(), args, &[]);
    pen.finish(signature, "(best == label).to_float().mean()");
}
