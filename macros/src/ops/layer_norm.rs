//! Normalisation over trailing axes: layer norm and RMS norm, with their fused gradient.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Kernel, Operand, Rule, Sample,
    SampleGradient, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::standardise::Standardise;
use crate::shape::{self, Dim};

/// `y = (x - m) r w + b`, with mean `m` and inverse deviation `r` of the last axes; RMS norm has `m = 0` and no `b`.
///
/// Operands: x, and perhaps weight, and perhaps bias, in the shape of the normalised axes. Results: y; the mean (layer norm
/// only) and the inverse deviation, which the gradient reads, in the shape of the other axes.
#[derive(Clone, PartialEq, Debug)]
pub struct LayerNorm {
    /// How many trailing axes are normalised together.
    pub n_axes: usize,
    /// Added to the variance.
    pub eps: Scalar,
    /// What is subtracted.
    pub center: Center,
}

/// What a normalisation subtracts.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Center {
    /// The mean: layer norm.
    Mean,
    /// Nothing: RMS norm.
    Zero,
}

impl Center {
    fn word(self) -> &'static str {
        match self {
            Self::Mean => "layer_norm",
            Self::Zero => "rms_norm",
        }
    }
}

impl LayerNorm {
    /// Checks x, weight and bias; gives the shapes of the rows and of a row.
    fn check(
        &self,
        inputs: &[Type],
        constraints: &mut Constraints,
    ) -> Result<(Vec<Dim>, Vec<Dim>), ShapeError> {
        let (x, word) = (&inputs[0], self.center.word());
        if x.dtype != DType::Float {
            let message = format!("`{word}` takes a float tensor, found {x}");
            return Err(ShapeError::new(message).help("convert it with `.to_float()`"));
        }
        if self.n_axes == 0 || self.n_axes > x.rank() {
            let message = format!("`{word}` cannot normalise the last {} axes of {x}", self.n_axes);
            return Err(
                ShapeError::new(message).help("it normalises at least one axis, and those that there are")
            );
        }
        let (rows, row) = x.shape.split_at(x.rank() - self.n_axes);
        for (operand, name) in inputs[1..].iter().zip(["weight", "bias"]) {
            if operand.dtype != DType::Float || !constraints.equal_shapes(&operand.shape, row) {
                let row = shape::display(row);
                let message = format!(
                    "`{word}` of {x} normalises {row}, so its {name} should be float{row}, found {operand}"
                );
                return Err(ShapeError::new(message));
            }
        }
        Ok((rows.to_vec(), row.to_vec()))
    }

    fn row_len(&self, x: &Type) -> Dim {
        shape::numel(&x.shape[x.rank() - self.n_axes..])
    }
}

fn present(arg: CallArg) -> CallArg {
    CallArg::Present(Box::new(arg))
}

/// `Some` of the argument where the condition's number is large enough.
fn given(n: usize, needed: usize, arg: CallArg) -> CallArg {
    if n >= needed {
        present(arg)
    } else {
        CallArg::Absent
    }
}

impl Rule for LayerNorm {
    fn name(&self) -> &'static str {
        self.center.word()
    }

    fn attributes(&self) -> String {
        format!("last axes = {}, eps = {}", self.n_axes, self.eps)
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let (rows, _) = self.check(inputs, constraints)?;
        let statistic = Type::float(rows);
        Ok(match self.center {
            Center::Mean => vec![inputs[0].clone(), statistic.clone(), statistic],
            Center::Zero => vec![inputs[0].clone(), statistic],
        })
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let n = site.inputs.len();
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None; n]);
        };
        let affine = Affine::of_operands(n);
        let mut operands = site.inputs[..n.min(2)].to_vec();
        operands.extend(&site.outputs[1..]);
        operands.push(g);
        let dx = b.push(
            LayerNormGrad {
                of: self.clone(),
                affine,
            },
            &operands,
        );
        Cotangents::Flow((0..n).map(|output| Some(Value { output, ..dx })).collect())
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let n = inputs.len();
        let (mean, rstd) = match self.center {
            Center::Mean => (present(CallArg::Out(1)), CallArg::Out(2)),
            Center::Zero => (CallArg::Absent, CallArg::Out(1)),
        };
        let args = vec![
            CallArg::In(0),
            given(n, 2, CallArg::In(1)),
            given(n, 3, CallArg::In(2)),
            CallArg::Out(0),
            mean,
            rstd,
            CallArg::Size(self.row_len(&inputs[0])),
            CallArg::Scalar(self.eps.clone()),
        ];
        Kernel::Call(Call {
            function: "layer_norm",
            args,
            scratch: Vec::new(),
        })
    }

    /// Sum, difference, square, sum, difference, three factors and terms.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 8
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "layer_norm",
                form: Form::Method,
                usage: "x.layer_norm(axes = -1, weight = .., bias = .., eps = 1e-5)",
                lower: |b, args| lower(b, args, Center::Mean),
            },
            Surface {
                name: "rms_norm",
                form: Form::Method,
                usage: "x.rms_norm(axes = -1, weight = .., eps = 1.1920929e-7)",
                lower: |b, args| lower(b, args, Center::Zero),
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, body| Sample {
            name,
            dims: "B: Dim, N: Dim",
            args,
            ret: "Tensor<B, 3, N>",
            body,
            sizes: &[&[1, 1], &[0, 4], &[2, 5], &[5, 33]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        let x = "x: Tensor<B, 3, N>";
        let row = "x: Tensor<B, 3, N>, w: Tensor<N>, c: Tensor<N>";
        let plane = "x: Tensor<B, 3, N>, w: Tensor<3, N>, c: Tensor<3, N>";
        vec![
            sample("layer_norm", x, "x.layer_norm(eps = 0.1)"),
            sample(
                "layer_norm_affine",
                row,
                "x.layer_norm(weight = w, bias = c, eps = 0.1)",
            ),
            sample(
                "layer_norm_axes",
                plane,
                "x.layer_norm(axes = (1, 2), weight = w, bias = c, eps = 0.1)",
            ),
            sample("rms_norm", x, "x.rms_norm(eps = 0.1)"),
            sample(
                "rms_norm_weight",
                "x: Tensor<B, 3, N>, w: Tensor<N>",
                "x.rms_norm(weight = w, eps = 0.1)",
            ),
        ]
    }
}

/// Cotangents of x, weight and bias. Operands: x, perhaps weight, the statistics, the cotangent of y.
#[derive(Clone, PartialEq, Debug)]
pub struct LayerNormGrad {
    /// What is differentiated.
    pub of: LayerNorm,
    /// Which of weight and bias there were.
    pub affine: Affine,
}

/// Which learned factors a normalisation has.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Affine {
    /// None.
    None,
    /// A weight.
    Weight,
    /// A weight and a bias.
    WeightBias,
}

impl Affine {
    fn of_operands(n: usize) -> Self {
        match n {
            1 => Self::None,
            2 => Self::Weight,
            _ => Self::WeightBias,
        }
    }

    fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Weight => 1,
            Self::WeightBias => 2,
        }
    }
}

/// Pieces in which the runtime sums the gradients of weight and bias (`SHARDS` in its `layer_norm.rs`).
const SHARDS: i64 = 32;

impl Rule for LayerNormGrad {
    fn name(&self) -> &'static str {
        match self.of.center {
            Center::Mean => "layer_norm_grad",
            Center::Zero => "rms_norm_grad",
        }
    }

    fn attributes(&self) -> String {
        self.of.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let n = self.affine.count();
        let (_, row) = self.of.check(&inputs[..1 + n.min(1)], constraints)?;
        let mut types = vec![inputs[0].clone()];
        types.resize(1 + n, Type::float(row));
        Ok(types)
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        let (x, g) = (site.inputs[0], site.inputs[site.inputs.len() - 1]);
        let shape = b.shape(x);
        let (rows, row): (Vec<usize>, Vec<usize>) = (0..shape.len()).partition(|k| k + self.of.n_axes < shape.len());
        let is_weighted = self.affine.count() > 0;
        let own = if is_weighted {
            let weight = b.expand(site.inputs[1], &shape);
            b.mul(g, weight)
        } else {
            g
        };
        let standardise = Standardise { x, axes: &row, center: self.of.center, eps: &self.of.eps };
        let [h, dx] = standardise.with_gradient(b, own);
        let mut results = vec![Some(dx)];
        if is_weighted {
            let gh = b.mul(g, h);
            results.extend([gh, g].map(|x| Some(b.sum(x, &rows))));
            results.truncate(1 + self.affine.count());
        }
        Cotangents::Composed(results)
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let (n, k) = (self.affine.count(), inputs.len());
        let len = self.of.row_len(&inputs[0]);
        let mean = match self.of.center {
            Center::Mean => present(CallArg::In(k - 3)),
            Center::Zero => CallArg::Absent,
        };
        let args = vec![
            CallArg::In(0),
            given(n, 1, CallArg::In(1)),
            mean,
            CallArg::In(k - 2),
            CallArg::In(k - 1),
            CallArg::Out(0),
            given(n, 1, CallArg::Out(1)),
            given(n, 2, CallArg::Out(2)),
            given(n, 1, CallArg::Scratch(0)),
            CallArg::Size(len.clone()),
        ];
        let scratch = if n > 0 {
            vec![(DType::Float, len * (2 * SHARDS))]
        } else {
            Vec::new()
        };
        Kernel::Call(Call {
            function: "layer_norm_grad",
            args,
            scratch,
        })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 14
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

impl Builder {
    /// Layer norm over the last `n_axes` axes; a bias needs a weight.
    pub fn layer_norm(
        &mut self,
        x: Value,
        n_axes: usize,
        weight: Option<Value>,
        bias: Option<Value>,
        eps: Scalar,
    ) -> Value {
        let weight = match (weight, bias) {
            // The kernel multiplies by ones rather than knowing a fourth case.
            (None, Some(bias)) => Some(self.fill_like(bias, 1.0)),
            (weight, _) => weight,
        };
        let operands: Vec<Value> = [Some(x), weight, bias].into_iter().flatten().collect();
        self.push(
            LayerNorm {
                n_axes,
                eps,
                center: Center::Mean,
            },
            &operands,
        )
    }

    /// RMS norm over the last `n_axes` axes.
    pub fn rms_norm(&mut self, x: Value, n_axes: usize, weight: Option<Value>, eps: Scalar) -> Value {
        let operands: Vec<Value> = [Some(x), weight].into_iter().flatten().collect();
        self.push(
            LayerNorm {
                n_axes,
                eps,
                center: Center::Zero,
            },
            &operands,
        )
    }
}

/// How many trailing axes are meant: those that are named, else those of the weight, else one.
fn trailing_axes(b: &Builder, args: &mut Args, x: Value, weight: Option<Value>) -> Result<usize, ShapeError> {
    if !args.named.iter().any(|(name, ..)| name == "axes") {
        return Ok(weight.map_or(1, |weight| b.ty(weight).rank()));
    }
    let rank = b.ty(x).rank();
    let axes = args.axes_or_all("axes", rank)?;
    if axes
        .iter()
        .rev()
        .enumerate()
        .all(|(k, &axis)| axis + k + 1 == rank)
    {
        return Ok(axes.len());
    }
    let message = format!("{axes:?} are not the last axes of a tensor with {rank} axes");
    Err(ShapeError::new(message).help("move them to the end with `.permute(..)` first"))
}

fn lower(b: &mut Builder, args: &mut Args, center: Center) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let weight = args.tensor_named("weight")?;
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let n_axes = trailing_axes(b, args, x, weight)?;
    Ok(Operand::Tensor(match center {
        Center::Mean => {
            let bias = args.tensor_named("bias")?;
            let eps = args.scalar_or(usize::MAX, "eps", 1e-5)?;
            args.finish()?;
            b.layer_norm(x, n_axes, weight, bias, eps)
        }
        Center::Zero => {
            // PyTorch's default: the rounding unit of f32.
            let eps = args.scalar_or(usize::MAX, "eps", f64::from(f32::EPSILON))?;
            args.finish()?;
            b.rms_norm(x, n_axes, weight, eps)
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

    fn bars(b: &mut Builder, y: Value) -> Vec<Option<Value>> {
        let node = b.graph.node(y.node).clone();
        let outputs: Vec<Value> = (0..node.types.len())
            .map(|output| Value { node: y.node, output })
            .collect();
        let mut out_bars = vec![None; outputs.len()];
        out_bars[0] = Some(y);
        match node.op.rule().grad(
            b,
            &Site {
                inputs: &node.inputs,
                outputs: &outputs,
            },
            &out_bars,
        ) {
            Cotangents::Flow(bars) => bars,
            _ => panic!("layer norm has a gradient of its own"),
        }
    }

    #[test]
    fn cotangents_have_the_types_of_the_operands() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "T", "6"]);
        let w = input(&mut b, DType::Float, &["6"]);
        for options in [
            vec![],
            vec![("weight", Operand::Tensor(w))],
            vec![("weight", Operand::Tensor(w)), ("bias", Operand::Tensor(w))],
            vec![("bias", Operand::Tensor(w))],
        ] {
            let y = call(&mut b, "layer_norm", &[Operand::Tensor(x)], &options).unwrap();
            assert_eq!(typed(&b, y), "float[B, T, 6]");
            let inputs = b.graph.node(y.node).inputs.clone();
            for (bar, input) in bars(&mut b, y).into_iter().zip(inputs) {
                assert_eq!(typed(&b, bar.unwrap()), typed(&b, input));
            }
        }
        let y = call(
            &mut b,
            "rms_norm",
            &[Operand::Tensor(x)],
            &[("weight", Operand::Tensor(w))],
        )
        .unwrap();
        assert_eq!(bars(&mut b, y).len(), 2);
    }

    #[test]
    fn axes_are_named_or_those_of_the_weight() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "3", "6"]);
        let w = input(&mut b, DType::Float, &["3", "6"]);
        let attributes = |b: &mut Builder, options: &[(&str, Operand)]| {
            let y = call(b, "layer_norm", &[Operand::Tensor(x)], options).unwrap();
            b.graph.node(y.node).op.rule().attributes()
        };
        assert_eq!(attributes(&mut b, &[]), "last axes = 1, eps = 0.00001");
        assert_eq!(
            attributes(&mut b, &[("weight", Operand::Tensor(w))]),
            "last axes = 2, eps = 0.00001"
        );
        let both = Operand::Tuple(vec![whole(-1), whole(1)]);
        assert_eq!(
            attributes(&mut b, &[("axes", both)]),
            "last axes = 2, eps = 0.00001"
        );
        let first = Operand::Tuple(vec![whole(0), whole(2)]);
        let refused = call(&mut b, "layer_norm", &[Operand::Tensor(x)], &[("axes", first)]).unwrap_err();
        assert_eq!(
            text(&refused),
            "[0, 2] are not the last axes of a tensor with 3 axes (move them to the end with `.permute(..)` first)"
        );
    }

    #[test]
    fn a_weight_of_another_shape_is_explained() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "3", "6"]);
        let w = input(&mut b, DType::Float, &["5"]);
        call(
            &mut b,
            "layer_norm",
            &[Operand::Tensor(x)],
            &[("weight", Operand::Tensor(w))],
        )
        .unwrap();
        assert_eq!(
            error(&b),
            "`layer_norm` of float[B, 3, 6] normalises [6], so its weight should be float[6], found float[5]"
        );
    }
}
