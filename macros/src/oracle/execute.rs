//! Plans executed with the runtime's kernels, as emitted code would, without rustc.
//!
//! Buffers, offsets and arguments are those that emitted code names; calls go to the functions of
//! [`rt`](tapeless_runtime::rt) by name, pointwise groups to an evaluator of the *spelling* of their rows, that is, of the
//! text that would be compiled. Before every kernel, all bytes of the arena that no slot alive at that moment holds are
//! overwritten with NaN.

mod arguments;
mod attention;
mod call;
mod group;
mod images;
mod memory;
mod spelling;

use crate::map::Map;
use std::ops::Range;

use tapeless_runtime::Precision;

use super::tensor::Tensor;
use super::world::World;
use crate::ir::OutputKind;
use crate::ops::scan::Order;
use crate::plan::{Loop, Place, Plan, Task};

pub use memory::Layout;
use memory::Machine;

/// What a run of a plan gives.
pub struct Run {
    /// The outputs.
    pub outputs: Map<OutputKind, Tensor>,
    /// What a kernel found wrong with its data.
    pub failure: Option<String>,
}

/// Runs a plan on one thread.
pub fn execute(plan: &Plan, world: &World, precision: Precision) -> Run {
    let mut runner = Runner {
        plan,
        machine: Machine::new(plan, world, precision),
        failure: None,
    };
    runner.kernels(world, 0..plan.kernels.len(), 0, None);
    let Runner { machine, failure, .. } = runner;
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

struct Runner<'a> {
    plan: &'a Plan,
    machine: Machine<'a>,
    failure: Option<String>,
}

impl Runner<'_> {
    /// Runs kernels, those of loops once a step. Loops from position `first_loop` on are still closed; `further` is the
    /// loop of which this is not the first step.
    fn kernels(
        &mut self,
        world: &World,
        range: Range<usize>,
        first_loop: usize,
        further: Option<&Range<usize>>,
    ) {
        let mut k = range.start;
        while k < range.end {
            let loops = self.plan.loops.iter().enumerate().skip(first_loop);
            let starting = loops
                .into_iter()
                .find(|(_, l)| l.kernels.start == k && l.kernels.end <= range.end);
            match starting {
                Some((position, inner)) if !inner.kernels.is_empty() => {
                    self.steps(world, inner, position, further);
                    k = inner.kernels.end;
                }
                _ => {
                    self.kernel(world, k, further);
                    k += 1;
                }
            }
        }
    }

    fn steps(&mut self, world: &World, inner: &Loop, position: usize, further: Option<&Range<usize>>) {
        let count = world.size(&inner.count);
        let steps: Vec<usize> = match inner.order {
            Order::Ascending => (0..count).collect(),
            Order::Descending => (0..count).rev().collect(),
        };
        for (taken, step) in steps.into_iter().enumerate() {
            let mut world = world.clone();
            world.sizes.insert(inner.index.to_string(), step as i64);
            if inner.is_repeated() {
                world.steps.push(step);
            }
            let further = if taken > 0 { Some(&inner.kernels) } else { further };
            self.kernels(&world, inner.kernels.clone(), position + 1, further);
        }
    }

    fn kernel(&mut self, world: &World, k: usize, further: Option<&Range<usize>>) {
        let (plan, kernel) = (self.plan, &self.plan.kernels[k]);
        self.machine.poison(k, further);
        let complaint = self.machine.run(world, |machine, cx| {
            let site = call::Site {
                plan,
                world,
                machine,
                k,
            };
            match &kernel.task {
                Task::Call(task, epilogue) => call::call(cx, &site, task, epilogue),
                Task::Group(task) => group::group(cx, plan, world, machine, kernel, task),
                Task::Copy => call::copy(cx, &site),
                Task::Pack(task) => call::pack(cx, &site, task),
            }
        });
        self.failure = self.failure.take().or(complaint);
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
