//! Memory of a run: the flat buffers and the arena, laid out by the runtime.

use std::num::NonZeroUsize;

use tapeless_runtime::Precision;
use tapeless_runtime::arena::{Buf, Memory, Region, Storage, align_up};
use tapeless_runtime::cpu::isa::Isa;
use tapeless_runtime::cpu::threads::Team;
use tapeless_runtime::cx::{Cx, Env, Packs};
use tapeless_runtime::dtype::Dtype;
use tapeless_runtime::program::{Sizes, SlotSpec};
use tapeless_runtime::rt;
use tapeless_runtime::workspace::plan::Plan as Packing;

use super::super::tensor::{Tensor, build};
use super::super::world::World;
use super::call::lasts;
use crate::ir::{DType, PackForm, Type};
use crate::plan::{Pack, Place, Plan};

/// The arena of a plan for some sizes.
pub struct Layout {
    /// The slots in elements.
    pub slots: Vec<SlotSpec>,
    /// Where they lie.
    pub packing: Packing,
}

impl Layout {
    /// Laid out by the runtime's planner.
    pub fn new(plan: &Plan, world: &World, precision: Precision) -> Self {
        let slots: Vec<SlotSpec> = plan
            .slots
            .iter()
            .map(|slot| SlotSpec {
                dtype: runtime_dtype(slot.dtype),
                len: match &slot.pack {
                    Some(pack) => packed_len(pack, world, precision),
                    None => world.size(&slot.len),
                },
                first: slot.first,
                last: slot.last,
            })
            .collect();
        let packing = Packing::new(&slots, precision).expect("test programs fit into memory");
        Self { slots, packing }
    }

    /// The bytes of a slot in the arena.
    pub fn bytes(&self, slot: usize, precision: Precision) -> std::ops::Range<usize> {
        let spec = self.slots[slot];
        let start = self.packing.offsets[slot];
        start..start + spec.len * spec.dtype.width(precision)
    }

    /// The most bytes that slots need at one kernel, whatever the offsets: found by looking at every kernel.
    pub fn most_alive(&self, n_kernels: usize, precision: Precision) -> usize {
        let alive = |k: usize| {
            let slots = self.slots.iter().filter(|slot| slot.first <= k && k <= slot.last);
            slots.map(|slot| slot.len * slot.dtype.width(precision)).sum()
        };
        (0..n_kernels).map(alive).max().unwrap_or(0)
    }
}

/// Elements of what is packed, as a workspace works them out.
fn packed_len(pack: &Pack, world: &World, precision: Precision) -> usize {
    let [k, n] = &pack.packing.shape;
    let sizes = [
        &pack.packing.rows,
        k,
        n,
        &pack.count,
        &pack.packing.form.elements(),
    ]
    .map(|size| world.size(size));
    let form = match pack.packing.form {
        PackForm::Factor(_) => rt::PackForm::Factor,
        PackForm::Window(_) => rt::PackForm::Window,
    };
    form.len(precision, Isa::best(), sizes, lasts(pack))
}

/// The kind of element, as the runtime names it.
pub fn runtime_dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::Float => Dtype::Float,
        DType::Int => Dtype::Int,
        DType::Bool => Dtype::Bool,
    }
}

/// Runs a block for the float type of a context, as the runtime does for itself, which knows
/// every precision.
macro_rules! float {
    ($cx:expr, $t:ident => $body:expr) => {
        match $cx.env.precision {
            tapeless_runtime::Precision::F32 => {
                type $t = f32;
                $body
            }
            tapeless_runtime::Precision::F64 => {
                type $t = f64;
                $body
            }
            other => panic!("the oracle does not know the precision {other}"),
        }
    };
}
pub(super) use float;

/// All memory of one call, and who computes.
pub struct Machine<'w> {
    world: &'w World,
    precision: Precision,
    layout: Layout,
    arena: Storage,
    params: Storage,
    direction: Storage,
    grads: Storage,
    states: Storage,
    new_states: Storage,
    inputs: Vec<Storage>,
    param_offsets: Vec<usize>,
    state_offsets: Vec<usize>,
    team: Team,
}

/// Bytes of which every float is a NaN, every integer -1.
const POISON: u8 = 0xff;

impl<'w> Machine<'w> {
    pub fn new(plan: &Plan, world: &'w World, precision: Precision) -> Self {
        let layout = Layout::new(plan, world, precision);
        let (param_offsets, params) = flat(&world.params, precision);
        let (_, direction) = flat(&world.direction, precision);
        let (state_offsets, states) = flat(&world.states, precision);
        let (mut grads, mut new_states) = (params.clone(), states.clone());
        grads.as_mut_slice::<u8>().fill(POISON);
        new_states.as_mut_slice::<u8>().fill(POISON);
        let arena = Storage::zeroed(layout.packing.bytes);
        let inputs = world
            .inputs
            .iter()
            .map(|input| {
                let mut storage = Storage::zeroed(align_up(8 * input.len()));
                store(&mut storage, 0, input, precision);
                storage
            })
            .collect();
        let team = Team::new(NonZeroUsize::MIN).expect("one thread is there already");
        Self {
            world,
            precision,
            layout,
            arena,
            params,
            direction,
            grads,
            states,
            new_states,
            inputs,
            param_offsets,
            state_offsets,
            team,
        }
    }

    /// Overwrites what no kernel may read at kernel `k`: all but the slots that were written before and are needed still. In a
    /// further step of a loop over `kernels`, that is also what lives for the whole loop.
    pub fn poison(&mut self, k: usize, further: Option<&std::ops::Range<usize>>) {
        let mut is_kept = vec![false; self.arena.bytes()];
        for (slot, spec) in self.layout.slots.iter().enumerate() {
            let is_of_loop =
                further.is_some_and(|l| spec.first <= l.start && l.end <= spec.last.saturating_add(1));
            if (spec.first < k && k <= spec.last) || is_of_loop {
                is_kept[self.layout.bytes(slot, self.precision)].fill(true);
            }
        }
        let bytes = self.arena.as_mut_slice::<u8>().iter_mut();
        bytes
            .zip(is_kept)
            .for_each(|(byte, kept)| *byte = if kept { *byte } else { POISON });
    }

    /// Runs a kernel in a context as compiled functions get it; gives what it complains about.
    pub fn run(&mut self, world: &World, kernel: impl FnOnce(&Names, &mut Cx<'_>)) -> Option<String> {
        let inputs: Vec<Region<'_>> = self.inputs.iter().map(Storage::region).collect();
        let memory = Memory {
            arena: self.arena.region_mut(),
            locals: Region::empty(),
            params: self.params.region(),
            grads: self.grads.region_mut(),
            direction: self.direction.region(),
            states: self.states.region(),
            new_states: self.new_states.region_mut(),
            inputs: &inputs,
        };
        let env = Env {
            team: &self.team,
            isa: Isa::best(),
            precision: self.precision,
            seed: self.world.seed,
            step: self.world.step,
        };
        let mut failure = None;
        let mut cx = Cx {
            env,
            memory,
            sizes: Sizes {
                dims: &[],
                generics: &[],
                names: &[],
            },
            slots: &self.layout.packing.offsets,
            rooms: &self.layout.slots,
            packs: Packs::Absent,
            params: &self.param_offsets,
            states: &self.state_offsets,
            scalars: &[],
            failure: &mut failure,
            laps: None,
        };
        kernel(&Names { world }, &mut cx);
        failure.map(|error: tapeless_runtime::Error| error.to_string())
    }

    /// What lies at a place.
    pub fn read(&self, place: Place, ty: &Type) -> Tensor {
        let (storage, offset) = match place {
            Place::Slot(k) => (&self.arena, self.layout.packing.offsets[k]),
            Place::Param(k) => (&self.params, self.param_offsets[k]),
            Place::Grad(k) => (&self.grads, self.param_offsets[k]),
            Place::State(k) => (&self.states, self.state_offsets[k]),
            Place::Direction(k) => (&self.direction, self.param_offsets[k]),
            Place::NewState(k) => (&self.new_states, self.state_offsets[k]),
            Place::Input(k) => (&self.inputs[k], 0),
        };
        load(
            storage,
            offset,
            ty.dtype,
            &self.world.shape(&ty.shape),
            self.precision,
        )
    }
}

/// Turns places into buffers, as emitted code does.
pub struct Names<'w> {
    world: &'w World,
}

impl Names<'_> {
    /// `cx.slot(3, rt::Dtype::Float, B * 128)` and the like.
    pub fn buffer(&self, cx: &Cx<'_>, place: Place, dtype: DType, len: usize) -> Buf {
        let dtype = runtime_dtype(dtype);
        match place {
            Place::Slot(k) => cx.slot(k, dtype, len),
            Place::Input(k) => cx.input(u8::try_from(k).expect("few arguments"), dtype, len),
            Place::Param(k) => cx.param(k, len),
            Place::Grad(k) => cx.grad(k, len),
            Place::State(k) => cx.state(k, len),
            Place::Direction(k) => cx.direction(k, len),
            Place::NewState(k) => cx.new_state(k, len),
        }
    }

    /// The buffer of a stored value.
    pub fn stored(&self, cx: &Cx<'_>, plan: &Plan, value: crate::ir::Value) -> Buf {
        let (home, offset) = plan.home(value);
        match plan.places[&value] {
            Place::Slot(k) if plan.slots[k].pack.is_some() => return cx.packed(k),
            _ => {}
        }
        let whole = plan.stored_type(home);
        let buffer = self.buffer(
            cx,
            plan.places[&value],
            whole.dtype,
            self.world.size(&whole.numel()),
        );
        if home == value {
            return buffer;
        }
        let len = self.world.size(&plan.stored_type(value).numel());
        buffer.at(self.world.size(&offset), len)
    }
}

/// Tensors one after the other, each aligned.
fn flat(tensors: &[Tensor], precision: Precision) -> (Vec<usize>, Storage) {
    let mut offsets = Vec::new();
    let mut end = 0;
    for tensor in tensors {
        offsets.push(end);
        end += align_up(tensor.len() * precision.width());
    }
    let mut storage = Storage::zeroed(end);
    for (tensor, &offset) in tensors.iter().zip(&offsets) {
        store(&mut storage, offset, tensor, precision);
    }
    (offsets, storage)
}

fn store(storage: &mut Storage, offset: usize, tensor: &Tensor, precision: Precision) {
    match (tensor, precision) {
        (Tensor::Float(x), Precision::F64) => put(
            &mut storage.as_mut_slice::<f64>()[offset / 8..],
            x.iter().copied(),
        ),
        (Tensor::Float(x), _) => put(
            &mut storage.as_mut_slice::<f32>()[offset / 4..],
            x.iter().map(|&v| v as f32),
        ),
        (Tensor::Int(x), _) => put(
            &mut storage.as_mut_slice::<i64>()[offset / 8..],
            x.iter().copied(),
        ),
        (Tensor::Bool(x), _) => put(
            &mut storage.as_mut_slice::<u8>()[offset..],
            x.iter().map(|&b| u8::from(b)),
        ),
    }
}

fn put<T>(slice: &mut [T], values: impl Iterator<Item = T>) {
    slice.iter_mut().zip(values).for_each(|(x, v)| *x = v);
}

fn load(storage: &Storage, offset: usize, dtype: DType, shape: &[usize], precision: Precision) -> Tensor {
    let mut k = 0;
    let mut next = || {
        k += 1;
        k - 1
    };
    match (dtype, precision) {
        (DType::Float, Precision::F64) => {
            let x = &storage.as_slice::<f64>()[offset / 8..];
            Tensor::Float(build(shape, |_| x[next()]))
        }
        (DType::Float, _) => {
            let x = &storage.as_slice::<f32>()[offset / 4..];
            Tensor::Float(build(shape, |_| f64::from(x[next()])))
        }
        (DType::Int, _) => {
            let x = &storage.as_slice::<i64>()[offset / 8..];
            Tensor::Int(build(shape, |_| x[next()]))
        }
        (DType::Bool, _) => {
            let x = &storage.as_slice::<u8>()[offset..];
            Tensor::Bool(build(shape, |_| x[next()] != 0))
        }
    }
}
