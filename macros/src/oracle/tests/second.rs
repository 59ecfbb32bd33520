//! Products of Hessians with a direction, against differences of gradients.

use super::super::close::{distance, norm};
use super::super::generate::{Dice, Draft};
use super::super::tensor::build;
use super::loops;
use super::*;
use crate::ir::{Builder, Origin, Output, ParamId, Phase, Scalar};
use crate::ops::Op;
use crate::ops::attention::{Options, Reach};
use crate::ops::leaf::LeafKind;
use crate::shape::Dim;

/// Relative error of a product, by norm.
const TOLERANCE: f64 = 1e-6;

/// The larger step along the direction; the other is half of it.
const STEP: f64 = 2e-4;

/// The program with its wanted arguments as parameters, and with a function of its result that is curved: what is linear would
/// have a Hessian of zero.
pub(super) fn curved(program: &Program) -> Program {
    let mut program = program.clone();
    let inputs = std::mem::take(&mut program.wanted.inputs);
    for input in inputs {
        let param = ParamId::new(program.world.params.len());
        program
            .world
            .params
            .push(program.world.inputs[input.index()].clone());
        program.wanted.params.push(param);
        for k in 0..program.graph.len() {
            if let Op::Leaf(leaf) = &mut program.graph.node_mut(crate::ir::NodeId::new(k)).op
                && leaf.kind == LeafKind::Input(input)
            {
                leaf.kind = LeafKind::Param(param);
            }
        }
    }
    let scale = interpret(&program.graph, &program.world)[&OutputKind::Result(0)].numbers();
    let place = |output: &Output| output.kind == OutputKind::Result(0);
    let at = program.graph.outputs.iter().position(place);
    if let (Some(at), [value]) = (at, &scale[..]) {
        let loss = program.graph.outputs[at].value;
        let origin = Origin::root(crate::diag::SourceSpan::call_site());
        let mut b = Builder::over(program.graph, origin, Phase::Forward);
        let small = b.scale(loss, Scalar::lit(1.0 / (1.0 + value.abs())));
        let sine = b.pointwise("sin", &[small]);
        program.graph = b.graph;
        program.graph.outputs[at].value = sine;
    }
    let mut dice = Dice::new(program.world.seed ^ 77);
    let params = program.world.params.iter();
    program.world.direction = params
        .map(|param| Tensor::Float(build(param.shape(), |_| dice.symmetric())))
        .collect();
    program
}

/// The graph of the product, as the pipeline makes it; `None` where there is no gradient.
pub(super) fn product(program: &Program, what: &str) -> Option<Graph> {
    let joint = joint(program)?;
    let product = hessian_product(&joint, &program.wanted, simplify)
        .unwrap_or_else(|blocked| panic!("{what}: {}\n{joint}", blocked.why));
    verified(&product);
    let product = simplify(&hoist(&simplify(&product)));
    verified(&product);
    Some(product)
}

/// The gradients of the wanted parameters after a step along the direction.
fn gradients_at(joint: &Graph, program: &Program, h: f64) -> Map<OutputKind, Vec<f64>> {
    let mut world = program.world.clone();
    for (param, direction) in world.params.iter_mut().zip(&program.world.direction) {
        if let Tensor::Float(param) = param {
            *param += &(direction.float() * h);
        }
    }
    let outputs = interpret(joint, &world);
    outputs
        .into_iter()
        .map(|(kind, value)| (kind, value.numbers()))
        .collect()
}

/// Compares the product with differences; gives how many numbers were compared.
#[track_caller]
pub(super) fn assert_products(program: &Program, what: &str) -> usize {
    let program = &curved(program);
    let Some(product) = product(program, what) else {
        return 0;
    };
    let joint = joint(program).expect("there is a product");
    let outputs = interpret(&product, &program.world);
    let points = [STEP, -STEP, STEP / 2.0, -STEP / 2.0].map(|h| gradients_at(&joint, program, h));
    let mut n_compared = 0;
    for &param in &program.wanted.params {
        let kind = OutputKind::ParamGrad(param);
        let Some([a, b, c, d]) = points
            .each_ref()
            .map(|point| point.get(&kind))
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .and_then(|all| <[_; 4]>::try_from(all).ok())
        else {
            assert!(!outputs.contains_key(&kind), "{what}: a product without gradient");
            continue;
        };
        let zeros = vec![0.0; a.len()];
        let got = outputs.get(&kind).map_or(zeros, Tensor::numbers);
        // An element whose two slopes do not agree has a kink between the points.
        let pairs = (0..a.len()).filter_map(|k| {
            let (wide, narrow) = ((a[k] - b[k]) / (2.0 * STEP), (c[k] - d[k]) / STEP);
            let agree = (wide - narrow).abs() <= 1e-4 * wide.abs().max(narrow.abs()).max(1e-2);
            agree.then_some((got[k], (4.0 * narrow - wide) / 3.0))
        });
        let (got, want): (Vec<f64>, Vec<f64>) = pairs.unzip();
        n_compared += got.len();
        let is_noise = norm(&got).max(norm(&want)) < 1e-6;
        let error = distance(&got, &want);
        assert!(
            is_noise || error <= TOLERANCE,
            "{what}: the product for {param:?} is off by {error:e}\n     product {got:?}\n differences {want:?}\n{product}"
        );
    }
    let want = interpret(&product, &program.world);
    assert_computes(
        &planned(&product),
        &program.world,
        &want,
        &format!("{what}\n{product}"),
    );
    n_compared
}

#[test]
fn products_of_random_programs_agree_with_differences() {
    let (mut n_programs, mut n_compared) = (0, 0);
    for seed in SEEDS {
        let n = assert_products(&program(seed), &format!("seed {seed}"));
        n_programs += usize::from(n > 0);
        n_compared += n;
    }
    assert!(
        n_programs > 150 && n_compared > 4000,
        "only {n_compared} numbers of {n_programs} programs were compared"
    );
}

#[test]
fn products_of_loops_agree_with_differences() {
    for (what, program) in loops::programs() {
        assert!(
            assert_products(&program, what) > 0,
            "{what}: nothing was compared"
        );
    }
}

/// `(a w + b w^2) summed up`, with Hessian `2 b` on the diagonal.
#[test]
fn a_square_has_the_product_that_is_known() {
    let mut draft = Draft::empty(3);
    let w = draft.param(vec![Dim::lit(4)]);
    let squares = draft.b.mul(w, w);
    let three = draft.b.scale(squares, 3.0);
    let sum = draft.b.add(three, w);
    let loss = draft.b.sum(sum, &[0]);
    draft.result(loss);
    let mut program = draft.program();
    program.world.direction = vec![Tensor::Float(build(&[4], |k| k[0] as f64 - 1.0))];
    let product = product(&program, "a square").expect("it has a gradient");
    let got = &interpret(&product, &program.world)[&OutputKind::ParamGrad(ParamId::new(0))];
    assert_eq!(got.numbers(), [-6.0, 0.0, 6.0, 12.0]);
}

/// Masks of floats: queries that may attend to nothing, to a single key, and to a key that is as good as forbidden.
#[test]
fn products_of_attention_hold_for_masks_without_bounds() {
    const NO: f64 = f64::NEG_INFINITY;
    const LEAST: f64 = f32::MIN as f64;
    let rows = [[NO, NO, NO], [NO, 0.25, NO], [0.5, LEAST, -1.0], [LEAST, NO, NO]];
    for reach in [Reach::All, Reach::Causal] {
        let mut draft = Draft::empty(4);
        let lits = |sizes: &[i64]| sizes.iter().map(|&n| Dim::lit(n)).collect::<Vec<_>>();
        let operands = [lits(&[4, 2]), lits(&[3, 2]), lits(&[3, 2])].map(|shape| draft.param(shape));
        let mask = build(&[4, 3], |at| rows[at[0]][at[1]]);
        let mask = draft.argument(lits(&[4, 3]), Tensor::Float(mask));
        let options = Options {
            mask: Some(mask),
            reach,
            scale: None,
            dropout: Scalar::lit(0.0),
        };
        let y = draft.b.attention(operands, options).expect("the shapes fit");
        let loss = draft.weigh(y);
        draft.result(loss);
        assert!(assert_products(&draft.program(), "attention") > 0);
    }
}
