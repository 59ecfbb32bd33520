//! The stages against the oracle.

mod families;
mod flattened;
mod gradients;
mod layout;
mod loops;
mod memory;
mod schedule;
mod second;
mod unrolled;

use super::close::difference;
use super::execute::{check_places, execute};
use super::generate::{Program, program};
use super::interpret::interpret;
use super::tensor::Tensor;
use super::world::World;
use crate::fuse::{Calls, fuse, unfused};
use crate::grad::{Gradient, differentiate, hessian_product};
use crate::hoist::hoist;
use crate::ir::verify::verify;
use crate::ir::{Graph, OutputKind};
use crate::layout::{Sweeps, turn};
use crate::map::Map;
use crate::memory::{self as planner, Reuse};
use crate::plan::Plan;
use crate::simplify::simplify;
use tapeless_runtime::Precision;

/// Seeds of the random programs.
const SEEDS: std::ops::Range<u64> = 0..200;

/// The plan that is emitted for a graph.
fn planned(graph: &Graph) -> Plan {
    let plan = planner::plan(fuse(graph, Calls::Apart), Reuse::AfterLastUse);
    check_places(&plan);
    plan
}

/// The joint graph as the pipeline makes it; `None` where the loss depends on nothing that is wanted.
fn joint(program: &Program) -> Option<Graph> {
    match differentiate(
        simplify(&turn(&program.graph, Sweeps::Both)),
        &program.wanted,
        simplify,
    ) {
        Gradient::Joint(joint) => {
            verified(&joint);
            let joint = simplify(&hoist(&simplify(&joint)));
            verified(&joint);
            Some(joint)
        }
        Gradient::Unreached(_) => None,
    }
}

fn verified(graph: &Graph) {
    if let Err(violation) = verify(graph) {
        panic!("{violation}\n{graph}");
    }
}

/// Runs a plan, which must not complain, in f64 to 1e-10 and in f32 to 1e-4 of what the interpreter says.
#[track_caller]
fn assert_computes(plan: &Plan, world: &World, want: &Map<OutputKind, Tensor>, what: &str) {
    // Sums that cancel keep the rounding of their terms, which are around 1.
    for (precision, tolerance, floor) in [(Precision::F64, 1e-10, 1e-4), (Precision::F32, 1e-4, 0.1)] {
        let run = execute(plan, world, precision);
        assert_eq!(run.failure, None, "{what} in {precision}");
        if let Some(difference) = difference(&run.outputs, want, tolerance, floor) {
            panic!("{what} in {precision}: {difference}");
        }
    }
}
