//! Single elements by number along an axis: gather, and its transpose, scatter.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Kernel, Operand, Rule, Sample,
    SampleGradient, ShapeError, Site, Surface, Type, Value,
};
use crate::shape::{self, Dim};

/// `y[.., j, ..] = x[.., indices[.., j, ..], ..]` along one axis, as `torch.gather`.
///
/// Operands: x and integer indices of the same sizes except along the axis (PyTorch also allows smaller ones); the result has
/// the shape of the indices. An index outside is an error at run time.
#[derive(Clone, PartialEq, Debug)]
pub struct Gather {
    /// The axis of x that is indexed.
    pub axis: usize,
}

/// Adds elements to those that the indices name, starting from zeros: the transpose of [`Gather`]. Operands: the indices and
/// what is added, of one shape.
#[derive(Clone, PartialEq, Debug)]
pub struct Scatter {
    /// The axis that is indexed.
    pub axis: usize,
    /// Size of the result along it.
    pub size: Dim,
}

/// The shapes, as the kernels take them.
fn shapes(axis: usize, size: &Dim, indices: &Type) -> CallArg {
    let fields = vec![
        ("outer", CallArg::Size(shape::numel(&indices.shape[..axis]))),
        ("size", CallArg::Size(size.clone())),
        ("picks", CallArg::Size(indices.shape[axis].clone())),
        ("inner", CallArg::Size(shape::numel(&indices.shape[axis + 1..]))),
    ];
    CallArg::Struct("Gather", fields)
}

/// Checks that the operands are x and indices that differ in one axis only.
fn check(
    word: &str,
    axis: usize,
    x: &Type,
    indices: &Type,
    constraints: &mut Constraints,
) -> Result<(), ShapeError> {
    if x.dtype != DType::Float || indices.dtype != DType::Int {
        let message = format!("`{word}` takes a float tensor and integer indices, found {x} and {indices}");
        return Err(ShapeError::new(message));
    }
    if axis >= x.rank() {
        return Err(ShapeError::new(format!(
            "axis {axis} of {x}, which has {} axes",
            x.rank()
        )));
    }
    let agree = x.rank() == indices.rank()
        && (0..x.rank()).all(|k| k == axis || constraints.equal(&x.shape[k], &indices.shape[k]));
    if agree {
        return Ok(());
    }
    let message =
        format!("`{word}` takes indices of the sizes of {x} except along axis {axis}, found {indices}");
    Err(ShapeError::new(message).help("whole slices are selected by `.take(indices, axis = ..)`"))
}

impl Rule for Gather {
    fn name(&self) -> &'static str {
        "gather"
    }

    fn attributes(&self) -> String {
        format!("axis = {}", self.axis)
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        check("gather", self.axis, &inputs[0], &inputs[1], constraints)?;
        Ok(vec![inputs[1].with_dtype(DType::Float)])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None, None]);
        };
        let size = b.shape(site.inputs[0])[self.axis].clone();
        let bar = b.push(
            Scatter {
                axis: self.axis,
                size,
            },
            &[site.inputs[1], g],
        );
        Cotangents::Flow(vec![Some(bar), None])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let shapes = shapes(self.axis, &inputs[0].shape[self.axis], &inputs[1]);
        let args = vec![CallArg::In(0), CallArg::In(1), CallArg::Out(0), shapes];
        Kernel::Call(Call {
            function: "gather",
            args,
            scratch: Vec::new(),
        })
    }

    fn flops(&self, _: &[Type], _: &[Type]) -> Dim {
        Dim::zero()
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface {
            name: "gather",
            form: Form::Method,
            usage: "x.gather(indices, axis = 1)",
            lower: lower_gather,
        }]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body| Sample {
            name,
            dims: "B: Dim, N: Dim",
            args,
            ret,
            body,
            sizes: &[&[1, 1], &[0, 3], &[5, 3], &[3, 17]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        let picks = "x: Tensor<B, N>, t: Tensor<i64, B, 4>";
        vec![
            sample("gather", picks, "Tensor<B, 4>", "x.gather(t, axis = 1)"),
            sample(
                "gather_first",
                "x: Tensor<N, B>, t: Tensor<i64, 4, B>",
                "Tensor<4, B>",
                "x.gather(t, axis = 0)",
            ),
        ]
    }
}

impl Rule for Scatter {
    fn name(&self) -> &'static str {
        "scatter"
    }

    fn attributes(&self) -> String {
        format!("axis = {}", self.axis)
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let (indices, source) = (&inputs[0], &inputs[1]);
        check("scatter_add", self.axis, source, indices, constraints)?;
        if !constraints.equal_shapes(&indices.shape, &source.shape) {
            let message =
                format!("`scatter_add` takes an index for every element of {source}, found {indices}");
            return Err(ShapeError::new(message));
        }
        let mut shape = source.shape.clone();
        shape[self.axis] = self.size.clone();
        Ok(vec![source.with_shape(shape)])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let bar = out_bars[0].map(|g| b.gather(g, site.inputs[0], self.axis));
        Cotangents::Flow(vec![None, bar])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let args = vec![
            CallArg::In(0),
            CallArg::In(1),
            CallArg::Out(0),
            shapes(self.axis, &self.size, &inputs[0]),
        ];
        Kernel::Call(Call {
            function: "scatter",
            args,
            scratch: Vec::new(),
        })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[1].numel()
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface {
            name: "scatter_add",
            form: Form::Method,
            usage: "x.scatter_add(indices, source, axis = 1)",
            lower: lower_scatter_add,
        }]
    }

    fn samples() -> Vec<Sample> {
        vec![Sample {
            name: "scatter_add",
            dims: "B: Dim, N: Dim",
            args: "x: Tensor<B, N>, t: Tensor<i64, B, 4>, s: Tensor<B, 4>",
            ret: "Tensor<B, N>",
            body: "x.scatter_add(t, s, axis = 1)",
            sizes: &[&[1, 1], &[0, 3], &[5, 3], &[3, 17]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        }]
    }
}

impl Builder {
    /// Elements of x along an axis, one for every index.
    pub fn gather(&mut self, x: Value, indices: Value, axis: usize) -> Value {
        self.push(Gather { axis }, &[x, indices])
    }
}

fn lower_gather(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (x, indices) = (args.tensor(0, "x")?, args.tensor(1, "indices")?);
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let axis = args.axis(2, "axis", b.ty(x).rank())?;
    args.finish()?;
    Ok(Operand::Tensor(b.gather(x, indices, axis)))
}

fn lower_scatter_add(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (x, indices, source) = (
        args.tensor(0, "x")?,
        args.tensor(1, "indices")?,
        args.tensor(2, "source")?,
    );
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let axis = args.axis(3, "axis", b.ty(x).rank())?;
    args.finish()?;
    let size = b.shape(x)[axis].clone();
    let added = b.push(Scatter { axis, size }, &[indices, source]);
    if !b.is_poison(added) && b.shape(added) != b.shape(x) {
        let (own, found) = (b.ty(x).clone(), b.ty(source));
        let message = format!(
            "`scatter_add` to {own} takes a source of its sizes except along axis {axis}, found {found}"
        );
        return Err(ShapeError::new(message));
    }
    Ok(Operand::Tensor(b.add(x, added)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

    #[test]
    fn the_result_has_the_shape_of_the_indices() {
        let mut b = builder();
        let (x, t) = (
            input(&mut b, DType::Float, &["B", "9", "H"]),
            input(&mut b, DType::Int, &["B", "2", "H"]),
        );
        let y = call(
            &mut b,
            "gather",
            &[Operand::Tensor(x), Operand::Tensor(t)],
            &[("axis", whole(1))],
        )
        .unwrap();
        assert_eq!(typed(&b, y), "float[B, 2, H]");
        let operands = [Operand::Tensor(x), Operand::Tensor(t), Operand::Tensor(y)];
        let z = call(&mut b, "scatter_add", &operands, &[("axis", whole(1))]).unwrap();
        assert_eq!(typed(&b, z), "float[B, 9, H]");
    }

    #[test]
    fn gather_and_scatter_are_each_others_gradient() {
        let mut b = builder();
        let (x, t) = (
            input(&mut b, DType::Float, &["B", "9"]),
            input(&mut b, DType::Int, &["B", "2"]),
        );
        let y = b.gather(x, t, 1);
        let Cotangents::Flow(bars) = Gather { axis: 1 }.grad(
            &mut b,
            &Site {
                inputs: &[x, t],
                outputs: &[y],
            },
            &[Some(y)],
        ) else {
            panic!("gather has a gradient");
        };
        let dx = bars[0].unwrap();
        assert_eq!((typed(&b, dx), bars[1]), ("float[B, 9]".into(), None));
        let scatter = Scatter {
            axis: 1,
            size: Dim::lit(9),
        };
        let Cotangents::Flow(bars) = scatter.grad(
            &mut b,
            &Site {
                inputs: &[t, y],
                outputs: &[dx],
            },
            &[Some(dx)],
        ) else {
            panic!("scatter has a gradient");
        };
        assert_eq!(
            (bars[0], typed(&b, bars[1].unwrap())),
            (None, "float[B, 2]".into())
        );
    }

    #[test]
    fn mistakes_are_explained() {
        let mut b = builder();
        let (x, t) = (
            input(&mut b, DType::Float, &["B", "9"]),
            input(&mut b, DType::Int, &["T", "2"]),
        );
        b.gather(x, t, 1);
        assert_eq!(
            error(&b),
            "`gather` takes indices of the sizes of float[B, 9] except along axis 1, found int[T, 2] (whole slices are \
             selected by `.take(indices, axis = ..)`)"
        );
        let refused = call(
            &mut b,
            "gather",
            &[Operand::Tensor(x), Operand::Tensor(t)],
            &[("axis", whole(2))],
        );
        assert!(text(&refused.unwrap_err()).starts_with("axis 2 of a tensor with 2 axes"));
    }
}
