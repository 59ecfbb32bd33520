//! What the body of a loop assigns, found before it is lowered: the variables that are carried from step to step.

use proc_macro2::Ident;

use crate::ast::{AssignTarget, Block, Expr, ExprKind, Pattern, Stmt};

/// What a body does to names that are declared outside of it.
#[derive(Default)]
pub struct Effects<'a> {
    /// The variables that it assigns, each with its last assignment, in the order of their first ones.
    pub assigned: Vec<&'a Ident>,
    /// The variables on which it calls `push`.
    pub pushed: Vec<&'a Ident>,
}

/// What `for pattern in .. body` does to names that are declared outside of it.
pub fn effects<'a>(pattern: &'a Pattern, body: &'a Block) -> Effects<'a> {
    let mut walk = Walk {
        scopes: vec![Vec::new()],
        effects: Effects::default(),
    };
    walk.declare(pattern);
    walk.block(body);
    walk.effects
}

struct Walk<'a> {
    /// The names that were declared inside, by block.
    scopes: Vec<Vec<&'a Ident>>,
    effects: Effects<'a>,
}

impl<'a> Walk<'a> {
    fn declare(&mut self, pattern: &'a Pattern) {
        match pattern {
            Pattern::Name { name, .. } => self
                .scopes
                .last_mut()
                .into_iter()
                .for_each(|scope| scope.push(name)),
            Pattern::Tuple(parts, _) => parts.iter().for_each(|part| self.declare(part)),
            Pattern::Wild | Pattern::Error(_) => {}
        }
    }

    fn is_outside(&self, name: &Ident) -> bool {
        !self.scopes.iter().flatten().any(|known| *known == name)
    }

    fn block(&mut self, block: &'a Block) {
        self.scopes.push(Vec::new());
        block.stmts.iter().for_each(|stmt| self.stmt(stmt));
        block.tail.iter().for_each(|tail| self.expr(tail));
        self.scopes.pop();
    }

    fn stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::Let { pattern, value, .. } => {
                self.expr(value);
                self.declare(pattern);
            }
            Stmt::Assign { target, value, .. } => {
                self.expr(value);
                match target {
                    AssignTarget::Field { base, .. } => self.expr(base),
                    AssignTarget::Name(name) if self.is_outside(name) => {
                        let known = self.effects.assigned.iter_mut().find(|known| **known == name);
                        match known {
                            Some(known) => *known = name,
                            None => self.effects.assigned.push(name),
                        }
                    }
                    AssignTarget::Name(_) => {}
                }
            }
            Stmt::Expr(expr) => self.expr(expr),
        }
    }

    fn expr(&mut self, expr: &'a Expr) {
        match &expr.kind {
            ExprKind::Lit(_)
            | ExprKind::Name(_)
            | ExprKind::Path(_)
            | ExprKind::SelfRef
            | ExprKind::Error(_) => {}
            ExprKind::Field { base, .. } | ExprKind::TupleIndex { base, .. } => self.expr(base),
            ExprKind::Tuple(parts) | ExprKind::Array(parts) => parts.iter().for_each(|part| self.expr(part)),
            ExprKind::Unary { operand, .. } | ExprKind::Cast { operand, .. } => self.expr(operand),
            ExprKind::Binary { left, right, .. } => {
                self.expr(left);
                self.expr(right);
            }
            ExprKind::MethodCall {
                base,
                method,
                args,
                options,
            } => {
                if let ExprKind::Name(name) = &base.kind
                    && method == "push"
                    && self.is_outside(name)
                {
                    self.effects.pushed.push(name);
                }
                self.expr(base);
                args.iter().for_each(|arg| self.expr(arg));
                options.iter().for_each(|option| self.expr(&option.value));
            }
            ExprKind::Call { args, options, .. } => {
                args.iter().for_each(|arg| self.expr(arg));
                options.iter().for_each(|option| self.expr(&option.value));
            }
            ExprKind::Range { start, end, .. } => {
                start.iter().chain(end).for_each(|end| self.expr(end));
            }
            ExprKind::Block(block) => self.block(block),
            ExprKind::If { cond, then, else_ } => {
                self.expr(cond);
                self.block(then);
                else_.iter().for_each(|other| self.expr(other));
            }
            ExprKind::For { pattern, iter, body } => {
                self.expr(iter);
                self.scopes.push(Vec::new());
                self.declare(pattern);
                self.block(body);
                self.scopes.pop();
            }
        }
    }
}
