//! The gradient of attention: of queries, keys and values by a kernel, of an additive mask by a composition.

use super::{Attention, Reach};
use crate::ir::{
    Builder, Call, CallArg, Constraints, Cotangents, DType, Kernel, Rule, Sample, ShapeError, Site, Surface,
    Type, Value,
};
use crate::ops::cumsum::{Cumsum, Direction};
use crate::ops::dropout::{Dropout, Unit};
use crate::ops::matmul::Matmul;
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

    fn grad(&self, _: &mut Builder, _: &Site<'_>, _: &[Option<Value>]) -> Cotangents {
        Cotangents::Blocked("second derivatives of attention are not written yet")
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

/// The cotangent of an additive mask, `p (f (g v^T) - sum(g y))`, written out over all scores.
///
/// A mask that is trained has a gradient of its own size, which is that of the scores; so nothing is gained by a kernel
/// that does not store them. Where the mask is not trained, nothing asks for these nodes, and they go away.
pub(super) fn mask_bar(b: &mut Builder, of: &Attention, site: &Site<'_>, g: Value) -> Value {
    let (q, k, v, mask) = (site.inputs[0], site.inputs[1], site.inputs[2], site.inputs[3]);
    let (y, lse) = (site.outputs[0], site.outputs[1]);
    let scores = super::scores(b.ty(q), b.ty(k));
    let last = scores.len() - 1;
    let along = |b: &mut Builder, x: Value| b.expand_axes(x, &[last], &scores);
    let keys = b.transpose(k);
    let products = b.push(Matmul, &[q, keys]);
    let scaled = b.scale(products, of.scale.clone());
    let score = b.add(scaled, mask);
    let lse = along(b, lse);
    let exponent = b.sub(score, lse);
    let mut p = b.pointwise("exp", &[exponent]);
    if of.reach == Reach::Causal {
        let zero = b.fill_like(p, 0.0);
        let is_visible = visible(b, &scores);
        p = b.select(is_visible, p, zero);
    }
    let values = b.transpose(v);
    let mut p_bar = b.push(Matmul, &[g, values]);
    if of.dropout.as_lit() != Some(0.0) {
        let dropout = Dropout { rate: of.dropout.clone(), stream: of.stream, unit: Unit::Element };
        p_bar = b.push(dropout, &[p_bar]);
    }
    let gy = b.mul(g, y);
    let sums = b.sum(gy, &[last]);
    let sums = along(b, sums);
    let centred = b.sub(p_bar, sums);
    b.mul(p, centred)
}

/// Where key `j` is not behind query `i`: the number of rows down to `i` is at least that of columns up to `j`.
fn visible(b: &mut Builder, scores: &[Dim]) -> Value {
    let plane = Type::float(scores[scores.len() - 2..].to_vec());
    let ones = b.push(crate::ops::fill::Fill { value: 1.0.into(), ty: plane }, &[]);
    let [row, column] = [0, 1].map(|axis| b.push(Cumsum { direction: Direction::Forward, axis }, &[ones]));
    let is_visible = b.pointwise("ge", &[row, column]);
    b.expand(is_visible, scores)
}
