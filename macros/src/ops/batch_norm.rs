//! Normalisation of channels: batch norm with its fused gradient; batch norm by running statistics, group norm and instance
//! norm as compositions.

use crate::ir::scalar::ScalarFn;
use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Images, Kernel, Operand, Rule, Sample,
    SampleGradient, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::layer_norm::Center;
use crate::ops::standardise::Standardise;
use crate::shape::{self, Dim};

/// `y = (x - m) r w + b` with the statistics of the batch, for every channel (axis 1, or the last).
///
/// Operands: x `[B, C, ...]` or `[B, ..., C]`, and perhaps weight and bias `[C]`. Results: y; mean, unbiased variance (what running statistics
/// take in) and inverse deviation, all `[C]`. Mean and variance carry no gradient.
#[derive(Clone, PartialEq, Debug)]
pub struct BatchNorm {
    /// Added to the variance.
    pub eps: Scalar,
    /// Which axis counts the channels.
    pub images: Images,
}

/// Checks x, and whatever else is one number a channel; gives the number of channels.
fn check(
    word: &str,
    images: Images,
    x: &Type,
    others: &[(&str, &Type)],
    constraints: &mut Constraints,
) -> Result<Dim, ShapeError> {
    if x.dtype != DType::Float || x.rank() < 2 {
        let message = format!("`{word}` takes a float tensor [B, C, ...], found {x}");
        return Err(ShapeError::new(message).help("axis 1 counts the channels"));
    }
    let axis = images.channel_axis(x.rank());
    let channels = x.shape[axis].clone();
    for (name, ty) in others {
        if ty.dtype != DType::Float || !constraints.equal_shapes(&ty.shape, std::slice::from_ref(&channels)) {
            let message = format!("`{word}` of {x} has {channels} channels (axis {axis}), but its {name} is {ty}");
            return Err(ShapeError::new(message).help(format!("the {name} should be float[{channels}]")));
        }
    }
    Ok(channels)
}

/// The shape, as the kernels take it.
fn channels(x: &Type, images: Images) -> CallArg {
    let axis = images.channel_axis(x.rank());
    let fields = vec![
        ("outer", CallArg::Size(shape::numel(&x.shape[..axis]))),
        ("count", CallArg::Size(x.shape[axis].clone())),
        ("inner", CallArg::Size(shape::numel(&x.shape[axis + 1..]))),
    ];
    CallArg::Struct("Channels", fields)
}

fn given(condition: Learned, arg: CallArg) -> CallArg {
    match condition {
        Learned::Affine => CallArg::Present(Box::new(arg)),
        Learned::Nothing => CallArg::Absent,
    }
}

/// Whether there are weight and bias.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Learned {
    /// Weight and bias.
    Affine,
    /// Neither.
    Nothing,
}

impl Learned {
    fn of_operands(n: usize) -> Self {
        if n > 1 { Self::Affine } else { Self::Nothing }
    }
}

impl Rule for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn attributes(&self) -> String {
        self.images.behind(format!("eps = {}", self.eps))
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let others: Vec<_> = ["weight", "bias"].into_iter().zip(&inputs[1..]).collect();
        let count = check("batch_norm", self.images, &inputs[0], &others, constraints)?;
        let statistic = Type::float(vec![count]);
        Ok(vec![
            inputs[0].clone(),
            statistic.clone(),
            statistic.clone(),
            statistic,
        ])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        if out_bars[1..].iter().any(Option::is_some) {
            return Cotangents::Blocked("the statistics that batch_norm gives away carry no gradient");
        }
        let n = site.inputs.len();
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None; n]);
        };
        let learned = Learned::of_operands(n);
        let mut operands = site.inputs[..n.min(2)].to_vec();
        operands.extend([site.outputs[1], site.outputs[3], g]);
        let of = self.clone();
        let dx = b.push(BatchNormGrad { of, learned }, &operands);
        Cotangents::Flow((0..n).map(|output| Some(Value { output, ..dx })).collect())
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let learned = Learned::of_operands(inputs.len());
        let args = vec![
            CallArg::In(0),
            given(learned, CallArg::In(1)),
            given(learned, CallArg::In(2)),
            CallArg::Out(0),
            CallArg::Out(1),
            CallArg::Out(2),
            CallArg::Out(3),
            CallArg::Scratch(0),
            channels(&inputs[0], self.images),
            CallArg::Scalar(self.eps.clone()),
        ];
        let count = &inputs[0].shape[self.images.channel_axis(inputs[0].rank())];
        let scratch = vec![(DType::Float, count * 2)];
        Kernel::Call(Call {
            function: "batch_norm",
            args,
            scratch,
        })
    }

    /// Two passes for the moments, one to normalise.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 8
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "batch_norm",
                form: Form::Method,
                usage: "x.batch_norm(mean = .., var = .., weight = .., bias = .., eps = 1e-5)",
                lower: lower_batch_norm,
            },
            Surface {
                name: "group_norm",
                form: Form::Method,
                usage: "x.group_norm(groups, weight = .., bias = .., eps = 1e-5)",
                lower: lower_group_norm,
            },
            Surface {
                name: "instance_norm",
                form: Form::Method,
                usage: "x.instance_norm(weight = .., bias = .., eps = 1e-5)",
                lower: lower_instance_norm,
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body, sizes| Sample {
            name,
            dims: "B: Dim, C: Dim",
            args,
            ret,
            body,
            sizes,
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        let (rows, planes) = ("Tensor<B, C>", "Tensor<B, C, 3, 5>");
        // One value a channel has no variance, so batches have two samples at least.
        let batches: &[&[usize]] = &[&[2, 1], &[7, 3], &[3, 17]];
        let any: &[&[usize]] = &[&[1, 1], &[0, 3], &[7, 3]];
        let affine = "x: Tensor<B, C, 3, 5>, w: Tensor<C>, c: Tensor<C>";
        let running = "x: Tensor<B, C, 3, 5>, m: Tensor<C>, v: Tensor<C>, w: Tensor<C>, c: Tensor<C>";
        let groups = "x: Tensor<B, 6, C>, w: Tensor<6>, c: Tensor<6>";
        vec![
            sample(
                "batch_norm_rows",
                "x: Tensor<B, C>",
                rows,
                "x.batch_norm(eps = 0.1)",
                batches,
            ),
            sample(
                "batch_norm",
                affine,
                planes,
                "x.batch_norm(weight = w, bias = c, eps = 0.1)",
                batches,
            ),
            sample(
                "batch_norm_running",
                running,
                planes,
                "x.batch_norm(mean = m, var = v * v, weight = w, bias = c, eps = 0.1)",
                any,
            ),
            sample(
                "group_norm",
                groups,
                "Tensor<B, 6, C>",
                "x.group_norm(3, weight = w, bias = c, eps = 0.1)",
                any,
            ),
            sample(
                "instance_norm",
                affine,
                planes,
                "x.instance_norm(weight = w, bias = c, eps = 0.1)",
                any,
            ),
        ]
    }
}

/// Cotangents of x, weight and bias. Operands: x, perhaps weight, mean, inverse deviation, the cotangent of y.
#[derive(Clone, PartialEq, Debug)]
pub struct BatchNormGrad {
    /// What is differentiated.
    pub of: BatchNorm,
    /// Whether there are weight and bias.
    pub learned: Learned,
}

impl Rule for BatchNormGrad {
    fn name(&self) -> &'static str {
        "batch_norm_grad"
    }

    fn attributes(&self) -> String {
        self.of.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let count = check("batch_norm_grad", self.of.images, &inputs[0], &[], constraints)?;
        let mut types = vec![inputs[0].clone()];
        if self.learned == Learned::Affine {
            types.resize(3, Type::float(vec![count]));
        }
        Ok(types)
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        let (x, g) = (site.inputs[0], site.inputs[site.inputs.len() - 1]);
        let shape = b.shape(x);
        let axis = self.of.images.channel_axis(shape.len());
        let others: Vec<usize> = (0..shape.len()).filter(|&k| k != axis).collect();
        let own = match self.learned {
            Learned::Affine => {
                let weight = b.expand_channel(site.inputs[1], axis, &shape);
                b.mul(g, weight)
            }
            Learned::Nothing => g,
        };
        let standardise = Standardise { x, axes: &others, center: Center::Mean, eps: &self.of.eps };
        let [h, dx] = standardise.with_gradient(b, own);
        let mut results = vec![Some(dx)];
        if self.learned == Learned::Affine {
            let gh = b.mul(g, h);
            results.extend([gh, g].map(|x| Some(b.sum(x, &others))));
        }
        Cotangents::Composed(results)
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let (k, count) = (inputs.len(), &inputs[0].shape[self.of.images.channel_axis(inputs[0].rank())]);
        let mut scratch = vec![(DType::Float, count * 3)];
        let (dweight, dbias) = match self.learned {
            Learned::Affine => (CallArg::Out(1), CallArg::Out(2)),
            Learned::Nothing => {
                scratch.extend([(DType::Float, count.clone()), (DType::Float, count.clone())]);
                (CallArg::Scratch(1), CallArg::Scratch(2))
            }
        };
        let args = vec![
            CallArg::In(0),
            given(self.learned, CallArg::In(1)),
            CallArg::In(k - 3),
            CallArg::In(k - 2),
            CallArg::In(k - 1),
            CallArg::Out(0),
            dweight,
            dbias,
            CallArg::Scratch(0),
            channels(&inputs[0], self.of.images),
        ];
        Kernel::Call(Call {
            function: "batch_norm_grad",
            args,
            scratch,
        })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        inputs[0].numel() * 9
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

/// Constructors.
impl Builder {
    /// Batch norm by the statistics of the batch, for every channel of axis 1: y, mean, unbiased variance.
    ///
    /// The layer mixes mean and variance into its running statistics with [`Builder::running_average`].
    pub fn batch_norm_train(&mut self, x: Value, affine: Option<(Value, Value)>, eps: Scalar) -> [Value; 3] {
        let mut operands = vec![x];
        operands.extend(affine.into_iter().flat_map(|(weight, bias)| [weight, bias]));
        let images = Images::ChannelsFirst;
        let [y, mean, var, _] = self.push_many::<4>(BatchNorm { eps, images }, &operands);
        [y, mean, var]
    }

    /// Batch norm by given statistics: `(x - mean) / sqrt(var + eps) w + b`, as one factor and one term a channel.
    pub fn batch_norm_eval(
        &mut self,
        x: Value,
        mean: Value,
        var: Value,
        affine: Option<(Value, Value)>,
        eps: Scalar,
    ) -> Value {
        if let Some(error) =
            self.channel_mismatch("batch_norm", x, &[("mean", Some(mean)), ("var", Some(var))])
        {
            return error;
        }
        let shifted = self.offset(var, eps);
        let mut factor = self.pointwise("rsqrt", &[shifted]);
        if let Some((weight, _)) = affine {
            factor = self.mul(factor, weight);
        }
        let moved = self.mul(mean, factor);
        let term = match affine {
            Some((_, bias)) => self.sub(bias, moved),
            None => self.neg(moved),
        };
        self.channel_affine(x, Some(factor), Some(term))
    }

    /// `(1 - momentum) old + momentum new`: the update of running statistics, with PyTorch's meaning of momentum.
    pub fn running_average(&mut self, old: Value, new: Value, momentum: Scalar) -> Value {
        let kept = self.scale(
            old,
            Scalar::binary(ScalarFn::Sub, Scalar::lit(1.0), momentum.clone()),
        );
        let taken = self.scale(new, momentum);
        self.add(kept, taken)
    }

    /// Group norm: every sample and group of neighbouring channels (axis 1) is normalised by its own statistics.
    pub fn group_norm(
        &mut self,
        x: Value,
        groups: &Dim,
        weight: Option<Value>,
        bias: Option<Value>,
        eps: Scalar,
    ) -> Value {
        if let Some(error) = self.channel_mismatch("group_norm", x, &[("weight", weight), ("bias", bias)]) {
            return error;
        }
        let shape = self.shape(x);
        let Some(width) = shape[1].divide_exact(groups) else {
            let message = format!(
                "`group_norm` cannot split {} channels into {groups} equal groups",
                shape[1]
            );
            return self.fail(ShapeError::new(message));
        };
        let rest = width * shape::numel(&shape[2..]);
        let grouped = self.reshape(x, vec![shape[0].clone(), groups.clone(), rest]);
        let y = self.layer_norm(grouped, 1, None, None, eps);
        let y = self.reshape(y, shape);
        self.channel_affine(y, weight, bias)
    }

    /// `x factor + term`, both one number a channel (axis 1).
    fn channel_affine(&mut self, mut x: Value, factor: Option<Value>, term: Option<Value>) -> Value {
        let shape = self.shape(x);
        if let Some(factor) = factor {
            let factor = self.expand_channel(factor, 1, &shape);
            x = self.mul(x, factor);
        }
        if let Some(term) = term {
            let term = self.expand_channel(term, 1, &shape);
            x = self.add(x, term);
        }
        x
    }

    /// Reports what is not one number a channel of x.
    fn channel_mismatch(&mut self, word: &str, x: Value, others: &[(&str, Option<Value>)]) -> Option<Value> {
        let others: Vec<(&str, Value)> = others
            .iter()
            .filter_map(|(name, value)| value.map(|v| (*name, v)))
            .collect();
        let all = std::iter::once(x).chain(others.iter().map(|(_, value)| *value));
        if let Some(poison) = all.into_iter().find(|value| self.is_poison(*value)) {
            return Some(poison);
        }
        let types: Vec<(&str, &Type)> = others
            .iter()
            .map(|(name, value)| (*name, self.graph.ty(*value)))
            .collect();
        let error = check(word, Images::ChannelsFirst, self.graph.ty(x), &types, &mut self.constraints).err()?;
        Some(self.fail(error))
    }
}

/// Weight and bias: both or neither.
fn affine(args: &mut Args) -> Result<Option<(Value, Value)>, ShapeError> {
    match (args.tensor_named("weight")?, args.tensor_named("bias")?) {
        (Some(weight), Some(bias)) => Ok(Some((weight, bias))),
        (None, None) => Ok(None),
        _ => Err(ShapeError::new("`batch_norm` takes both `weight` and `bias`, or neither").help(args.usage)),
    }
}

fn lower_batch_norm(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let (mean, var) = (args.tensor_named("mean")?, args.tensor_named("var")?);
    let affine = affine(args)?;
    let eps = args.scalar_or(usize::MAX, "eps", 1e-5)?;
    args.finish()?;
    match (mean, var) {
        (Some(mean), Some(var)) => {
            let learned = [("weight", affine.map(|a| a.0)), ("bias", affine.map(|a| a.1))];
            if let Some(error) = b.channel_mismatch("batch_norm", x, &learned) {
                return Ok(Operand::Tensor(error));
            }
            Ok(Operand::Tensor(b.batch_norm_eval(x, mean, var, affine, eps)))
        }
        (None, None) => Ok(Operand::Tensor(b.batch_norm_train(x, affine, eps)[0])),
        _ => Err(
            ShapeError::new("`batch_norm` takes both `mean` and `var`, or neither")
                .help("without them the statistics of the batch are used"),
        ),
    }
}

fn lower_group_norm(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let Some(groups) = args.size(1, "groups")? else {
        return Err(ShapeError::new("`group_norm` needs the number of groups").help(args.usage));
    };
    let (weight, bias) = (args.tensor_named("weight")?, args.tensor_named("bias")?);
    let eps = args.scalar_or(usize::MAX, "eps", 1e-5)?;
    args.finish()?;
    Ok(Operand::Tensor(b.group_norm(x, &groups, weight, bias, eps)))
}

fn lower_instance_norm(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let (weight, bias) = (args.tensor_named("weight")?, args.tensor_named("bias")?);
    let eps = args.scalar_or(usize::MAX, "eps", 1e-5)?;
    args.finish()?;
    let operands = [("weight", weight), ("bias", bias)];
    if let Some(error) = b.channel_mismatch("instance_norm", x, &operands) {
        return Ok(Operand::Tensor(error));
    }
    let channels = b.shape(x)[1].clone();
    Ok(Operand::Tensor(b.group_norm(x, &channels, weight, bias, eps)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, shape, text, typed, whole};

    #[test]
    fn the_statistics_of_a_batch_are_one_a_channel() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "3", "H", "5"]);
        let (w, c) = (
            input(&mut b, DType::Float, &["3"]),
            input(&mut b, DType::Float, &["3"]),
        );
        let [y, mean, var] = b.batch_norm_train(x, Some((w, c)), Scalar::lit(1e-5));
        let types: Vec<String> = [y, mean, var].iter().map(|v| typed(&b, *v)).collect();
        assert_eq!(types, ["float[B, 3, H, 5]", "float[3]", "float[3]"]);
        let running = b.running_average(w, mean, Scalar::lit(0.1));
        assert_eq!(typed(&b, running), "float[3]");
    }

    #[test]
    fn cotangents_have_the_types_of_the_operands_and_statistics_have_none() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "3"]);
        let (w, c) = (
            input(&mut b, DType::Float, &["3"]),
            input(&mut b, DType::Float, &["3"]),
        );
        for affine in [None, Some((w, c))] {
            let [y, mean, _] = b.batch_norm_train(x, affine, Scalar::lit(1e-5));
            let node = b.graph.node(y.node).clone();
            let outputs: Vec<Value> = (0..4).map(|output| Value { node: y.node, output }).collect();
            let site = Site {
                inputs: &node.inputs,
                outputs: &outputs,
            };
            let Cotangents::Flow(bars) = node.op.rule().grad(&mut b, &site, &[Some(y), None, None, None])
            else {
                panic!("batch_norm has a gradient");
            };
            for (bar, input) in bars.into_iter().zip(&node.inputs) {
                assert_eq!(typed(&b, bar.unwrap()), typed(&b, *input));
            }
            let blocked = node
                .op
                .rule()
                .grad(&mut b, &site, &[Some(y), Some(mean), None, None]);
            assert!(matches!(blocked, Cotangents::Blocked(_)));
        }
    }

    #[test]
    fn mistakes_are_explained() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "3", "H"]);
        let w = input(&mut b, DType::Float, &["H"]);
        let options = [("weight", Operand::Tensor(w)), ("bias", Operand::Tensor(w))];
        call(&mut b, "batch_norm", &[Operand::Tensor(x)], &options).unwrap();
        assert_eq!(
            error(&b),
            "`batch_norm` of float[B, 3, H] has 3 channels (axis 1), but its weight is float[H] (the weight should be \
             float[3])"
        );
        let refused = call(
            &mut b,
            "batch_norm",
            &[Operand::Tensor(x)],
            &[("mean", Operand::Tensor(w))],
        );
        assert_eq!(
            text(&refused.unwrap_err()),
            "`batch_norm` takes both `mean` and `var`, or neither (without them the statistics of the batch are used)"
        );
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "6", "H"]);
        call(&mut b, "group_norm", &[Operand::Tensor(x), whole(4)], &[]).unwrap();
        assert_eq!(
            error(&b),
            "`group_norm` cannot split 6 channels into 4 equal groups"
        );
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B"]);
        call(&mut b, "instance_norm", &[Operand::Tensor(x)], &[]).unwrap();
        assert_eq!(
            error(&b),
            "`instance_norm` takes a float tensor [B, C, ...], found float[B] (axis 1 counts the channels)"
        );
    }

    #[test]
    fn groups_and_instances_keep_the_shape() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "6", "H", "2"]);
        let w = input(&mut b, DType::Float, &["6"]);
        let options = [("weight", Operand::Tensor(w)), ("bias", Operand::Tensor(w))];
        for args in [vec![Operand::Tensor(x), whole(3)], vec![Operand::Tensor(x)]] {
            let name = if args.len() > 1 {
                "group_norm"
            } else {
                "instance_norm"
            };
            let y = call(&mut b, name, &args, &options).unwrap();
            assert_eq!(b.shape(y), shape(&["B", "6", "H", "2"]), "{name}");
        }
        assert!(b.errors.is_empty());
    }
}
