//! Products of matrices, and what is built of them: `matmul`, `dot`, `outer`, a linear layer.

use crate::ir::{
    Args, Builder, Call, CallArg, Constraints, Cotangents, DType, Form, Kernel, Operand, Rule, Sample,
    PackForm, Packing, Residual, Rows, SampleGradient, ShapeError, Site, Surface, Type, Value,
};
use crate::ops::einsum;
use crate::shape::{self, Dim};

/// `y[.., i, j] = sum over p of a[.., i, p] b[.., p, j]`: operands of one rank, at least 2, with equal leading axes.
///
/// What PyTorch's `matmul` does beyond that (operands of one axis, broadcast batches) is made of views by
/// [`Builder::matmul`].
#[derive(Clone, PartialEq, Debug)]
pub struct Matmul;

impl Rule for Matmul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn attributes(&self) -> String {
        String::new()
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let (a, b) = (&inputs[0], &inputs[1]);
        check_floats(a, b)?;
        let rank = a.rank();
        if rank < 2 || b.rank() != rank {
            return Err(ShapeError::new(format!(
                "cannot multiply {a} by {b} as batches of matrices"
            )));
        }
        let (batch, inner) = (rank - 2, &a.shape[rank - 1]);
        if !constraints.equal(inner, &b.shape[batch]) {
            return Err(inner_mismatch(&a.shape, &b.shape, inner, &b.shape[batch]));
        }
        if !constraints.equal_shapes(&a.shape[..batch], &b.shape[..batch]) {
            return Err(ShapeError::new(format!(
                "cannot multiply {} by {}: the batches {} and {} differ",
                shape::display(&a.shape),
                shape::display(&b.shape),
                shape::display(&a.shape[..batch]),
                shape::display(&b.shape[..batch]),
            )));
        }
        let mut shape = a.shape.clone();
        shape[rank - 1] = b.shape[rank - 1].clone();
        Ok(vec![Type::float(shape)])
    }

    /// `a_bar = y_bar b^T` and `b_bar = a^T y_bar`.
    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else {
            return Cotangents::Flow(vec![None, None]);
        };
        let (left, right) = (b.transpose(site.inputs[0]), b.transpose(site.inputs[1]));
        let a_bar = b.push(Matmul, &[g, right]);
        let b_bar = b.push(Matmul, &[left, g]);
        Cotangents::Flow(vec![Some(a_bar), Some(b_bar)])
    }

    fn kernel(&self, inputs: &[Type], outputs: &[Type]) -> Kernel {
        let shape = &outputs[0].shape;
        let right = match shape.as_slice() {
            [m, n] => CallArg::Packable(
                1,
                Packing {
                    form: PackForm::Factor(Rows::InOrder),
                    rows: m.clone(),
                    shape: [inputs[1].shape[0].clone(), n.clone()],
                },
            ),
            _ => CallArg::InView(1),
        };
        let args = vec![
            CallArg::InView(0),
            right,
            CallArg::Out(0),
            CallArg::Epilogue {
                channel_axis: shape.len() - 1,
                residual: Residual::Added,
                pooling: None,
            },
        ];
        Kernel::Call(Call {
            function: "matmul",
            args,
            scratch: Vec::new(),
        })
    }

    fn flops(&self, inputs: &[Type], outputs: &[Type]) -> Dim {
        outputs[0].numel() * &inputs[0].shape[inputs[0].rank() - 1] * 2
    }

    fn surfaces() -> &'static [Surface] {
        &[
            Surface {
                name: "matmul",
                form: Form::Method,
                usage: "a.matmul(b)",
                lower: lower_matmul,
            },
            Surface {
                name: "matmul",
                form: Form::Function,
                usage: "matmul(a, b)",
                lower: lower_matmul,
            },
            Surface {
                name: "dot",
                form: Form::Method,
                usage: "a.dot(b)",
                lower: lower_dot,
            },
            Surface {
                name: "outer",
                form: Form::Method,
                usage: "a.outer(b)",
                lower: lower_outer,
            },
            Surface {
                name: "einsum",
                form: Form::Function,
                usage: "einsum(\"bij,bjk->bik\", a, b)",
                lower: einsum::lower,
            },
        ]
    }

    fn samples() -> Vec<Sample> {
        let sample = |name, dims, args, ret, body, sizes| Sample {
            name,
            dims,
            args,
            ret,
            body,
            sizes,
            domain: (-1.0, 1.0),
            gradient: SampleGradient::Checked,
        };
        let two: &[&[usize]] = &[&[1, 1], &[0, 4], &[5, 3], &[33, 17]];
        let one: &[&[usize]] = &[&[1], &[0], &[7]];
        vec![
            sample(
                "matmul_plain",
                "B: Dim, K: Dim",
                "a: Tensor<B, K>, b: Tensor<K, 5>",
                "Tensor<B, 5>",
                "a.matmul(b)",
                two,
            ),
            sample(
                "einsum_transposed",
                "B: Dim, K: Dim",
                "a: Tensor<K, B>, b: Tensor<3, K>",
                "Tensor<B, 3>",
                "einsum(\"kb,nk->bn\", a, b)",
                two,
            ),
            sample(
                "matmul_batched",
                "B: Dim, T: Dim",
                "a: Tensor<B, 2, T, 3>, b: Tensor<B, 2, 3, T>",
                "Tensor<B, 2, T, T>",
                "matmul(a, b)",
                two,
            ),
            sample(
                "matmul_broadcast",
                "B: Dim, T: Dim",
                "a: Tensor<1, 3, T>, b: Tensor<B, T, 2>",
                "Tensor<B, 3, 2>",
                "matmul(a, b)",
                two,
            ),
            sample(
                "matmul_shared_weight",
                "B: Dim, T: Dim",
                "a: Tensor<B, T, 4>, b: Tensor<4, 3>",
                "Tensor<B, T, 3>",
                "matmul(a, b)",
                two,
            ),
            sample(
                "matmul_vector",
                "B: Dim, K: Dim",
                "a: Tensor<B, K>, b: Tensor<K>",
                "Tensor<B>",
                "matmul(a, b)",
                two,
            ),
            sample(
                "dot",
                "K: Dim",
                "a: Tensor<K>, b: Tensor<K>",
                "Scalar",
                "a.dot(b)",
                one,
            ),
            sample(
                "outer",
                "M: Dim, N: Dim",
                "a: Tensor<M>, b: Tensor<N>",
                "Tensor<M, N>",
                "a.outer(b)",
                two,
            ),
            sample(
                "einsum_batched",
                "B: Dim, T: Dim",
                "a: Tensor<B, T, 3>, b: Tensor<B, 3, 2>",
                "Tensor<B, 2, T>",
                "einsum(\"bij,bjk->bki\", a, b)",
                two,
            ),
            sample(
                "einsum_sum_and_scale",
                "B: Dim, T: Dim",
                "a: Tensor<B, T>, b: Tensor<B>",
                "Tensor<B>",
                "einsum(\"bt,b->b\", a, b)",
                two,
            ),
        ]
    }
}

fn check_floats(a: &Type, b: &Type) -> Result<(), ShapeError> {
    match [a, b].into_iter().find(|ty| ty.dtype != DType::Float) {
        None => Ok(()),
        Some(other) => {
            let message = format!("`matmul` takes float tensors, found {other}");
            Err(ShapeError::new(message).help("convert it with `.to_float()`"))
        }
    }
}

fn inner_mismatch(a: &[Dim], b: &[Dim], left: &Dim, right: &Dim) -> ShapeError {
    let message = format!(
        "cannot multiply {} by {}: the inner sizes `{left}` and `{right}` differ",
        shape::display(a),
        shape::display(b)
    );
    ShapeError::new(message)
        .help("the last axis of the left tensor is summed with the last but one of the right tensor")
}

impl Builder {
    /// The product of two tensors by the rules of `torch.matmul`.
    ///
    /// Two matrices are multiplied; an operand of one axis is a row on the left and a column on the right, and that axis
    /// is not in the result; leading axes are batches and are broadcast. A right operand of two axes is applied to all
    /// rows of the left one at once, so that its gradient is one product too.
    pub fn matmul(&mut self, a: Value, b: Value) -> Value {
        if self.is_poison(a) || self.is_poison(b) {
            return if self.is_poison(a) { a } else { b };
        }
        let (left, right) = (self.ty(a).clone(), self.ty(b).clone());
        if let Err(error) = check_floats(&left, &right) {
            return self.fail(error);
        }
        if left.rank() == 0 || right.rank() == 0 {
            let message = format!("`matmul` takes tensors of at least one axis, found {left} and {right}");
            return self.fail(ShapeError::new(message).help("a number is multiplied with `*`"));
        }
        let inner = (
            &left.shape[left.rank() - 1],
            &right.shape[right.rank().saturating_sub(2)],
        );
        if !self.constraints.equal(inner.0, inner.1) {
            return self.fail(inner_mismatch(&left.shape, &right.shape, inner.0, inner.1));
        }
        if left.rank() == 1 {
            let row = self.reshape(a, vec![Dim::one(), left.shape[0].clone()]);
            let y = self.matmul(row, b);
            return self.without_axis(
                y,
                self.ty(y)
                    .rank()
                    .saturating_sub(if right.rank() == 1 { 1 } else { 2 }),
            );
        }
        if right.rank() == 1 {
            let column = self.reshape(b, vec![right.shape[0].clone(), Dim::one()]);
            let y = self.matmul(a, column);
            return self.without_axis(y, left.rank() - 1);
        }
        if right.rank() == 2 {
            return self.over_rows(a, |builder, rows| builder.push(Matmul, &[rows, b]));
        }
        match self.broadcast_batches(a, b) {
            Ok(operands) => self.push(Matmul, &operands),
            Err(error) => self.fail(error),
        }
    }

    /// `x w^T + bias`, with `w` in PyTorch's layout `[out, in]`.
    ///
    /// Every axis of `x` but the last counts rows. Bias and product are separate nodes; the fuse stage makes one kernel of
    /// them.
    pub fn linear(&mut self, x: Value, w: Value, bias: Option<Value>) -> Value {
        if self.is_poison(x) || self.is_poison(w) {
            return if self.is_poison(x) { x } else { w };
        }
        let (input, weight) = (self.ty(x).clone(), self.ty(w).clone());
        if input.rank() == 0 || weight.rank() != 2 {
            let message =
                format!("a linear layer takes [.., in] and a weight [out, in], found {input} and {weight}");
            return self.fail(ShapeError::new(message));
        }
        let (found, expected) = (&input.shape[input.rank() - 1], &weight.shape[1]);
        if !self.constraints.equal(found, expected) {
            let message =
                format!("expected `{expected}` input features, found `{found}` (the last axis of {input})");
            return self.fail(ShapeError::new(message));
        }
        self.over_rows(x, |b, rows| {
            let right = b.transpose(w);
            let y = b.push(Matmul, &[rows, right]);
            match bias {
                Some(bias) if !b.is_poison(y) => {
                    let shape = b.shape(y);
                    let bias = b.expand_channel(bias, 1, &shape);
                    b.add(y, bias)
                }
                _ => y,
            }
        })
    }

    /// Applies a function of `[rows, in]` to a tensor `[.., in]`.
    fn over_rows(&mut self, x: Value, f: impl FnOnce(&mut Self, Value) -> Value) -> Value {
        let shape = self.shape(x);
        let (last, leading) = shape
            .split_last()
            .expect("the caller has checked that there is an axis");
        if leading.len() == 1 {
            return f(self, x);
        }
        let rows = self.reshape(x, vec![shape::numel(leading), last.clone()]);
        let y = f(self, rows);
        if self.is_poison(y) {
            return y;
        }
        let mut shape = leading.to_vec();
        shape.push(self.ty(y).shape[1].clone());
        self.reshape(y, shape)
    }

    /// Both operands with the leading axes to which those of both broadcast.
    fn broadcast_batches(&mut self, a: Value, b: Value) -> Result<[Value; 2], ShapeError> {
        let (left, right) = (self.shape(a), self.shape(b));
        let batches = (&left[..left.len() - 2], &right[..right.len() - 2]);
        let mismatch = || {
            let (left, right) = (shape::display(&left), shape::display(&right));
            let message = format!("cannot multiply {left} by {right}: their batches do not fit together");
            ShapeError::new(message)
                .help("leading axes are compared from the last one on; they are equal, or one is 1")
        };
        let (batch, conditions) = shape::broadcast(batches.0, batches.1).map_err(|_| mismatch())?;
        for (l, r) in conditions {
            if !self.constraints.equal(&l, &r) {
                return Err(mismatch());
            }
        }
        Ok([(a, &left), (b, &right)].map(|(x, shape)| {
            let own = &shape[..shape.len() - 2];
            let repeats =
                own.len() != batch.len() || own.iter().zip(&batch).any(|(n, to)| n.is_one() && !to.is_one());
            if !repeats {
                return x;
            }
            let mut shape = shape.clone();
            shape.splice(..shape.len() - 2, batch.iter().cloned());
            self.expand(x, &shape)
        }))
    }

    /// The tensor without axis `axis`, which has size 1.
    fn without_axis(&mut self, x: Value, axis: usize) -> Value {
        if self.is_poison(x) {
            return x;
        }
        let mut shape = self.shape(x);
        shape.remove(axis);
        self.reshape(x, shape)
    }
}

fn lower_matmul(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let (left, right) = (args.tensor(0, "a")?, args.tensor(1, "b")?);
    args.finish()?;
    Ok(Operand::Tensor(b.matmul(left, right)))
}

/// Two operands that must have one axis each.
fn vectors(b: &Builder, args: &mut Args, word: &str) -> Result<[Value; 2], ShapeError> {
    let operands = [args.tensor(0, "a")?, args.tensor(1, "b")?];
    args.finish()?;
    match operands.iter().find(|&&x| !b.is_poison(x) && b.ty(x).rank() != 1) {
        None => Ok(operands),
        Some(&other) => {
            let message = format!("`{word}` takes tensors of one axis, found {}", b.ty(other));
            Err(ShapeError::new(message).help("`matmul` multiplies tensors of more axes"))
        }
    }
}

fn lower_dot(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let [x, y] = vectors(b, args, "dot")?;
    Ok(Operand::Tensor(b.matmul(x, y)))
}

fn lower_outer(b: &mut Builder, args: &mut Args) -> Result<Operand, ShapeError> {
    let [x, y] = vectors(b, args, "outer")?;
    let shape = [b.shape(x), b.shape(y)].concat();
    if b.is_poison(x) || b.is_poison(y) {
        return Ok(Operand::Tensor(b.poison()));
    }
    let x = b.expand_axes(x, &[1], &shape);
    let y = b.expand(y, &shape);
    Ok(Operand::Tensor(b.mul(x, y)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::testkit::{builder, call, error, input, text, typed};

    fn product(left: &[&str], right: &[&str]) -> String {
        let mut b = builder();
        let (x, y) = (
            input(&mut b, DType::Float, left),
            input(&mut b, DType::Float, right),
        );
        let z = b.matmul(x, y);
        if b.errors.is_empty() {
            typed(&b, z)
        } else {
            error(&b)
        }
    }

    #[test]
    fn shapes_follow_pytorch() {
        assert_eq!(product(&["B", "784"], &["784", "10"]), "float[B, 10]");
        assert_eq!(product(&["K"], &["K"]), "float[]");
        assert_eq!(product(&["K"], &["K", "3"]), "float[3]");
        assert_eq!(product(&["K"], &["B", "K", "3"]), "float[B, 3]");
        assert_eq!(product(&["B", "K"], &["K"]), "float[B]");
        assert_eq!(product(&["B", "T", "K"], &["K", "3"]), "float[B, T, 3]");
        assert_eq!(
            product(&["B", "1", "T", "K"], &["4", "K", "T"]),
            "float[B, 4, T, T]"
        );
    }

    #[test]
    fn mistakes_name_both_shapes() {
        assert_eq!(
            product(&["B", "784"], &["128", "10"]),
            "cannot multiply [B, 784] by [128, 10]: the inner sizes `784` and `128` differ (the last axis of the \
             left tensor is summed with the last but one of the right tensor)"
        );
        assert_eq!(
            product(&["B", "2", "3"], &["C", "3", "4"]),
            "cannot multiply [B, 2, 3] by [C, 3, 4]: their batches do not fit together (leading axes are compared \
             from the last one on; they are equal, or one is 1)"
        );
        assert!(
            product(&[], &["3"]).starts_with("`matmul` takes tensors of at least one axis, found float[]")
        );
        let mut b = builder();
        let (x, y) = (
            input(&mut b, DType::Int, &["3"]),
            input(&mut b, DType::Float, &["3"]),
        );
        b.matmul(x, y);
        assert_eq!(
            error(&b),
            "`matmul` takes float tensors, found int[3] (convert it with `.to_float()`)"
        );
    }

    #[test]
    fn a_shared_weight_is_applied_to_all_rows_at_once() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "T", "4"]);
        let w = input(&mut b, DType::Float, &["8", "4"]);
        let bias = input(&mut b, DType::Float, &["8"]);
        let y = b.linear(x, w, Some(bias));
        assert_eq!(typed(&b, y), "float[B, T, 8]");
        let products: Vec<String> = b
            .graph
            .iter()
            .filter(|(_, node)| node.op == Matmul.into())
            .map(|(_, node)| node.types[0].to_string())
            .collect();
        assert_eq!(products, ["float[B * T, 8]"]);
        assert_eq!(
            Matmul.flops(&[b.ty(x).clone()], &[b.ty(y).clone()]).to_string(),
            "64 * B * T"
        );
    }

    #[test]
    fn a_linear_layer_says_which_features_it_expects() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "5"]);
        let w = input(&mut b, DType::Float, &["8", "4"]);
        b.linear(x, w, None);
        assert_eq!(
            error(&b),
            "expected `4` input features, found `5` (the last axis of float[B, 5])"
        );
    }

    #[test]
    fn gradients_have_the_shapes_of_the_operands() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["B", "7", "4"]);
        let y = input(&mut b, DType::Float, &["B", "4", "3"]);
        let z = b.matmul(x, y);
        let g = b.fill_like(z, 1.0);
        let (inputs, outputs) = ([x, y], [z]);
        let site = Site {
            inputs: &inputs,
            outputs: &outputs,
        };
        let Cotangents::Flow(bars) = Matmul.grad(&mut b, &site, &[Some(g)]) else {
            panic!("a product has a derivative")
        };
        let bars: Vec<String> = bars.into_iter().map(|bar| typed(&b, bar.unwrap())).collect();
        assert_eq!(bars, ["float[B, 7, 4]", "float[B, 4, 3]"]);
    }

    #[test]
    fn dot_and_outer_take_vectors() {
        let mut b = builder();
        let x = input(&mut b, DType::Float, &["M"]);
        let y = input(&mut b, DType::Float, &["N"]);
        let m = input(&mut b, DType::Float, &["M", "N"]);
        let args = [Operand::Tensor(x), Operand::Tensor(y)];
        let z = call(&mut b, "outer", &args, &[]).unwrap();
        assert_eq!(typed(&b, z), "float[M, N]");
        let mistake = call(&mut b, "dot", &[Operand::Tensor(x), Operand::Tensor(m)], &[]).unwrap_err();
        assert_eq!(
            text(&mistake),
            "`dot` takes tensors of one axis, found float[M, N] (`matmul` multiplies tensors of more axes)"
        );
    }
}
