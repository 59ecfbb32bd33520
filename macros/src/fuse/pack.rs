//! Factors packed once: what every step of a loop multiplies by is packed before the loop.
//!
//! ```text
//!                                            %9 = pack(%w)
//! for i in 0..T { h = matmul(h, %w) }   becomes   for i in 0..T { h = matmul(h, %w, packed as %9) }
//! ```
//!
//! Packing is a copy of the weights in the order in which a product reads them, and without this every step would make it anew. It
//! moves out of all loops in which the factor and what its packing depends on are the same; a loop of a single step is none.

use crate::ir::{Call, CallArg, DType, NodeId, Packing, Type, Value};
use crate::plan::{Epilogue, Kernel, Operand, Task, Written};
use crate::shape::{Atom, Dim};

use super::flatten::Flat;
use super::{Fuser, Keep, Placed};

/// A factor that is packed.
pub(super) struct Packed {
    factor: Operand,
    packing: Packing,
    /// The loop before which.
    region: usize,
    value: Value,
}

impl Fuser<'_> {
    /// Has what a call may read packed where that pays: `args` and `reads` then name the packed values.
    pub(super) fn pack(&mut self, id: NodeId, args: &mut [CallArg], reads: &mut Vec<Operand>) {
        for arg in args {
            let CallArg::Packable(input, packing) = arg else {
                continue;
            };
            let factor = &reads[*input];
            let region = self.flat.region_of[id.index()];
            let packed = match outermost(self.flat, region, factor, packing) {
                Some(region) if self.keep == Keep::Results => self.packed(factor, packing, region),
                _ => {
                    *arg = CallArg::InView(*input);
                    continue;
                }
            };
            reads.push(packed);
            *arg = CallArg::Packed(*input, reads.len() - 1);
        }
    }

    /// A factor packed before a loop.
    fn packed(&mut self, factor: &Operand, packing: &Packing, region: usize) -> Operand {
        let ty = Type::new(DType::Float, vec![packing.len()]);
        let known = self
            .packs
            .iter()
            .find(|p| p.region == region && p.factor == *factor && p.packing == *packing);
        if let Some(known) = known {
            return super::reads::whole(known.value, &ty);
        }
        let value = self.new_value();
        let of = &self.flat.regions[region];
        let name = self.graph.node(factor.value.node).display_name();
        let call = Call {
            function: packing.function,
            args: vec![
                CallArg::InView(0),
                CallArg::Out(0),
                CallArg::Size(packing.size.clone()),
            ],
            scratch: Vec::new(),
        };
        self.placed.push(Placed {
            at: of.at,
            region: of.parent,
            kernel: Kernel {
                task: Task::Call(Box::new(call), Epilogue::default()),
                reads: vec![factor.clone()],
                writes: vec![Written {
                    value,
                    ty: ty.clone(),
                    name: format!("{name}_packed").into(),
                }],
                scratch: Vec::new(),
                phase: of.phase,
                flops: Dim::zero(),
                title: packing.function.into(),
            },
        });
        self.packs.push(Packed {
            factor: factor.clone(),
            packing: packing.clone(),
            region,
            value,
        });
        super::reads::whole(value, &ty)
    }
}

/// The outermost loop around `region` (or that itself) in whose steps a factor and its packing are the same.
fn outermost(flat: &Flat, mut region: usize, factor: &Operand, packing: &Packing) -> Option<usize> {
    let made_in = flat.region_of.get(factor.value.node.index())?;
    let mut found = None;
    while region != *made_in && region != 0 {
        let of = &flat.regions[region];
        let sizes = [&packing.size, &factor.layout.offset];
        let sizes = sizes
            .into_iter()
            .chain(&factor.layout.shape)
            .chain(&factor.layout.strides);
        if sizes.into_iter().any(|size| mentions(size, &of.index)) {
            break;
        }
        if !of.count.is_one() {
            found = Some(region);
        }
        region = of.parent;
    }
    found
}

fn mentions(size: &Dim, index: &str) -> bool {
    let is_index = |atom: &Atom| matches!(atom, Atom::Dynamic(symbol) if *symbol.name() == *index);
    size.atoms().iter().any(is_index)
}
