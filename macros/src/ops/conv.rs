//! Convolution of images in two dimensions, with its two gradients.
//!
//! All three operations are linear in each operand, so the gradients of the gradients are again of the three. Kernels take images
//! channels last; the weight lies as users and files have it.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Images, Kernel, PackForm, Packing, Operand, Residual, Rule,
    Sample, SampleGradient, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::window::Window;
use crate::shape::{self, Dim};

/// `y[b, o, v, u] = sum over c, i, j of x[b, c, v s + i d - p, u s + j d - p] w[o, c, i, j]`: what `torch.nn.functional.conv2d`
/// computes, without the bias. Shapes: `x` is `[B, C, H, W]`, `w` is `[O, C / groups, kH, kW]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Conv2d {
    /// How the kernel moves.
    pub window: Window,
    /// Groups of channels that are convolved apart.
    pub groups: i64,
    /// How images lie: the operand and the result.
    pub images: Images,
}

impl Conv2d {
    /// The convolution of images as users have them.
    pub fn new(window: Window, groups: i64) -> Self {
        let images = Images::ChannelsFirst;
        Self { window, groups, images }
    }

    /// The shape of the result for an image and a weight of these types.
    fn result(&self, x: &Type, w: &Type, constraints: &mut Constraints) -> Result<Vec<Dim>, ShapeError> {
        if x.dtype != DType::Float || x.rank() != 4 || w.dtype != DType::Float || w.rank() != 4 {
            let message = format!(
                "`conv2d` takes images [B, C, H, W] and a weight [O, C / groups, kH, kW], found {x} and {w}"
            );
            return Err(ShapeError::new(message));
        }
        let groups = Dim::lit(self.groups);
        let [batch, channels, height, width] = <[Dim; 4]>::try_from(self.images.to_first(&x.shape)).expect("an image has 4 axes");
        if w.shape[0].divide_exact(&groups).is_none() {
            let message = format!(
                "{} output channels of `conv2d` cannot be divided into {groups} groups",
                w.shape[0]
            );
            return Err(ShapeError::new(message));
        }
        let expected = &w.shape[1] * &groups;
        if !constraints.equal(&channels, &expected) {
            let axis = self.images.channel_axis(4);
            let message =
                format!("`conv2d` expected `{expected}` input channels, found `{channels}` (axis {axis} of {x})");
            let help = format!("the weight is {w}, in {} group(s)", self.groups);
            return Err(ShapeError::new(message).help(help));
        }
        let places = self
            .window
            .places("conv2d", [&height, &width], [&w.shape[2], &w.shape[3]], constraints)?;
        let [height, width] = places;
        Ok(self.images.of_first(&[batch, w.shape[0].clone(), height, width]))
    }

    /// The sizes, as the kernels take them.
    ///
    /// # Panics
    /// For images channels first: there are no kernels for them, the layout stage has turned them before anybody asks.
    fn spec(&self, x: &[Dim], w: &[Dim], y: &[Dim]) -> CallArg {
        assert_eq!(self.images, Images::ChannelsLast, "a convolution has passed the layout stage");
        let (x, y) = (self.images.to_first(x), self.images.to_first(y));
        let mut fields = vec![
            ("batch", CallArg::Size(x[0].clone())),
            ("in_channels", CallArg::Size(x[1].clone())),
            ("out_channels", CallArg::Size(w[0].clone())),
            ("groups", CallArg::Size(Dim::lit(self.groups))),
            ("size", CallArg::Sizes(x[2..].to_vec())),
            ("out", CallArg::Sizes(y[2..].to_vec())),
            ("kernel", CallArg::Sizes(w[2..].to_vec())),
        ];
        fields.extend(self.window.fields());
        CallArg::Struct("Conv2d", fields)
    }

    fn text(&self) -> String {
        self.images.behind(match self.groups {
            1 => self.window.text(),
            groups => format!("{}, groups = {groups}", self.window.text()),
        })
    }

    /// The function that pools as well: for sums over windows, which products of matrices and convolutions of each channel are not.
    fn pooling(&self, weight: &[Dim]) -> Option<&'static str> {
        let is_product = weight[2..].iter().all(Dim::is_one);
        (self.groups == 1 && !is_product).then_some("conv2d_pool2d")
    }

    /// Elements of a weight packed for the result: the channels of every group in whole strips.
    fn packed(&self, weight: &[Dim]) -> Dim {
        let own = weight[0].divide_exact(&Dim::lit(self.groups));
        let strips = whole_strips(&own.expect("groups divide the channels")) * self.groups;
        strips * shape::numel(&weight[1..]) * self.copies(weight)
    }

    /// How often weights are packed: where they may be multiplied in pairs of bf16 numbers as vectors read them, and in three parts whose
    /// padding adds a third at most; where windows may be summed by tiles of places, for 36 points instead of nine elements.
    fn copies(&self, weight: &[Dim]) -> i64 {
        let kernel = &weight[2..];
        let moves_by_one = self.window.stride == [1; 2];
        let is_product = kernel.iter().all(Dim::is_one) && moves_by_one && self.window.padding == [0; 2];
        let may_be_three = kernel.iter().all(|n| n.as_lit().is_none_or(|n| n == 3));
        match self.groups {
            1 if may_be_three && moves_by_one && self.window.dilation == [1; 2] => 4,
            1 if !is_product => 3,
            _ => 1,
        }
    }
}

/// Channels of a strip of packed weights, enough on every instruction path.
const STRIP: i64 = 32;

/// Channels rounded up to whole strips.
fn whole_strips(channels: &Dim) -> Dim {
    channels.ceil_div(&Dim::lit(STRIP)) * STRIP
}

/// Parts of a weight's gradient that the kernel computes apart: `tapeless_runtime::ops::conv::SHARDS`.
const SHARDS: i64 = 4;

/// A multiply-add for every element of the result and of the patch that it sees.
fn work(w: &[Dim], y: &[Dim]) -> Dim {
    shape::numel(y) * shape::numel(&w[1..]) * 2
}

impl Rule for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn attributes(&self) -> String {
        self.text()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        Ok(vec![Type::float(self.result(
            &inputs[0],
            &inputs[1],
            constraints,
        )?)])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None, None]);
        };
        let (x, w) = (site.inputs[0], site.inputs[1]);
        let x_bar = b.conv2d_input_grad(self.clone(), w, g, x);
        let w_bar = b.conv2d_weight_grad(self.clone(), x, g, w);
        Cotangents::Flow(vec![Some(x_bar), Some(w_bar)])
    }

    fn kernel(&self, inputs: &[Type], outputs: &[Type]) -> Kernel {
        let (weight, spec) = (
            &inputs[1].shape,
            self.spec(&inputs[0].shape, &inputs[1].shape, &outputs[0].shape),
        );
        // Which of several groups are packed together depends on the numbers of the image.
        let weights = match self.groups {
            1 => CallArg::Packable(
                1,
                Packing {
                    form: PackForm::Window(Box::new(spec.clone())),
                    rows: outputs[0].numel().divide_exact(&weight[0]).unwrap_or_else(|| outputs[0].numel()),
                    shape: [shape::numel(&weight[1..]), weight[0].clone()],
                },
            ),
            _ => CallArg::In(1),
        };
        let args = vec![
            CallArg::In(0),
            weights,
            CallArg::Out(0),
            CallArg::Scratch(0),
            spec,
            CallArg::Epilogue {
                channel_axis: self.images.channel_axis(4),
                residual: Residual::Refused,
                pooling: self.pooling(&inputs[1].shape),
            },
        ];
        Kernel::Call(Call {
            function: "conv2d",
            args,
            scratch: vec![(DType::Float, self.packed(&inputs[1].shape))],
        })
    }

    fn flops(&self, inputs: &[Type], outputs: &[Type]) -> Dim {
        work(&inputs[1].shape, &outputs[0].shape)
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface {
            name: "conv2d",
            form: Form::Method,
            usage: "x.conv2d(weight, bias, stride = 1, padding = 0, dilation = 1, groups = 1)",
            lower,
        }]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body| Sample {
            name,
            dims: "B: Dim",
            args,
            ret,
            body,
            sizes: &[&[1], &[0], &[3]],
            domain: (-1.0, 1.0),
            gradient: SampleGradient::Checked,
        };
        vec![
            sample(
                "conv2d_plain",
                "x: Tensor<B, 2, 5, 7>, w: Tensor<3, 2, 3, 3>",
                "Tensor<B, 3, 3, 5>",
                "x.conv2d(w)",
            ),
            sample(
                "conv2d_bias_padding",
                "x: Tensor<B, 1, 4, 5>, w: Tensor<2, 1, 3, 2>, c: Tensor<2>",
                "Tensor<B, 2, 4, 6>",
                "x.conv2d(w, c, padding = (1, 1))",
            ),
            sample(
                "conv2d_stride_over_kernel",
                "x: Tensor<B, 2, 8, 7>, w: Tensor<2, 2, 2, 2>",
                "Tensor<B, 2, 3, 2>",
                "x.conv2d(w, stride = 3)",
            ),
            sample(
                "conv2d_dilated_groups",
                "x: Tensor<B, 4, 6, 6>, w: Tensor<6, 2, 2, 3>",
                "Tensor<B, 6, 4, 2>",
                "x.conv2d(w, dilation = 2, groups = 2)",
            ),
            sample(
                "conv2d_pointwise",
                "x: Tensor<B, 3, 2, 3>, w: Tensor<4, 3, 1, 1>",
                "Tensor<B, 4, 2, 3>",
                "x.conv2d(w)",
            ),
        ]
    }
}

/// The cotangent of a convolution's image. Operands: the weight and the cotangent of the result.
#[derive(Clone, PartialEq, Debug)]
pub struct Conv2dInputGrad {
    /// The convolution.
    pub conv: Conv2d,
    /// Shape of the image: several sizes give one size of the result.
    pub image: Vec<Dim>,
}

impl Rule for Conv2dInputGrad {
    fn name(&self) -> &'static str {
        "conv2d_input_grad"
    }

    fn attributes(&self) -> String {
        self.conv.text()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let image = Type::float(self.image.clone());
        check_cotangent(
            &self.conv.result(&image, &inputs[0], constraints)?,
            &inputs[1],
            constraints,
        )?;
        Ok(vec![image])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None, None]);
        };
        let (w, dy) = (site.inputs[0], site.inputs[1]);
        let w_bar = b.conv2d_weight_grad(self.conv.clone(), g, dy, w);
        let dy_bar = b.push(self.conv.clone(), &[g, w]);
        Cotangents::Flow(vec![Some(w_bar), Some(dy_bar)])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let args = vec![
            CallArg::In(0),
            CallArg::In(1),
            CallArg::Out(0),
            CallArg::Scratch(0),
            self.conv.spec(&self.image, &inputs[0].shape, &inputs[1].shape),
        ];
        // The result's channels are those of the image.
        let weight = &inputs[0].shape;
        let packed = whole_strips(&weight[1]) * &weight[0] * shape::numel(&weight[2..]) * self.conv.copies(weight);
        Kernel::Call(Call {
            function: "conv2d_input_grad",
            args,
            scratch: vec![(DType::Float, packed)],
        })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        work(&inputs[0].shape, &inputs[1].shape)
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

/// The cotangent of a convolution's weight. Operands: the image and the cotangent of the result.
#[derive(Clone, PartialEq, Debug)]
pub struct Conv2dWeightGrad {
    /// The convolution.
    pub conv: Conv2d,
    /// Shape of the weight.
    pub weight: Vec<Dim>,
}

impl Rule for Conv2dWeightGrad {
    fn name(&self) -> &'static str {
        "conv2d_weight_grad"
    }

    fn attributes(&self) -> String {
        self.conv.text()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let weight = Type::float(self.weight.clone());
        check_cotangent(
            &self.conv.result(&inputs[0], &weight, constraints)?,
            &inputs[1],
            constraints,
        )?;
        Ok(vec![weight])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None, None]);
        };
        let (x, dy) = (site.inputs[0], site.inputs[1]);
        let x_bar = b.conv2d_input_grad(self.conv.clone(), g, dy, x);
        let dy_bar = b.push(self.conv.clone(), &[x, g]);
        Cotangents::Flow(vec![Some(x_bar), Some(dy_bar)])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let args = vec![
            CallArg::In(0),
            CallArg::In(1),
            CallArg::Out(0),
            CallArg::Scratch(0),
            self.conv.spec(&inputs[0].shape, &self.weight, &inputs[1].shape),
        ];
        Kernel::Call(Call {
            function: "conv2d_weight_grad",
            args,
            scratch: vec![(DType::Float, shape::numel(&self.weight) * SHARDS)],
        })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        work(&self.weight, &inputs[1].shape)
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

fn check_cotangent(result: &[Dim], dy: &Type, constraints: &mut Constraints) -> Result<(), ShapeError> {
    match constraints.equal_shapes(result, &dy.shape) {
        true => Ok(()),
        false => Err(ShapeError::new(format!(
            "the cotangent of `conv2d` is {dy}, its result {}",
            shape::display(result)
        ))),
    }
}

impl Builder {
    /// A convolution of `x` `[B, C, H, W]` with `w` `[O, C / groups, kH, kW]` and perhaps a bias `[O]`.
    ///
    /// The bias is a node of its own; the fuse stage makes one kernel of both.
    pub fn conv2d(&mut self, op: Conv2d, x: Value, w: Value, bias: Option<Value>) -> Value {
        let y = self.push(op, &[x, w]);
        match bias {
            Some(bias) if !self.is_poison(y) && !self.is_poison(bias) => self.add_channel_bias(y, bias),
            _ => y,
        }
    }

    fn add_channel_bias(&mut self, y: Value, bias: Value) -> Value {
        let shape = self.shape(y);
        let ty = self.ty(bias).clone();
        if ty.rank() != 1 || !self.constraints.equal(&ty.shape[0], &shape[1]) {
            let message = format!(
                "`conv2d` expected a bias for each of the {} output channels, found {ty}",
                shape[1]
            );
            return self.fail(ShapeError::new(message));
        }
        let bias = self.expand_channel(bias, 1, &shape);
        self.add(y, bias)
    }

    fn conv2d_input_grad(&mut self, conv: Conv2d, w: Value, dy: Value, x: Value) -> Value {
        let image = self.shape(x);
        self.push(Conv2dInputGrad { conv, image }, &[w, dy])
    }

    fn conv2d_weight_grad(&mut self, conv: Conv2d, x: Value, dy: Value, w: Value) -> Value {
        let weight = self.shape(w);
        self.push(Conv2dWeightGrad { conv, weight }, &[x, dy])
    }
}

fn lower(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (x, w) = (args.tensor(0, "x")?, args.tensor(1, "weight")?);
    let bias = match args.any(2, "bias") {
        None => None,
        Some(Operand::Tensor(bias)) => Some(bias),
        Some(_) => return Err(ShapeError::new("`bias` of `conv2d` should be a tensor").help(args.usage)),
    };
    let window = Window::take(args, 1)?;
    let groups = args.literal(usize::MAX, "groups")?.unwrap_or(1);
    args.finish()?;
    if groups < 1 {
        return Err(ShapeError::new(format!(
            "`groups` must be at least 1, found {groups}"
        )));
    }
    Ok(Operand::Tensor(b.conv2d(Conv2d::new(window, groups), x, w, bias)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

    fn conv(x: &[&str], w: &[&str], named: &[(&str, Operand)]) -> String {
        let mut b = builder();
        let args = [x, w].map(|sizes| Operand::Tensor(input(&mut b, DType::Float, sizes)));
        match call(&mut b, "conv2d", &args, named) {
            Ok(y) if b.errors.is_empty() => typed(&b, y),
            Ok(_) => error(&b),
            Err(error) => text(&error),
        }
    }

    #[test]
    fn shapes_follow_pytorch() {
        assert_eq!(
            conv(&["B", "1", "28", "28"], &["32", "1", "3", "3"], &[]),
            "float[B, 32, 26, 26]"
        );
        let options = [("stride", whole(2)), ("padding", whole(1))];
        assert_eq!(
            conv(&["B", "3", "32", "31"], &["8", "3", "3", "3"], &options),
            "float[B, 8, 16, 16]"
        );
        let options = [
            ("groups", whole(2)),
            ("dilation", Operand::Tuple(vec![whole(2), whole(1)])),
        ];
        assert_eq!(
            conv(&["B", "4", "9", "9"], &["6", "2", "3", "3"], &options),
            "float[B, 6, 5, 7]"
        );
        assert_eq!(
            conv(&["B", "4", "H", "W"], &["6", "4", "1", "1"], &[]),
            "float[B, 6, H, W]"
        );
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        assert_eq!(
            conv(&["B", "3", "8", "8"], &["6", "4", "3", "3"], &[]),
            "`conv2d` expected `4` input channels, found `3` (axis 1 of float[B, 3, 8, 8]) (the weight is \
             float[6, 4, 3, 3], in 1 group(s))"
        );
        assert_eq!(
            conv(&["B", "4", "2", "8"], &["6", "4", "3", "3"], &[]),
            "the window of `conv2d` covers 3 rows, but the padded image has only 2 (make `padding` larger, or the \
             kernel smaller)"
        );
        assert_eq!(
            conv(
                &["B", "4", "8", "8"],
                &["5", "2", "3", "3"],
                &[("groups", whole(2))]
            ),
            "5 output channels of `conv2d` cannot be divided into 2 groups"
        );
        assert_eq!(
            conv(
                &["B", "4", "8", "8"],
                &["5", "4", "3", "3"],
                &[("stride", whole(0))]
            ),
            "`stride` must be at least 1, found 0"
        );
    }

    #[test]
    fn every_gradient_has_the_shape_of_its_operand() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "4", "9", "8"]);
        let w = input(&mut b, DType::Float, &["6", "2", "3", "3"]);
        let window = Window {
            stride: [2, 2],
            padding: [1, 0],
            dilation: [1, 1],
        };
        let op = Conv2d::new(window, 2);
        let y = b.conv2d(op.clone(), x, w, None);
        let dx = b.conv2d_input_grad(op.clone(), w, y, x);
        let dw = b.conv2d_weight_grad(op, x, y, w);
        for (value, operands) in [(y, [x, w]), (dx, [w, y]), (dw, [x, y])] {
            let g = b.fill_like(value, 1.0);
            let rule = b.graph.node(value.node).op.clone();
            let site = Site {
                inputs: &operands,
                outputs: &[value],
            };
            let Cotangents::Flow(bars) = rule.rule().grad(&mut b, &site, &[Some(g)]) else {
                panic!("a convolution has a derivative")
            };
            for (bar, operand) in bars.into_iter().zip(operands) {
                assert_eq!(typed(&b, bar.unwrap()), typed(&b, operand));
            }
        }
    }
}
