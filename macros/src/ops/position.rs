//! Positions: the sinusoidal table, and the rotation of queries and keys.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Kernel, Operand, Rule, Sample,
    SampleGradient, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::shape::Dim;

/// The table `[T, D]` with `sin(t base^(-2 i / D))` in column `2 i` and the cosine in column `2 i + 1`. It has no operands.
///
/// Source: Vaswani et al., "Attention is all you need" (2017), section 3.5.
#[derive(Clone, PartialEq, Debug)]
pub struct Sinusoid {
    /// Number of positions.
    pub rows: Dim,
    /// Number of features.
    pub width: Dim,
    /// The number whose powers are the wave lengths.
    pub base: Scalar,
}

impl Rule for Sinusoid {
    fn name(&self) -> &'static str {
        "sinusoid"
    }

    fn attributes(&self) -> String {
        format!("base = {}", self.base)
    }

    fn types(&self, _: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        Ok(vec![Type::float(vec![self.rows.clone(), self.width.clone()])])
    }

    fn grad(&self, _: &mut Builder, _: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        Cotangents::Flow(Vec::new())
    }

    fn kernel(&self, _: &[Type], _: &[Type]) -> Kernel {
        let args = vec![
            CallArg::Out(0),
            CallArg::Size(self.width.clone()),
            CallArg::Scalar(self.base.clone()),
        ];
        Kernel::Call(Call {
            function: "sinusoid",
            args,
            scratch: Vec::new(),
        })
    }

    /// An angle and its sine or cosine are counted as one operation each.
    fn flops(&self, _: &[Type], outputs: &[Type]) -> Dim {
        outputs[0].numel() * 2
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface {
            name: "add_positions",
            form: Form::Method,
            usage: "x.add_positions(base = 10000.0)",
            lower: |b, args| {
                let x = args.tensor(0, "x")?;
                let base = take_base(args)?;
                args.finish()?;
                Ok(Operand::Tensor(b.add_positions(x, base)?))
            },
        }]
    }

    fn samples() -> Vec<Sample> {
        vec![Sample {
            name: "add_positions",
            dims: "B: Dim, T: Dim",
            args: "x: Tensor<B, T, 5>",
            ret: "Tensor<B, T, 5>",
            body: "x.add_positions()",
            sizes: &[&[1, 1], &[0, 2], &[2, 0], &[3, 7]],
            domain: (-1.0, 1.0),
            gradient: SampleGradient::Checked,
        }]
    }
}

/// Turns the pair of features `i` and `i + D / 2` at position `t` by the angle `t base^(-2 i / D)`; the shape `[.., T, D]`
/// stays.
///
/// This is the convention of GPT-NeoX and Llama (the halves of the features form the pairs), not that of the paper
/// (neighbours form them); the two differ by a permutation of the features.
///
/// Source: Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021).
#[derive(Clone, PartialEq, Debug)]
pub struct Rotary {
    /// The number whose powers are the wave lengths.
    pub base: Scalar,
    /// Forward, or back in the gradient.
    pub turn: Turn,
}

/// Which way pairs are turned.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Turn {
    /// By the angle of the position.
    Forward,
    /// Back again.
    Backward,
}

impl Rule for Rotary {
    fn name(&self) -> &'static str {
        match self.turn {
            Turn::Forward => "rotary",
            Turn::Backward => "rotary_back",
        }
    }

    fn attributes(&self) -> String {
        format!("base = {}", self.base)
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let x = &inputs[0];
        if x.dtype != DType::Float || x.rank() < 2 {
            let message = format!("`rotary` takes a float tensor [.., T, D], found {x}");
            return Err(ShapeError::new(message).help("the last two axes are positions and features"));
        }
        let width = &x.shape[x.rank() - 1];
        if !constraints.equal(width, &(width.floor_div(&Dim::lit(2)) * 2)) {
            let message = format!("`rotary` turns pairs, but `{width}` features of {x} are not an even number");
            return Err(ShapeError::new(message));
        }
        Ok(vec![x.clone()])
    }

    /// A rotation's transpose is the rotation back.
    fn grad(&self, b: &mut Builder, _: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let turn = match self.turn {
            Turn::Forward => Turn::Backward,
            Turn::Backward => Turn::Forward,
        };
        let back = Self {
            base: self.base.clone(),
            turn,
        };
        Cotangents::Flow(vec![out_bars[0].map(|g| b.push(back, &[g]))])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let [steps, width] = inputs[0].shape.last_chunk::<2>().expect("two axes");
        let turn = match self.turn {
            Turn::Forward => "Turn::Forward",
            Turn::Backward => "Turn::Backward",
        };
        let args = vec![
            CallArg::InView(0),
            CallArg::Out(0),
            CallArg::Scratch(0),
            CallArg::Scalar(self.base.clone()),
            CallArg::Constant(turn),
        ];
        Kernel::Call(Call {
            function: "rotary",
            args,
            scratch: vec![(DType::Float, steps * width)],
        })
    }

    /// Two products and a sum for every element; the table is not counted.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 3
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface {
            name: "rotary",
            form: Form::Method,
            usage: "x.rotary(base = 10000.0)",
            lower: |b, args| {
                let x = args.tensor(0, "x")?;
                let base = take_base(args)?;
                args.finish()?;
                Ok(Operand::Tensor(b.rotary(x, base)))
            },
        }]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body| Sample {
            name,
            dims: "B: Dim, T: Dim",
            args,
            ret,
            body,
            sizes: &[&[1, 1], &[0, 2], &[2, 5]],
            domain: (-1.0, 1.0),
            gradient: SampleGradient::Checked,
        };
        vec![
            sample(
                "rotary",
                "x: Tensor<B, T, 6>",
                "Tensor<B, T, 6>",
                "x.rotary(base = 50.0)",
            ),
            sample(
                "rotary_of_heads",
                "x: Tensor<B, T, 3, 4>",
                "Tensor<B, 3, T, 4>",
                "x.permute(0, 2, 1, 3).rotary()",
            ),
        ]
    }
}

/// The option `base`, above 0.
pub(crate) fn take_base(args: &mut Args) -> Result<Scalar, ShapeError> {
    let base = args.scalar_or(usize::MAX, "base", 1e4)?;
    match base.as_lit() {
        Some(n) if n.is_nan() || n <= 0.0 => {
            Err(ShapeError::new(format!("`base` must be above 0, found {n}")))
        }
        _ => Ok(base),
    }
}

impl Builder {
    /// `x` `[.., T, D]` plus the table of its positions: see [`Sinusoid`].
    ///
    /// # Errors
    /// Where `x` has fewer than two axes or holds no floats.
    pub fn add_positions(&mut self, x: Value, base: Scalar) -> Result<Value, ShapeError> {
        if self.is_poison(x) {
            return Ok(x);
        }
        let ty = self.ty(x).clone();
        let [rows, width] = match ty.shape.last_chunk::<2>() {
            Some(sizes) if ty.dtype == DType::Float => sizes.clone(),
            _ => {
                let message = format!("positions are added to float tensors [.., T, D], found {ty}");
                return Err(ShapeError::new(message));
            }
        };
        let table = self.push(Sinusoid { rows, width, base }, &[]);
        let table = self.expand(table, &ty.shape);
        Ok(self.add(x, table))
    }

    /// Rotates the features `[.., T, D]` by their positions: see [`Rotary`].
    pub fn rotary(&mut self, x: Value, base: Scalar) -> Value {
        if self.is_poison(x) {
            return x;
        }
        self.push(
            Rotary {
                base,
                turn: Turn::Forward,
            },
            &[x],
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed};

    #[test]
    fn shapes_stay() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "T", "6"]);
        for name in ["rotary", "add_positions"] {
            let y = call(&mut b, name, &[Operand::Tensor(x)], &[]).unwrap();
            assert_eq!(typed(&b, y), "float[B, T, 6]");
        }
    }

    #[test]
    fn the_gradient_turns_back() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["T", "6"]);
        let y = b.rotary(x, Scalar::lit(10.0));
        let node = b.graph.node(y.node).clone();
        let site = Site {
            inputs: &[x],
            outputs: &[y],
        };
        let Cotangents::Flow(bars) = node.op.rule().grad(&mut b, &site, &[Some(x)]) else {
            panic!("a rotation has a gradient");
        };
        let back = b.graph.node(bars[0].unwrap().node).op.clone();
        assert_eq!(back.rule().name(), "rotary_back");
        assert_eq!(back.rule().attributes(), "base = 10");
    }

    #[test]
    fn mistakes_are_explained() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["T", "5"]);
        b.rotary(x, Scalar::lit(10.0));
        assert_eq!(
            error(&b),
            "`rotary` turns pairs, but `5` features of float[T, 5] are not an even number"
        );
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["6"]);
        b.rotary(x, Scalar::lit(10.0));
        assert!(error(&b).starts_with("`rotary` takes a float tensor [.., T, D], found float[6]"));
        let mut b = builder();
        let x = Operand::Tensor(input(&mut b, DType::Int, &["T", "6"]));
        let refused = call(&mut b, "add_positions", std::slice::from_ref(&x), &[]).unwrap_err();
        assert_eq!(
            text(&refused),
            "positions are added to float tensors [.., T, D], found int[T, 6]"
        );
        let zero = Operand::Scalar(Scalar::lit(0.0));
        let refused = call(&mut b, "rotary", &[x], &[("base", zero)]).unwrap_err();
        assert_eq!(text(&refused), "`base` must be above 0, found 0");
    }
}
