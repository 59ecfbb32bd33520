//! Plans executed with the runtime's kernels, as emitted code would, without rustc.
//!
//! Buffers, offsets and arguments are those that emitted code names; calls go to the functions of
//! [`rt`](tapeless_runtime::rt) by name, pointwise groups to an evaluator of the *spelling* of their rows, that is, of the
//! text that would be compiled. Before every kernel, all bytes of the arena that no slot alive at that moment holds are
//! overwritten with NaN.

mod arguments;
mod call;
mod group;
mod images;
mod memory;
mod spelling;

use std::collections::BTreeMap;

use tapeless_runtime::Precision;

use super::tensor::Tensor;
use super::world::World;
use crate::ir::OutputKind;
use crate::plan::{Place, Plan, Task};

pub use memory::Layout;
use memory::Machine;

/// What a run of a plan gives.
pub struct Run {
    /// The outputs.
    pub outputs: BTreeMap<OutputKind, Tensor>,
    /// What a kernel found wrong with its data.
    pub failure: Option<String>,
}

/// Runs a plan on one thread.
pub fn execute(plan: &Plan, world: &World, precision: Precision) -> Run {
    let mut machine = Machine::new(plan, world, precision);
    let mut failure = None;
    for (k, kernel) in plan.kernels.iter().enumerate() {
        machine.poison(k);
        let complaint = machine.run(|machine, cx| match &kernel.task {
            Task::Call(task, epilogue) => {
                let site = call::Site {
                    plan,
                    world,
                    machine,
                    k,
                };
                call::call(cx, &site, task, epilogue);
            }
            Task::Group(task) => group::group(cx, plan, world, machine, kernel, task),
            Task::Copy => call::copy(
                cx,
                &call::Site {
                    plan,
                    world,
                    machine,
                    k,
                },
            ),
        });
        failure = failure.or(complaint);
    }
    let shape_of = |kind: OutputKind, default: &[usize]| match kind {
        OutputKind::ParamGrad(id) => world.params[id.index()].shape().to_vec(),
        OutputKind::InputGrad(id) => world.inputs[id.index()].shape().to_vec(),
        OutputKind::State(id) => world.states[id.index()].shape().to_vec(),
        OutputKind::Result(_) | OutputKind::Next(_) | OutputKind::Collect(_) => default.to_vec(),
    };
    let outputs = plan.outputs.iter().map(|output| {
        let ty = match plan.results.iter().find(|(value, _)| *value == output.value) {
            Some((_, ty)) => ty.clone(),
            None => plan.stored_type(output.value).clone(),
        };
        let stored = machine.read(plan.places[&output.value], &ty);
        let shape = shape_of(output.kind, stored.shape());
        (output.kind, stored.reshape(&shape))
    });
    Run {
        outputs: outputs.collect(),
        failure,
    }
}

/// Checks that outputs lie where the runtime looks for them.
pub fn check_places(plan: &Plan) {
    for output in &plan.outputs {
        let place = plan.places[&output.value];
        let fits = match output.kind {
            OutputKind::Result(_) | OutputKind::InputGrad(_) => matches!(place, Place::Slot(_)),
            OutputKind::ParamGrad(id) => place == Place::Grad(id.index()),
            OutputKind::State(id) => place == Place::NewState(id.index()),
            OutputKind::Next(_) | OutputKind::Collect(_) => false,
        };
        assert!(fits, "{} lies in {place:?}", output.kind);
    }
}
