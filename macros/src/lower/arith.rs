//! Operators: on tensors, on sizes, and on numbers of the host.

use crate::ast::{BinaryOp, HostType, UnaryOp};
use crate::diag::SourceSpan;
use crate::ir::scalar::ScalarFn;
use crate::ir::{DType, Operand, Scalar, ShapeError, Value};
use crate::lower::object::Object;
use crate::lower::work::{Frame, Work};
use crate::ops::pointwise;
use crate::shape::Dim;

impl<'a> Work<'_, 'a, '_> {
    /// `-x`, `!x`.
    pub fn unary(&mut self, frame: &Frame<'a>, op: UnaryOp, operand: Object, span: SourceSpan) -> Object {
        match (op, operand) {
            (_, Object::Poison) => Object::Poison,
            (UnaryOp::Neg, Object::Tensor(value)) => self.pointwise(frame, "neg", &[value], span),
            (UnaryOp::Neg, Object::Size(size)) => Object::Size(-size),
            (UnaryOp::Neg, Object::Host(scalar, HostType::F32 | HostType::Usize)) => {
                Object::number(Scalar::unary(ScalarFn::Neg, scalar))
            }
            (UnaryOp::Not, Object::Tensor(value)) if self.b.ty(value).dtype == DType::Bool => {
                self.pointwise(frame, "not", &[value], span)
            }
            (UnaryOp::Not, Object::Host(scalar, HostType::Bool)) => {
                Object::truth(Scalar::unary(ScalarFn::Not, scalar))
            }
            (UnaryOp::Neg, other) => {
                let error = self.error(frame, span, "`-` is for tensors and numbers");
                self.report(error.found(other.describe()))
            }
            (UnaryOp::Not, other) => {
                let error = self.error(frame, span, "`!` is for truth values and tensors of them");
                self.report(error.found(other.describe()))
            }
        }
    }

    /// `a + b` and the others.
    pub fn binary(
        &mut self,
        frame: &Frame<'a>,
        op: BinaryOp,
        (left, right): (Object, Object),
        span: SourceSpan,
        op_span: SourceSpan,
    ) -> Object {
        if left.is_poison() || right.is_poison() {
            return Object::Poison;
        }
        if let (Object::Size(a), Object::Size(b)) = (&left, &right)
            && let Some(size) = self.size_arithmetic(frame, op, a, b, op_span)
        {
            return size;
        }
        if let (Some(a), Some(b)) = (left.scalar(), right.scalar()) {
            return self.host_arithmetic(frame, op, (&left, &right), (a, b), op_span);
        }
        let is_tensor = |object: &Object| matches!(object, Object::Tensor(_));
        let fits = |object: &Object| is_tensor(object) || object.scalar().is_some();
        match (row(op), left.operand(), right.operand()) {
            (None, ..) => self.fail(
                frame,
                op_span,
                format!("tensors have no operator `{}`", spelling(op)),
            ),
            (Some(name), Some(a), Some(b)) if fits(&left) && fits(&right) => {
                self.b.origin.span = frame.place(span);
                let value = pointwise::binary(&mut self.b, name, &a, &b);
                let value = value.map_err(|error| error.of(spelling(op)));
                self.operation(frame, span, op_span, value)
            }
            _ => {
                let error = self.error(
                    frame,
                    op_span,
                    format!("`{}` is for tensors and numbers", spelling(op)),
                );
                self.report(error.found(format!("{} and {}", left.describe(), right.describe())))
            }
        }
    }

    /// Arithmetic on sizes is exact and done at compile time; comparisons become truth values of the host.
    fn size_arithmetic(
        &mut self,
        frame: &Frame<'a>,
        op: BinaryOp,
        a: &Dim,
        b: &Dim,
        op_span: SourceSpan,
    ) -> Option<Object> {
        Some(Object::Size(match op {
            BinaryOp::Add => a + b,
            BinaryOp::Sub => a - b,
            BinaryOp::Mul => a * b,
            BinaryOp::Div | BinaryOp::Rem if b.is_zero() => {
                return Some(self.fail(frame, op_span, "a size is divided by 0"));
            }
            BinaryOp::Div => a.floor_div(b),
            BinaryOp::Rem => a - &(a.floor_div(b) * b),
            BinaryOp::Eq if a == b => return Some(Object::truth(Scalar::lit(1.0))),
            BinaryOp::Ne if a == b => return Some(Object::truth(Scalar::lit(0.0))),
            _ => return None,
        }))
    }

    /// Arithmetic on numbers of the host, done once a call.
    fn host_arithmetic(
        &mut self,
        frame: &Frame<'a>,
        op: BinaryOp,
        (left, right): (&Object, &Object),
        (a, b): (Scalar, Scalar),
        op_span: SourceSpan,
    ) -> Object {
        let kind = |object: &Object| match object {
            Object::Host(_, ty) => *ty,
            _ => HostType::Usize,
        };
        let (kinds, both) = ((kind(left), kind(right)), ScalarFn::Mul);
        let is_logic = matches!(op, BinaryOp::And | BinaryOp::Or);
        let is_equality = matches!(op, BinaryOp::Eq | BinaryOp::Ne);
        let n_truths = u8::from(kinds.0 == HostType::Bool) + u8::from(kinds.1 == HostType::Bool);
        if n_truths != if is_logic { 2 } else { 0 } && !(is_equality && n_truths == 2) {
            let expected = if is_logic { "truth values" } else { "numbers" };
            let error = self.error(frame, op_span, format!("`{}` is for {expected}", spelling(op)));
            return self.report(error.found(format!("{} and {}", left.describe(), right.describe())));
        }
        let not = |x| Scalar::unary(ScalarFn::Not, x);
        let truth = match op {
            BinaryOp::Eq => Scalar::binary(ScalarFn::Eq, a, b),
            BinaryOp::Ne => not(Scalar::binary(ScalarFn::Eq, a, b)),
            BinaryOp::Lt => Scalar::binary(ScalarFn::Lt, a, b),
            BinaryOp::Le => Scalar::binary(ScalarFn::Le, a, b),
            BinaryOp::Gt => Scalar::binary(ScalarFn::Lt, b, a),
            BinaryOp::Ge => Scalar::binary(ScalarFn::Le, b, a),
            BinaryOp::And => Scalar::binary(both, a, b),
            BinaryOp::Or => Scalar::binary(ScalarFn::Max, a, b),
            _ => return self.number_arithmetic(frame, op, kinds, (a, b), op_span),
        };
        Object::truth(truth)
    }

    fn number_arithmetic(
        &mut self,
        frame: &Frame<'a>,
        op: BinaryOp,
        kinds: (HostType, HostType),
        (a, b): (Scalar, Scalar),
        op_span: SourceSpan,
    ) -> Object {
        let is_whole = kinds == (HostType::Usize, HostType::Usize);
        let ty = if is_whole { HostType::Usize } else { HostType::F32 };
        let quotient = |a, b| Scalar::binary(ScalarFn::Div, a, b);
        let floor = |x| Scalar::unary(ScalarFn::Floor, x);
        let number = match op {
            BinaryOp::Add => Scalar::binary(ScalarFn::Add, a, b),
            BinaryOp::Sub => Scalar::binary(ScalarFn::Sub, a, b),
            BinaryOp::Mul => Scalar::binary(ScalarFn::Mul, a, b),
            BinaryOp::Div if is_whole => floor(quotient(a, b)),
            BinaryOp::Div => quotient(a, b),
            BinaryOp::Rem if is_whole => {
                let whole = Scalar::binary(ScalarFn::Mul, floor(quotient(a.clone(), b.clone())), b);
                Scalar::binary(ScalarFn::Sub, a, whole)
            }
            _ => return self.fail(frame, op_span, "`%` is for whole numbers"),
        };
        Object::Host(number, ty)
    }

    /// Applies a row of the pointwise table.
    pub fn pointwise(
        &mut self,
        frame: &Frame<'a>,
        name: &'static str,
        operands: &[Value],
        span: SourceSpan,
    ) -> Object {
        self.b.origin.span = frame.place(span);
        let value = self.b.pointwise(name, operands);
        self.operation(frame, span, span, Ok(Operand::Tensor(value)))
    }

    /// The result of an operation, after reporting what was wrong with it at `place`.
    pub fn operation(
        &mut self,
        frame: &Frame<'a>,
        span: SourceSpan,
        place: SourceSpan,
        result: Result<Operand, ShapeError>,
    ) -> Object {
        match result {
            Err(error) => {
                self.settle(frame, span, None);
                self.fail_shape(frame, place, None, error)
            }
            Ok(operand) if self.settle(frame, place, None) => Object::of(operand),
            Ok(_) => Object::Poison,
        }
    }
}

/// The row of the pointwise table that an operator stands for.
fn row(op: BinaryOp) -> Option<&'static str> {
    Some(match op {
        BinaryOp::Add => "add",
        BinaryOp::Sub => "sub",
        BinaryOp::Mul => "mul",
        BinaryOp::Div => "div",
        BinaryOp::Eq => "eq",
        BinaryOp::Ne => "ne",
        BinaryOp::Lt => "lt",
        BinaryOp::Le => "le",
        BinaryOp::Gt => "gt",
        BinaryOp::Ge => "ge",
        BinaryOp::And => "and",
        BinaryOp::Or => "or",
        BinaryOp::Rem => return None,
    })
}

fn spelling(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "+",
        BinaryOp::Sub => "-",
        BinaryOp::Mul => "*",
        BinaryOp::Div => "/",
        BinaryOp::Rem => "%",
        BinaryOp::Eq => "==",
        BinaryOp::Ne => "!=",
        BinaryOp::Lt => "<",
        BinaryOp::Le => "<=",
        BinaryOp::Gt => ">",
        BinaryOp::Ge => ">=",
        BinaryOp::And => "&&",
        BinaryOp::Or => "||",
    }
}
