//! A small model, written as the macro emits one: y = x W^T + b + offset, trained in mean squared error with noise.
//!
//! `offset` has no gradient, `mean` carries the running mean of x, and train mode multiplies y by random factors, so
//! that the step, the seed and the carried tensor all show in the numbers.
#![allow(dead_code, reason = "every test file uses another part")]

use ndarray::{Array2, Ix1, Ix2};
use tapeless_runtime::call::{Arg, kind};
use tapeless_runtime::cx::Cx;
use tapeless_runtime::dtype::{Dtype, Element};
use tapeless_runtime::init::Init;
use tapeless_runtime::model::{Core, Model};
use tapeless_runtime::program::*;
use tapeless_runtime::real::Real;
use tapeless_runtime::rng::philox;
use tapeless_runtime::workspace::Workspace;
use tapeless_runtime::{Accumulate, Error, ErrorKind, Precision, Result, Trace};

pub const IN: usize = 3;
pub const OUT: usize = 2;

pub struct Tiny {
    core: Core,
}

impl Model for Tiny {
    fn from_core(core: Core) -> Self {
        Self { core }
    }

    fn core(&self) -> &Core {
        &self.core
    }

    fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    fn program() -> (&'static Program, Vec<usize>) {
        (&PROGRAM, vec![OUT])
    }
}

impl Tiny {
    pub fn forward(&self, x: impl Arg<kind::Float, Ix2>) -> Result<Array2<f32>> {
        self.core.call(0, &[x.arg()], &[])?.array(0)
    }

    pub fn forward_as<T: tapeless_runtime::call::OutputElement>(
        &self,
        x: impl Arg<kind::Float, Ix2>,
    ) -> Result<Array2<T>> {
        self.core.call(0, &[x.arg()], &[])?.array(0)
    }

    pub fn loss(&self, x: impl Arg<kind::Float, Ix2>, target: impl Arg<kind::Float, Ix2>) -> Result<f64> {
        self.core.call(1, &[x.arg(), target.arg()], &[])?.scalar(0)
    }

    pub fn loss_workspace(&self, b: usize) -> Result<Workspace> {
        self.core.workspace(1, &[b])
    }

    pub fn loss_grad(
        &mut self,
        work: &mut Workspace,
        x: impl Arg<kind::Float, Ix2>,
        target: impl Arg<kind::Float, Ix2>,
    ) -> Result<f64> {
        self.core
            .grad(1, work, &[x.arg(), target.arg()], &[], Accumulate::Overwrite)
    }

    pub fn loss_grad_add(
        &mut self,
        work: &mut Workspace,
        x: impl Arg<kind::Float, Ix2>,
        target: impl Arg<kind::Float, Ix2>,
    ) -> Result<f64> {
        self.core
            .grad(1, work, &[x.arg(), target.arg()], &[], Accumulate::Add)
    }

    pub fn trace_loss(
        &self,
        x: impl Arg<kind::Float, Ix2>,
        target: impl Arg<kind::Float, Ix2>,
    ) -> Result<Trace> {
        self.core.trace(1, &[x.arg(), target.arg()], &[])
    }

    /// The share of rows whose largest output is at the label; counts a multiple of two rows.
    pub fn accuracy(&self, x: impl Arg<kind::Float, Ix2>, label: impl Arg<kind::U8, Ix1>) -> Result<f64> {
        self.core.call(2, &[x.arg(), label.arg()], &[])?.scalar(0)
    }

    /// The mean absolute error.
    pub fn error(&self, x: impl Arg<kind::Float, Ix2>, target: impl Arg<kind::Float, Ix2>) -> Result<f64> {
        self.core.call(3, &[x.arg(), target.arg()], &[])?.scalar(0)
    }
}

pub static PROGRAM: Program = Program {
    name: "Tiny",
    key: 0x7e57,
    params: &[
        TensorEntry::new("fc.weight", "", "OUT, 3", Init::LINEAR_WEIGHT),
        TensorEntry::new("fc.bias", "", "OUT", Init::Zeros),
        TensorEntry::new("offset", "", "OUT", Init::Constant(0.25)),
    ],
    states: &[
        TensorEntry::new("mean", "", "3", Init::Zeros),
        TensorEntry::new("untouched", "", "1", Init::Constant(7.0)),
    ],
    layers: &[LayerEntry::new(
        "fc",
        "Linear",
        "[B, 2]",
        "3 * OUT + OUT",
        "6 * OUT + OUT",
    )],
    functions: &[FORWARD, LOSS, ACCURACY, ERROR],
    names: &["OUT"],
};

const fn b(bare: (usize, usize)) -> DimSpec {
    DimSpec {
        name: "B",
        multiple_of: 1,
        bare,
    }
}

const fn matrix(name: &'static str, shape: Formula) -> InputSpec {
    InputSpec {
        name,
        kind: InputKind::Float,
        rank: 2,
        shape,
    }
}

/// What formulas of all functions mention: a dimension and a const generic.
const NAMES: &[&str] = &["B", "OUT"];

const X: InputSpec = matrix("x", "B, 3");
const TARGET: InputSpec = matrix("target", "B, OUT");
const SCALAR: ResultSpec = ResultSpec {
    dtype: Dtype::Float,
    shape: "",
};

const fn slot(len: Formula, first: usize, last: usize) -> SlotEntry {
    SlotEntry::new(Dtype::Float, len, first, last)
}

const Y_AND_SCALAR: &[SlotEntry] = &[slot("B * OUT", 0, 1), slot("1", 1, 2)];

const fn eval(forward: fn(&mut Cx<'_>), results: &'static [ResultSlot]) -> Code {
    Code {
        slots: Y_AND_SCALAR,
        results,
        forward,
        backward: None,
        whole: None,
        kernels: &[],
        loops: &[],
        input_grads: &[],
        trained: &[],
        updates: &[],
    }
}

const Y_AND_LOSS: &[TraceValue] = &[
    TraceValue::new("y", 0, Dtype::Float, "B, OUT"),
    TraceValue::new("loss", 1, Dtype::Float, ""),
];

const fn trace(run: fn(&mut Cx<'_>)) -> TraceCode {
    TraceCode {
        slots: Y_AND_SCALAR,
        run,
        values: Y_AND_LOSS,
    }
}

const FORWARD: Function = Function {
    name: "forward",
    dims: &[b((0, 0))],
    inputs: &[X],
    scalars: &[],
    results: &[ResultSpec {
        dtype: Dtype::Float,
        shape: "B, OUT",
    }],
    eval: eval(linear, &[ResultSlot { slot: 0 }]),
    train: None,
    product: None,
    demands: &[],
    trace: TraceCode {
        slots: Y_AND_SCALAR,
        run: linear,
        values: &[TraceValue::new("y", 0, Dtype::Float, "B, OUT")],
    },
    names: NAMES,
};

const LOSS: Function = Function {
    name: "loss",
    dims: &[b((0, 0))],
    inputs: &[X, TARGET],
    scalars: &[],
    results: &[SCALAR],
    eval: eval(
        |cx| {
            linear(cx);
            squared_error(cx);
        },
        &[ResultSlot { slot: 1 }],
    ),
    train: Some(Code {
        slots: &[
            slot("B * OUT", 0, 3),
            slot("1", 2, 9),
            slot("B * OUT", 3, 6),
            slot("B * 3", 6, 9),
        ],
        results: &[ResultSlot { slot: 1 }],
        forward: loss_forward,
        backward: Some(loss_backward),
        whole: None,
        kernels: &[KernelEntry::new(
            "matmul + bias",
            "y",
            "forward",
            "[B, 3] x [3, 2]",
            ["14 * B", "5 * B + 8"],
            Some(0),
        )],
        loops: &[],
        input_grads: &[(0, 3)],
        trained: &[0, 1],
        updates: &[0],
    }),
    product: None,
    demands: &[],
    trace: trace(loss_forward),
    names: NAMES,
};

const ACCURACY: Function = Function {
    name: "accuracy",
    dims: &[DimSpec {
        name: "B",
        multiple_of: 2,
        bare: (0, 0),
    }],
    inputs: &[
        X,
        InputSpec {
            name: "label",
            kind: InputKind::U8,
            rank: 1,
            shape: "B",
        },
    ],
    scalars: &[],
    results: &[SCALAR],
    eval: eval(
        |cx| {
            linear(cx);
            hits(cx);
        },
        &[ResultSlot { slot: 1 }],
    ),
    train: None,
    product: None,
    demands: &[],
    trace: trace(linear),
    names: NAMES,
};

const ERROR: Function = Function {
    name: "error",
    eval: eval(
        |cx| {
            linear(cx);
            by_width(
                cx,
                |cx| mean_of::<f32>(cx, Real::abs),
                |cx| mean_of::<f64>(cx, Real::abs),
            );
        },
        &[ResultSlot { slot: 1 }],
    ),
    train: None,
    product: None,
    demands: &[],
    ..LOSS
};

/// Runs the variant of a kernel for the model's precision.
fn by_width<R>(
    cx: &mut Cx<'_>,
    single: impl FnOnce(&mut Cx<'_>) -> R,
    double: impl FnOnce(&mut Cx<'_>) -> R,
) -> R {
    match cx.env.precision {
        Precision::F64 => double(cx),
        _ => single(cx),
    }
}

fn linear(cx: &mut Cx<'_>) {
    fn kernel<T: Real + Element>(cx: &mut Cx<'_>) {
        let (rows, out) = (cx.dim(0), cx.generic(0));
        let (x, y) = (
            cx.input(0, Dtype::Float, rows * IN),
            cx.slot(0, Dtype::Float, rows * out),
        );
        let (weight, bias, offset) = (cx.param(0, out * IN), cx.param(1, out), cx.param(2, out));
        let mut bind = cx.bind();
        let (x, weight): (&[T], &[T]) = (bind.read(x), bind.read(weight));
        let (bias, offset): (&[T], &[T]) = (bind.read(bias), bind.read(offset));
        for (k, y) in bind.write::<T>(y).iter_mut().enumerate() {
            let (row, column) = (k / out, k % out);
            let pairs = x[row * IN..][..IN].iter().zip(&weight[column * IN..][..IN]);
            *y = pairs.fold(bias[column] + offset[column], |sum, (&x, &w)| sum + x * w);
        }
    }
    by_width(cx, kernel::<f32>, kernel::<f64>);
}

/// The factor of an output in train mode, in [1, 1.1).
fn factor(cx: &Cx<'_>, index: usize) -> f64 {
    let (seed, step) = (cx.env.seed as u32, cx.env.step as u32);
    1.0 + 0.1 * f64::from(philox([seed, 1], [index as u32, 0, step, 0])[0]) / 2_f64.powi(32)
}

fn scale_by_factors<T: Real + Element>(cx: &mut Cx<'_>, slot: usize) {
    let len = cx.dim(0) * cx.generic(0);
    let y = cx.slot(slot, Dtype::Float, len);
    for k in 0..len {
        let factor = T::from_f64(factor(cx, k));
        cx.bind().write::<T>(y)[k] *= factor;
    }
}

fn mean_of<T: Real + Element>(cx: &mut Cx<'_>, f: impl Fn(T) -> T) {
    let len = cx.dim(0) * cx.generic(0);
    let y = cx.slot(0, Dtype::Float, len);
    let (target, mean) = (cx.input(1, Dtype::Float, len), cx.slot(1, Dtype::Float, 1));
    let mut bind = cx.bind();
    let (y, target): (&[T], &[T]) = (bind.read(y), bind.read(target));
    let sum = y.iter().zip(target).fold(T::ZERO, |sum, (&y, &t)| sum + f(y - t));
    bind.write::<T>(mean)[0] = sum / T::from_f64(len as f64);
}

fn squared_error(cx: &mut Cx<'_>) {
    by_width(
        cx,
        |cx| mean_of::<f32>(cx, |d| d * d),
        |cx| mean_of::<f64>(cx, |d| d * d),
    );
}

fn loss_forward(cx: &mut Cx<'_>) {
    fn running_mean<T: Real + Element>(cx: &mut Cx<'_>) {
        let rows = cx.dim(0);
        let (x, old, new) = (
            cx.input(0, Dtype::Float, rows * IN),
            cx.state(0, IN),
            cx.new_state(0, IN),
        );
        let mut bind = cx.bind();
        let (x, old, new): (&[T], &[T], _) = (bind.read(x), bind.read(old), bind.write::<T>(new));
        for (k, new) in new.iter_mut().enumerate() {
            let sum = (0..rows).fold(T::ZERO, |sum, row| sum + x[row * IN + k]);
            let mean = sum / T::from_f64(rows as f64);
            *new = old[k] + T::from_f64(0.1) * (mean - old[k]);
        }
    }
    linear(cx);
    by_width(
        cx,
        |cx| scale_by_factors::<f32>(cx, 0),
        |cx| scale_by_factors::<f64>(cx, 0),
    );
    by_width(cx, running_mean::<f32>, running_mean::<f64>);
    squared_error(cx);
}

fn loss_backward(cx: &mut Cx<'_>) {
    fn kernel<T: Real + Element>(cx: &mut Cx<'_>) {
        let (rows, out) = (cx.dim(0), cx.generic(0));
        let len = rows * out;
        let (x, target) = (
            cx.input(0, Dtype::Float, rows * IN),
            cx.input(1, Dtype::Float, len),
        );
        let (y, dy, dx) = (
            cx.slot(0, Dtype::Float, len),
            cx.slot(2, Dtype::Float, len),
            cx.slot(3, Dtype::Float, rows * IN),
        );
        {
            let mut bind = cx.bind();
            let (y, target, dy): (&[T], &[T], _) = (bind.read(y), bind.read(target), bind.write::<T>(dy));
            let scale = T::from_f64(2.0 / len as f64);
            for ((dy, &y), &t) in dy.iter_mut().zip(y).zip(target) {
                *dy = scale * (y - t);
            }
        }
        scale_by_factors::<T>(cx, 2);
        let (weight, dw, db) = (cx.param(0, out * IN), cx.grad(0, out * IN), cx.grad(1, out));
        let mut bind = cx.bind();
        let (x, dy, weight): (&[T], &[T], &[T]) = (bind.read(x), bind.read(dy), bind.read(weight));
        let (dw, db, dx) = (bind.write::<T>(dw), bind.write::<T>(db), bind.write::<T>(dx));
        for grads in [&mut *dw, &mut *db, &mut *dx] {
            grads.fill(T::ZERO);
        }
        for (k, &dy) in dy.iter().enumerate() {
            let (row, column) = (k / out, k % out);
            db[column] += dy;
            for i in 0..IN {
                dw[column * IN + i] += dy * x[row * IN + i];
                dx[row * IN + i] += dy * weight[column * IN + i];
            }
        }
    }
    by_width(cx, kernel::<f32>, kernel::<f64>);
}

fn hits(cx: &mut Cx<'_>) {
    fn kernel<T: Real + Element>(cx: &mut Cx<'_>) -> Result<()> {
        let (rows, out) = (cx.dim(0), cx.generic(0));
        let (y, label) = (
            cx.slot(0, Dtype::Float, rows * out),
            cx.input(1, Dtype::Int, rows),
        );
        let share = cx.slot(1, Dtype::Float, 1);
        let mut bind = cx.bind();
        let (y, label): (&[T], &[i64]) = (bind.read(y), bind.read(label));
        let mut n_hits = 0;
        for (y, &label) in y.chunks_exact(out).zip(label) {
            let Some(score) = usize::try_from(label).ok().and_then(|label| y.get(label)) else {
                let message = format!("label {label} is not below {out}");
                return Err(Error::new(ErrorKind::Label, message));
            };
            n_hits += usize::from(y.iter().all(|other| other <= score));
        }
        bind.write::<T>(share)[0] = T::from_f64(n_hits as f64 / rows as f64);
        Ok(())
    }
    if let Err(error) = by_width(cx, kernel::<f32>, kernel::<f64>) {
        cx.fail(error);
    }
}
