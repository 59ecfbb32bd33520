//! Floating point operations of layers, for the summary.

use crate::map::Set;

use crate::ir::{Demand, Graph, Type};
use crate::ops::Op;
use crate::shape::{Atom, Dim};

/// Operations of a graph that belong to the layer at `path`, those of all steps of a loop; `None` where the layer is not used.
pub(super) fn flops_in(graph: &Graph, path: &str) -> Option<Dim> {
    let is_inside = |scope: &str| {
        let rest = scope.strip_prefix(path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    let mut sum = None;
    for (_, node) in graph.iter() {
        let flops = match &node.op {
            Op::Scan(scan) => flops_in(&scan.body, path).map(|flops| flops * &scan.count),
            op if !node.origin.scope.is_empty() && is_inside(&node.origin.scope) => {
                let inputs: Vec<Type> = node.inputs.iter().map(|v| graph.ty(*v).clone()).collect();
                Some(op.rule().flops(&inputs, &node.types))
            }
            _ => None,
        };
        sum = match (sum, flops) {
            (Some(sum), Some(flops)) => Some(sum + flops),
            (sum, flops) => sum.or(flops),
        };
    }
    sum
}

/// How often sizes are doubled until every window fits.
const MAX_DOUBLINGS: u32 = 40;

/// Doublings where a window is of a size that only rustc knows: it is taken to cover less than a thousand elements.
const UNKNOWN: u32 = 10;

/// A count with every dynamic dimension at its smallest positive value; those that windows lie in, as large as all the windows
/// of the function need (to the next power of two).
pub(super) fn one_sample(dim: &Dim, demands: &[Demand]) -> Dim {
    let seen: Set<Atom> = demands.iter().flat_map(|demand| room(demand).atoms()).collect();
    let at = |dim: &Dim, doublings: u32| {
        dim.substitute(&|atom| match atom {
            Atom::Dynamic(symbol) if seen.contains(atom) => Some(Dim::lit(symbol.multiple() << doublings)),
            Atom::Dynamic(symbol) => Some(Dim::lit(symbol.multiple())),
            _ => None,
        })
    };
    let fits = |doublings: &u32| {
        let holds = |demand| match at(&room(demand), *doublings).as_lit() {
            Some(room) => room >= 0,
            None => *doublings >= UNKNOWN,
        };
        demands.iter().all(holds)
    };
    let fitting = (0..MAX_DOUBLINGS).find(fits);
    fitting.map_or_else(Dim::zero, |doublings| at(dim, doublings))
}

/// What is left between the two sizes.
fn room(demand: &Demand) -> Dim {
    &demand.larger - &demand.smaller
}
