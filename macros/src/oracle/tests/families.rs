//! Every operation by itself: values against the interpreter, gradients against differences, over odd shapes.

use super::gradients::assert_gradients;
use super::*;
use crate::ir::{DType, Value};
use crate::ops::pointwise::{Derivative, Pointwise, Row, rows};
use crate::oracle::generate::Draft;
use crate::oracle::tensor::build;
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
            let want = interpret(&program.graph, &program.world);
            assert_computes(&planned(&program.graph), &program.world, &want, &what);
            let n_compared = assert_gradients(&program, &what);
            let n = shape.iter().product::<i64>() as usize;
            let is_float = kinds.iter().all(|kind| *kind == DType::Float);
            if let (Derivative::Rule(_), true) = (row.derivative, is_float) {
                assert!(n_compared >= n, "{what}: {n_compared} derivatives were compared");
            }
        }
    }
}
