//! The workspace of a function: every buffer of a step, planned once.
//!
//! A workspace belongs to one function of one kind of model and is made for the largest sizes that will
//! come. Smaller ones run in the same arena at the same offsets: a slot that is shorter cannot overlap more. So after
//! the first call of each mode (plain, or with gradient) nothing is allocated. It holds the arena, the gradients, the
//! new values of carried tensors until an optimizer commits them, and copies of arguments that kernels cannot read in
//! place.

mod borrow;
pub(crate) mod gradients;
#[doc(hidden)]
pub mod plan;
mod read;

use std::ops::Range;
use std::sync::Arc;

use crate::arena::Storage;
use crate::call::Seen;
use crate::cpu::isa::Isa;
use crate::cpu::threads::Team;
use crate::cx::Packs;
use crate::dtype::{Dtype, Precision};
use crate::error::{Error, ErrorKind, Result};
use crate::flat::Layout;
use crate::model::Core;
use crate::profile::Recorder;
use crate::program::{Code, Function, Lasts, MAX_RANK, PackForm, Program, Sizes, SlotSpec};
use crate::small::{self, Whole};
pub(crate) use borrow::regions;
use plan::Plan;

/// The most arguments that are arrays, and the most dynamic dimensions, that a function may have.
pub(crate) const MAX_ARGS: usize = 16;

/// The largest product of dynamic dimensions: beyond it no buffer fits into a machine, and sizes would overflow.
const MAX_DIMS_PRODUCT: usize = 1 << 40;

/// Which code of a function runs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// The plain function.
    Eval,
    /// Loss and gradients.
    Train,
    /// The unfused forward sweep.
    Trace,
    /// Loss and product of the Hessian with a direction.
    Product,
}

impl Mode {
    /// What it runs, where there is such code; the unfused sweep is of another kind.
    pub(crate) fn code(self, function: &Function) -> Option<&Code> {
        match self {
            Self::Eval => Some(&function.eval),
            Self::Train => function.train.as_ref(),
            Self::Product => function.product.as_ref(),
            Self::Trace => None,
        }
    }
}

/// The slots of one mode, and where they lie.
#[derive(Debug)]
pub(crate) struct Slots {
    /// Lengths that the plan has room for.
    specs: Vec<SlotSpec>,
    plan: Plan,
    /// Sizes that have been checked last.
    dims: Vec<usize>,
    scratch: Vec<SlotSpec>,
}

/// What a gradient call has left behind.
#[derive(Copy, Clone, PartialEq, Debug)]
pub(crate) struct Pending {
    /// The mean loss of the (last) batch.
    pub loss: f64,
    /// An optimizer has taken a step with the gradients.
    pub used: bool,
}

/// A result of a call, and where it is found.
#[derive(Debug)]
pub(crate) struct Found {
    pub dtype: Dtype,
    shape: [usize; MAX_RANK],
    rank: usize,
    /// The number of elements.
    pub len: usize,
    pub slot: usize,
    /// The first byte in the arena.
    offset: usize,
}

impl Found {
    /// The sizes of its axes.
    #[inline]
    pub fn shape(&self) -> &[usize] {
        &self.shape[..self.rank]
    }
}

/// How many calls a workspace is for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) enum Calls {
    /// A single one: nothing is kept for the next.
    One,
    /// Many.
    Many,
}

/// Every buffer that calls of one function need, for sizes up to a maximum.
///
/// Made by a model's `<function>_workspace` methods.
pub struct Workspace {
    program: &'static Program,
    generics: Vec<usize>,
    pub(crate) params: Arc<Layout>,
    pub(crate) states: Arc<Layout>,
    team: Arc<Team>,
    isa: Isa,
    calls: Calls,
    /// The parameters of which something stays packed, by their version.
    packed: Option<u64>,
    function: usize,
    max_dims: Vec<usize>,
    /// Sizes and mode of the last call.
    dims: Vec<usize>,
    mode: Mode,
    slots: [Option<Slots>; 4],
    pub(crate) arena: Storage,
    staging: Vec<Storage>,
    pub(crate) grads: Storage,
    /// The sum of earlier gradients, while another is added.
    pub(crate) grads_before: Storage,
    pub(crate) new_states: Storage,
    /// Carried tensors after the earlier gradients, while another is added.
    pub(crate) states_before: Storage,
    /// Elements of the flat buffers whose gradients are written.
    runs: Vec<Range<usize>>,
    partial_sums: Vec<f64>,
    pub(crate) pending: Option<Pending>,
    /// The arguments of the last call.
    pub(crate) seen: Seen,
    /// The mode for which it is ready, at the sizes of the arguments of the last call; none where that is to be found out.
    ready: Option<Mode>,
    /// What runs that mode in one piece.
    whole: Option<Whole>,
    /// Its results in the present mode.
    results: Vec<Found>,
    /// The profile that is being taken.
    pub(crate) recorder: Option<Box<Recorder>>,
}

impl Workspace {
    /// A workspace for a function, with room for dynamic dimensions up to `max_dims`; the buffers of `mode` are
    /// made now, those of another mode when it is first used.
    pub(crate) fn new(core: &Core, function: usize, max_dims: &[usize], mode: Mode) -> Result<Self> {
        Self::for_calls(Calls::Many, core, function, max_dims, mode)
    }

    /// As [`new`](Self::new), for one call or many.
    pub(crate) fn for_calls(
        calls: Calls,
        core: &Core,
        function: usize,
        max_dims: &[usize],
        mode: Mode,
    ) -> Result<Self> {
        let mut work = Self {
            program: core.program(),
            generics: core.generics().to_vec(),
            params: Arc::clone(core.params_layout()),
            states: Arc::clone(core.states_layout()),
            team: Arc::clone(core.team()),
            isa: core.device().isa(),
            calls,
            packed: None,
            function,
            max_dims: max_dims.to_vec(),
            dims: max_dims.to_vec(),
            mode,
            slots: [const { None }; 4],
            arena: Storage::zeroed(0),
            staging: Vec::new(),
            grads: Storage::zeroed(0),
            grads_before: Storage::zeroed(0),
            new_states: Storage::zeroed(0),
            states_before: Storage::zeroed(0),
            runs: Vec::new(),
            partial_sums: Vec::new(),
            pending: None,
            seen: Seen::default(),
            ready: None,
            whole: None,
            results: Vec::new(),
            recorder: None,
        };
        let n_dims = work.function().dims.len();
        if max_dims.len() != n_dims {
            let message = format!("{n_dims} dynamic dimensions expected, {} given", max_dims.len());
            return Err(Error::internal(message));
        }
        check_dims(max_dims)?;
        work.function().check_demands(&work.sizes())?;
        work.staging
            .resize_with(work.function().inputs.len(), || Storage::zeroed(0));
        work.prepare(mode, max_dims)?;
        Ok(work)
    }

    /// The function that it belongs to.
    #[inline]
    pub(crate) fn function(&self) -> &'static Function {
        &self.program.functions[self.function]
    }

    /// Precision of the model that it belongs to.
    #[inline]
    pub fn precision(&self) -> Precision {
        self.params.precision()
    }

    /// The threads of the model's device.
    pub(crate) fn team(&self) -> &Arc<Team> {
        &self.team
    }

    /// The largest dynamic dimensions that it has room for, in the order of their declaration.
    pub fn max_dims(&self) -> &[usize] {
        &self.max_dims
    }

    /// Sizes of the last call.
    pub(crate) fn sizes(&self) -> Sizes<'_> {
        self.function().sizes(&self.dims, &self.generics)
    }

    /// Elements of the flat buffers whose gradients are written.
    pub(crate) fn runs(&self) -> &[Range<usize>] {
        &self.runs
    }

    /// Checks that it belongs to a function of a model.
    pub(crate) fn check_owner(&self, core: &Core, function: usize) -> Result<()> {
        let wanted = core.program().functions[function].name;
        let mend = |error: Error| error.hint(format!("make one with `{wanted}_workspace` of this model"));
        self.check_model(core).map_err(mend)?;
        if self.function == function {
            Ok(())
        } else {
            Err(mend(self.foreign()))
        }
    }

    /// Checks that it belongs to a model.
    #[inline]
    pub(crate) fn check_model(&self, core: &Core) -> Result<()> {
        if self.is_of(core) {
            return Ok(());
        }
        self.check_kind(core)
    }

    fn check_kind(&self, core: &Core) -> Result<()> {
        let same = self.program.key == core.program().key && self.generics == core.generics();
        if same && self.precision().float() == core.precision().float() {
            Ok(())
        } else {
            Err(self.foreign())
        }
    }

    /// Whether it was made for this very model. (It serves others of the kind as well.)
    #[inline]
    pub(crate) fn is_of(&self, core: &Core) -> bool {
        Arc::ptr_eq(&self.params, core.params_layout())
    }

    fn foreign(&self) -> Error {
        let (own, name) = (self.function().name, self.program.name);
        Error::config(format!(
            "this workspace was made for {name}::{own} in {}",
            self.precision()
        ))
    }

    /// Remembers that a step was taken, so that the next gradients are not added to these.
    #[inline]
    pub(crate) fn mark_used(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.used = true;
        }
    }

    /// [`prepare`](Self::prepare) for the arguments that it has just seen.
    #[inline]
    pub(crate) fn prepare_seen(&mut self, mode: Mode) -> Result<()> {
        if self.ready == Some(mode) {
            return Ok(());
        }
        let (mut dims, n_dims) = ([0; MAX_ARGS], self.seen.dims().len());
        dims[..n_dims].copy_from_slice(self.seen.dims());
        self.prepare(mode, &dims[..n_dims])?;
        let serves = small::serves(self.precision(), self.isa);
        let code = mode.code(self.function()).filter(|_| serves);
        self.whole = code.and_then(|code| code.whole);
        self.ready = Some(mode);
        Ok(())
    }

    /// Remembers the arguments of a call.
    pub(crate) fn see(&mut self, seen: impl FnOnce(&mut Seen)) {
        self.ready = None;
        seen(&mut self.seen);
    }

    /// Whether the call before was one of this mode with these sizes.
    fn is_ready(&self, mode: Mode, dims: &[usize]) -> bool {
        let slots = self.slots[mode as usize].as_ref();
        self.mode == mode
            && is_same(&self.dims, dims)
            && slots.is_some_and(|slots| is_same(&slots.dims, dims))
    }

    /// Makes the arena ready for a call: sizes are checked against the maximum, slots have their offsets.
    pub(crate) fn prepare(&mut self, mode: Mode, dims: &[usize]) -> Result<()> {
        self.ready = None;
        if self.is_ready(mode, dims) {
            return Ok(());
        }
        for (k, (&dim, &max)) in dims.iter().zip(&self.max_dims).enumerate() {
            if dim > max {
                let name = self.function().dims[k].name;
                let message = format!("{name} = {dim} exceeds the workspace's maximum of {max}");
                let hint = format!("make the workspace for {name} = {dim}");
                return Err(Error::shape(message).hint(hint));
            }
        }
        // Slots may lie elsewhere, and those of another mode overlap.
        self.packed = None;
        self.dims.clear();
        self.dims.extend_from_slice(dims);
        self.mode = mode;
        let made = self.make_ready(mode);
        if made.is_err() {
            // What was planned has no memory: the next call must not take it for ready.
            self.slots[mode as usize] = None;
        }
        made
    }

    /// The plan, the shapes of results and the memory for the present sizes.
    fn make_ready(&mut self, mode: Mode) -> Result<()> {
        if self.slots[mode as usize].is_none() {
            self.plan_first(mode)?;
        }
        self.fit(mode)?;
        let mut results = std::mem::take(&mut self.results);
        results.clear();
        let slots = mode.code(self.function()).map_or(&[][..], |code| code.results);
        results.extend(self.function().results.iter().zip(slots).map(|(spec, result)| {
            let (shape, rank) = self.sizes().shape(spec.shape);
            Found {
                dtype: spec.dtype,
                shape,
                rank,
                len: shape[..rank].iter().product(),
                slot: result.slot,
                offset: self.offset(result.slot),
            }
        }));
        self.results = results;
        Ok(())
    }

    /// Whether what lasts from call to call is packed for these parameters. A call that fails leaves nothing.
    pub(crate) fn take_packs(&mut self, version: u64) -> Packs {
        match self.packed.take() {
            Some(packed) if packed == version => Packs::Present,
            _ => Packs::Absent,
        }
    }

    /// A call has succeeded, and packed what lasts, with these parameters.
    pub(crate) fn keep_packs(&mut self, version: u64) {
        self.packed = Some(version);
    }

    /// A result of the last call, if there are as many.
    #[inline]
    pub(crate) fn result(&self, k: usize) -> Option<&Found> {
        self.results.get(k)
    }

    fn plan_first(&mut self, mode: Mode) -> Result<()> {
        let sizes = self.function().sizes(&self.max_dims, &self.generics);
        let mut specs = Vec::new();
        self.fill_slots(mode, &sizes, &mut specs)?;
        let plan = self.plan(mode, &specs)?;
        let scratch = Vec::with_capacity(specs.len());
        let dims = self.max_dims.clone();
        self.slots[mode as usize] = Some(Slots {
            specs,
            plan,
            dims,
            scratch,
        });
        self.new_states = at_least(&mut self.new_states, self.states.bytes())?;
        if let (Mode::Train, Some(code)) = (mode, &self.function().train) {
            self.grads = at_least(&mut self.grads, self.params.bytes())?;
            self.runs = self.params.runs(code.trained);
            self.partial_sums = Vec::with_capacity(gradients::n_partial_sums(&self.runs));
        }
        Ok(())
    }

    fn fill_slots(&self, mode: Mode, sizes: &Sizes<'_>, into: &mut Vec<SlotSpec>) -> Result<()> {
        let function = self.function();
        let slots = match (mode.code(function), mode) {
            (Some(code), _) => code.slots,
            (None, Mode::Trace) => function.trace.slots,
            (None, _) => {
                let message = format!("{} has no gradient", function.name);
                return Err(Error::internal(message));
            }
        };
        let packed_len = |form: PackForm, sizes, lasts| match (self.calls, lasts) {
            (Calls::One, Lasts::Calls) => 0,
            _ => form.len(self.precision(), self.isa, sizes, lasts),
        };
        for slot in slots {
            into.push(slot.spec(sizes, &packed_len)?);
        }
        Ok(())
    }

    fn plan(&self, mode: Mode, specs: &[SlotSpec]) -> Result<Plan> {
        match mode {
            Mode::Trace => Plan::apart(specs, self.precision()),
            Mode::Eval | Mode::Train | Mode::Product => Plan::new(specs, self.precision()),
        }
    }

    /// Gives the slots of a mode room for the present sizes. Sizes below the maximum usually mean shorter slots, for
    /// which there is room; where a slot grows as a dimension shrinks, the plan is made anew.
    fn fit(&mut self, mode: Mode) -> Result<()> {
        let Some(mut slots) = self.slots[mode as usize].take() else {
            return Err(Error::internal("a workspace has no plan"));
        };
        if slots.dims != self.dims {
            slots.scratch.clear();
            self.fill_slots(mode, &self.sizes(), &mut slots.scratch)?;
            let room = slots
                .specs
                .iter()
                .zip(&slots.scratch)
                .all(|(room, slot)| slot.len <= room.len);
            if !room {
                for (room, slot) in slots.specs.iter_mut().zip(&slots.scratch) {
                    room.len = room.len.max(slot.len);
                }
                slots.plan = self.plan(mode, &slots.specs)?;
            }
            slots.dims.clear();
            slots.dims.extend_from_slice(&self.dims);
        }
        let bytes = slots.plan.bytes;
        self.slots[mode as usize] = Some(slots);
        if self.arena.bytes() < bytes {
            self.arena = at_least(&mut self.arena, bytes)?;
        }
        Ok(())
    }

    /// Bytes of all its buffers now: arena, gradients, new values of carried tensors, copied arguments.
    pub fn bytes(&self) -> usize {
        let own = [
            &self.arena,
            &self.grads,
            &self.grads_before,
            &self.new_states,
            &self.states_before,
        ];
        own.into_iter().chain(&self.staging).map(Storage::bytes).sum()
    }

    /// Bytes of the arena: activations, their gradients and scratch of kernels share it.
    pub fn arena_bytes(&self) -> usize {
        self.arena.bytes()
    }

    /// The most bytes that are alive at one kernel at the maximal sizes: no plan can need a smaller arena.
    pub fn lower_bound_bytes(&self) -> usize {
        self.slots
            .iter()
            .flatten()
            .map(|slots| slots.plan.lower_bound)
            .max()
            .unwrap_or(0)
    }
}

/// Whether lists of sizes are equal. They are short: comparing them as memory is a call.
fn is_same(a: &[usize], b: &[usize]) -> bool {
    let mut same = a.len() == b.len();
    for (k, size) in a.iter().enumerate() {
        same = same && *size == b[k];
    }
    same
}

/// Rejects sizes whose products could overflow.
pub(crate) fn check_dims(dims: &[usize]) -> Result<()> {
    let product = dims
        .iter()
        .try_fold(1_usize, |product, &dim| product.checked_mul(dim.max(1)));
    match product {
        Some(product) if product <= MAX_DIMS_PRODUCT => Ok(()),
        _ => Err(Error::shape(format!(
            "sizes of {dims:?} are beyond what fits into memory"
        ))),
    }
}

/// The storage itself if it is large enough, else a larger one, zeroed.
pub(crate) fn at_least(storage: &mut Storage, bytes: usize) -> Result<Storage> {
    let old = std::mem::replace(storage, Storage::zeroed(0));
    if old.bytes() >= bytes {
        return Ok(old);
    }
    drop(old);
    Storage::try_zeroed(bytes).ok_or_else(|| {
        let message = format!("the system does not have {bytes} bytes of memory for a workspace");
        Error::new(ErrorKind::Device, message).hint("make it for a smaller batch")
    })
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = format!("{}::{}", self.program.name, self.function().name);
        let mut debug = f.debug_struct("Workspace");
        debug
            .field("function", &name)
            .field("max_dims", &self.max_dims)
            .field("bytes", &self.bytes())
            .finish()
    }
}
