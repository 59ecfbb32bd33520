//! Joining tensors along an axis: `concat`, `stack`.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, Form, Kernel, Operand, Rule, Sample, SampleGradient, ShapeError,
    Site, Surface, Type, Value, ViewMap,
};
use crate::ops::view::View;
use crate::shape::{self, Dim};

/// The most tensors that one call of the runtime joins.
pub const MAX_PARTS: usize = 16;

/// Tensors of one kind joined along an axis, at most [`MAX_PARTS`]; the other sizes are equal. Longer lists are trees.
#[derive(Clone, PartialEq, Debug)]
pub struct Concat {
    /// The axis.
    pub axis: usize,
}

impl Rule for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn attributes(&self) -> String {
        format!("axis = {}", self.axis)
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let (a, rest) = inputs.split_first().expect("something is joined");
        let mut joined = a.shape.clone();
        for b in rest {
            if a.dtype != b.dtype {
                return Err(ShapeError::new(format!("`concat` takes tensors of one kind, found {a} and {b}")));
            }
            if self.axis >= a.rank() {
                return Err(ShapeError::new(format!("axis {} of {a}, which has {} axes", self.axis, a.rank())));
            }
            let is_same =
                |(k, (n, m)): (usize, (&Dim, &Dim))| k == self.axis || constraints.equal(n, m);
            if a.rank() != b.rank() || !a.shape.iter().zip(&b.shape).enumerate().all(is_same) {
                let message = format!("`concat` along axis {} of {a} and {b}", self.axis);
                return Err(ShapeError::new(message).help("all sizes but those along the axis must be equal"));
            }
            joined[self.axis] = &joined[self.axis] + &b.shape[self.axis];
        }
        Ok(vec![a.with_shape(joined)])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None; site.inputs.len()]);
        };
        let mut start = Dim::zero();
        let mut bars = Vec::with_capacity(site.inputs.len());
        for &input in site.inputs {
            let sizes = b.shape(input);
            let mut starts = vec![Dim::zero(); sizes.len()];
            starts[self.axis] = start.clone();
            start = start + &sizes[self.axis];
            let steps = vec![1; sizes.len()];
            bars.push(Some(b.push(View(ViewMap::Slice { starts, steps, sizes }), &[g])));
        }
        Cotangents::Flow(bars)
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let block = |part: &Type| shape::numel(&part.shape[self.axis..]);
        let outer = CallArg::Size(shape::numel(&inputs[0].shape[..self.axis]));
        let args = vec![
            CallArg::Ins((0..inputs.len()).collect()),
            CallArg::Out(0),
            outer,
            CallArg::Sizes(inputs.iter().map(block).collect()),
        ];
        Kernel::Call(Call { function: "concat", args, scratch: Vec::new() })
    }

    fn flops(&self, _: &[Type], _: &[Type]) -> Dim {
        Dim::zero()
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "concat",
                form: Form::Function,
                usage: "concat((a, b), axis = 0)",
                lower: lower_concat,
            },
            Surface {
                name: "stack",
                form: Form::Function,
                usage: "stack((a, b), axis = 0)",
                lower: lower_stack,
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body| Sample {
            name,
            dims: "A: Dim, B: Dim, C: Dim",
            args,
            ret,
            body,
            sizes: &[&[1, 1, 1], &[2, 5, 3], &[3, 1, 66], &[0, 2, 3], &[2, 0, 3]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        vec![
            sample(
                "concat_two",
                "x: Tensor<A, B>, y: Tensor<A, C>",
                "Tensor<A, { B + C }>",
                "concat((x, y), axis = 1)",
            ),
            sample(
                "concat_three",
                "x: Tensor<B, A>, y: Tensor<C, A>",
                "Tensor<{ B + C + B }, A>",
                "concat((x, y, x), axis = 0)",
            ),
            Sample {
                dims: "A: Dim, B: Dim",
                sizes: &[&[1, 1], &[2, 5], &[3, 66], &[0, 2]],
                ..sample("stack_last", "x: Tensor<A, B>, y: Tensor<A, B>", "Tensor<A, B, 2>", "stack((x, y), axis = -1)")
            },
        ]
    }
}

fn tensors(b: &Builder, args: &mut Args) -> Result<(Vec<Value>, Option<Value>), ShapeError> {
    let values = args.tensors(0, "tensors")?;
    if values.is_empty() {
        let message = "there is nothing to join";
        return Err(ShapeError::new(message).help(format!("it is written `{}`", args.usage)));
    }
    let poison = values.iter().find(|value| b.is_poison(**value)).copied();
    Ok((values, poison))
}

/// The axis, 0 where none is given.
fn axis_or_first(args: &mut Args, rank: usize) -> Result<usize, ShapeError> {
    let is_given = args.positional.get(1).is_some_and(Option::is_some)
        || args.named.iter().any(|(name, ..)| name == "axis");
    if is_given { args.axis(1, "axis", rank) } else { Ok(0) }
}

fn lower_concat(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (values, poison) = tensors(b, args)?;
    if let Some(poison) = poison {
        return Ok(Operand::Tensor(poison));
    }
    let axis = axis_or_first(args, b.ty(values[0]).rank())?;
    args.finish()?;
    Ok(Operand::Tensor(b.concat(&values, axis)))
}

fn lower_stack(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (values, poison) = tensors(b, args)?;
    if let Some(poison) = poison {
        return Ok(Operand::Tensor(poison));
    }
    let mut shape = b.shape(values[0]);
    let axis = axis_or_first(args, shape.len() + 1)?;
    args.finish()?;
    if let Some(other) = values.iter().find(|value| b.ty(**value).rank() != shape.len()) {
        let message = format!("`stack` takes tensors of one shape, found {} and {}", b.ty(values[0]), b.ty(*other));
        return Err(ShapeError::new(message));
    }
    shape.insert(axis, Dim::one());
    let lift = |value: &Value| {
        let mut own = b.shape(*value);
        own.insert(axis, Dim::one());
        b.reshape(*value, own)
    };
    let lifted: Vec<Value> = values.iter().map(lift).collect();
    Ok(Operand::Tensor(b.concat(&lifted, axis)))
}

/// Constructors.
impl Builder {
    /// Tensors joined along an axis, at least one.
    pub fn concat(&mut self, values: &[Value], axis: usize) -> Value {
        match values {
            [] => self.fail(ShapeError::new("there is nothing to join")),
            [one] => *one,
            few if few.len() <= MAX_PARTS => self.push(Concat { axis }, few),
            more => {
                let (head, tail) = more.split_at(more.len().div_ceil(2));
                let (head, tail) = (self.concat(head, axis), self.concat(tail, axis));
                self.push(Concat { axis }, &[head, tail])
            }
        }
    }
}
