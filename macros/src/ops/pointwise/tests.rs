use proc_macro2::Span;

use super::surface::unary;
use super::*;
use crate::ir::{Graph, InputId, Mode, Operand, Origin, Scalar};
use crate::ops::leaf::{Leaf, LeafKind};

fn builder() -> Builder {
    Builder::new(Origin::root(Span::call_site().into()), Mode::Eval)
}

fn input(b: &mut Builder, dtype: DType, shape: &[Dim]) -> Value {
    let kind = LeafKind::Input(InputId::new(b.graph.len()));
    let ty = Type::new(dtype, shape.to_vec());
    b.push(Leaf { kind, ty }, &[])
}

fn tensor(b: &Builder, operand: Result<Operand, ShapeError>) -> String {
    match operand {
        Ok(Operand::Tensor(value)) => b.ty(value).to_string(),
        other => panic!("expected a tensor, found {other:?}"),
    }
}

#[test]
fn names_are_unique_and_every_row_is_written_somehow() {
    let mut names: Vec<_> = rows().map(|row| row.name).collect();
    names.sort_unstable();
    let written: Vec<_> = Pointwise::surfaces().iter().map(|surface| surface.name).collect();
    for pair in names.windows(2) {
        assert_ne!(pair[0], pair[1]);
    }
    for name in names {
        assert!(written.contains(&name), "no surface for `{name}`");
    }
}

#[test]
fn spellings_use_every_operand() {
    for row in rows() {
        for text in [row.rust, row.cuda] {
            for k in 0..row.signature.arity() {
                assert!(text.contains(&format!("{{{k}}}")), "`{}`: {text}", row.name);
            }
            assert!(!text.contains(&format!("{{{}}}", row.signature.arity())), "`{}`: {text}", row.name);
        }
    }
}

#[test]
fn two_tensors_broadcast_and_a_number_takes_the_shape() {
    let mut b = builder();
    let (batch, d) = (Dim::dynamic("B"), Dim::lit(4));
    let x = input(&mut b, DType::Float, &[batch.clone(), d.clone()]);
    let bias = input(&mut b, DType::Float, &[d]);
    let sum = binary(&mut b, "add", &Operand::Tensor(x), &Operand::Tensor(bias));
    assert_eq!(tensor(&b, sum), "float[B, 4]");
    let twice = binary(&mut b, "mul", &Operand::Size(Dim::lit(2)), &Operand::Tensor(x));
    assert_eq!(tensor(&b, twice), "float[B, 4]");
    let mask = binary(&mut b, "gt", &Operand::Tensor(x), &Operand::Scalar(0.5.into()));
    assert_eq!(tensor(&b, mask), "bool[B, 4]");
    assert!(b.errors.is_empty());
}

#[test]
fn kinds_do_not_mix() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &[Dim::lit(3)]);
    let n = input(&mut b, DType::Int, &[Dim::lit(3)]);
    let error = binary(&mut b, "add", &Operand::Tensor(x), &Operand::Tensor(n)).unwrap_err();
    assert_eq!(error.message, "`add` takes tensors of one kind, found float[3] and int[3]");
    assert_eq!(error.help.as_deref(), Some("convert the second with `.to_float()`"));
    let error = binary(&mut b, "mul", &Operand::Tensor(n), &Operand::Scalar(0.5.into())).unwrap_err();
    assert_eq!(error.message, "`mul` of int[3] and a number");
    let whole = binary(&mut b, "mul", &Operand::Tensor(n), &Operand::Size(Dim::lit(2)));
    assert_eq!(tensor(&b, whole), "int[3]");
}

#[test]
fn shapes_that_do_not_fit_are_both_named() {
    let mut b = builder();
    let x = input(&mut b, DType::Float, &[Dim::dynamic("B"), Dim::lit(3)]);
    let y = input(&mut b, DType::Float, &[Dim::dynamic("B"), Dim::lit(4)]);
    let error = binary(&mut b, "sub", &Operand::Tensor(x), &Operand::Tensor(y)).unwrap_err();
    assert_eq!(error.message, "the shapes [B, 3] and [B, 4] do not fit together");
}

#[test]
fn numbers_of_the_host_fold() {
    let mut b = builder();
    let number = |n: f64| Operand::Scalar(Scalar::lit(n));
    let folded = binary(&mut b, "maximum", &number(2.0), &number(3.5)).unwrap();
    assert_eq!(folded, number(3.5));
    assert_eq!(binary(&mut b, "gt", &number(2.0), &number(3.5)).unwrap(), number(0.0));
    let sizes = [7, 2].map(|n| Operand::Size(Dim::lit(n)));
    assert_eq!(binary(&mut b, "div", &sizes[0], &sizes[1]).unwrap(), Operand::Size(Dim::lit(3)));
    assert_eq!(unary(&mut b, "neg", &sizes[0]).unwrap(), Operand::Size(Dim::lit(-7)));
    assert_eq!(b.graph.len(), 0);
}

#[test]
fn small_powers_are_products() {
    let names = |exponent: f64| {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &[Dim::lit(3)]);
        binary(&mut b, "pow", &Operand::Tensor(x), &Operand::Scalar(exponent.into())).unwrap();
        let nodes: &Graph = &b.graph;
        nodes.iter().skip(1).map(|(_, node)| node.op.rule().name()).collect::<Vec<_>>()
    };
    // The number is a tensor before the power is recognised; dead code goes with `simplify`.
    assert_eq!(names(2.0).last(), Some(&"mul"));
    assert_eq!(names(0.5).last(), Some(&"sqrt"));
    assert_eq!(names(2.5).last(), Some(&"pow"));
}

/// Every derivative makes as many cotangents as there are operands, of their types; and those that need the result,
/// which must then be kept for the backward pass, are the ones that say so.
#[test]
fn gradient_rules_are_well_typed_and_well_described() {
    for row in rows() {
        let mut b = builder();
        let shape = [Dim::dynamic("B"), Dim::lit(3)];
        let kinds = match row.signature {
            Signature::Select => vec![DType::Bool, DType::Float, DType::Float],
            Signature::Logic(n) => vec![DType::Bool; n],
            Signature::ToFloat => vec![DType::Int],
            other => vec![DType::Float; other.arity()],
        };
        let inputs: Vec<Value> = kinds.iter().map(|kind| input(&mut b, *kind, &shape)).collect();
        let y = b.pointwise(row.name, &inputs);
        let g = input(&mut b, DType::Float, &shape);
        let site = Site { inputs: &inputs, outputs: &[y] };
        let Cotangents::Flow(bars) = Pointwise(row).grad(&mut b, &site, &[Some(g)]) else {
            panic!("`{}` is blocked", row.name)
        };
        assert_eq!(bars.len(), inputs.len(), "`{}`", row.name);
        for (bar, input) in bars.iter().zip(&inputs) {
            if let Some(bar) = bar {
                assert_eq!(b.ty(*bar), b.ty(*input), "`{}`", row.name);
            }
        }
        assert!(b.errors.is_empty(), "`{}`: {:?}", row.name, b.errors);
        assert!(row.doc.starts_with("y = "), "`{}`: {}", row.name, row.doc);
        let reads_result = b.graph.iter().any(|(_, node)| node.inputs.contains(&y));
        assert_eq!(reads_result, row.doc.ends_with("reads its result backward"), "`{}`: {}", row.name, row.doc);
    }
}
