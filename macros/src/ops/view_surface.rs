//! How views are written: other shapes, orders and parts of the same elements.

use crate::ir::{
    Args, Builder, Constraints, DType, Form, Operand, Sample, SampleGradient, Scalar, ShapeError, Surface,
    Value, ViewMap,
};
use crate::ops::pad::Pad;
use crate::ops::view::View;
use crate::shape::{self, Dim};

macro_rules! surfaces {
    ($($name:literal $usage:literal $build:expr;)*) => {
        /// What users can write.
        pub static SURFACES: &[Surface] = &[$(Surface {
            name: $name,
            form: Form::Method,
            usage: concat!("x.", $name, $usage),
            lower: |b, args| lower(b, args, $build),
        },)*];
    };
}

surfaces! {
    "reshape" "(B, 4, -1)" reshape;
    "flatten" "(start = 1, end = -1)" flatten;
    "transpose" "(0, 1)" transpose;
    "permute" "(1, 0, 2)" permute;
    "squeeze" "(axis = 1)" squeeze;
    "unsqueeze" "(axis = 1)" unsqueeze;
    "broadcast_to" "(B, 4)" broadcast_to;
    "slice" "(.., 0..3, steps = (1, 1))" slice;
    "flip" "(axis = 1)" flip;
    "split" "((2, 3), axis = 1)" split;
    "chunk" "(2, axis = 1)" chunk;
    "pad" "((0, 0), (1, 1), value = 0.0)" pad;
}

type Build = fn(&mut Builder, Value, &mut Args) -> Result<Operand, ShapeError>;

fn lower(b: &mut Builder, args: &mut Args, build: Build) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let result = build(b, x, args)?;
    args.finish()?;
    Ok(result)
}

/// All positional arguments after the receiver; one tuple stands for its elements.
fn rest(args: &mut Args) -> Vec<Operand> {
    let mut items: Vec<Operand> = args
        .positional
        .iter_mut()
        .skip(1)
        .filter_map(Option::take)
        .collect();
    match items.as_mut_slice() {
        [Operand::Tuple(inner)] => std::mem::take(inner),
        _ => items,
    }
}

/// The axes that stand as positional arguments, or the one called `axis`.
fn axes(args: &mut Args, rank: usize) -> Result<Vec<usize>, ShapeError> {
    if args.named.iter().any(|(name, ..)| name == "axis") {
        return args.axes_or_all("axis", rank);
    }
    rest(args)
        .into_iter()
        .map(|item| {
            let mut one = Args {
                positional: vec![Some(item)],
                named: Vec::new(),
                usage: args.usage,
            };
            one.axis(0, "axis", rank)
        })
        .collect()
}

fn sizes(args: &mut Args) -> Result<Vec<Dim>, ShapeError> {
    let usage = args.usage;
    let size =
        |item| match item {
            Operand::Size(dim) => Ok(dim),
            _ => Err(ShapeError::new("a shape is a list of whole numbers")
                .help(format!("it is written `{usage}`"))),
        };
    rest(args).into_iter().map(size).collect()
}

/// `-1` or `_`: whatever size makes the number of elements right.
fn is_open(size: &Dim) -> bool {
    size.as_lit() == Some(-1) || size.has_infer()
}

fn reshape(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let mut sizes = sizes(args)?;
    let open: Vec<usize> = (0..sizes.len()).filter(|&k| is_open(&sizes[k])).collect();
    if let [k] = open[..] {
        let known: Vec<Dim> = sizes
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != k)
            .map(|(_, n)| n.clone())
            .collect();
        let total = b.ty(x).numel();
        sizes[k] = shape::infer_dim(&total, &known).ok_or_else(|| {
            let message = format!(
                "{} ({total} elements) cannot be cut into parts of {}",
                b.ty(x),
                shape::numel(&known)
            );
            ShapeError::new(message).help("the sizes that are given must divide the number of elements")
        })?;
    } else if open.len() > 1 {
        return Err(ShapeError::new("a shape has at most one `-1`"));
    }
    Ok(Operand::Tensor(b.reshape(x, sizes)))
}

fn flatten(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let shape = b.shape(x);
    let axis = |args: &mut Args, index, name, default: usize| {
        let is_given = args.positional.get(index).is_some_and(Option::is_some)
            || args.named.iter().any(|(n, ..)| n == name);
        if is_given {
            args.axis(index, name, shape.len())
        } else {
            Ok(default)
        }
    };
    let start = axis(args, 1, "start", 1)?;
    let end = axis(args, 2, "end", shape.len().saturating_sub(1))?;
    if start > end {
        // A list of samples without further axes is flat already.
        return Ok(Operand::Tensor(x));
    }
    let mut flat = shape[..start].to_vec();
    flat.push(shape::numel(&shape[start..=end]));
    flat.extend_from_slice(&shape[end + 1..]);
    Ok(Operand::Tensor(b.reshape(x, flat)))
}

fn transpose(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let rank = b.ty(x).rank();
    let (first, second) = match axes(args, rank)?[..] {
        [] if rank >= 2 => (rank - 2, rank - 1),
        [first, second] => (first, second),
        _ => {
            return Err(
                ShapeError::new("`transpose` swaps two axes").help(format!("it is written `{}`", args.usage))
            );
        }
    };
    let mut perm: Vec<usize> = (0..rank).collect();
    perm.swap(first, second);
    Ok(Operand::Tensor(b.permute(x, &perm)))
}

fn permute(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let perm = axes(args, b.ty(x).rank())?;
    Ok(Operand::Tensor(b.push(View(ViewMap::Permute(perm)), &[x])))
}

fn squeeze(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let mut shape = b.shape(x);
    let mut axes = axes(args, shape.len())?;
    if axes.is_empty() {
        axes = (0..shape.len()).filter(|&axis| shape[axis].is_one()).collect();
    }
    if let Some(axis) = axes.iter().find(|&&axis| !shape[axis].is_one()) {
        let message = format!(
            "axis {axis} of {} has size {}, and only size 1 can be left out",
            b.ty(x),
            shape[*axis]
        );
        return Err(ShapeError::new(message));
    }
    axes.sort_unstable();
    axes.iter().rev().for_each(|&axis| drop(shape.remove(axis)));
    Ok(Operand::Tensor(b.reshape(x, shape)))
}

fn unsqueeze(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let mut shape = b.shape(x);
    let axis = args.axis(1, "axis", shape.len() + 1)?;
    shape.insert(axis, Dim::one());
    Ok(Operand::Tensor(b.reshape(x, shape)))
}

fn broadcast_to(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let sizes = sizes(args)?;
    Ok(Operand::Tensor(b.expand(x, &sizes)))
}

fn flip(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let mut axes = axes(args, b.ty(x).rank())?;
    axes.sort_unstable();
    axes.dedup();
    if axes.is_empty() {
        return Err(ShapeError::new("`flip` takes an axis").help(format!("it is written `{}`", args.usage)));
    }
    Ok(Operand::Tensor(b.push(View(ViewMap::Flip(axes)), &[x])))
}

/// Part of an axis: first index, size, and whether the axis stays.
struct Cut {
    start: Dim,
    size: Dim,
    axis: Kept,
}

#[derive(PartialEq)]
enum Kept {
    /// A range was given.
    Yes,
    /// One index was given.
    No,
}

/// Ranges for the first axes; the others stay whole. A single number takes one index, and the axis vanishes.
fn slice(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let shape = b.shape(x);
    let items = rest(args);
    if items.len() > shape.len() {
        return Err(ShapeError::new(format!(
            "{} ranges for {}, which has {} axes",
            items.len(),
            b.ty(x),
            shape.len()
        )));
    }
    let steps = slice_steps(args, shape.len())?;
    let mut cuts = Vec::with_capacity(shape.len());
    for (axis, size) in shape.iter().enumerate() {
        cuts.push(cut(&b.constraints, items.get(axis), axis, size, steps[axis])?);
    }
    let starts = cuts.iter().map(|cut| cut.start.clone()).collect();
    let sizes = cuts.iter().map(|cut| cut.size.clone()).collect();
    let part = b.push(View(ViewMap::Slice { starts, steps, sizes }), &[x]);
    let kept = cuts
        .iter()
        .filter(|cut| cut.axis == Kept::Yes)
        .map(|cut| cut.size.clone())
        .collect();
    Ok(Operand::Tensor(b.reshape(part, kept)))
}

fn slice_steps(args: &mut Args, rank: usize) -> Result<Vec<usize>, ShapeError> {
    let given = match args.any(usize::MAX, "steps") {
        None => Vec::new(),
        Some(Operand::Tuple(items)) => items,
        Some(one) => vec![one],
    };
    let mut steps = vec![1; rank];
    if given.len() > rank {
        return Err(ShapeError::new(format!(
            "{} steps for a tensor with {rank} axes",
            given.len()
        )));
    }
    for (step, item) in steps.iter_mut().zip(given) {
        let literal = match &item {
            Operand::Size(dim) => dim
                .as_lit()
                .and_then(|n| usize::try_from(n).ok())
                .filter(|&n| n > 0),
            _ => None,
        };
        *step = literal.ok_or_else(|| ShapeError::new("a step is a literal of at least 1"))?;
    }
    Ok(steps)
}

fn cut(
    constraints: &Constraints,
    item: Option<&Operand>,
    axis: usize,
    size: &Dim,
    step: usize,
) -> Result<Cut, ShapeError> {
    // Negative literals count from the end, as in NumPy.
    let wrap = |dim: &Dim| {
        if dim.as_lit().is_some_and(|n| n < 0) {
            size + dim
        } else {
            dim.clone()
        }
    };
    let (start, end, axis_stays) = match item {
        None => (Dim::zero(), size.clone(), Kept::Yes),
        Some(Operand::Range(start, end)) => {
            let start = start.as_ref().map_or_else(Dim::zero, wrap);
            (start, end.as_ref().map_or_else(|| size.clone(), wrap), Kept::Yes)
        }
        Some(Operand::Size(index)) => {
            let start = wrap(index);
            (start.clone(), start + 1, Kept::No)
        }
        Some(_) => return Err(ShapeError::new("`slice` takes ranges and whole numbers")),
    };
    let is_ordered = |low: &Dim, high: &Dim| {
        constraints
            .lower_bound(&(high - low))
            .is_some_and(|least| least >= 0)
    };
    if !(is_ordered(&Dim::zero(), &start) && is_ordered(&start, &end) && is_ordered(&end, size)) {
        let message = format!("`{start}..{end}` cannot be shown to lie inside axis {axis} of size {size}");
        return Err(ShapeError::new(message).help("0 <= start <= end <= size must hold for all sizes"));
    }
    let size = (&end - &start).ceil_div(&Dim::lit(step as i64));
    Ok(Cut {
        start,
        size,
        axis: axis_stays,
    })
}

/// Consecutive parts of an axis, as views.
fn parts(b: &mut Builder, x: Value, axis: usize, lengths: &[Dim]) -> Operand {
    let shape = b.shape(x);
    let mut start = Dim::zero();
    let mut tensors = Vec::with_capacity(lengths.len());
    for length in lengths {
        let mut starts = vec![Dim::zero(); shape.len()];
        let mut sizes = shape.clone();
        (starts[axis], sizes[axis]) = (start.clone(), length.clone());
        let map = ViewMap::Slice {
            starts,
            steps: vec![1; shape.len()],
            sizes,
        };
        tensors.push(Operand::Tensor(b.push(View(map), &[x])));
        start = start + length;
    }
    Operand::Tuple(tensors)
}

fn split(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let shape = b.shape(x);
    let lengths = match args.any(1, "sizes") {
        Some(Operand::Tuple(items)) => items,
        _ => {
            return Err(ShapeError::new("`split` takes a tuple of sizes")
                .help(format!("it is written `{}`", args.usage)));
        }
    };
    let axis = args.axis(2, "axis", shape.len())?;
    let size = |item| match item {
        Operand::Size(dim) => Ok(dim),
        _ => Err(ShapeError::new("sizes are whole numbers")),
    };
    let lengths = lengths.into_iter().map(size).collect::<Result<Vec<Dim>, _>>()?;
    let total = Dim::sum(&lengths);
    if !b.constraints.equal(&total, &shape[axis]) {
        let message = format!(
            "the sizes add up to {total}, but axis {axis} of {} has size {}",
            b.ty(x),
            shape[axis]
        );
        return Err(ShapeError::new(message));
    }
    Ok(parts(b, x, axis, &lengths))
}

fn chunk(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let shape = b.shape(x);
    let n = args.literal(1, "chunks")?.filter(|&n| n > 0);
    let n =
        n.ok_or_else(|| ShapeError::new("`chunk` takes the number of parts, at least 1").help(args.usage))?;
    let axis = args.axis(2, "axis", shape.len())?;
    let Some(length) = shape[axis].divide_exact(&Dim::lit(n)) else {
        let message = format!("axis {axis} of {} cannot be cut into {n} equal parts", b.ty(x));
        return Err(ShapeError::new(message).help("use `split` for parts of different sizes"));
    };
    let lengths = vec![length; n as usize];
    Ok(parts(b, x, axis, &lengths))
}

/// A pair `(before, after)` for every axis.
fn pad(b: &mut Builder, x: Value, args: &mut Args) -> Result<Operand, ShapeError> {
    let shape = b.shape(x);
    let pair = |item: &Option<Operand>| match item {
        Some(Operand::Tuple(pair)) => match &pair[..] {
            [Operand::Size(before), Operand::Size(after)] => Some((before.clone(), after.clone())),
            _ => None,
        },
        _ => None,
    };
    let pairs: Option<Vec<(Dim, Dim)>> = args.positional.iter().skip(1).map(pair).collect();
    args.positional.truncate(1);
    let value = args.scalar_or(usize::MAX, "value", 0.0)?;
    let is_size = |n: &Dim| n.lower_bound().is_some_and(|least| least >= 0);
    let Some(pairs) =
        pairs.filter(|p| p.len() == shape.len() && p.iter().all(|(a, z)| is_size(a) && is_size(z)))
    else {
        let message = format!(
            "`pad` takes a pair of sizes for each of the {} axes of {}",
            shape.len(),
            b.ty(x)
        );
        return Err(ShapeError::new(message).help(format!("it is written `{}`", args.usage)));
    };
    Ok(Operand::Tensor(b.pad(x, &pairs, value)))
}

/// Constructors.
impl Builder {
    /// A float tensor with a margin of one number: `(before, after)` for every axis.
    pub fn pad(&mut self, x: Value, margins: &[(Dim, Dim)], value: Scalar) -> Value {
        let shape = self.shape(x);
        debug_assert!(self.ty(x).dtype != DType::Float || margins.len() == shape.len());
        let larger = shape
            .iter()
            .zip(margins)
            .map(|(n, (before, after))| n + before + after)
            .collect();
        let starts = margins.iter().map(|(before, _)| before.clone()).collect();
        self.push(
            Pad {
                starts,
                steps: vec![1; shape.len()],
                shape: larger,
                value,
            },
            &[x],
        )
    }
}

/// The samples of all views.
pub fn samples() -> Vec<Sample> {
    let sample = |name, ret, body| Sample {
        name,
        dims: "A: Dim, B: Dim",
        args: "x: Tensor<A, B, 6>",
        ret,
        body,
        sizes: &[&[1, 1], &[3, 5], &[2, 67], &[0, 4]],
        domain: (-2.0, 2.0),
        gradient: SampleGradient::Checked,
    };
    vec![
        sample("reshape", "Tensor<A, { B * 2 }, 3>", "x.reshape(A, -1, 3)"),
        sample("flatten", "Tensor<A, { B * 6 }>", "x.flatten()"),
        sample("flatten_all", "Tensor<{ A * B * 6 }>", "x.flatten(start = 0)"),
        sample("transpose", "Tensor<B, A, 6>", "x.transpose(0, 1)"),
        sample("permute", "Tensor<6, A, B>", "x.permute(2, 0, 1)"),
        sample(
            "squeeze",
            "Tensor<A, B, 6>",
            "x.unsqueeze(axis = 1).squeeze(axis = 1)",
        ),
        sample("unsqueeze", "Tensor<A, B, 6, 1>", "x.unsqueeze(-1)"),
        sample(
            "broadcast_to",
            "Tensor<A, 4, B, 6>",
            "x.unsqueeze(1).broadcast_to(A, 4, B, 6)",
        ),
        sample("slice", "Tensor<A, B, 3>", "x.slice(.., .., 1..4)"),
        sample(
            "slice_steps",
            "Tensor<A, B, 2>",
            "x.slice(.., .., 1.., steps = (1, 1, 3))",
        ),
        sample("slice_index", "Tensor<A, B>", "x.slice(.., .., -1)"),
        sample("flip", "Tensor<A, B, 6>", "x.flip(axis = (0, 2))"),
        sample(
            "pad",
            "Tensor<{ A + 1 }, B, 9>",
            "x.pad((0, 1), (0, 0), (2, 1), value = 0.5)",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, input, text, typed, whole};

    fn shape_of(name: &str, args: &[Operand], named: &[(&str, Operand)]) -> Result<String, String> {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "3", "6"]);
        let mut all = vec![Operand::Tensor(x)];
        all.extend_from_slice(args);
        let y = call(&mut b, name, &all, named).map_err(|error| text(&error))?;
        match b.errors.first() {
            Some((_, error)) => Err(text(error)),
            None => Ok(typed(&b, y)),
        }
    }

    fn ok(name: &str, args: &[Operand], named: &[(&str, Operand)], want: &str) {
        assert_eq!(shape_of(name, args, named).as_deref(), Ok(want), "{name}");
    }

    #[test]
    fn views_have_the_shapes_that_were_asked() {
        let batch = Operand::Size(Dim::dynamic("B"));
        let range = |a: i64, z: i64| Operand::Range(Some(Dim::lit(a)), Some(Dim::lit(z)));
        let all = || Operand::Range(None, None);
        ok("reshape", &[batch.clone(), whole(-1)], &[], "float[B, 18]");
        ok("reshape", &[whole(2), whole(-1)], &[], "float[2, 9 * B]");
        ok("flatten", &[], &[], "float[B, 18]");
        ok(
            "flatten",
            &[],
            &[("start", whole(0)), ("end", whole(1))],
            "float[3 * B, 6]",
        );
        ok("transpose", &[whole(0), whole(-1)], &[], "float[6, 3, B]");
        ok("transpose", &[], &[], "float[B, 6, 3]");
        ok("permute", &[whole(2), whole(0), whole(1)], &[], "float[6, B, 3]");
        ok("unsqueeze", &[whole(-1)], &[], "float[B, 3, 6, 1]");
        ok(
            "broadcast_to",
            &[whole(5), batch, whole(3), whole(6)],
            &[],
            "float[5, B, 3, 6]",
        );
        ok("slice", &[all(), whole(1), range(1, -1)], &[], "float[B, 4]");
        ok(
            "slice",
            &[all(), all(), all()],
            &[("steps", Operand::Tuple(vec![whole(1), whole(2), whole(4)]))],
            "float[B, 2, 2]",
        );
        ok("flip", &[], &[("axis", whole(1))], "float[B, 3, 6]");
        let margin = |a: i64, z: i64| Operand::Tuple(vec![whole(a), whole(z)]);
        ok(
            "pad",
            &[margin(0, 0), margin(1, 2), margin(0, 1)],
            &[],
            "float[B, 6, 7]",
        );
    }

    #[test]
    fn mistakes_are_named() {
        let fails = |name: &str, args: &[Operand], part: &str| {
            let message = shape_of(name, args, &[]).unwrap_err();
            assert!(message.contains(part), "{name}: {message}");
        };
        let range = |a: i64, z: i64| Operand::Range(Some(Dim::lit(a)), Some(Dim::lit(z)));
        fails("reshape", &[whole(4), whole(-1)], "cannot be cut into parts of 4");
        fails("reshape", &[whole(-1), whole(-1)], "at most one `-1`");
        fails("reshape", &[whole(5)], "cannot reshape float[B, 3, 6]");
        fails("squeeze", &[whole(1)], "axis 1 of float[B, 3, 6] has size 3");
        fails("permute", &[whole(0), whole(1)], "is not an order of the 3 axes");
        fails(
            "slice",
            &[range(0, 2)],
            "cannot be shown to lie inside axis 0 of size B",
        );
        fails(
            "slice",
            &[Operand::Range(None, None), range(1, 4)],
            "`1..4` cannot be shown to lie inside axis 1 of size 3",
        );
        fails("broadcast_to", &[whole(3), whole(7)], "cannot broadcast");
        fails("transpose", &[whole(0)], "swaps two axes");
        fails("flip", &[], "takes an axis");
        fails("pad", &[whole(1)], "a pair of sizes for each of the 3 axes");
        fails(
            "transpose",
            &[whole(0), whole(3)],
            "axis 3 of a tensor with 3 axes",
        );
    }

    #[test]
    fn parts_are_views_of_consecutive_elements() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "6"]);
        let lengths = [2, 4].map(Dim::lit);
        let Operand::Tuple(items) = parts(&mut b, x, 1, &lengths) else {
            panic!("several parts")
        };
        let types: Vec<String> = items
            .iter()
            .map(|item| match item {
                Operand::Tensor(value) => typed(&b, *value),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(types, ["float[B, 2]", "float[B, 4]"]);
        let attributes: Vec<String> = b
            .graph
            .iter()
            .skip(1)
            .map(|(_, n)| n.op.rule().attributes())
            .collect();
        assert_eq!(attributes, ["0.., 0..", "0.., 2.."]);
    }
}
