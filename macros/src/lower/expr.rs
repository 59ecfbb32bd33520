//! Expressions.

use proc_macro2::Ident;
use quote::ToTokens;

use crate::ast::{Block, CastType, Expr, ExprKind, HostType, Lit, RangeLimits, Receiver, TensorDtype};
use crate::diag::SourceSpan;
use crate::ir::scalar::ScalarFn;
use crate::ir::{DType, Scalar};
use crate::lower::names::nearest;
use crate::lower::object::Object;
use crate::lower::sizes::SizeError;
use crate::lower::tree::{InstanceId, Kind, TensorRef};
use crate::lower::work::{Frame, Use, Work};
use crate::model::constant_text;
use crate::shape::Dim;

impl<'a> Work<'_, 'a, '_> {
    /// The meaning of an expression.
    pub fn expr(&mut self, frame: &mut Frame<'a>, expr: &'a Expr) -> Object {
        let span = expr.span;
        match &expr.kind {
            ExprKind::Lit(lit) => self.literal(frame, lit, span),
            ExprKind::Name(name) => self.name_expr(frame, name),
            ExprKind::Path(path) => self.path_expr(frame, path, span),
            ExprKind::SelfRef => self.self_expr(frame, span),
            ExprKind::Field { base, name } => self.field_expr(frame, base, name),
            ExprKind::TupleIndex { base, index } => {
                let base = self.expr(frame, base);
                self.tuple_index(frame, base, *index, span)
            }
            ExprKind::Tuple(parts) | ExprKind::Array(parts) => {
                Object::Tuple(parts.iter().map(|part| self.expr(frame, part)).collect())
            }
            ExprKind::Unary { op, operand } => {
                let operand = self.expr(frame, operand);
                self.unary(frame, *op, operand, span)
            }
            ExprKind::Binary {
                op,
                op_span,
                left,
                right,
            } => {
                let left = self.expr(frame, left);
                let right = self.expr(frame, right);
                self.binary(frame, *op, (left, right), span, *op_span)
            }
            ExprKind::MethodCall {
                base,
                method,
                args,
                options,
            } => self.method_call(frame, (base, method), args, options, span),
            ExprKind::Call {
                callee,
                args,
                options,
            } => self.call(frame, callee, args, options, span),
            ExprKind::Range { start, end, limits } => self.range(frame, start, end, *limits),
            ExprKind::Block(block) => self.block(frame, block),
            ExprKind::If { cond, then, else_ } => self.if_expr(frame, cond, then, else_.as_deref(), span),
            ExprKind::Cast { operand, ty } => {
                let operand = self.expr(frame, operand);
                self.cast(frame, operand, *ty, span)
            }
            ExprKind::For { pattern, iter, body } => self.for_loop(frame, (pattern, iter), body, span),
            ExprKind::Error(_) => self.poisoned(),
        }
    }

    /// A longer path: a constant.
    fn path_expr(&mut self, frame: &Frame<'a>, path: &syn::Path, span: SourceSpan) -> Object {
        let expr = syn::ExprPath {
            attrs: Vec::new(),
            qself: None,
            path: path.clone(),
        };
        let text = constant_text(&syn::Expr::Path(expr));
        self.constant(frame, &text, path.to_token_stream(), span)
    }

    fn self_expr(&mut self, frame: &Frame<'a>, span: SourceSpan) -> Object {
        match frame.function.receiver {
            Receiver::SelfRef => Object::Instance(frame.instance),
            Receiver::None => {
                let error = self.error(frame, span, format!("`{}` has no `self`", frame.function.name));
                self.report(error.help("add `&self` as its first argument"))
            }
        }
    }

    fn tuple_index(&mut self, frame: &Frame<'a>, base: Object, index: usize, span: SourceSpan) -> Object {
        match base {
            Object::Tuple(parts) if index < parts.len() => parts[index].clone(),
            Object::Tuple(parts) => {
                let message = format!("there is no value {index} in a tuple of {}", parts.len());
                self.fail(frame, span, message)
            }
            Object::Poison => Object::Poison,
            other => {
                let message = format!("`.{index}` is for tuples, this is {}", other.describe());
                self.fail(frame, span, message)
            }
        }
    }

    fn literal(&mut self, frame: &Frame<'a>, lit: &Lit, span: SourceSpan) -> Object {
        match lit {
            Lit::Float(value) => Object::number(Scalar::lit(*value)),
            Lit::Bool(value) => Object::truth(Scalar::lit(f64::from(u8::from(*value)))),
            Lit::Str(text) => Object::Text(text.clone()),
            Lit::Int(value) => match i64::try_from(*value) {
                Ok(value) => Object::Size(Dim::lit(value)),
                Err(_) => self.fail(frame, span, format!("the number {value} is too large")),
            },
        }
    }

    /// A variable, a size, or a constant of the module.
    fn name_expr(&mut self, frame: &Frame<'a>, name: &'a Ident) -> Object {
        let text = name.to_string();
        if let Some(object) = self.variable(frame, &text) {
            return object;
        }
        if let Some(size) = frame.sizes.get(&text) {
            return Object::Size(size.clone());
        }
        if text.chars().any(char::is_lowercase) {
            return self.unknown_variable(frame, name);
        }
        self.constant(
            frame,
            &text,
            name.to_token_stream(),
            SourceSpan::from(name.span()),
        )
    }

    fn constant(
        &mut self,
        frame: &Frame<'a>,
        text: &str,
        tokens: proc_macro2::TokenStream,
        span: SourceSpan,
    ) -> Object {
        match self.tree.constant(frame.instance, text, Some(tokens)) {
            Ok(size) => Object::Size(size),
            Err(SizeError::Because(message)) => self.fail(frame, span, message),
            Err(SizeError::Reported) => self.poisoned(),
        }
    }

    /// Reports a name that stands for nothing.
    pub fn unknown_variable(&mut self, frame: &Frame<'a>, name: &Ident) -> Object {
        let text = name.to_string();
        let error = self.error(
            frame,
            SourceSpan::from(name.span()),
            format!("there is no variable `{text}` here"),
        );
        let model = self.tree.model(frame.instance);
        if let Some(model) = model
            && model
                .model
                .structure
                .fields
                .iter()
                .any(|field| field.name == text)
        {
            return self.report(error.help(format!("the field is written `self.{text}`")));
        }
        let variables = frame.scopes.iter().flatten().map(|binding| binding.name.as_str());
        match nearest(&text, variables.chain(frame.sizes.keys().map(String::as_str))) {
            Some(near) => self.report(error.help(format!("did you mean `{near}`?"))),
            None => self.report(error),
        }
    }

    /// `base.name` where no call follows: a tensor of the model, or a layer.
    fn field_expr(&mut self, frame: &mut Frame<'a>, base: &'a Expr, name: &'a Ident) -> Object {
        let owner = self.expr(frame, base);
        if let Object::Instance(id) = owner
            && let Kind::Layer(layer) = &self.tree.instances[id].kind
        {
            let found = layer.tensors.iter().find(|(known, _)| name == known);
            return match found {
                Some((_, tensor)) => {
                    self.note_use(id, Use::Sound);
                    Object::Tensor(self.tensor(*tensor))
                }
                None => {
                    let title = self.tree.title(id);
                    let error = self.error(
                        frame,
                        name.span().into(),
                        format!("{title} has no tensor `{name}`"),
                    );
                    let known: Vec<&str> = layer.tensors.iter().map(|(known, _)| &**known).collect();
                    if known.is_empty() {
                        return self.report(error.note("it has no tensors"));
                    }
                    self.report(error.note(format!("it has {}", known.join(", "))))
                }
            };
        }
        let Some(id) = self.field_of(frame, &owner, name) else {
            return Object::Poison;
        };
        match &self.tree.instances[id].kind {
            Kind::Param(param) => Object::Tensor(self.tensor(TensorRef::Param(*param))),
            Kind::State(state) => Object::Tensor(self.tensor(TensorRef::State(*state))),
            Kind::Model(_) | Kind::Layer(_) | Kind::Array(_) => Object::Instance(id),
            Kind::Unsolved => {
                self.note_use(id, Use::Sound);
                // Its calls are what matters; the layer itself is still one.
                Object::Instance(id)
            }
            Kind::Poison => self.poisoned(),
        }
    }

    /// The field of a model. Reports where there is none.
    pub fn field_of(&mut self, frame: &Frame<'a>, owner: &Object, name: &Ident) -> Option<InstanceId> {
        let span = SourceSpan::from(name.span());
        match owner {
            Object::Poison => None,
            Object::Instance(id) => {
                let Some(model) = self.tree.model(*id) else {
                    if matches!(self.tree.instances[*id].kind, Kind::Unsolved) {
                        self.note_use(*id, Use::Sound);
                    } else {
                        self.fail(
                            frame,
                            span,
                            format!("{} has no field `{name}`", self.tree.title(*id)),
                        );
                    }
                    return None;
                };
                let fields = &model.model.structure.fields;
                if let Some(position) = fields.iter().position(|field| field.name == *name) {
                    return Some(model.fields[position]);
                }
                let type_name = &model.model.structure.name;
                let error = self.error(
                    frame,
                    span,
                    format!("the model `{type_name}` has no field `{name}`"),
                );
                let known: Vec<String> = fields.iter().map(|field| field.name.to_string()).collect();
                let error = match nearest(&name.to_string(), known.iter().map(String::as_str)) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None if known.is_empty() => error.note("it has no fields"),
                    None => error.note(format!("its fields are {}", known.join(", "))),
                };
                self.report(error);
                None
            }
            other => {
                self.fail(frame, span, format!("{} has no field `{name}`", other.describe()));
                None
            }
        }
    }

    fn range(
        &mut self,
        frame: &mut Frame<'a>,
        start: &'a Option<Box<Expr>>,
        end: &'a Option<Box<Expr>>,
        limits: RangeLimits,
    ) -> Object {
        let mut ends = [None, None];
        for (slot, expr) in ends.iter_mut().zip([start, end]) {
            let Some(expr) = expr else { continue };
            *slot = match self.expr(frame, expr) {
                Object::Size(size) => Some(size),
                Object::Poison => return Object::Poison,
                other => {
                    let error = self.error(frame, expr.span, "the ends of a range are whole numbers");
                    let found = match other {
                        Object::Host(_, HostType::Usize) => "a number that only the caller knows",
                        ref other => other.describe(),
                    };
                    return self.report(error.found(found).note("they decide a shape"));
                }
            };
        }
        let [start, end] = ends;
        let end = match limits {
            RangeLimits::HalfOpen => end,
            RangeLimits::Closed => end.map(|end| end + 1),
        };
        Object::Range(start, end)
    }

    fn if_expr(
        &mut self,
        frame: &mut Frame<'a>,
        cond: &'a Expr,
        then: &'a Block,
        else_: Option<&'a Expr>,
        span: SourceSpan,
    ) -> Object {
        let condition = match self.expr(frame, cond) {
            Object::Host(scalar, HostType::Bool) => scalar,
            Object::Poison => return Object::Poison,
            other => {
                let error = self.error(
                    frame,
                    cond.span,
                    "the condition of `if` is a truth value of the host",
                );
                let error = error.found(other.describe());
                return self.report(match other {
                    Object::Tensor(_) => error.help("use `select(mask, a, b)` to choose element by element"),
                    _ => error,
                });
            }
        };
        if let Some(value) = condition.as_lit() {
            return match else_ {
                _ if value != 0.0 => self.block(frame, then),
                Some(other) => self.expr(frame, other),
                None => Object::unit(),
            };
        }
        let barrier = std::mem::replace(&mut frame.barrier, frame.scopes.len());
        self.n_branches += 1;
        let yes = self.block(frame, then);
        let no = else_.map_or_else(Object::unit, |other| self.expr(frame, other));
        frame.barrier = barrier;
        self.n_branches -= 1;
        match (yes.scalar(), no.scalar()) {
            _ if yes.is_poison() || no.is_poison() => Object::Poison,
            _ if yes.is_unit() && no.is_unit() => Object::unit(),
            (Some(a), Some(b)) => {
                let ty = match (&yes, &no) {
                    (Object::Host(_, ty), Object::Host(_, other)) if ty == other => *ty,
                    (Object::Size(_), Object::Size(_)) => HostType::Usize,
                    _ => HostType::F32,
                };
                Object::Host(Scalar::choose(condition, a, b), ty)
            }
            _ => {
                let message = "an `if` that is decided at run time chooses between numbers";
                let error = self.error(frame, span, message);
                let found = format!("{} and {}", yes.describe(), no.describe());
                self.report(
                    error
                        .found(found)
                        .help("compute both and use `select`, or write two functions"),
                )
            }
        }
    }

    fn cast(&mut self, frame: &Frame<'a>, operand: Object, ty: CastType, span: SourceSpan) -> Object {
        match (operand, ty) {
            (Object::Poison, _) => Object::Poison,
            (Object::Tensor(value), CastType::Tensor(dtype)) => {
                let wanted = dtype_of(dtype);
                let row = match wanted {
                    _ if self.b.ty(value).dtype == wanted => return Object::Tensor(value),
                    DType::Float => "to_float",
                    DType::Int => "to_int",
                    DType::Bool => {
                        let error = self.error(frame, span, "a tensor cannot be converted to truth values");
                        return self.report(error.help("compare it: `x != 0`"));
                    }
                };
                self.pointwise(frame, row, &[value], span)
            }
            (Object::Size(size), CastType::Usize) => Object::Size(size),
            (operand, CastType::Usize) => match operand.scalar() {
                Some(scalar) => {
                    // As in Rust, what is below zero becomes zero.
                    let whole = Scalar::unary(ScalarFn::Floor, scalar);
                    Object::Host(
                        Scalar::binary(ScalarFn::Max, whole, Scalar::lit(0.0)),
                        HostType::Usize,
                    )
                }
                None => self.fail(
                    frame,
                    span,
                    format!("{} cannot be converted to `usize`", operand.describe()),
                ),
            },
            (operand, CastType::Tensor(TensorDtype::Float)) => match operand.scalar() {
                Some(scalar) => Object::number(scalar),
                None => self.fail(
                    frame,
                    span,
                    format!("{} cannot be converted to `f32`", operand.describe()),
                ),
            },
            (operand, CastType::Tensor(_)) => {
                let message = format!("{} cannot be converted to that type", operand.describe());
                let error = self.error(frame, span, message);
                self.report(error.help("numbers of the host are `f32`, `bool` and `usize`"))
            }
        }
    }
}

/// How elements of that type are carried.
pub fn dtype_of(dtype: TensorDtype) -> DType {
    match dtype {
        TensorDtype::Float => DType::Float,
        TensorDtype::Bool => DType::Bool,
        TensorDtype::U8 | TensorDtype::U16 | TensorDtype::U32 | TensorDtype::I32 | TensorDtype::I64 => {
            DType::Int
        }
    }
}
