//! Loops, built by hand: values, gradients and schedules.

use super::gradients::assert_gradients;
use super::*;
use crate::ir::{Scalar, Steps, Type};
use crate::ops::fill::Fill;
use crate::ops::matmul::Matmul;
use crate::ops::scan::{Order, Recording, Role};
use crate::oracle::generate::Draft;
use crate::shape::Dim;

fn lits(sizes: &[i64]) -> Vec<Dim> {
    sizes.iter().map(|&n| Dim::lit(n)).collect()
}

fn steps(count: Dim, order: Order) -> Steps<'static> {
    Steps {
        name: "steps",
        count,
        order,
    }
}

/// h' = tanh(x_t u + h w), every h collected.
fn rnn(count: i64, order: Order) -> Program {
    let mut draft = Draft::empty(count as u64);
    draft.world.sizes.insert("T".into(), count);
    draft.world.sizes.insert("B".into(), 3);
    let (t, b) = (Dim::dynamic("T"), Dim::dynamic("B"));
    let x = draft.input(vec![t.clone(), b.clone(), Dim::lit(4)]);
    let (u, w) = (draft.param(lits(&[4, 5])), draft.param(lits(&[5, 5])));
    let ty = Type::float(vec![b, Dim::lit(5)]);
    let h = draft.b.push(
        Fill {
            value: 0.5.into(),
            ty,
        },
        &[],
    );
    let operands = [
        (x, Role::Step),
        (h, Role::Carry),
        (u, Role::Outer),
        (w, Role::Outer),
    ];
    let results = draft.b.scan(steps(t, order), &operands, |b, _, args| {
        let (x, h) = (
            b.push(Matmul, &[args[0], args[2]]),
            b.push(Matmul, &[args[1], args[3]]),
        );
        let sum = b.add(x, h);
        let h = b.pointwise("tanh", &[sum]);
        (vec![h], vec![h])
    });
    let (last, all) = (draft.weigh(results[0]), draft.weigh(results[1]));
    let loss = draft.b.add(last, all);
    draft.result(loss);
    draft.result(results[1]);
    draft.program()
}

/// Layers x' = x + (i + j) scale sigmoid(x w_ij), in a loop inside of a loop, beside a number that is multiplied up.
fn nested() -> Program {
    let mut draft = Draft::empty(11);
    let x = draft.param(lits(&[3, 4]));
    let (w, scale) = (draft.param(lits(&[2, 3, 4, 4])), draft.param(lits(&[])));
    let n = (Dim::lit(2), Dim::lit(3));
    let operands = [
        (x, Role::Carry),
        (w, Role::Step),
        (scale, Role::Outer),
        (scale, Role::Carry),
    ];
    let results = draft
        .b
        .scan(steps(n.0, Order::Ascending), &operands, |b, i, outer| {
            let operands = [
                (outer[0], Role::Carry),
                (outer[1], Role::Step),
                (outer[2], Role::Outer),
            ];
            let inner = b.scan(steps(n.1, Order::Ascending), &operands, |b, j, args| {
                let y = b.push(Matmul, &[args[0], args[1]]);
                let y = b.pointwise("sigmoid", &[y]);
                let shape = b.shape(y);
                let factor = b.expand(args[2], &shape);
                let y = b.mul(y, factor);
                let step = b.scale(y, Scalar::dim(&(i + j)));
                let x = b.add(args[0], step);
                (vec![x], vec![y])
            });
            let product = b.mul(outer[3], outer[2]);
            (vec![inner[0], product], vec![inner[1], outer[3]])
        });
    let mut loss = None;
    for value in results {
        let term = draft.weigh(value);
        loss = Some(loss.map_or(term, |sum| draft.b.add(sum, term)));
    }
    let loss = loss.expect("there are results");
    draft.result(loss);
    draft.program()
}

/// Two carries that change places, and truth values that are collected.
fn exchange() -> Program {
    let mut draft = Draft::empty(5);
    let (a, b) = (draft.param(lits(&[3])), draft.param(lits(&[3])));
    let operands = [(a, Role::Carry), (b, Role::Carry)];
    let results = draft
        .b
        .scan(steps(Dim::lit(5), Order::Ascending), &operands, |b, _, args| {
            let is_larger = b.pointwise("gt", &[args[0], args[1]]);
            let double = b.scale(args[0], 0.75);
            (vec![args[1], double], vec![is_larger])
        });
    let (x, y) = (draft.weigh(results[0]), draft.weigh(results[1]));
    let loss = draft.b.add(x, y);
    draft.result(loss);
    draft.result(results[2]);
    draft.program()
}

/// h' = x_t u + tanh(h): a product is added, but not to the carry.
fn driven() -> Program {
    let mut draft = Draft::empty(6);
    let x = draft.input(lits(&[4, 3, 2]));
    let (u, h) = (draft.param(lits(&[2, 5])), draft.param(lits(&[3, 5])));
    let operands = [(x, Role::Step), (h, Role::Carry), (u, Role::Outer)];
    let loop_of = steps(Dim::lit(4), Order::Ascending);
    let results = draft.b.scan(loop_of, &operands, |b, _, args| {
        let product = b.push(Matmul, &[args[0], args[2]]);
        let squashed = b.pointwise("tanh", &[args[1]]);
        (vec![b.add(product, squashed)], vec![])
    });
    let loss = draft.weigh(results[0]);
    draft.result(loss);
    draft.program()
}

/// The same program whose loops record their carries only.
fn recomputing(mut program: Program) -> Program {
    fn visit(graph: &mut Graph) {
        let ids: Vec<_> = graph.iter().map(|(id, _)| id).collect();
        for id in ids {
            if let crate::ops::Op::Scan(scan) = &mut graph.node_mut(id).op {
                scan.recording = Recording::Carries;
                visit(&mut scan.body);
            }
        }
    }
    visit(&mut program.graph);
    program
}

pub(super) fn programs() -> Vec<(&'static str, Program)> {
    vec![
        ("rnn of 4 steps", rnn(4, Order::Ascending)),
        ("rnn of 3 steps, backwards", rnn(3, Order::Descending)),
        ("rnn of 1 step", rnn(1, Order::Ascending)),
        ("rnn of no step", rnn(0, Order::Ascending)),
        ("nested loops", nested()),
        ("exchanged carries", exchange()),
        ("a driven carry", driven()),
        (
            "rnn of 4 steps, recomputed",
            recomputing(rnn(4, Order::Ascending)),
        ),
        ("nested loops, recomputed", recomputing(nested())),
    ]
}

#[test]
fn gradients_of_loops_are_those_that_differences_show() {
    for (what, program) in programs() {
        verified(&program.graph);
        let n_compared = assert_gradients(&program, what);
        assert!(n_compared > 0, "{what}: nothing was compared");
    }
}

#[test]
fn simplification_keeps_the_meaning_of_loops() {
    for (what, program) in programs() {
        let simple = simplify(&program.graph);
        verified(&simple);
        let (a, b) = (
            interpret(&program.graph, &program.world),
            interpret(&simple, &program.world),
        );
        assert_eq!(difference(&a, &b, 1e-12, 1e-9), None, "{what}");
    }
}

#[test]
fn schedules_of_loops_compute_what_their_graphs_mean() {
    for (what, program) in programs() {
        let want = interpret(&program.graph, &program.world);
        assert_computes(&planned(&simplify(&program.graph)), &program.world, &want, what);
        let unfused = planner::plan(unfused(&program.graph), Reuse::Never);
        assert_computes(&unfused, &program.world, &want, &format!("{what}, unfused"));
        let joint = joint(&program).expect("there is a gradient");
        let want = interpret(&joint, &program.world);
        assert_computes(
            &planned(&joint),
            &program.world,
            &want,
            &format!("gradient of {what}\n{joint}"),
        );
    }
}

fn recurrent(fields: &str, body: &str) -> Program {
    use crate::diag::Diagnostics;
    use crate::grad::Wanted;
    use crate::ir::ParamId;
    use crate::lower::{lower, tests::define};
    use crate::oracle::generate::Dice;
    use crate::oracle::tensor::build;
    let source = format!(
        "struct Net {{ {fields} }}
         impl Net {{
             pub fn loss<B: Dim, T: Dim>(&self, x: Tensor<B, T, 3>, n: Tensor<i64, B>) -> Scalar {{ {body} }}
         }}"
    );
    let mut diagnostics = Diagnostics::new();
    let lowered = lower(&define(&source), &mut diagnostics);
    if let Err(errors) = diagnostics.finish() {
        panic!("{errors}");
    }
    let lowered = lowered.expect("there was no error");
    let mut dice = Dice::new(3);
    let mut world = World::default();
    world.sizes.insert("B".into(), 2);
    world.sizes.insert("T".into(), 4);
    world
        .inputs
        .push(Tensor::Float(build(&[2, 4, 3], |_| dice.symmetric())));
    world
        .inputs
        .push(Tensor::Int(build(&[2], |i| 4 - 2 * i[0] as i64)));
    for param in &lowered.params {
        let shape = world.shape(&param.shape);
        world
            .params
            .push(Tensor::Float(build(&shape, |_| dice.symmetric())));
    }
    Program {
        graph: lowered.functions[0].train.clone().expect("a loss has a gradient"),
        wanted: Wanted {
            params: (0..lowered.params.len()).map(ParamId::new).collect(),
            inputs: Vec::new(),
        },
        world,
    }
}

#[test]
fn recurrent_layers_have_the_gradients_that_differences_show() {
    for (fields, body) in [
        (
            "rnn: Rnn<3, 4>",
            "let (y, h) = self.rnn(x); (y * y).mean() + h.sum()",
        ),
        (
            "rnn: Rnn<3, 4>",
            "let (y, h) = self.rnn(x, lengths = n); (y * y).mean() + h.sum()",
        ),
        (
            "gru: Gru<3, 4>",
            "let (y, h) = self.gru(x); (y * y).mean() + h.sum()",
        ),
        (
            "lstm: Lstm<3, 4>",
            "let (y, h, c) = self.lstm(x); (y * y).mean() + h.sum()",
        ),
        (
            "lstm: Lstm<3, 4>",
            "let (y, h, c) = self.lstm(x, lengths = n); (y * y).mean() + c.sum()",
        ),
        (
            "#[layer(layers = 2, bidirectional = true)] lstm: Lstm<3, 4>",
            "let (y, h, c) = self.lstm(x); (y * y).mean() + (h * h * c).sum()",
        ),
        (
            "#[layer(layers = 2, bidirectional = true)] lstm: Lstm<3, 4>, gru: Gru<8, 5>, \
             #[layer(nonlinearity = \"relu\", bias = false)] rnn: Rnn<5, 2>",
            "let (y, h, c) = self.lstm(x, lengths = n); let (z, g) = self.gru(y); let (y, _) = self.rnn(z); \
             y.square().mean() + h.square().mean() + c.sum() * 0.1 + g.mean()",
        ),
    ] {
        let program = recurrent(fields, body);
        assert!(assert_gradients(&program, body) > 0);
        let joint = joint(&program).expect("there is a gradient");
        let want = interpret(&joint, &program.world);
        assert_computes(
            &planned(&joint),
            &program.world,
            &want,
            &format!("{body}\n{joint}"),
        );
    }
}
