//! Schedule and memory: when every value lives, and where.
//!
//! The order of kernels comes from fusion. Here every stored value gets a place: parameter gradients and new states go straight
//! to their flat buffers, everything else gets a slot of the workspace with the range of kernels during which it is alive. A
//! pointwise group may write over an operand that dies with it. Slots of disjoint lifetimes share memory; which bytes exactly is
//! worked out at run time from the sizes, once for a workspace. What lives longer than a step of a loop lives for the whole loop.

use crate::map::Map;
use std::ops::Range;

use crate::ir::{DType, Layout, OutputKind, Phase, Type, Value};
use crate::plan::{Fused, Kernel, Lasts, Named, Pack, Place, Plan, Slot, Task, home};

/// Whether slots are shared.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Reuse {
    /// A value's slot is free after its last reader.
    AfterLastUse,
    /// Every value keeps its slot, so that it can be looked at after the call.
    Never,
}

/// Assigns places and lifetimes.
pub fn plan(fused: Fused, reuse: Reuse) -> Plan {
    let n_forward = fused.kernels.iter().filter(|k| k.phase == Phase::Forward).count();
    let mut planner = Planner {
        reuse,
        fused: &fused,
        places: given(&fused),
        slots: Vec::new(),
        lives: Lives::find(&fused),
    };
    planner.place_outputs();
    let scratch: Vec<Vec<usize>> = (0..fused.kernels.len())
        .map(|k| planner.place_kernel(k))
        .collect();
    planner.close_lifetimes();
    let Planner { places, slots, .. } = planner;
    let results = fused.outputs.iter().zip(&fused.output_types);
    let results = results.filter(|(o, _)| matches!(o.kind, OutputKind::Result(_)));
    let results = results.map(|(o, ty)| (o.value, ty.clone())).collect();
    let kept = |named: &Named| matches!(places.get(&named.value), Some(Place::Slot(_)));
    let named = if reuse == Reuse::Never {
        fused.named.into_iter().filter(kept).collect()
    } else {
        Vec::new()
    };
    Plan {
        kernels: fused.kernels,
        loops: fused.loops,
        within: fused.within,
        n_forward,
        places,
        leaves: fused.leaves,
        scratch,
        slots,
        outputs: fused.outputs,
        results,
        named,
    }
}

/// The places of arguments, parameters and carried tensors.
fn given(fused: &Fused) -> Map<Value, Place> {
    let leaves = fused.leaves.iter();
    leaves
        .filter_map(|(value, leaf)| Some((*value, leaf.place?)))
        .collect()
}

/// The kernels during which each value is needed, where values of loops are concerned: what comes from outside of a loop is
/// needed in all of its steps.
struct Lives {
    /// First and last kernel that reads or writes a value; `usize::MAX` for what the caller reads.
    of: Map<Value, (usize, usize)>,
    /// For every kernel, the loops around it, outermost first.
    around: Vec<Vec<usize>>,
    /// For every value that kernels write, the loops in every step of which it is another one.
    inside: Map<Value, Vec<usize>>,
}

impl Lives {
    fn find(fused: &Fused) -> Self {
        let around: Vec<Vec<usize>> = (0..fused.kernels.len())
            .map(|k| {
                (0..fused.loops.len())
                    .filter(|&l| fused.loops[l].kernels.contains(&k))
                    .collect()
            })
            .collect();
        let mut inside = Map::new();
        for (k, kernel) in fused.kernels.iter().enumerate() {
            inside.extend(kernel.writes.iter().map(|w| (w.value, around[k].clone())));
        }
        for buffer in &fused.buffers {
            let owner = &fused.loops[buffer.owner].kernels;
            let is_around = |l: &usize| *l != buffer.owner && encloses(&fused.loops[*l].kernels, owner);
            inside.insert(buffer.value, (0..buffer.owner).filter(is_around).collect());
        }
        let mut lives = Self {
            of: Map::new(),
            around,
            inside,
        };
        for (k, kernel) in fused.kernels.iter().enumerate() {
            let values = kernel
                .reads
                .iter()
                .map(|r| r.value)
                .chain(kernel.writes.iter().map(|w| w.value));
            for value in values {
                lives.extend(fused, value, k);
            }
        }
        for output in &fused.outputs {
            if matches!(output.kind, OutputKind::Result(_) | OutputKind::InputGrad(_)) {
                let value = home(&fused.within, output.value).0;
                lives.of.get_or_insert_with(value, || (usize::MAX, 0)).1 = usize::MAX;
            }
        }
        lives
    }

    /// Notes that kernel `k` reads or writes a value, or a part of it.
    fn extend(&mut self, fused: &Fused, value: Value, k: usize) {
        let value = home(&fused.within, value).0;
        let own = self.inside.get(&value).map_or(&[][..], Vec::as_slice);
        let (first, last) = match self.around[k].iter().find(|l| !own.contains(l)) {
            Some(&outer) => (
                fused.loops[outer].kernels.start,
                fused.loops[outer].kernels.end - 1,
            ),
            None => (k, k),
        };
        let life = self.of.get_or_insert_with(value, || (first, last));
        *life = (life.0.min(first), life.1.max(last));
    }

    /// Whether kernel `k` reads a value for the last time, in this step of its loops and any other.
    fn ends_at(&self, value: Value, k: usize) -> bool {
        let own = self.inside.get(&value).map_or(&[][..], Vec::as_slice);
        self.of.get(&value).is_some_and(|life| life.1 == k) && own == self.around[k]
    }
}

fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

struct Planner<'a> {
    reuse: Reuse,
    fused: &'a Fused,
    places: Map<Value, Place>,
    slots: Vec<Slot>,
    lives: Lives,
}

impl Planner<'_> {
    /// Gradients of parameters and new states are written where they are kept.
    fn place_outputs(&mut self) {
        for output in &self.fused.outputs {
            match output.kind {
                OutputKind::ParamGrad(id) => {
                    self.places.insert(output.value, Place::Grad(id.index()));
                }
                OutputKind::State(id) => {
                    self.places.insert(output.value, Place::NewState(id.index()));
                }
                OutputKind::Result(_) | OutputKind::InputGrad(_) => {}
                OutputKind::Next(_) | OutputKind::Collect(_) => unreachable!("loops are laid open"),
            }
        }
    }

    /// Places what kernel `k` stores, and answers the slots of its scratch memory.
    fn place_kernel(&mut self, k: usize) -> Vec<usize> {
        let kernel = &self.fused.kernels[k];
        let mut free = self.dying_operands(k, kernel);
        for written in &kernel.writes {
            if self.places.contains_key(&written.value) {
                continue;
            }
            let (home, _) = home(&self.fused.within, written.value);
            if home != written.value {
                self.place_home(k, home, written.value);
                continue;
            }
            let reusable = free.iter().position(|&slot| fits(&self.slots[slot], &written.ty));
            let slot = match (reusable, &kernel.task) {
                (Some(found), _) => free.remove(found),
                (None, Task::Pack(pack)) => self.open_pack(k, pack),
                (None, _) => self.open(k, written.ty.dtype, written.ty.numel()),
            };
            self.places.insert(written.value, Place::Slot(slot));
        }
        self.place_windows(kernel);
        kernel
            .scratch
            .iter()
            .map(|(dtype, len)| self.open(k, *dtype, len.clone()))
            .collect()
    }

    /// Places a value that lies within a buffer; the first to do so opens it.
    fn place_home(&mut self, k: usize, home: Value, value: Value) {
        let place = match self.places.get(&home) {
            Some(place) => *place,
            None => {
                let ty = &self.fused.leaves[&home].ty;
                let slot = self.open(k, ty.dtype, ty.numel());
                self.places.insert(home, Place::Slot(slot));
                Place::Slot(slot)
            }
        };
        self.places.insert(value, place);
    }

    /// Windows lie where that lies of which they are a part.
    fn place_windows(&mut self, kernel: &Kernel) {
        for operand in &kernel.reads {
            let (home, _) = home(&self.fused.within, operand.value);
            if let Some(&place) = self.places.get(&home) {
                self.places.get_or_insert_with(operand.value, || place);
            }
        }
    }

    fn open(&mut self, k: usize, dtype: DType, len: crate::shape::Dim) -> usize {
        self.slots.push(Slot {
            dtype,
            len,
            first: k,
            last: k,
            pack: None,
        });
        self.slots.len() - 1
    }

    /// Room for what is packed. Where that lasts, nothing else lies there before it is written or after it was read.
    fn open_pack(&mut self, k: usize, pack: &Pack) -> usize {
        let slot = self.open(k, DType::Float, pack.packing.len() * &pack.count);
        if pack.lasts == Lasts::Calls {
            (self.slots[slot].first, self.slots[slot].last) = (0, usize::MAX);
        }
        self.slots[slot].pack = Some(pack.clone());
        slot
    }

    /// Slots of operands that a pointwise group may write over: read as they lie, for the last time.
    fn dying_operands(&self, k: usize, kernel: &Kernel) -> Vec<usize> {
        if self.reuse == Reuse::Never || !matches!(kernel.task, Task::Group(_)) {
            return Vec::new();
        }
        let dying = kernel.reads.iter().filter(|operand| {
            let readings = kernel
                .reads
                .iter()
                .filter(|other| self.shares_slot(operand.value, other.value))
                .count();
            let shape = &kernel.writes[0].ty.shape;
            self.lives.ends_at(operand.value, k)
                && readings == 1
                && operand.layout == Layout::contiguous(shape)
        });
        dying.filter_map(|operand| self.slot(operand.value)).collect()
    }

    fn slot(&self, value: Value) -> Option<usize> {
        match self.places.get(&value) {
            Some(Place::Slot(slot)) => Some(*slot),
            _ => None,
        }
    }

    fn shares_slot(&self, a: Value, b: Value) -> bool {
        self.slot(a).is_some() && self.slot(a) == self.slot(b)
    }

    fn close_lifetimes(&mut self) {
        for (value, &(first, last)) in &self.lives.of {
            if let Some(Place::Slot(slot)) = self.places.get(value) {
                let slot = &mut self.slots[*slot];
                slot.first = slot.first.min(first);
                slot.last = slot.last.max(last);
            }
        }
        if self.reuse == Reuse::Never {
            self.slots.iter_mut().for_each(|slot| slot.last = usize::MAX);
        }
        debug_assert!(
            self.fused
                .kernels
                .iter()
                .flat_map(|k| &k.reads)
                .all(|r| self.places.contains_key(&r.value)),
            "what a kernel reads is placed"
        );
    }
}

fn fits(slot: &Slot, ty: &Type) -> bool {
    slot.dtype == ty.dtype && slot.len == ty.numel()
}
