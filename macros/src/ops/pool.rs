//! Pooling over the last two axes of images.

mod pick;

pub use pick::Pool2dPick;

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Flag, Form, Images, Kernel, Operand, Rule, Sample,
    SampleGradient, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::window::Window;
use crate::shape::{self, Dim};

/// Room for the lines of an image that a convolution pools at once, and for a line of what that gives:
/// `tapeless_runtime::ops::conv::LINES`.
const LINES: i64 = 1 << 15;
/// Channels of these lines at least: `tapeless_runtime::ops::conv::COLUMNS`.
const COLUMNS: i64 = 48;

/// What is computed of a window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolKind {
    /// The largest element; the first of equals takes the whole gradient.
    Max,
    /// The average, in which padding counts as zeros.
    Average,
    /// The average of the elements inside the image.
    AverageInside,
}

/// Which windows there are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Windows {
    /// One that slides over the image, of this size.
    Sliding([i64; 2], Window),
    /// As many as the result has elements, `floor(i H / out) .. ceil((i + 1) H / out)`: they share out the image.
    Adaptive([i64; 2]),
}

/// The maximum or the average of every window: PyTorch's `max_pool2d`, `avg_pool2d` and `adaptive_avg_pool2d`.
///
/// Shapes: `[.., H, W]` to `[.., oH, oW]`; channels last `[B, H, W, C]` to `[B, oH, oW, C]`.
#[derive(Clone, PartialEq, Debug)]
pub struct Pool2d {
    /// What is computed.
    pub kind: PoolKind,
    /// Of which windows.
    pub windows: Windows,
    /// How images lie.
    pub images: Images,
}

impl Pool2d {
    /// The pooling of images as users have them.
    pub fn new(kind: PoolKind, windows: Windows) -> Self {
        let images = Images::ChannelsFirst;
        Self { kind, windows, images }
    }

    fn result(&self, x: &Type, constraints: &mut Constraints) -> Result<Type, ShapeError> {
        let (name, rank) = (self.name(), x.rank());
        if x.dtype != DType::Float || rank < 3 {
            return Err(ShapeError::new(format!(
                "`{name}` takes float images [.., C, H, W], found {x}"
            )));
        }
        let [rows, columns] = self.images.plane(rank);
        let [height, width] = match &self.windows {
            Windows::Adaptive(out) => out.map(Dim::lit),
            Windows::Sliding(kernel, window) => {
                let kernel = kernel.map(Dim::lit);
                window.places(
                    name,
                    [&x.shape[rows], &x.shape[columns]],
                    [&kernel[0], &kernel[1]],
                    constraints,
                )?
            }
        };
        let mut shape = x.shape.clone();
        (shape[rows], shape[columns]) = (height, width);
        Ok(Type::float(shape))
    }

    /// The sizes, as the kernels take them. Planes one after the other are images of one channel.
    fn spec(&self, x: &[Dim], y: &[Dim]) -> CallArg {
        let [rows, columns] = self.images.plane(x.len());
        let plane = |sizes: &[Dim]| CallArg::Sizes(vec![sizes[rows].clone(), sizes[columns].clone()]);
        let kind = match (&self.windows, self.kind) {
            (Windows::Adaptive(_), _) => "Pool::Adaptive",
            (_, PoolKind::Max) => "Pool::Max",
            (_, PoolKind::Average) => "Pool::Average",
            (_, PoolKind::AverageInside) => "Pool::AverageInside",
        };
        let one = Window {
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
        };
        let (kernel, window) = match &self.windows {
            Windows::Sliding(kernel, window) => (*kernel, window),
            Windows::Adaptive(_) => ([1; 2], &one),
        };
        let mut fields = vec![
            ("kind", CallArg::Constant(kind)),
            ("batch", CallArg::Size(shape::numel(&x[..rows]))),
            ("channels", CallArg::Size(shape::numel(&x[columns + 1..]))),
            ("size", plane(x)),
            ("out", plane(y)),
            ("kernel", CallArg::Sizes(kernel.map(Dim::lit).to_vec())),
        ];
        fields.extend(window.fields());
        CallArg::Struct("Pool2d", fields)
    }

    /// The sizes, where a convolution can pool what it has just computed: windows that share out the image, some lines of which
    /// the runtime has room for.
    pub fn at_once(&self, x: &[Dim], y: &[Dim]) -> Option<CallArg> {
        let Windows::Sliding(kernel, window) = &self.windows else {
            return None;
        };
        let shares_out = window.stride == *kernel && window.padding == [0; 2] && window.dilation == [1; 2];
        let is_image = self.images == Images::ChannelsLast && x.len() == 4;
        if !shares_out || !is_image {
            return None;
        }
        let numbers = x[2].as_lit()?.checked_mul(kernel[0] + 1)?.checked_mul(COLUMNS)?;
        (numbers <= LINES).then(|| self.spec(x, y))
    }

    /// Elements that all windows see together.
    fn work(&self, x: &[Dim], y: &[Dim]) -> Dim {
        match &self.windows {
            Windows::Sliding([height, width], _) => shape::numel(y) * (height * width),
            Windows::Adaptive(_) => shape::numel(x),
        }
    }
}

impl Rule for Pool2d {
    fn name(&self) -> &'static str {
        match (&self.windows, self.kind) {
            (Windows::Adaptive(_), _) => "adaptive_avg_pool2d",
            (_, PoolKind::Max) => "max_pool2d",
            _ => "avg_pool2d",
        }
    }

    fn attributes(&self) -> String {
        self.images.behind(match &self.windows {
            Windows::Adaptive([height, width]) => format!("{height} x {width}"),
            Windows::Sliding([height, width], window) => {
                let text = format!("kernel = {height} x {width}, {}", window.text());
                text.trim_end_matches(", ").to_owned()
            }
        })
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        Ok(vec![self.result(&inputs[0], constraints)?])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None]);
        };
        let x = site.inputs[0];
        let image = b.shape(x);
        let op = Pool2dGrad {
            pool: self.clone(),
            image,
        };
        let bar = match self.kind {
            PoolKind::Max => b.push(op, &[g, x]),
            PoolKind::Average | PoolKind::AverageInside => b.push(op, &[g]),
        };
        Cotangents::Flow(vec![Some(bar)])
    }

    fn kernel(&self, inputs: &[Type], outputs: &[Type]) -> Kernel {
        let spec = self.spec(&inputs[0].shape, &outputs[0].shape);
        Kernel::Call(Call {
            function: "pool2d",
            args: vec![CallArg::In(0), CallArg::Out(0), spec],
            scratch: Vec::new(),
        })
    }

    fn flops(&self, inputs: &[Type], outputs: &[Type]) -> Dim {
        self.work(&inputs[0].shape, &outputs[0].shape)
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "max_pool2d",
                form: Form::Method,
                usage: "x.max_pool2d(kernel, stride = kernel, padding = 0, dilation = 1)",
                lower: lower_max,
            },
            Surface {
                name: "avg_pool2d",
                form: Form::Method,
                usage: "x.avg_pool2d(kernel, stride = kernel, padding = 0, count_include_pad = true)",
                lower: lower_average,
            },
            Surface {
                name: "adaptive_avg_pool2d",
                form: Form::Method,
                usage: "x.adaptive_avg_pool2d(size)",
                lower: lower_adaptive,
            },
            Surface {
                name: "global_avg_pool2d",
                form: Form::Method,
                usage: "x.global_avg_pool2d()",
                lower: lower_global,
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, args, ret, body| Sample {
            name,
            dims: "B: Dim",
            args,
            ret,
            body,
            sizes: &[&[1], &[0], &[3]],
            domain: (-2.0, 2.0),
            gradient: SampleGradient::Checked,
        };
        vec![
            sample(
                "max_pool2d",
                "x: Tensor<B, 2, 4, 6>",
                "Tensor<B, 2, 2, 3>",
                "x.max_pool2d(2)",
            ),
            sample(
                "max_pool2d_overlap",
                "x: Tensor<B, 1, 5, 7>",
                "Tensor<B, 1, 3, 4>",
                "x.max_pool2d(3, stride = 2, padding = 1)",
            ),
            sample(
                "max_pool2d_dilated",
                "x: Tensor<B, 1, 5, 6>",
                "Tensor<B, 1, 3, 4>",
                "x.max_pool2d(2, stride = 1, dilation = 2)",
            ),
            sample(
                "avg_pool2d",
                "x: Tensor<B, 2, 5, 4>",
                "Tensor<B, 2, 2, 2>",
                "x.avg_pool2d(2)",
            ),
            sample(
                "avg_pool2d_inside",
                "x: Tensor<B, 1, 5, 5>",
                "Tensor<B, 1, 3, 3>",
                "x.avg_pool2d(3, stride = 2, padding = 1, count_include_pad = false)",
            ),
            sample(
                "adaptive_avg_pool2d",
                "x: Tensor<B, 2, 5, 7>",
                "Tensor<B, 2, 3, 2>",
                "x.adaptive_avg_pool2d((3, 2))",
            ),
            sample(
                "global_avg_pool2d",
                "x: Tensor<B, 3, 2, 5>",
                "Tensor<B, 3>",
                "x.global_avg_pool2d()",
            ),
        ]
    }
}

/// The cotangent of a pooled image. Operands: the cotangent of the result and, for a maximum, the image.
#[derive(Clone, PartialEq, Debug)]
pub struct Pool2dGrad {
    /// The pooling.
    pub pool: Pool2d,
    /// Shape of the image.
    pub image: Vec<Dim>,
}

impl Rule for Pool2dGrad {
    fn name(&self) -> &'static str {
        match self.pool.kind {
            PoolKind::Max => "max_pool2d_grad",
            PoolKind::Average | PoolKind::AverageInside => "avg_pool2d_grad",
        }
    }

    fn attributes(&self) -> String {
        self.pool.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let image = Type::float(self.image.clone());
        let result = self.pool.result(&image, constraints)?;
        if !constraints.equal_shapes(&result.shape, &inputs[0].shape) {
            let message = format!(
                "the cotangent of `{}` is {}, its result {result}",
                self.pool.name(),
                inputs[0]
            );
            return Err(ShapeError::new(message));
        }
        Ok(vec![image])
    }

    /// Linear in the cotangent: the gradient's gradient is the average, or what lies where the maxima were.
    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        match (self.pool.kind, out_bars[0]) {
            (PoolKind::Max, g) => {
                let pick = Pool2dPick { pool: self.pool.clone() };
                let bar = g.map(|g| b.push(pick, &[g, site.inputs[1]]));
                Cotangents::Flow(vec![bar, None])
            }
            (_, None) => Cotangents::Flow(vec![None]),
            (_, Some(g)) => Cotangents::Flow(vec![Some(b.push(self.pool.clone(), &[g]))]),
        }
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let spec = self.pool.spec(&self.image, &inputs[0].shape);
        let args = match self.pool.kind {
            PoolKind::Max => vec![CallArg::In(1), CallArg::In(0), CallArg::Out(0), spec],
            PoolKind::Average | PoolKind::AverageInside => vec![CallArg::In(0), CallArg::Out(0), spec],
        };
        Kernel::Call(Call {
            function: self.name(),
            args,
            scratch: Vec::new(),
        })
    }

    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        self.pool.work(&self.image, &inputs[0].shape)
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

/// One literal or a pair of them, each at least 1.
fn pair(args: &mut Args, index: usize, name: &str) -> Result<[i64; 2], ShapeError> {
    let number = |operand: &Operand| match operand {
        Operand::Size(dim) => dim.as_lit().filter(|n| *n > 0),
        _ => None,
    };
    let pair = match args.any(index, name) {
        Some(Operand::Tuple(items)) if items.len() == 2 => [number(&items[0]), number(&items[1])],
        Some(one) => [number(&one); 2],
        None => [None; 2],
    };
    match pair {
        [Some(height), Some(width)] => Ok([height, width]),
        _ => {
            let message = format!("`{name}` should be a literal above 0, or two");
            Err(ShapeError::new(message).help(format!("it is written `{}`", args.usage)))
        }
    }
}

/// Takes kernel and window; the stride is the kernel where none is given.
fn sliding(args: &mut Args, op: &str) -> Result<Windows, ShapeError> {
    let kernel = pair(args, 1, "kernel")?;
    let has_stride = args.named.iter().any(|(name, ..)| name == "stride");
    let mut window = Window::take(args, 1)?;
    if !has_stride {
        window.stride = kernel;
    }
    for (padding, kernel) in window.padding.iter().zip(kernel) {
        check_padding(op, kernel, *padding)?;
    }
    Ok(Windows::Sliding(kernel, window))
}

/// Every window sees something of the image.
pub(super) fn check_padding(op: &str, kernel: i64, padding: i64) -> Result<(), ShapeError> {
    if padding <= kernel / 2 {
        return Ok(());
    }
    let message = format!("`padding` of `{op}` is at most half the kernel of {kernel}, found {padding}");
    Err(ShapeError::new(message).help("a window in the padding alone would see nothing"))
}

/// Which average is meant; averages have no dilation.
pub(super) fn average(args: &mut Args, op: &str) -> Result<PoolKind, ShapeError> {
    if args.named.iter().any(|(name, ..)| name == "dilation") {
        let error = ShapeError::new(format!("`{op}` has no `dilation`"));
        return Err(error.help(format!("it is written `{}`", args.usage)));
    }
    Ok(match args.flag_or("count_include_pad", Flag::Yes)? {
        Flag::Yes => PoolKind::Average,
        Flag::No => PoolKind::AverageInside,
    })
}

fn lower_max(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let windows = sliding(args, "max_pool2d")?;
    args.finish()?;
    let kind = PoolKind::Max;
    Ok(Operand::Tensor(b.push(Pool2d::new(kind, windows), &[x])))
}

fn lower_average(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let kind = average(args, "avg_pool2d")?;
    let windows = sliding(args, "avg_pool2d")?;
    args.finish()?;
    Ok(Operand::Tensor(b.push(Pool2d::new(kind, windows), &[x])))
}

fn lower_adaptive(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    let windows = Windows::Adaptive(pair(args, 1, "size")?);
    args.finish()?;
    let kind = PoolKind::AverageInside;
    Ok(Operand::Tensor(b.push(Pool2d::new(kind, windows), &[x])))
}

/// The mean of every plane: `[B, C, H, W]` to `[B, C]`.
fn lower_global(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let x = args.tensor(0, "x")?;
    args.finish()?;
    if b.is_poison(x) {
        return Ok(Operand::Tensor(x));
    }
    let ty = b.ty(x).clone();
    if ty.dtype != DType::Float || ty.rank() < 3 {
        return Err(ShapeError::new(format!(
            "`global_avg_pool2d` takes float images [.., C, H, W], found {ty}"
        )));
    }
    let image = ty.rank() - 2;
    let count = Scalar::dim(&shape::numel(&ty.shape[image..]));
    let sum = b.sum(x, &[image, image + 1]);
    Ok(Operand::Tensor(b.scale(sum, count.recip())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed, whole};

    fn pool(name: &str, x: &[&str], size: Option<Operand>, named: &[(&str, Operand)]) -> String {
        let mut b = builder();
        let mut args = vec![Operand::Tensor(input(&mut b, DType::Float, x))];
        args.extend(size);
        match call(&mut b, name, &args, named) {
            Ok(y) if b.errors.is_empty() => typed(&b, y),
            Ok(_) => error(&b),
            Err(error) => text(&error),
        }
    }

    #[test]
    fn shapes_follow_pytorch() {
        let image = ["B", "64", "24", "25"];
        assert_eq!(
            pool("max_pool2d", &image, Some(whole(2)), &[]),
            "float[B, 64, 12, 12]"
        );
        let options = [("stride", whole(2)), ("padding", whole(1))];
        assert_eq!(
            pool("max_pool2d", &image, Some(whole(3)), &options),
            "float[B, 64, 12, 13]"
        );
        assert_eq!(
            pool("avg_pool2d", &image, Some(whole(2)), &[("stride", whole(1))]),
            "float[B, 64, 23, 24]"
        );
        let pair = Operand::Tuple(vec![whole(7), whole(5)]);
        assert_eq!(
            pool("adaptive_avg_pool2d", &image, Some(pair), &[]),
            "float[B, 64, 7, 5]"
        );
        assert_eq!(pool("global_avg_pool2d", &image, None, &[]), "float[B, 64]");
        assert_eq!(
            pool("max_pool2d", &["B", "1", "H", "W"], Some(whole(1)), &[]),
            "float[B, 1, H, W]"
        );
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        assert_eq!(
            pool("max_pool2d", &["B", "1", "2", "8"], Some(whole(3)), &[]),
            "the window of `max_pool2d` covers 3 rows, but the padded image has only 2 (make `padding` larger, or \
             the kernel smaller)"
        );
        assert_eq!(
            pool(
                "avg_pool2d",
                &["B", "1", "8", "8"],
                Some(whole(2)),
                &[("padding", whole(2))]
            ),
            "`padding` of `avg_pool2d` is at most half the kernel of 2, found 2 (a window in the padding alone would \
             see nothing)"
        );
        assert_eq!(
            pool("max_pool2d", &["B", "9"], Some(whole(2)), &[]),
            "`max_pool2d` takes float images [.., C, H, W], found float[B, 9]"
        );
        assert!(
            pool("max_pool2d", &["B", "1", "8", "8"], None, &[])
                .starts_with("`kernel` should be a literal above 0")
        );
    }

    #[test]
    fn there_is_the_room_that_convolutions_have() {
        use tapeless_runtime::ops::conv;
        assert_eq!((LINES, COLUMNS), (conv::LINES as i64, conv::COLUMNS as i64));
    }
}
