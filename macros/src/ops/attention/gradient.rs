//! The gradient of attention: of queries, keys and values by a kernel, of an additive mask by a composition.

use super::{Attention, Reach};
use crate::ir::{
    Builder, Call, CallArg, Constraints, Cotangents, DType, Kernel, Rule, Sample, ShapeError, Site, Surface,
    Type, Value,
};
use crate::ops::cumsum::{Cumsum, Direction};
use crate::ops::dropout::{Dropout, Unit};
use crate::ops::matmul::Matmul;
use crate::ops::softmax::{Softmax, SoftmaxKind};
use crate::shape::{self, Dim};

/// The cotangents of queries, keys and values. Operands: those of the attention, its two results, and the cotangent of the
/// first.
#[derive(Clone, PartialEq, Debug)]
pub struct AttentionGrad(pub Attention);

impl Rule for AttentionGrad {
    fn name(&self) -> &'static str {
        "attention_grad"
    }

    fn attributes(&self) -> String {
        self.0.attributes()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let n = inputs.len() - 3;
        let (y, lse) = self.0.check(&inputs[..n], constraints)?;
        for (found, wanted) in inputs[n..].iter().zip([&y, &lse, &y]) {
            if !constraints.equal_shapes(&found.shape, wanted) {
                let message = format!("`attention_grad` expects {}, found {found}", shape::display(wanted));
                return Err(ShapeError::new(message));
            }
        }
        Ok(inputs[..3].to_vec())
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        let g = site.inputs[site.inputs.len() - 1];
        let mask = (site.inputs.len() > 6).then(|| site.inputs[3]);
        let [q, k, v] = [0, 1, 2].map(|operand| site.inputs[operand]);
        let composed = WrittenOut::new(b, &self.0, [q, k, v], mask, g);
        let [dq, dk, dv] = composed.operand_bars(b, &self.0, [q, k], g);
        Cotangents::Composed(vec![Some(dq), Some(dk), Some(dv)])
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let n = inputs.len();
        let mut args = Attention::operands(n > 6);
        args.extend([CallArg::In(n - 3), CallArg::In(n - 2), CallArg::InView(n - 1)]);
        args.extend((0..3).map(CallArg::Out));
        args.extend([CallArg::Scratch(0), self.0.spec()]);
        let rows = inputs[n - 2].numel();
        Kernel::Call(Call { function: "attention_grad", args, scratch: vec![(DType::Float, rows)] })
    }

    /// The products of forward again and their four transposes, and some ten operations a score.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        let [scores_work, values_work] = Attention::products(inputs);
        (scores_work * 3 + values_work * 2) * 2 + shape::numel(&super::scores(&inputs[0], &inputs[1])) * 10
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

/// The cotangent of an additive mask, written out over all scores.
///
/// A mask that is trained has a gradient of its own size, which is that of the scores; so nothing is gained by a kernel
/// that does not store them. Where the mask is not trained, nothing asks for these nodes, and they go away.
pub(super) fn mask_bar(b: &mut Builder, of: &Attention, site: &Site<'_>, g: Value) -> Value {
    let operands = [0, 1, 2].map(|operand| site.inputs[operand]);
    WrittenOut::new(b, of, operands, Some(site.inputs[3]), g).score_bar
}

/// Attention and its gradient as operations on all scores: for what no kernel computes, the gradient of a mask and second
/// derivatives.
struct WrittenOut {
    /// The probabilities `p`, after dropout.
    dropped: Value,
    /// The cotangent of the scores, `p (f (g v^T) - sum of p f (g v^T))` with the dropout factors `f`.
    score_bar: Value,
}

/// What stands for a score of minus infinity, which would make NaN of a query without keys: the least number of f32.
const NEVER: f64 = f32::MIN as f64;

impl WrittenOut {
    fn new(b: &mut Builder, of: &Attention, [q, k, v]: [Value; 3], mask: Option<Value>, g: Value) -> Self {
        let p = probabilities(b, of, [q, k], mask);
        let drop = |b: &mut Builder, x: Value| {
            if of.dropout.as_lit() == Some(0.0) {
                return x;
            }
            let dropout = Dropout { rate: of.dropout.clone(), stream: of.stream, unit: Unit::Element };
            b.push(dropout, &[x])
        };
        let values = b.transpose(v);
        let products = b.push(Matmul, &[g, values]);
        let p_bar = drop(b, products);
        let weighted = b.mul(p, p_bar);
        let scores = b.shape(p);
        let last = scores.len() - 1;
        let sums = b.sum(weighted, &[last]);
        let sums = b.expand_axes(sums, &[last], &scores);
        let centred = b.sub(p_bar, sums);
        Self { dropped: drop(b, p), score_bar: b.mul(p, centred) }
    }

    /// The cotangents of queries, keys and values.
    fn operand_bars(&self, b: &mut Builder, of: &Attention, [q, k]: [Value; 2], g: Value) -> [Value; 3] {
        let scaled = b.scale(self.score_bar, of.scale.clone());
        let (by_key, by_value) = (b.transpose(scaled), b.transpose(self.dropped));
        [b.push(Matmul, &[scaled, k]), b.push(Matmul, &[by_key, q]), b.push(Matmul, &[by_value, g])]
    }
}

/// `softmax(scale q k^T + mask)` along the keys; 0 for a query that may attend to none.
fn probabilities(b: &mut Builder, of: &Attention, [q, k]: [Value; 2], mask: Option<Value>) -> Value {
    let scores = super::scores(b.ty(q), b.ty(k));
    let keys = b.transpose(k);
    let products = b.push(Matmul, &[q, keys]);
    let mut score = b.scale(products, of.scale.clone());
    let never = b.fill_like(score, NEVER);
    let mut attended = (of.reach == Reach::Causal).then(|| visible(b, &scores));
    if let Some(mask) = mask {
        let mut allowed = mask;
        if b.ty(mask).dtype == DType::Float {
            // Minus infinity forbids; any other number is a score.
            let least = b.fill_like(mask, f64::MIN);
            allowed = b.pointwise("gt", &[mask, least]);
            let sum = b.add(score, mask);
            score = b.pointwise("maximum", &[sum, never]);
        }
        attended = Some(attended.map_or(allowed, |reach| b.pointwise("and", &[reach, allowed])));
    }
    if let Some(attended) = attended {
        score = b.select(attended, score, never);
    }
    let last = scores.len() - 1;
    let softmax = Softmax { kind: SoftmaxKind::Probabilities, axis: last };
    let p = b.push(softmax, &[score]);
    match (mask, attended) {
        (Some(_), Some(attended)) => among(b, p, attended),
        _ => p,
    }
}

/// Probabilities among the keys that are attended to, of which there may be none.
fn among(b: &mut Builder, p: Value, attended: Value) -> Value {
    let shape = b.shape(p);
    let last = shape.len() - 1;
    let zero = b.fill_like(p, 0.0);
    let p = b.select(attended, p, zero);
    let total = b.sum(p, &[last]);
    // Where there is a key, it has at least its share of all of them.
    let least = b.fill_like(total, f64::from(f32::MIN_POSITIVE));
    let total = b.pointwise("maximum", &[total, least]);
    let total = b.expand_axes(total, &[last], &shape);
    b.div(p, total)
}

/// Where key `j` is not behind query `i`: the number of rows down to `i` is at least that of columns up to `j`.
fn visible(b: &mut Builder, scores: &[Dim]) -> Value {
    let plane = Type::float(scores[scores.len() - 2..].to_vec());
    let ones = b.push(crate::ops::fill::Fill { value: 1.0.into(), ty: plane }, &[]);
    let [row, column] = [0, 1].map(|axis| b.push(Cumsum { direction: Direction::Forward, axis }, &[ones]));
    let is_visible = b.pointwise("ge", &[row, column]);
    b.expand(is_visible, scores)
}
