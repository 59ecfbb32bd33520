//! Blocks and statements.

use crate::ast::{AssignTarget, Block, Expr, ExprKind, Pattern, Stmt};
use crate::diag::SourceSpan;
use crate::ir::{Mode, StateId, Value};
use crate::lower::object::Object;
use crate::lower::tree::{Kind, TensorRef};
use crate::lower::work::{Frame, Work};
use crate::shape;

impl<'a> Work<'_, 'a, '_> {
    /// The value of a block.
    pub fn block(&mut self, frame: &mut Frame<'a>, block: &'a Block) -> Object {
        frame.scopes.push(Vec::new());
        for stmt in &block.stmts {
            self.stmt(frame, stmt);
        }
        let value = match &block.tail {
            Some(tail) => self.expr(frame, tail),
            None => Object::unit(),
        };
        frame.scopes.pop();
        value
    }

    fn stmt(&mut self, frame: &mut Frame<'a>, stmt: &'a Stmt) {
        match stmt {
            Stmt::Let { pattern, ty, value } => {
                let n_before = self.b.graph.len();
                let mut object = self.expr(frame, value);
                if let Some(ty) = ty {
                    object = self.annotated(frame, value.span, object, ty);
                }
                self.bind(frame, pattern, object, n_before);
            }
            Stmt::Assign { target, value, span } => {
                let n_before = self.b.graph.len();
                let object = self.expr(frame, value);
                match target {
                    AssignTarget::Name(name) => {
                        self.name(&object, &name.to_string(), n_before);
                        self.assign(frame, name, object);
                    }
                    AssignTarget::Field { base, name } => self.assign_state(frame, base, name, object, *span),
                }
            }
            Stmt::Expr(expr) => {
                self.expr(frame, expr);
            }
        }
    }

    /// Binds the parts of a value. Nodes from `n_before` on may be named after them.
    pub fn bind(&mut self, frame: &mut Frame<'a>, pattern: &'a Pattern, object: Object, n_before: usize) {
        match pattern {
            Pattern::Name { name, mutable } => {
                self.name(&object, &name.to_string(), n_before);
                frame.bind(name, object, self.depth(), *mutable);
            }
            Pattern::Wild => {}
            Pattern::Error(_) => {
                self.poisoned();
            }
            Pattern::Tuple(patterns, place) => match object {
                Object::Tuple(parts) if parts.len() == patterns.len() => {
                    for (pattern, part) in patterns.iter().zip(parts) {
                        self.bind(frame, pattern, part, n_before);
                    }
                }
                other => {
                    if !other.is_poison() {
                        let found = match &other {
                            Object::Tuple(parts) => format!("a tuple of {}", parts.len()),
                            other => other.describe().to_owned(),
                        };
                        let error = self.error(frame, *place, "the pattern does not fit the value");
                        let expected = format!("a tuple of {}", patterns.len());
                        self.report(error.expected(expected).found(found));
                    }
                    for pattern in patterns {
                        self.bind(frame, pattern, Object::Poison, n_before);
                    }
                }
            },
        }
    }

    /// Names a value after a variable, if the variable's own expression computed it.
    fn name(&mut self, object: &Object, name: &str, n_before: usize) {
        if let Object::Tensor(Value { node, .. }) = object
            && node.index() >= n_before
        {
            let node = self.b.graph.node_mut(*node);
            if node.leaf().is_none() && node.types.len() == 1 && node.origin.name.is_none() {
                node.origin.name = Some(name.into());
            }
        }
    }

    fn assign(&mut self, frame: &mut Frame<'a>, name: &'a proc_macro2::Ident, object: Object) {
        let text = name.to_string();
        let span = SourceSpan::from(name.span());
        let Some((depth, position)) = frame.position(&text) else {
            self.unknown_variable(frame, name);
            return;
        };
        if frame.scopes[depth][position].mutable.is_none() {
            let error = self.error(frame, span, format!("`{text}` is assigned, but is not `mut`"));
            self.report(error.help(format!("declare it with `let mut {text}`")));
        } else if depth < frame.barrier {
            let message =
                format!("`{text}` is assigned in one branch of an `if` that is decided at run time");
            let error = self.error(frame, span, message);
            self.report(error.help("let the `if` give the value: `let a = if c { 1.0 } else { 0.5 };`"));
        }
        frame.scopes[depth][position].object = object;
    }

    /// `self.mean = value`.
    fn assign_state(
        &mut self,
        frame: &mut Frame<'a>,
        base: &'a Expr,
        name: &'a proc_macro2::Ident,
        object: Object,
        span: SourceSpan,
    ) {
        let place = SourceSpan::from(name.span());
        if !matches!(base.kind, ExprKind::SelfRef) {
            let error = self.error(
                frame,
                place,
                "only the model's own `State` fields can be assigned",
            );
            self.report(error.help("write a function of the layer that assigns it, and call that"));
            return;
        }
        let owner = self.expr(frame, base);
        self.touch_state();
        let Some(id) = self.field_of(frame, &owner, name) else {
            return;
        };
        let Kind::State(state) = self.tree.instances[id].kind else {
            if !matches!(self.tree.instances[id].kind, Kind::Poison | Kind::Unsolved) {
                let error = self.error(
                    frame,
                    place,
                    format!("`{name}` is no `State`, so it cannot be assigned"),
                );
                self.report(error.help("parameters are changed by the optimizer only"));
            }
            return;
        };
        if self.n_branches > 0 {
            let message =
                format!("`{name}` is assigned in one branch of an `if` that is decided at run time");
            let error = self.error(frame, span, message);
            self.report(error.help("let the `if` give a number, and assign a tensor after it"));
            return;
        }
        let value = match object {
            Object::Tensor(value) => value,
            Object::Poison => return,
            other => {
                let error = self.error(frame, span, format!("`{name}` is a tensor"));
                self.report(error.found(other.describe()));
                return;
            }
        };
        let (expected, found) = (self.tree.states[state].shape.clone(), self.b.shape(value));
        let fits = self.b.constraints.equal_shapes(&expected, &found);
        if !fits || self.b.ty(value).dtype != crate::ir::DType::Float {
            let error = self.error(frame, span, format!("the new value of `{name}` has another type"));
            let found = self.b.ty(value).to_string();
            self.report(
                error
                    .expected(format!("float{}", shape::display(&expected)))
                    .found(found),
            );
        } else if self.settle(frame, span, None) && self.b.mode == Mode::Train {
            self.tensors.insert(TensorRef::State(state), value);
            self.b.update_state(StateId::new(state), value);
            self.settle_states();
        }
    }
}
