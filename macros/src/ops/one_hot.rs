//! Integers as indicator vectors.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Kernel, Operand, Rule, Sample,
    SampleGradient, ShapeError, Site, Surface, Type, Value,
};
use crate::shape::Dim;

/// `y[.., c] = 1` where the integer is c, and 0 elsewhere; the classes are a new last axis.
///
/// The result is float (PyTorch's is integer, but is nearly always converted). An integer outside is an error at run time.
#[derive(Clone, PartialEq, Debug)]
pub struct OneHot {
    /// Number of classes.
    pub classes: Dim,
}

impl Rule for OneHot {
    fn name(&self) -> &'static str {
        "one_hot"
    }

    fn attributes(&self) -> String {
        format!("classes = {}", self.classes)
    }

    fn types(&self, inputs: &[Type], _: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let x = &inputs[0];
        if x.dtype != DType::Int {
            let message = format!("`one_hot` takes integers, found {x}");
            return Err(ShapeError::new(message).help("convert it with `.to_int()`"));
        }
        let mut shape = x.shape.clone();
        shape.push(self.classes.clone());
        Ok(vec![Type::float(shape)])
    }

    fn grad(&self, _: &mut Builder, _: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        Cotangents::Flow(vec![None])
    }

    fn kernel(&self, _: &[Type], _: &[Type]) -> Kernel {
        let args = vec![
            CallArg::In(0),
            CallArg::Out(0),
            CallArg::Size(self.classes.clone()),
        ];
        Kernel::Call(Call {
            function: "one_hot",
            args,
            scratch: Vec::new(),
        })
    }

    fn flops(&self, _: &[Type], _: &[Type]) -> Dim {
        Dim::zero()
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface {
            name: "one_hot",
            form: Form::Method,
            usage: "labels.one_hot(classes)",
            lower,
        }]
    }

    fn samples() -> Vec<Sample> {
        vec![Sample {
            name: "one_hot",
            dims: "B: Dim, N: Dim",
            args: "x: Tensor<i64, B, N>",
            ret: "Tensor<B, N, 20>",
            body: "x.one_hot(20)",
            sizes: &[&[1, 1], &[0, 3], &[5, 3]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::None,
        }]
    }
}

impl Builder {
    /// Integers as indicator vectors along a new last axis.
    pub fn one_hot(&mut self, labels: Value, classes: Dim) -> Value {
        self.push(OneHot { classes }, &[labels])
    }
}

fn lower(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let labels = args.tensor(0, "labels")?;
    let Some(classes) = args.size(1, "classes")? else {
        let message = "`one_hot` needs the number of classes";
        return Err(ShapeError::new(message).help("for example `labels.one_hot(10)`"));
    };
    args.finish()?;
    Ok(Operand::Tensor(b.one_hot(labels, classes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

    #[test]
    fn the_classes_are_a_new_last_axis() {
        let mut b = builder();
        let x = input(&mut b, DType::Int, &["B", "T"]);
        let y = call(&mut b, "one_hot", &[Operand::Tensor(x), whole(10)], &[]).unwrap();
        assert_eq!(typed(&b, y), "float[B, T, 10]");
    }

    #[test]
    fn mistakes_are_explained() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B"]);
        let refused = call(&mut b, "one_hot", &[Operand::Tensor(x)], &[]).unwrap_err();
        assert_eq!(
            text(&refused),
            "`one_hot` needs the number of classes (for example `labels.one_hot(10)`)"
        );
        b.one_hot(x, Dim::lit(10));
        assert_eq!(
            error(&b),
            "`one_hot` takes integers, found float[B] (convert it with `.to_int()`)"
        );
    }
}
