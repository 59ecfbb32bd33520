//! Scaled dot product attention: one operation that never stores the matrix of probabilities, and its gradient.

mod gradient;
#[cfg(test)]
mod tests;

pub use gradient::AttentionGrad;

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Flag, Form, Kernel, Mode, Operand, Rule,
    Sample, SampleGradient, Scalar, ShapeError, Site, Surface, Type, Value,
};
use crate::ir::scalar::ScalarFn;
use crate::shape::{self, Dim};

/// `y = dropout(softmax over keys of (scale q k^T + mask)) v`.
///
/// Operands: queries `[.., Tq, D]`, keys `[.., Tk, D]`, values `[.., Tk, Dv]` with equal leading axes, and perhaps a mask
/// `[.., Tq, Tk]`: truth values (true: may attend) or floats that are added to the scores. Results: `y` `[.., Tq, Dv]`, and
/// the logarithm of every query's sum of exponentials `[.., Tq]`, which the gradient reads. A query that may attend to no
/// key has the result 0 and no gradient; PyTorch's plain form gives NaN there.
///
/// Source: Vaswani et al., "Attention is all you need" (2017); Dao, Fu, Ermon, Rudra, Ré, "FlashAttention" (2022).
#[derive(Clone, PartialEq, Debug)]
pub struct Attention {
    /// What the products are multiplied with.
    pub scale: Scalar,
    /// Which keys a query may attend to, before any mask.
    pub reach: Reach,
    /// The probability with which a probability is dropped.
    pub dropout: Scalar,
    /// Where the random numbers come from; the number of an element is its place in `[.., Tq, Tk]`.
    pub stream: u64,
}

/// Which keys a query may attend to.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Reach {
    /// All of them.
    All,
    /// The keys `0..=i` for query `i`, as PyTorch's `is_causal`.
    Causal,
}

/// What a call of [`Builder::attention`] chooses.
#[derive(Clone, Debug)]
pub struct Options {
    /// Truth values or floats that broadcast to `[.., Tq, Tk]`.
    pub mask: Option<Value>,
    /// Which keys a query may attend to.
    pub reach: Reach,
    /// What the products are multiplied with; `1 / sqrt(D)` where nothing is said.
    pub scale: Option<Scalar>,
    /// The probability with which a probability is dropped while training.
    pub dropout: Scalar,
}

impl Attention {
    /// Checks the operands of forward; gives the shapes of the result and of a statistic a query.
    fn check(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<(Vec<Dim>, Vec<Dim>), ShapeError> {
        let (q, k, v) = (&inputs[0], &inputs[1], &inputs[2]);
        for (operand, name) in [(q, "queries"), (k, "keys"), (v, "values")] {
            if operand.dtype != DType::Float || operand.rank() < 2 {
                let message = format!("`attention` takes float {name} [.., T, D], found {operand}");
                return Err(ShapeError::new(message).help("the last two axes are positions and features"));
            }
        }
        let rank = q.rank();
        let fit = |fits: bool, what: &str| {
            let shapes = [q, k, v].map(|x| shape::display(&x.shape));
            let message = format!(
                "`attention` of queries {} to keys {} and values {}: {what}",
                shapes[0], shapes[1], shapes[2]
            );
            if fits { Ok(()) } else { Err(ShapeError::new(message).help(HELP)) }
        };
        fit(k.rank() == rank && v.rank() == rank, "they have different numbers of axes")?;
        let batch = rank - 2;
        let same_batch = constraints.equal_shapes(&q.shape[..batch], &k.shape[..batch])
            && constraints.equal_shapes(&q.shape[..batch], &v.shape[..batch]);
        fit(same_batch, "their leading axes differ")?;
        let same_width = constraints.equal(&q.shape[batch + 1], &k.shape[batch + 1]);
        fit(same_width, "a query and a key have different numbers of features")?;
        let one_value = constraints.equal(&k.shape[batch], &v.shape[batch]);
        fit(one_value, "there is not one value for each key")?;
        if let Some(mask) = inputs.get(3) {
            let scores = scores(q, k);
            if mask.dtype == DType::Int || !constraints.equal_shapes(&mask.shape, &scores) {
                let scores = shape::display(&scores);
                let message = format!("`attention` expects a mask bool{scores} or float{scores}, found {mask}");
                return Err(ShapeError::new(message));
            }
        }
        let mut y = q.shape.clone();
        y[rank - 1] = v.shape[rank - 1].clone();
        Ok((y, q.shape[..rank - 1].to_vec()))
    }

    /// The options, as the kernels take them.
    fn spec(&self) -> CallArg {
        let reach = match self.reach {
            Reach::All => "Reach::All",
            Reach::Causal => "Reach::Causal",
        };
        let fields = vec![
            ("scale", CallArg::Scalar(self.scale.clone())),
            ("reach", CallArg::Constant(reach)),
            ("dropout", CallArg::Scalar(self.dropout.clone())),
            ("stream", CallArg::Stream(self.stream)),
        ];
        CallArg::Struct("Attention", fields)
    }

    /// The operands of forward, as both kernels take them.
    fn operands(has_mask: bool) -> Vec<CallArg> {
        let mask = if has_mask {
            CallArg::Present(Box::new(CallArg::InView(3)))
        } else {
            CallArg::Absent
        };
        vec![CallArg::InView(0), CallArg::InView(1), CallArg::InView(2), mask]
    }

    /// Multiply-adds of queries with keys, and of probabilities with values.
    fn products(inputs: &[Type]) -> [Dim; 2] {
        let scores = shape::numel(&scores(&inputs[0], &inputs[1]));
        let last = |x: &Type| x.shape[x.rank() - 1].clone();
        [&scores * &last(&inputs[0]), &scores * &last(&inputs[2])]
    }
}

const HELP: &str = "queries are [.., Tq, D], keys [.., Tk, D], values [.., Tk, Dv]";

/// The shape of the scores, which no tensor has.
fn scores(q: &Type, k: &Type) -> Vec<Dim> {
    let mut scores = q.shape.clone();
    scores[q.rank() - 1] = k.shape[k.rank() - 2].clone();
    scores
}

impl Rule for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn attributes(&self) -> String {
        let mut text = format!("scale = {}", self.scale);
        if self.reach == Reach::Causal {
            text += ", causal";
        }
        if self.dropout.as_lit() != Some(0.0) {
            text += &format!(", dropout = {}, stream = {:016x}", self.dropout, self.stream);
        }
        text
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let (y, lse) = self.check(inputs, constraints)?;
        Ok(vec![Type::float(y), Type::float(lse)])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        if out_bars[1].is_some() {
            return Cotangents::Blocked("the sums that attention keeps for its gradient carry none themselves");
        }
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None; site.inputs.len()]);
        };
        let mut operands = site.inputs.to_vec();
        operands.extend([site.outputs[0], site.outputs[1], g]);
        let dq = b.push(AttentionGrad(self.clone()), &operands);
        let mut bars: Vec<_> = (0..3).map(|output| Some(Value { output, ..dq })).collect();
        if let Some(&mask) = site.inputs.get(3) {
            let is_trained = b.ty(mask).dtype == DType::Float;
            bars.push(is_trained.then(|| gradient::mask_bar(b, self, site, g)));
        }
        Cotangents::Flow(bars)
    }

    fn kernel(&self, inputs: &[Type], _: &[Type]) -> Kernel {
        let mut args = Self::operands(inputs.len() > 3);
        args.extend([CallArg::Out(0), CallArg::Out(1), self.spec()]);
        Kernel::Call(Call { function: "attention", args, scratch: Vec::new() })
    }

    /// Both products, and scale, maximum, difference, exponential and sum of every score. What a causal attention leaves
    /// out is counted, as is usual.
    fn flops(&self, inputs: &[Type], _: &[Type]) -> Dim {
        let [scores_work, values_work] = Self::products(inputs);
        (scores_work + values_work) * 2 + shape::numel(&scores(&inputs[0], &inputs[1])) * 5
    }

    fn surfaces() -> &'static [Surface] {
        &[Surface {
            name: "attention",
            form: Form::Function,
            usage: "attention(q, k, v, mask = .., causal = false, scale = .., dropout = 0.0)",
            lower,
        }]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, dims, args, body, sizes| Sample {
            name,
            dims,
            args,
            ret: "Tensor<B, 2, T, 3>",
            body,
            sizes,
            domain: (-1.5, 1.5),
            gradient: SampleGradient::Checked,
        };
        let (own, cross) = ("B: Dim, T: Dim", "B: Dim, T: Dim, S: Dim");
        let two: &[&[usize]] = &[&[1, 1], &[0, 2], &[2, 5], &[3, 4]];
        let three: &[&[usize]] = &[&[1, 1, 1], &[0, 2, 3], &[2, 5, 3], &[1, 2, 7]];
        let packed = "attention(x.slice(.., .., 0..1).squeeze(axis = 2).permute(0, 2, 1, 3), \
                      x.slice(.., .., 1..2).squeeze(axis = 2).permute(0, 2, 1, 3), \
                      x.slice(.., .., 2..3).squeeze(axis = 2).permute(0, 2, 1, 3))";
        vec![
            sample(
                "attention_causal",
                own,
                "q: Tensor<B, 2, T, 3>, k: Tensor<B, 2, T, 3>, v: Tensor<B, 2, T, 3>",
                "attention(q, k, v, causal = true)",
                two,
            ),
            sample(
                "attention_cross",
                cross,
                "q: Tensor<B, 2, T, 4>, k: Tensor<B, 2, S, 4>, v: Tensor<B, 2, S, 3>",
                "attention(q, k, v, scale = 0.7)",
                three,
            ),
            sample(
                "attention_keep",
                cross,
                "q: Tensor<B, 2, T, 3>, k: Tensor<B, 2, S, 3>, v: Tensor<B, 2, S, 3>, keep: Tensor<bool, B, 1, T, S>",
                "attention(q, k, v, mask = keep)",
                three,
            ),
            sample(
                "attention_add",
                cross,
                "q: Tensor<B, 2, T, 3>, k: Tensor<B, 2, S, 3>, v: Tensor<B, 2, S, 3>, bias: Tensor<2, T, S>",
                "attention(q, k, v, mask = bias, causal = true)",
                three,
            ),
            sample(
                "attention_dropout",
                cross,
                "q: Tensor<B, 2, T, 3>, k: Tensor<B, 2, S, 3>, v: Tensor<B, 2, S, 3>, bias: Tensor<S>",
                "attention(q, k, v, mask = bias, dropout = 0.4)",
                three,
            ),
            sample("attention_packed", own, "x: Tensor<B, T, 3, 2, 3>", packed, two),
        ]
    }
}

impl Builder {
    /// Attention of queries `[.., Tq, D]` to keys `[.., Tk, D]` with values `[.., Tk, Dv]`: see [`Attention`]. The mask is
    /// broadcast, as a view.
    ///
    /// # Errors
    /// Where the mask does not broadcast to `[.., Tq, Tk]`.
    pub fn attention(
        &mut self,
        [q, k, v]: [Value; 3],
        options: Options,
    ) -> Result<Value, ShapeError> {
        let mut operands = vec![q, k, v];
        if let Some(&poison) = operands.iter().chain(&options.mask).find(|x| self.is_poison(**x)) {
            return Ok(poison);
        }
        let (queries, keys) = (self.ty(q).clone(), self.ty(k).clone());
        if let Some(mask) = options.mask
            && queries.rank() >= 2
            && keys.rank() == queries.rank()
        {
            operands.push(self.spread_mask(mask, &scores(&queries, &keys))?);
        }
        let width = queries.shape.last().cloned().unwrap_or_else(Dim::one);
        let root = || Scalar::unary(ScalarFn::Sqrt, Scalar::dim(&width)).recip();
        let is_dropped = self.mode == Mode::Train && options.dropout.as_lit() != Some(0.0);
        let (dropout, stream) = if is_dropped {
            (options.dropout, self.stream())
        } else {
            (Scalar::lit(0.0), 0)
        };
        let scale = options.scale.unwrap_or_else(root);
        let op = Attention { scale, reach: options.reach, dropout, stream };
        let [y, _] = self.push_many::<2>(op, &operands);
        Ok(y)
    }

    /// A mask as a view of the shape of the scores.
    fn spread_mask(&mut self, mask: Value, scores: &[Dim]) -> Result<Value, ShapeError> {
        let own = self.shape(mask);
        let misfit = |own: &[Dim]| {
            let (own, scores) = (shape::display(own), shape::display(scores));
            ShapeError::new(format!("the mask {own} of `attention` does not broadcast to the scores {scores}"))
                .help("its last axes are queries and keys; axes in front are heads and batch, each equal or 1")
        };
        if own.len() > scores.len() {
            return Err(misfit(&own));
        }
        for (size, to) in own.iter().rev().zip(scores.iter().rev()) {
            if !size.is_one() && !self.constraints.equal(size, to) {
                return Err(misfit(&own));
            }
        }
        let repeats = own.len() < scores.len() || own.iter().zip(scores).any(|(n, to)| n.is_one() && !to.is_one());
        Ok(if repeats { self.expand(mask, scores) } else { mask })
    }
}

/// Demands that a known rate lies in 0..=1.
pub(crate) fn check_rate(rate: &Scalar) -> Result<(), ShapeError> {
    match rate.as_lit() {
        Some(p) if !(0.0..=1.0).contains(&p) => Err(ShapeError::new(format!(
            "the dropout rate must be in 0..=1, found {p}"
        ))),
        _ => Ok(()),
    }
}

/// Whether the call says `causal = true`.
pub(crate) fn take_reach(args: &mut Args) -> Result<Reach, ShapeError> {
    Ok(match args.flag_or("causal", Flag::No)? {
        Flag::Yes => Reach::Causal,
        Flag::No => Reach::All,
    })
}

fn lower(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let operands = [args.tensor(0, "q")?, args.tensor(1, "k")?, args.tensor(2, "v")?];
    let options = Options {
        mask: args.tensor_named("mask")?,
        reach: take_reach(args)?,
        scale: args.scalar(usize::MAX, "scale")?,
        dropout: args.scalar_or(usize::MAX, "dropout", 0.0)?,
    };
    args.finish()?;
    check_rate(&options.dropout)?;
    Ok(Operand::Tensor(b.attention(operands, options)?))
}
