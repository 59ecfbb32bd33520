//! Schedules compute what their graphs mean.

use super::super::generate::Draft;
use super::*;
use crate::ir::ViewMap;
use crate::layout::turn_and_show;
use crate::ops::pad::Pad;
use crate::ops::view::View;
use crate::plan::{Kernel, Task};
use crate::shape::Dim;

#[test]
fn simplifying_changes_no_result() {
    for seed in SEEDS {
        let Program { graph, world, .. } = program(seed);
        verified(&graph);
        let simple = simplify(&graph);
        verified(&simple);
        let (got, want) = (interpret(&simple, &world), interpret(&graph, &world));
        if let Some(difference) = difference(&got, &want, 1e-12, 1e-6) {
            panic!("seed {seed}: {difference}\n{graph}\nsimplified\n{simple}");
        }
    }
}

#[test]
fn schedules_compute_what_their_graphs_mean() {
    for seed in SEEDS {
        let Program { graph, world, .. } = program(seed);
        let want = interpret(&graph, &world);
        let plan = planned(&simplify(&turn(&graph, Sweeps::Forward)));
        assert_computes(&plan, &world, &want, &format!("seed {seed}\n{graph}"));
    }
}

#[test]
fn joint_schedules_compute_results_and_gradients() {
    for seed in SEEDS {
        let program = program(seed);
        let Some(joint) = joint(&program) else { continue };
        let want = interpret(&joint, &program.world);
        assert_computes(
            &planned(&joint),
            &program.world,
            &want,
            &format!("seed {seed}\n{joint}"),
        );
    }
}

/// Fusion moves values, not roundings: outputs are the same bits but where a value is recomputed in another place.
#[test]
fn unfused_schedules_give_the_same_numbers() {
    for seed in SEEDS {
        let Program { graph, world, .. } = program(seed);
        let graph = turn(&graph, Sweeps::Forward);
        let unfused = planner::plan(unfused(&graph), Reuse::Never);
        let want = execute(&planned(&graph), &world, Precision::F32);
        let got = execute(&unfused, &world, Precision::F32);
        if let Some(difference) = difference(&got.outputs, &want.outputs, 0.0, 0.0) {
            panic!("seed {seed}: {difference}\n{graph}");
        }
    }
}

/// Factors that stay packed from call to call change no bit, in loops and outside of them.
#[test]
fn packed_parameters_give_the_same_numbers() {
    let mut n_packed = 0;
    for seed in SEEDS {
        let Program { graph, world, .. } = program(seed);
        let graph = simplify(&turn(&graph, Sweeps::Forward));
        let plan = planner::plan(fuse(&graph, Calls::Repeated { least: 1 }), Reuse::AfterLastUse);
        let is_packed = |kernel: &&Kernel| matches!(kernel.task, Task::Pack(_));
        n_packed += plan.kernels.iter().filter(is_packed).count();
        let want = execute(&planned(&graph), &world, Precision::F32);
        let got = execute(&plan, &world, Precision::F32);
        if let Some(difference) = difference(&got.outputs, &want.outputs, 0.0, 0.0) {
            panic!("seed {seed}: {difference}\n{graph}");
        }
    }
    assert!(n_packed > 50, "{n_packed} factors of 200 programs stay packed");
}

/// A trace shows every named value as it is.
#[test]
fn traces_hold_the_named_values() {
    for seed in SEEDS {
        let Program { mut graph, world, .. } = program(seed);
        graph
            .outputs
            .retain(|output| matches!(output.kind, OutputKind::Result(_)));
        let plan = planner::plan(unfused(&turn_and_show(&graph)), Reuse::Never);
        let run = execute(&plan, &world, Precision::F64);
        let want = interpret(&graph, &world);
        if let Some(difference) = difference(&run.outputs, &want, 1e-10, 1e-6) {
            panic!("seed {seed}: {difference}\n{graph}");
        }
        assert!(plan.slots.iter().all(|slot| slot.last == usize::MAX));
    }
}

/// `sum(pad(w) * probe)`: the gradient of `w` is the beginning of a larger value, and another gradient lies behind it.
#[test]
fn a_gradient_takes_no_more_room_than_its_parameter() {
    let mut draft = Draft::empty(1);
    let (w, v) = (draft.param(vec![Dim::lit(5)]), draft.param(vec![Dim::lit(16)]));
    let pad = Pad {
        starts: vec![Dim::zero()],
        steps: vec![1],
        shape: vec![Dim::lit(16)],
        value: 0.0.into(),
    };
    let padded = draft.b.push(pad, &[w]);
    let product = draft.b.mul(padded, v);
    let loss = draft.weigh(product);
    draft.result(loss);
    let program = draft.program();
    let joint = joint(&program).expect("there is a gradient");
    let want = interpret(&joint, &program.world);
    assert_computes(&planned(&joint), &program.world, &want, &joint.to_string());
}

/// A chain of sums, each of them a result.
#[test]
fn a_group_has_no_more_results_than_its_kernel_takes() {
    let mut draft = Draft::empty(2);
    let x = draft.input(vec![Dim::lit(3)]);
    let mut sum = x;
    for _ in 0..20 {
        sum = draft.b.add(sum, x);
        draft.result(sum);
    }
    let Program { graph, world, .. } = draft.program();
    assert_computes(&planned(&graph), &world, &interpret(&graph, &world), "sums");
}

/// A sum of many parts of one tensor: one value in many layouts.
#[test]
fn a_group_has_no_more_operands_than_its_kernel_takes() {
    let mut draft = Draft::empty(3);
    let x = draft.input(vec![Dim::lit(40)]);
    let parts: Vec<_> = (0..20)
        .map(|k| {
            let part = ViewMap::Slice {
                starts: vec![Dim::lit(2 * k)],
                steps: vec![1],
                sizes: vec![Dim::lit(2)],
            };
            draft.b.push(View(part), &[x])
        })
        .collect();
    let sum = parts[1..]
        .iter()
        .fold(parts[0], |sum, &part| draft.b.add(sum, part));
    draft.result(sum);
    let Program { graph, world, .. } = draft.program();
    assert_computes(
        &planned(&graph),
        &world,
        &interpret(&graph, &world),
        "sum of parts",
    );
}
