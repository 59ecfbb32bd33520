//! Factors packed once: what every step of a loop multiplies by is packed before the loop, and what every call multiplies by stays
//! packed from call to call.
//!
//! ```text
//!                                            %9 = pack(%w)
//! for i in 0..T { h = matmul(h, %w) }   becomes   for i in 0..T { h = matmul(h, %w, packed as %9) }
//! ```
//!
//! Packing is a copy of the weights in the order in which a product reads them, and without this every step, or call, would make it
//! anew. It moves out of all loops in which the factor and what its packing depends on are the same; a loop of a single step is none.
//! Calls that follow one another are a loop around all others ([`Calls::Repeated`]): what parameters give is packed by the first of
//! them, a stack of layers all together, and by the first after parameters have changed.

use crate::ir::{CallArg, DType, Node, NodeId, PackForm, PackedInput, Packing, Phase, Rows, Type, Value};
use crate::ops::leaf::LeafKind;
use crate::plan::{Kernel, Lasts, Operand, Pack, Task, Written};
use crate::shape::{self, Atom, Dim};

use super::flatten::Flat;
use super::{Calls, Fuser, Keep, Placed};

/// Factors that are packed together.
pub(super) struct Packed {
    stack: Stack,
    packing: Packing,
    value: Value,
}

/// A factor, as one of those that loops take from a tensor.
#[derive(Clone)]
struct Stack {
    /// The loop before which it is packed; the function (0) for what lasts from call to call.
    region: usize,
    lasts: Lasts,
    /// All of them: an axis for each loop, the outermost first, before the factor's own.
    all: Operand,
    count: Dim,
    /// The number of the one that a step reads.
    index: Dim,
}

impl Fuser<'_> {
    /// Has products read rows interleaved that lie in runs.
    pub(super) fn interleave(&self, node: &Node, args: &mut [CallArg]) {
        for arg in args {
            if let CallArg::Packable(input, packing) = arg
                && let Some(runs) = self.reads.runs(node.inputs[*input])
            {
                packing.form = PackForm::Factor(Rows::Interleaved(runs.clone()));
            }
        }
    }

    /// Has what a call may read packed where that pays: `args` and `reads` then name the packed values.
    pub(super) fn pack(&mut self, id: NodeId, args: &mut [CallArg], reads: &mut Vec<Operand>) {
        for arg in args {
            let CallArg::Packable(input, packing) = arg else {
                continue;
            };
            let input = *input;
            let region = self.flat.region_of[id.index()];
            let stack = match (self.keep, self.calls) {
                (Keep::Everything, _) => None,
                (Keep::Results, Calls::Apart) => outermost(self.flat, region, &reads[input], packing),
                (Keep::Results, Calls::Repeated { least }) => {
                    of_parameter(self.flat, &reads[input], packing, least)
                        .or_else(|| outermost(self.flat, region, &reads[input], packing))
                }
            };
            *arg = match stack {
                None => packing.form.plain(input),
                Some(stack) => {
                    let (index, form) = (stack.index.clone(), packing.form.clone());
                    let packing = packing.clone();
                    reads.push(self.packed(stack, packing));
                    let packed = reads.len() - 1;
                    CallArg::Packed(Box::new(PackedInput {
                        input,
                        packed,
                        index,
                        form,
                    }))
                }
            };
        }
    }

    /// The packed factors of a stack.
    fn packed(&mut self, stack: Stack, packing: Packing) -> Operand {
        let ty = Type::new(DType::Float, stack.all.layout.shape.clone());
        let known = self.packs.iter().find(|known| {
            let (own, other) = (&known.stack, &stack);
            (own.region, own.lasts, &own.all) == (other.region, other.lasts, &other.all)
                && known.packing == packing
        });
        if let Some(known) = known {
            return super::reads::whole(known.value, &ty);
        }
        let value = self.new_value();
        let of = &self.flat.regions[stack.region];
        let (at, region, phase) = match stack.lasts {
            Lasts::Loop => (of.at, of.parent, of.phase),
            Lasts::Calls => (0, 0, Phase::Forward),
        };
        let name = self.graph.node(stack.all.value.node).display_name();
        self.placed.push(Placed {
            at,
            region,
            kernel: Kernel {
                task: Task::Pack(Pack {
                    packing: packing.clone(),
                    count: stack.count.clone(),
                    lasts: stack.lasts,
                }),
                reads: vec![stack.all.clone()],
                writes: vec![Written {
                    value,
                    ty: ty.clone(),
                    name: format!("{name}_packed").into(),
                }],
                scratch: Vec::new(),
                phase,
                flops: Dim::zero(),
                title: "pack".into(),
            },
        });
        self.packs.push(Packed {
            stack,
            packing,
            value,
        });
        super::reads::whole(value, &ty)
    }
}

/// A factor of at least so many elements that lies in a parameter, wherever loops around it take it from.
fn of_parameter(flat: &Flat, factor: &Operand, packing: &Packing, least: i64) -> Option<Stack> {
    let is_small = shape::numel(&packing.shape).as_lit().is_some_and(|n| n < least);
    let changes = |region: usize| depends(factor, packing, &flat.regions[region].index);
    if is_small || (1..flat.regions.len()).any(changes) {
        return None;
    }
    let mut stack = Stack {
        region: 0,
        lasts: Lasts::Calls,
        all: factor.clone(),
        count: Dim::one(),
        index: Dim::zero(),
    };
    loop {
        let value = stack.all.value;
        match flat.graph.node(value.node).leaf()? {
            LeafKind::Param(_) => {
                // Windows are packed from one run of memory.
                let is_run = stack.all.layout.is_contiguous();
                return (is_run || matches!(packing.form, PackForm::Factor(_))).then_some(stack);
            }
            LeafKind::Window => {
                let (_, of, offset) = flat.windows.iter().find(|(window, ..)| *window == value)?;
                let around = &flat.regions[flat.region_of[value.node.index()]];
                let (index, step) = (Dim::dynamic(&around.index), flat.graph.ty(value).numel());
                // One behind the other, in the order of the index.
                if *offset != &index * &step {
                    return None;
                }
                stack.index = stack.index + index * &stack.count;
                stack.count = stack.count * &around.count;
                stack.all.layout.shape.insert(0, around.count.clone());
                stack.all.layout.strides.insert(0, step);
                stack.all.value = *of;
            }
            _ => return None,
        }
    }
}

/// A factor before the outermost loop around `region` (or that itself) in whose steps it and its packing are the same.
fn outermost(flat: &Flat, mut region: usize, factor: &Operand, packing: &Packing) -> Option<Stack> {
    let made_in = flat.region_of.get(factor.value.node.index())?;
    let mut found = None;
    while region != *made_in && region != 0 {
        let of = &flat.regions[region];
        if depends(factor, packing, &of.index) {
            break;
        }
        if !of.count.is_one() {
            found = Some(region);
        }
        region = of.parent;
    }
    Some(Stack {
        region: found?,
        lasts: Lasts::Loop,
        all: factor.clone(),
        count: Dim::one(),
        index: Dim::zero(),
    })
}

/// Whether a factor or its packing is another one in each step of a loop with this index.
fn depends(factor: &Operand, packing: &Packing, index: &str) -> bool {
    let own = [&packing.rows, &factor.layout.offset];
    let sizes = own
        .into_iter()
        .chain(&factor.layout.shape)
        .chain(&factor.layout.strides);
    let is_index = |atom: &Atom| matches!(atom, Atom::Dynamic(symbol) if *symbol.name() == *index);
    sizes.into_iter().any(|size| size.atoms().iter().any(is_index))
}
