//! What the pen can write on vectors: tensors whose last axis has a fixed size.

use super::loops;
use super::pen::{Known, Pen, Rate};
use super::size::{Size, list};

/// Writes a statement that goes on from a value, or answers that it does not apply there.
pub type Move = fn(&mut Pen<'_>, &Known) -> Option<Known>;

/// All moves.
pub const MOVES: &[Move] = &[
    activation,
    activation,
    activation_layer,
    linear,
    linear,
    norm,
    batch_norm,
    dropout,
    scale,
    project,
    tied,
    combine,
    combine,
    softmax,
    join,
    centre,
    choose,
    part_of,
    turned,
    running_sum,
    pair,
    accumulate,
    helper,
    child,
    child,
    child,
    two_widths,
    two_widths,
    carried,
    attention,
    contraction,
    loops::tower,
    loops::tower,
    loops::recurrence,
    loops::recurrence,
];

/// Methods without options that keep the shape.
pub const ACTIVATIONS: &[&str] = &[
    "relu", "tanh", "sigmoid", "gelu", "silu", "softplus", "sin", "mish", "elu",
];

fn last(x: &Known) -> (usize, Size) {
    let axis = x.shape.len() - 1;
    (axis, x.shape[axis])
}

/// The shape with another last size.
fn with_last(x: &Known, size: Size) -> Vec<Size> {
    let mut shape = x.shape.clone();
    *shape.last_mut().expect("there is a last axis") = size;
    shape
}

fn activation(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let method = pen.word(ACTIVATIONS);
    let expression = match pen.dice.below(3) {
        0 => format!("{0} + {0}.{method}()", x.name),
        1 => format!("({} * 1.5 + 0.1).{method}()", x.name),
        _ => format!("{}.{method}()", x.name),
    };
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

fn activation_layer(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let ty = pen.word(&["Relu", "Tanh", "Gelu", "Silu", "Sigmoid", "Softplus", "LeakyRelu"]);
    let field = pen.part.field("act", "", ty.to_owned());
    Some(pen.bind(&format!("self.{field}({})", x.name), x.shape.clone(), &x.name))
}

fn linear(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let out = pen.size();
    Some(linear_to(pen, x, out))
}

/// A linear layer to the given size.
pub fn linear_to(pen: &mut Pen<'_>, x: &Known, out: Size) -> Known {
    let (_, size) = last(x);
    let options = if pen.one_in(4) { "bias = false" } else { "" };
    let ty = if pen.one_in(3) {
        format!("Linear<_, {out}>")
    } else {
        format!("Linear<{}>", list(&[size, out]))
    };
    let field = pen.part.field("fc", options, ty);
    pen.part.linears.push((field.clone(), size, out));
    let after = ["", ".relu()", ".tanh()"][pen.dice.below(3)];
    let expression = format!("self.{field}({}){after}", x.name);
    pen.bind(&expression, with_last(x, out), &x.name)
}

fn norm(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (_, size) = last(x);
    let layer = pen.word(&["LayerNorm", "LayerNorm", "RmsNorm"]);
    let options = ["eps = 0.1", "eps = 0.01"][pen.dice.below(2)];
    let field = pen.part.field("norm", options, format!("{layer}<{size}>"));
    Some(pen.bind(&format!("self.{field}({})", x.name), x.shape.clone(), &x.name))
}

fn batch_norm(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    if x.shape.len() != 2 {
        return None;
    }
    let options = ["eps = 0.1", "eps = 0.1, momentum = 0.25"][pen.dice.below(2)];
    let ty = format!("BatchNorm1d<{}>", last(x).1);
    let field = pen.part.field("bn", options, ty);
    Some(pen.bind(&format!("self.{field}({})", x.name), x.shape.clone(), &x.name))
}

fn dropout(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let expression = match (pen.dice.below(3), pen.rate) {
        (0, _) => {
            let field = pen.part.field("drop", "p = 0.25", "Dropout".to_owned());
            format!("self.{field}({})", x.name)
        }
        (_, Rate::Given) => format!("{}.dropout(rate)", x.name),
        (_, Rate::Missing) => format!("{}.dropout(0.25)", x.name),
    };
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

/// A parameter beside every element of the last axis.
fn scale(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let ty = format!("Param<{}>", last(x).1);
    let field = pen.part.field("scale", "init = ones", ty);
    let sign = pen.word(&["*", "+", "-"]);
    let factor = match (pen.rate, pen.dice.below(2)) {
        (Rate::Given, 0) => " * (1.0 - rate)",
        _ => "",
    };
    let expression = format!("{} {sign} self.{field}{factor}", x.name);
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

/// A product with a parameter that is no layer's.
fn project(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (_, size) = last(x);
    let out = pen.size();
    let ty = format!("Param<{}>", list(&[size, out]));
    let field = pen.part.field("weight", "init = normal(0.0, 0.5)", ty);
    let expression = format!("{}.matmul(self.{field})", x.name);
    Some(pen.bind(&expression, with_last(x, out), &x.name))
}

/// The weight of a linear layer used a second time, the other way round.
fn tied(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (_, size) = last(x);
    let fits = |(_, _, out): &&(String, Size, Size)| *out == size;
    let (field, input, _) = pen.part.linears.iter().find(fits)?.clone();
    let expression = format!("{}.matmul(self.{field}.weight)", x.name);
    Some(pen.bind(&expression, with_last(x, input), &x.name))
}

/// Two values of one shape.
fn combine(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let y = pen.like(x)?;
    let (x_name, y) = (&x.name, y.name);
    let expression = match pen.dice.below(6) {
        0 | 1 => format!("{x_name} + {y}"),
        2 => format!("{x_name}.sigmoid() * {y}"),
        3 => format!("{x_name} - 0.5 * {y}"),
        4 => format!("{x_name}.maximum({y})"),
        _ => format!("{x_name} / (1.0 + {y}.square())"),
    };
    Some(pen.bind(&expression, x.shape.clone(), x_name))
}

fn softmax(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (axis, _) = last(x);
    let method = pen.word(&["softmax", "log_softmax"]);
    let expression = format!("{}.{method}(axis = {axis})", x.name);
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

fn join(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (axis, size) = last(x);
    let y = pen.like(x)?;
    let both = size.plus(size)?;
    let expression = format!("concat(({}, {}), axis = {axis})", x.name, y.name);
    Some(pen.bind(&expression, with_last(x, both), &x.name))
}

/// A reduction that flows back into what it was taken of.
fn centre(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (axis, _) = last(x);
    let axis = if pen.one_in(2) { axis } else { 0 };
    let method = pen.word(&["mean", "max", "min"]);
    let expression = format!("{0} - {0}.{method}(axis = {axis}, keepdim = true)", x.name);
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

fn choose(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (x_name, y) = (&x.name, pen.like(x));
    let expression = match y {
        Some(y) => format!("select({x_name} > {0}, {x_name}, 0.5 * {0})", y.name),
        None => format!("select({x_name} < 0.1, {x_name}.exp(), 1.1 + {x_name})"),
    };
    Some(pen.bind(&expression, x.shape.clone(), x_name))
}

/// The first elements of the last axis.
fn part_of(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (_, size) = last(x);
    let n = size.literal().filter(|n| *n > 2)?;
    let end = 2 + pen.dice.below(n - 2);
    let all = vec![".."; x.shape.len() - 1].join(", ");
    let expression = format!("{}.slice({all}, 0..{end})", x.name);
    Some(pen.bind(&expression, with_last(x, Size::number(end)), &x.name))
}

fn turned(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (axis, _) = last(x);
    let expression = format!("{0} + 0.5 * {0}.flip(axis = {axis})", x.name);
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

fn running_sum(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let expression = format!("{}.cumsum(axis = 1)", x.name);
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

/// A tuple taken apart.
fn pair(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (a, b) = (pen.fresh(), pen.fresh());
    let method = pen.word(ACTIVATIONS);
    pen.line(format!("let ({a}, {b}) = ({0}.{method}(), {0} * 0.5);", x.name));
    let shape = x.shape.clone();
    pen.values.push(Known {
        name: a,
        shape: shape.clone(),
    });
    let second = Known { name: b, shape };
    pen.values.push(second.clone());
    Some(second)
}

/// A binding that is changed.
fn accumulate(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let y = pen.like(x)?;
    let name = pen.fresh();
    pen.line(format!("let mut {name} = {};", x.name));
    pen.line(format!("{name} += 0.5 * {};", y.name));
    let known = Known {
        name,
        shape: x.shape.clone(),
    };
    pen.values.push(known.clone());
    Some(known)
}

/// A function without `self`, generic in every size.
fn helper(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let rank = x.shape.len();
    let dims = &["K", "M", "N"][..rank];
    let shape = dims.join(", ");
    let name = format!("bend{rank}");
    let is_written = pen.part.functions.iter().any(|text| text.contains(&name));
    if !is_written {
        let (method, other) = (pen.word(ACTIVATIONS), pen.word(ACTIVATIONS));
        let generics: Vec<String> = dims.iter().map(|dim| format!("{dim}: Dim")).collect();
        let generics = generics.join(", ");
        let text = format!(
            "    fn {name}<{generics}>(x: Tensor<{shape}>) -> Tensor<{shape}> {{\n        let gate = x.{method}();\n        \
             x.{other}() * gate\n    }}\n"
        );
        pen.part.functions.push(text);
    }
    Some(pen.bind(&format!("Self::{name}({})", x.name), x.shape.clone(), &x.name))
}

/// Another model as a layer: a new one, or one that this model has already.
fn child(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (_, size) = last(x);
    let rank = x.shape.len();
    let fitting: Vec<_> = pen
        .part
        .children
        .iter()
        .filter(|child| child.rank == rank)
        .cloned()
        .collect();
    let child = fitting.get(pen.dice.below(fitting.len().max(1))).cloned()?;
    let start = format!("{}<{size}", child.name);
    let known = pen.part.fields.iter().find(|(_, _, ty)| ty.starts_with(&start));
    let known = known.map(|(_, name, _)| name.clone());
    let field = match known {
        Some(field) if pen.one_in(3) => field,
        _ => {
            let second = (child.n_generics > 1).then(|| pen.size());
            let sizes: Vec<Size> = std::iter::once(size).chain(second).collect();
            let ty = format!("{}<{}>", child.name, list(&sizes));
            let options = if pen.one_in(8) { "freeze" } else { "" };
            pen.part.field("block", options, ty)
        }
    };
    let expression = match pen.dice.below(6) {
        0 => format!("self.{field}(self.{field}({}))", x.name),
        1 | 2 => format!("{0} + self.{field}({0})", x.name),
        _ => format!("self.{field}({})", x.name),
    };
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

/// Two blocks of different widths, often of one type.
fn two_widths(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let narrow = child(pen, x)?;
    let out = pen.size();
    let wide = linear_to(pen, &narrow, out);
    child(pen, &wide)
}

/// A carried tensor, which is changed and then used.
fn carried(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (axis, size) = last(x);
    let field = pen.part.field("seen", "", format!("State<{size}>"));
    let axes = if axis == 1 { "0" } else { "(0, 1)" };
    pen.line(format!(
        "self.{field} = self.{field} * 0.75 + 0.25 * {}.mean(axis = {axes});",
        x.name
    ));
    let sign = pen.word(&["-", "+"]);
    let expression = format!("{} {sign} self.{field}", x.name);
    Some(pen.bind(&expression, x.shape.clone(), &x.name))
}

/// Every step sees all steps, weighted by how alike they are.
fn attention(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    if x.shape.len() != 3 {
        return None;
    }
    let (keys, values) = (pen.like(x)?, pen.like(x)?);
    let name = pen.fresh();
    let x_name = &x.name;
    pen.line(format!(
        "let {name} = {x_name}.matmul({}.permute(0, 2, 1));",
        keys.name
    ));
    let expression = format!("{name}.softmax(axis = 2).matmul({})", values.name);
    Some(pen.bind(&expression, x.shape.clone(), x_name))
}

/// A product by its indices, with a parameter.
fn contraction(pen: &mut Pen<'_>, x: &Known) -> Option<Known> {
    let (axis, size) = last(x);
    let out = pen.size();
    let ty = format!("Param<{}>", list(&[out, size]));
    let field = pen.part.field("core", "init = normal(0.0, 0.5)", ty);
    let indices = if axis == 1 { "bi,oi->bo" } else { "bti,oi->bto" };
    let expression = format!("einsum(\"{indices}\", {}, self.{field})", x.name);
    Some(pen.bind(&expression, with_last(x, out), &x.name))
}
