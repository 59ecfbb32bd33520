//! Every operation by itself: values against the interpreter, gradients against differences, over odd shapes.

use super::gradients::assert_gradients;
use super::second::{assert_products, curved, product};
use super::*;
use crate::map::Set;

use crate::ast::TensorDtype;
use crate::diag::Diagnostics;
use crate::grad::Wanted;
use crate::ir::{DType, InputId, Sample, SampleGradient, Value};
use crate::lower::{lower, tests::define};
use crate::model::InputGrad;
use crate::ops;
use crate::ops::pointwise::{Derivative, Pointwise, Row, rows};
use crate::oracle::generate::Dice;
use crate::oracle::generate::Draft;
use crate::oracle::interpret;
use crate::oracle::tensor::build;
use crate::samples;
use crate::shape::Dim;

/// Shapes to try: none, of one element, odd, without elements.
const SHAPES: &[&[i64]] = &[&[], &[1], &[3, 5], &[0, 4], &[2, 1, 7]];

/// A program with the row applied to operands of one shape, weighed and summed.
fn row_program(row: &'static Row, kinds: &[DType], shape: &[i64], seed: u64) -> Program {
    let mut draft = Draft::empty(seed);
    let dims: Vec<Dim> = shape.iter().map(|&n| Dim::lit(n)).collect();
    let sizes: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
    let (low, high) = row.domain;
    let operands: Vec<Value> = kinds
        .iter()
        .map(|kind| match kind {
            DType::Float => {
                let values = build(&sizes, |_| {
                    let middle = 0.5 * (low + high);
                    f64::from((middle + 0.5 * (high - low) * draft.dice.symmetric()) as f32)
                });
                let x = draft.argument(dims.clone(), Tensor::Float(values));
                draft.want(x);
                x
            }
            DType::Int => draft.labels(dims.clone(), 5),
            DType::Bool => {
                let values = build(&sizes, |_| draft.dice.below(2) == 0);
                draft.argument(dims.clone(), Tensor::Bool(values))
            }
        })
        .collect();
    let y = draft.b.push(Pointwise(row), &operands);
    if draft.dtype(y) == DType::Float {
        let loss = draft.weigh(y);
        draft.result(loss);
    }
    draft.result(y);
    draft.program()
}

/// All kinds of operands that a row takes.
fn kinds_of(row: &Row) -> Vec<Vec<DType>> {
    let all = [DType::Float, DType::Int, DType::Bool];
    let n = row.signature.arity();
    let mut lists: Vec<Vec<DType>> = vec![Vec::new()];
    for _ in 0..n {
        lists = lists
            .iter()
            .flat_map(|list| all.map(|kind| [list.clone(), vec![kind]].concat()))
            .collect();
    }
    lists.retain(|kinds| row.signature.result(kinds).is_some());
    lists
}

#[test]
fn every_row_computes_its_formula_and_its_derivative() {
    for row in rows() {
        let kinds = kinds_of(row);
        assert!(!kinds.is_empty(), "`{}` takes operands of some kind", row.name);
        for (kinds, (seed, shape)) in kinds
            .iter()
            .flat_map(|kinds| (0..).zip(SHAPES).map(move |case| (kinds, case)))
        {
            let program = row_program(row, kinds, shape, seed);
            let what = format!("`{}` of {kinds:?} {shape:?}", row.name);
            let want = interpret::interpret(&program.graph, &program.world);
            assert_computes(&planned(&program.graph), &program.world, &want, &what);
            let n_compared = assert_gradients(&program, &what);
            assert_products(&program, &what);
            let n = shape.iter().product::<i64>() as usize;
            let is_float = kinds.iter().all(|kind| *kind == DType::Float);
            if let (Derivative::Rule(_), true) = (row.derivative, is_float) {
                assert!(
                    n_compared >= n.min(8),
                    "{what}: {n_compared} derivatives were compared"
                );
            }
        }
    }
}

/// A function of a sample with arguments for a row of sizes; the probed one where there is a gradient.
fn sample_program(sample: &Sample, which: usize, sizes: &[usize], seed: u64) -> Program {
    let functions = samples::functions(sample);
    let source = format!("struct Samples {{}} impl Samples {{ {functions} }}");
    let parsed = std::panic::catch_unwind(|| define(&source));
    let parsed = parsed.unwrap_or_else(|_| panic!("sample `{}` is not understood: {source}", sample.name));
    let mut diagnostics = Diagnostics::new();
    let lowered = lower(&parsed, &mut diagnostics);
    if let Err(errors) = diagnostics.finish() {
        panic!("sample `{}`: {errors}", sample.name);
    }
    let lowered = lowered.expect("there was no error");
    let function = &lowered.functions[which];
    let mut dice = Dice::new(seed);
    let mut world = World {
        seed,
        step: 5,
        ..World::default()
    };
    for (dim, &n) in function.dims.iter().zip(sizes) {
        world.sizes.insert(dim.name.clone(), n as i64);
    }
    // Integers are labels and indices of every axis.
    let bound = sizes.iter().copied().filter(|&n| n > 0).min().unwrap_or(1);
    for input in &function.inputs {
        let shape = world.shape(&input.shape);
        let (low, high) = if input.name == "probe" {
            (-1.0, 1.0)
        } else {
            sample.domain
        };
        world.inputs.push(match input.dtype {
            TensorDtype::Float => Tensor::Float(build(&shape, |_| {
                f64::from((low + (high - low) * (0.5 + 0.5 * dice.symmetric())) as f32)
            })),
            TensorDtype::Bool => Tensor::Bool(build(&shape, |_| dice.below(2) == 0)),
            _ => Tensor::Int(build(&shape, |_| dice.below(bound) as i64)),
        });
    }
    let wanted = (0..)
        .zip(&function.inputs)
        .filter(|(_, input)| input.grad == InputGrad::Wanted);
    Program {
        wanted: Wanted {
            params: Vec::new(),
            inputs: wanted.map(|(k, _)| InputId::new(k)).collect(),
        },
        graph: function.train.as_ref().unwrap_or(&function.eval).clone(),
        world,
    }
}

#[test]
fn every_sample_computes_what_it_means() {
    for sample in ops::samples() {
        for (seed, sizes) in (0..).zip(sample.sizes) {
            let Program { graph, world, .. } = sample_program(&sample, 0, sizes, seed);
            let what = format!("sample `{}` of {sizes:?}\n{graph}", sample.name);
            let want = interpret::interpret(&graph, &world);
            assert_computes(
                &planned(&simplify(&turn(&graph, Sweeps::Forward))),
                &world,
                &want,
                &what,
            );
        }
    }
}

#[test]
fn every_sample_has_the_gradient_that_differences_show() {
    for sample in ops::samples() {
        if sample.gradient == SampleGradient::None {
            continue;
        }
        let mut n_compared = 0;
        for (seed, sizes) in (0..).zip(sample.sizes) {
            let program = sample_program(&sample, 1, sizes, seed);
            let what = format!("sample `{}` of {sizes:?}", sample.name);
            n_compared += assert_gradients(&program, &what);
            assert_products(&program, &what);
            if let Some(joint) = joint(&program) {
                let want = interpret::interpret(&joint, &program.world);
                assert_computes(
                    &planned(&joint),
                    &program.world,
                    &want,
                    &format!("{what}\n{joint}"),
                );
            }
        }
        assert!(n_compared > 0, "sample `{}`: nothing was compared", sample.name);
    }
}

/// Every family that a user can write has a sample, or is what samples of other families are made of.
#[test]
fn every_family_appears_in_the_graphs_of_samples() {
    let mut seen = Set::new();
    for sample in ops::samples() {
        let which = usize::from(sample.gradient == SampleGradient::Checked);
        let program = sample_program(&sample, which, sample.sizes[0], 0);
        let graph = joint(&program).unwrap_or_else(|| program.graph.clone());
        seen.extend(graph.iter().map(|(_, node)| interpret::family(&node.op)));
        if let Some(product) = product(&curved(&program), sample.name) {
            seen.extend(product.iter().map(|(_, node)| interpret::family(&node.op)));
        }
    }
    let unseen: Vec<_> = ops::FAMILIES
        .iter()
        .filter(|family| !seen.contains(*family))
        .collect();
    assert!(unseen.is_empty(), "families that no sample uses: {unseen:?}");
}

/// Random programs leave out nothing that differentiation or lowering can make of an op table's entry.
#[test]
fn every_family_appears_in_random_programs() {
    let mut seen = Set::new();
    for seed in SEEDS {
        let program = program(seed);
        let graph = joint(&program).unwrap_or_else(|| program.graph.clone());
        seen.extend(graph.iter().map(|(_, node)| interpret::family(&node.op)));
        if let Some(product) = product(&curved(&program), "a random program") {
            seen.extend(product.iter().map(|(_, node)| interpret::family(&node.op)));
        }
    }
    let unseen: Vec<_> = ops::FAMILIES
        .iter()
        .filter(|family| !seen.contains(*family))
        .collect();
    assert!(unseen.is_empty(), "families that no seed uses: {unseen:?}");
}
