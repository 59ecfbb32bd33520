//! Schedule and memory: when every value lives, and where.
//!
//! The order of kernels comes from fusion. Here every stored value gets a place: parameter gradients and new states go straight
//! to their flat buffers, everything else gets a slot of the workspace with the range of kernels during which it is alive. A
//! pointwise group may write over an operand that dies with it. Slots of disjoint lifetimes share memory; which bytes exactly is
//! worked out at run time from the sizes, once for a workspace.

use std::collections::BTreeMap;

use crate::ir::{DType, Layout, OutputKind, Phase, Type, Value};
use crate::plan::{Fused, Kernel, Place, Plan, Slot, Task};

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
        places: fused.leaves.clone(),
        slots: Vec::new(),
        last_use: BTreeMap::new(),
    };
    planner.place_outputs(&fused);
    planner.find_last_uses(&fused);
    let scratch: Vec<Vec<usize>> = fused
        .kernels
        .iter()
        .enumerate()
        .map(|(k, kernel)| planner.place_kernel(k, kernel))
        .collect();
    planner.close_lifetimes(&fused);
    let results = fused.outputs.iter().zip(&fused.output_types);
    let results = results.filter(|(o, _)| matches!(o.kind, OutputKind::Result(_)));
    let results = results.map(|(o, ty)| (o.value, ty.clone())).collect();
    let kept = |(_, value, _): &(_, Value, Type)| matches!(planner.places.get(value), Some(Place::Slot(_)));
    let named = if reuse == Reuse::Never {
        fused.named.into_iter().filter(kept).collect()
    } else {
        Vec::new()
    };
    Plan {
        kernels: fused.kernels,
        n_forward,
        places: planner.places,
        leaf_types: fused.leaf_types,
        scratch,
        slots: planner.slots,
        outputs: fused.outputs,
        results,
        named,
    }
}

struct Planner {
    reuse: Reuse,
    places: BTreeMap<Value, Place>,
    slots: Vec<Slot>,
    /// Index of the last kernel that reads a value; `usize::MAX` for what the caller reads.
    last_use: BTreeMap<Value, usize>,
}

impl Planner {
    /// Gradients of parameters and new states are written where they are kept.
    fn place_outputs(&mut self, fused: &Fused) {
        for output in &fused.outputs {
            match output.kind {
                OutputKind::ParamGrad(id) => {
                    self.places.insert(output.value, Place::Grad(id.index()));
                }
                OutputKind::State(id) => {
                    self.places.insert(output.value, Place::NewState(id.index()));
                }
                OutputKind::Result(_) | OutputKind::InputGrad(_) => {
                    self.last_use.insert(output.value, usize::MAX);
                }
                OutputKind::Next(_) | OutputKind::Collect(_) => {
                    unreachable!("only the body of a loop has outputs of that kind")
                }
            }
        }
    }

    fn find_last_uses(&mut self, fused: &Fused) {
        for (k, kernel) in fused.kernels.iter().enumerate() {
            for operand in &kernel.reads {
                let last = self.last_use.entry(operand.value).or_insert(k);
                *last = (*last).max(k);
            }
        }
    }

    /// Places what kernel `k` stores, and answers the slots of its scratch memory.
    fn place_kernel(&mut self, k: usize, kernel: &Kernel) -> Vec<usize> {
        let mut free = self.dying_operands(k, kernel);
        for written in &kernel.writes {
            if self.places.contains_key(&written.value) {
                continue;
            }
            let reusable = free.iter().position(|&slot| fits(&self.slots[slot], &written.ty));
            let slot = match reusable {
                Some(found) => {
                    let slot = free.remove(found);
                    self.slots[slot].last = k;
                    slot
                }
                None => self.open(k, written.ty.dtype, written.ty.numel()),
            };
            self.places.insert(written.value, Place::Slot(slot));
        }
        kernel
            .scratch
            .iter()
            .map(|(dtype, len)| self.open(k, *dtype, len.clone()))
            .collect()
    }

    fn open(&mut self, k: usize, dtype: DType, len: crate::shape::Dim) -> usize {
        self.slots.push(Slot {
            dtype,
            len,
            first: k,
            last: k,
        });
        self.slots.len() - 1
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
            self.last_use.get(&operand.value) == Some(&k)
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

    fn close_lifetimes(&mut self, fused: &Fused) {
        for (value, place) in &self.places {
            if let (Place::Slot(slot), Some(&last)) = (place, self.last_use.get(value)) {
                self.slots[*slot].last = self.slots[*slot].last.max(last);
            }
        }
        if self.reuse == Reuse::Never {
            self.slots.iter_mut().for_each(|slot| slot.last = usize::MAX);
        }
        debug_assert!(
            fused
                .kernels
                .iter()
                .flat_map(|k| &k.reads)
                .all(|r| self.places.contains_key(&r.value))
        );
    }
}

fn fits(slot: &Slot, ty: &Type) -> bool {
    slot.dtype == ty.dtype && slot.len == ty.numel()
}
