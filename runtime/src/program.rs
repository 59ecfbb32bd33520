//! Tables that emitted code hands to the runtime: what a compiled model consists of.
//!
//! What depends on sizes stands in the tables as a formula, a text that [`Sizes`] gives a value ([`Sizes::value`]); so the tables
//! are constants, and cost next to nothing to compile. A table's row is an *entry* (`SlotEntry`), and what becomes of it for given
//! sizes a *row* or *spec* (`SlotSpec`).

mod formula;
mod schedule;
mod tensor;

use crate::cx::Cx;
use crate::dtype::Dtype;
use crate::error::{Error, Result};
use crate::small::Whole;

pub use schedule::{KernelEntry, KernelRow, LoopEntry, LoopRow, run_order};
pub use tensor::{TensorEntry, TensorSpec};

/// The most axes that an argument or a result of a compiled function may have.
pub const MAX_RANK: usize = 8;

/// What sizes depend on: dynamic dimensions and const generics in the order of their declaration, and constants.
#[derive(Copy, Clone, Debug)]
pub struct Sizes<'a> {
    /// Dynamic dimensions of the function (`B: Dim`).
    pub dims: &'a [usize],
    /// Const generics of the model, and after them the constants that formulas mention.
    pub generics: &'a [usize],
    /// What formulas call them: the dimensions, then the others.
    pub names: &'static [&'static str],
}

/// A size, as a formula in the names of [`Sizes`]: `B * (W + 2) / 4`.
pub type Formula = &'static str;

/// A compiled model.
pub struct Program {
    /// Name of the struct.
    pub name: &'static str,
    /// Key of the definition: the same in two builds only if the model is the same.
    pub key: u64,
    /// Trained tensors, in the order of the flat buffer.
    pub params: &'static [TensorEntry],
    /// Carried tensors.
    pub states: &'static [TensorEntry],
    /// Rows of the summary, for one sample.
    pub layers: &'static [LayerEntry],
    /// Functions, in the order of their declaration.
    pub functions: &'static [Function],
    /// The names of const generics and constants.
    pub names: &'static [&'static str],
}

impl Program {
    /// The sizes of what belongs to no function.
    pub fn sizes<'a>(&self, generics: &'a [usize]) -> Sizes<'a> {
        Sizes {
            dims: &[],
            generics,
            names: self.names,
        }
    }

    /// The trained tensors.
    ///
    /// # Errors
    ///
    /// Where one has a negative size.
    pub(crate) fn param_specs(&self, generics: &[usize]) -> Result<Vec<TensorSpec>> {
        let sizes = self.sizes(generics);
        self.params.iter().map(|entry| entry.spec(&sizes)).collect()
    }

    /// The carried tensors.
    ///
    /// # Errors
    ///
    /// As for the trained ones.
    pub(crate) fn state_specs(&self, generics: &[usize]) -> Result<Vec<TensorSpec>> {
        let sizes = self.sizes(generics);
        self.states.iter().map(|entry| entry.spec(&sizes)).collect()
    }

    /// The rows of the summary.
    pub(crate) fn layer_rows(&self, generics: &[usize]) -> Vec<LayerRow> {
        let sizes = self.sizes(generics);
        let row = |entry: &LayerEntry| LayerRow {
            path: entry.path,
            kind: entry.kind,
            output: entry.output,
            params: sizes.value(entry.params),
            flops: sizes.value(entry.flops) as u64,
        };
        self.layers.iter().map(row).collect()
    }
}

/// A row of the summary: one use of a layer.
#[derive(Clone, Debug)]
pub struct LayerRow {
    /// Path of the layer, or name of the operation.
    pub path: &'static str,
    /// Kind of layer: `Linear`.
    pub kind: &'static str,
    /// Shape of its result, as text: `[B, 128]`.
    pub output: &'static str,
    /// Trained numbers that belong to it.
    pub params: usize,
    /// Floating point operations of its forward sweep for one sample.
    pub flops: u64,
}

/// A [`LayerRow`] of any sizes.
#[derive(Clone, Debug)]
pub struct LayerEntry {
    path: &'static str,
    kind: &'static str,
    output: &'static str,
    params: Formula,
    flops: Formula,
}

impl LayerEntry {
    /// A row from its parts: path, kind, text of the result's shape, trained numbers, operations.
    pub const fn new(
        path: &'static str,
        kind: &'static str,
        output: &'static str,
        params: Formula,
        flops: Formula,
    ) -> Self {
        Self {
            path,
            kind,
            output,
            params,
            flops,
        }
    }
}

/// A function of the model.
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// Names of its dynamic dimensions.
    pub dims: &'static [DimSpec],
    /// Tensor arguments.
    pub inputs: &'static [InputSpec],
    /// Names of its scalar arguments.
    pub scalars: &'static [&'static str],
    /// Tensor results.
    pub results: &'static [ResultSpec],
    /// What the sizes of a call must fulfil, in order: a later one may only be looked at if those before it hold.
    pub demands: &'static [Demand],
    /// The function in eval mode.
    pub eval: Code,
    /// Loss and gradient in train mode, where the function returns a `Scalar` that depends on a parameter.
    pub train: Option<Code>,
    /// The function in the mode of its gradient, and the product of its Hessian with a direction, where `#[model(hvp)]` asks
    /// for it: `backward` writes it where gradients are else written.
    pub product: Option<Code>,
    /// The same forward sweep without fusion (train mode where there is one), every named value kept.
    pub trace: TraceCode,
    /// What formulas call the dynamic dimensions, const generics and constants.
    pub names: &'static [&'static str],
}

/// That a size is not below another.
pub struct Demand {
    /// The size, and the other one.
    pub sizes: [Formula; 2],
    /// What is wrong where it is below.
    pub message: &'static str,
}

impl Demand {
    /// By how much the size is too small.
    fn lacks(&self, sizes: &Sizes<'_>) -> usize {
        let [size, least] = self.sizes.map(|formula| sizes.value(formula));
        least.saturating_sub(size)
    }
}

impl Function {
    /// The sizes of a call.
    pub fn sizes<'a>(&self, dims: &'a [usize], generics: &'a [usize]) -> Sizes<'a> {
        Sizes {
            dims,
            generics,
            names: self.names,
        }
    }

    /// Checks its demands.
    ///
    /// # Errors
    ///
    /// A shape error for the first that does not hold.
    pub(crate) fn check_demands(&self, sizes: &Sizes<'_>) -> Result<()> {
        let Some(unmet) = self.demands.iter().find(|demand| demand.lacks(sizes) > 0) else {
            return Ok(());
        };
        let named = self.dims.iter().zip(sizes.dims);
        let named: Vec<String> = named
            .map(|(spec, dim)| format!("{} = {dim}", spec.name))
            .collect();
        Err(Error::shape(unmet.message).hint(format!("the sizes are {}", named.join(", "))))
    }

    /// How far sizes are from fulfilling the demands: the number of the first that does not hold, from behind, and what it
    /// lacks. Zeros where all hold; smaller is nearer.
    pub(crate) fn shortfall(&self, sizes: &Sizes<'_>) -> (usize, usize) {
        let unmet = self.demands.iter().position(|demand| demand.lacks(sizes) > 0);
        unmet.map_or((0, 0), |k| (self.demands.len() - k, self.demands[k].lacks(sizes)))
    }
}

/// A dynamic dimension.
pub struct DimSpec {
    /// Its name in the source.
    pub name: &'static str,
    /// It must be a multiple of this (1 where nothing is asked).
    pub multiple_of: usize,
    /// An argument and an axis where it stands bare.
    pub bare: (usize, usize),
}

/// Kinds of host array that an argument may be.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum InputKind {
    /// Real numbers, `f32` or `f64`.
    Float,
    /// `u8`
    U8,
    /// `u16`
    U16,
    /// `u32`
    U32,
    /// `i32`
    I32,
    /// `i64`
    I64,
    /// `bool`
    Bool,
}

/// A tensor argument.
pub struct InputSpec {
    /// Its name in the source.
    pub name: &'static str,
    /// Element kind of the host array.
    pub kind: InputKind,
    /// Number of axes.
    pub rank: usize,
    /// Expected sizes of the axes.
    pub shape: Formula,
}

/// A tensor result.
pub struct ResultSpec {
    /// Element kind.
    pub dtype: Dtype,
    /// Sizes of the axes.
    pub shape: Formula,
}

/// Executable code of one mode of a function.
pub struct Code {
    /// Slots of the workspace and when they live.
    pub slots: &'static [SlotEntry],
    /// Slot of every result, in order.
    pub results: &'static [ResultSlot],
    /// Computes the results.
    pub forward: fn(&mut Cx<'_>),
    /// Computes the gradients, after `forward` on the same workspace.
    pub backward: Option<fn(&mut Cx<'_>)>,
    /// Both in one piece, where sizes may be so small that this is worth while.
    pub whole: Option<Whole>,
    /// Kernels in order, for `explain` and profiles.
    pub kernels: &'static [KernelEntry],
    /// The loops over some of them; an outer one before those inside of it.
    pub loops: &'static [LoopEntry],
    /// Arguments marked `#[grad]` and the slots where their gradients are found.
    pub input_grads: &'static [(usize, usize)],
    /// Parameters whose gradients `backward` writes, ascending. The others keep their values in a step, as
    /// parameters without gradient do in PyTorch.
    pub trained: &'static [usize],
    /// Carried tensors whose new value the code writes, ascending; the others are not committed.
    pub updates: &'static [usize],
}

impl Code {
    /// The kernels for given sizes.
    pub fn kernel_rows(&self, sizes: &Sizes<'_>) -> Vec<KernelRow> {
        self.kernels.iter().map(|entry| entry.row(sizes)).collect()
    }

    /// The loops for given sizes.
    pub(crate) fn loop_rows(&self, sizes: &Sizes<'_>) -> Vec<LoopRow> {
        self.loops.iter().map(|entry| entry.row(sizes)).collect()
    }
}

/// Where a result is found.
#[derive(Copy, Clone, Debug)]
pub struct ResultSlot {
    /// Slot of the workspace.
    pub slot: usize,
}

/// A slot of the workspace.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct SlotSpec {
    /// Element kind.
    pub dtype: Dtype,
    /// Number of elements.
    pub len: usize,
    /// Index of the first kernel that writes it.
    pub first: usize,
    /// Index of the last kernel that reads it.
    pub last: usize,
}

/// A [`SlotSpec`] of any sizes.
#[derive(Clone, Debug)]
pub struct SlotEntry {
    dtype: Dtype,
    /// The number of elements; of packed factors, the list of sizes that says it.
    len: Formula,
    first: usize,
    last: usize,
    /// What it holds packed, and for how long that is the same.
    packed: Option<(PackForm, Lasts)>,
}

/// What is packed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum PackForm {
    /// Second factors of products.
    Factor,
    /// Weights of convolutions.
    Window,
}

/// For how long what is packed is the same.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Lasts {
    /// In all steps of a loop.
    Loop,
    /// From call to call, until parameters change.
    Calls,
}

impl SlotEntry {
    /// A slot from its parts: element kind, number of elements, the kernels that write it first and read it last.
    pub const fn new(dtype: Dtype, len: Formula, first: usize, last: usize) -> Self {
        Self {
            dtype,
            len,
            first,
            last,
            packed: None,
        }
    }

    /// A slot for what is packed before a loop; [`PackForm::len`] says what the sizes are.
    pub const fn packed(form: PackForm, sizes: Formula, first: usize, last: usize) -> Self {
        Self {
            packed: Some((form, Lasts::Loop)),
            ..Self::new(Dtype::Float, sizes, first, last)
        }
    }

    /// A slot for what stays packed from call to call.
    pub const fn lasting(form: PackForm, sizes: Formula) -> Self {
        Self {
            packed: Some((form, Lasts::Calls)),
            ..Self::kept(Dtype::Float, sizes, 0)
        }
    }

    /// A slot that lives from a kernel on to the end, and longer.
    pub const fn kept(dtype: Dtype, len: Formula, first: usize) -> Self {
        Self::new(dtype, len, first, usize::MAX)
    }

    /// The slot for given sizes; `packed_len` says how many elements it takes to hold something packed.
    ///
    /// # Errors
    ///
    /// Where its size is negative.
    pub(crate) fn spec(
        &self,
        sizes: &Sizes<'_>,
        packed_len: &dyn Fn(PackForm, [usize; 5], Lasts) -> usize,
    ) -> Result<SlotSpec> {
        Ok(SlotSpec {
            dtype: self.dtype,
            len: match self.packed {
                Some((form, lasts)) => {
                    let ([rows, k, n, count, elements, ..], _) = sizes.shape(self.len);
                    packed_len(form, [rows, k, n, count, elements], lasts)
                }
                None => sizes.size(self.len)?,
            },
            first: self.first,
            last: self.last,
        })
    }
}

/// The unfused forward sweep.
pub struct TraceCode {
    /// Slots: every value keeps its own until the end.
    pub slots: &'static [SlotEntry],
    /// The sweep.
    pub run: fn(&mut Cx<'_>),
    /// Named intermediates in the order in which they are computed.
    pub values: &'static [TraceValue],
}

/// A value that `trace` reports.
pub struct TraceValue {
    /// The user's name, or the layer's.
    pub(crate) name: &'static str,
    /// Slot that holds it.
    pub(crate) slot: usize,
    /// Element kind.
    pub(crate) dtype: Dtype,
    /// Sizes of the axes, as the value is stored.
    pub(crate) shape: Formula,
    /// Which axis of the stored value each axis of what is shown is; empty where they are the same.
    pub(crate) order: &'static [usize],
}

impl TraceValue {
    /// A value from its parts: name, slot, element kind, sizes of the axes.
    pub const fn new(name: &'static str, slot: usize, dtype: Dtype, shape: Formula) -> Self {
        Self {
            name,
            slot,
            dtype,
            shape,
            order: &[],
        }
    }

    /// Shown with its axes in another order: axis `k` is axis `order[k]` of the stored value. Images lie channels last.
    pub const fn in_order(self, order: &'static [usize]) -> Self {
        Self { order, ..self }
    }
}
