//! Collected values: `let mut ys = Steps::new();`, `ys.push(y);` in a loop, and `ys.stack(axis = 1)` after it.
//!
//! A collection is filled by one loop, which pushes once in every step. The loop stacks the values along a new first
//! axis; `stack` moves that axis to its place.

use proc_macro2::Ident;

use crate::ast::{Expr, ExprKind};
use crate::diag::SourceSpan;
use crate::ir::{Type, Value};
use crate::lower::call::Given;
use crate::lower::object::Object;
use crate::lower::work::{Frame, Work};
use crate::ops::fill::Fill;
use crate::shape::Atom;

/// The position of a collection in [`Work::collections`].
pub type CollectionId = usize;

/// A collection.
pub struct Collection {
    /// The number of loops around its declaration.
    pub depth: usize,
    /// How far it is.
    pub state: CollectionState,
}

/// How far a collection is.
#[derive(Copy, Clone, Debug)]
pub enum CollectionState {
    /// Nothing was pushed yet.
    Empty,
    /// The body of a loop pushes to it, here.
    Filling(SourceSpan),
    /// A loop has filled it: the values, stacked along the first axis.
    Full(Value),
    /// What follows from a mistake.
    Broken,
}

impl<'a> Work<'_, 'a, '_> {
    /// `Steps::new()`.
    pub fn new_collection(&mut self, frame: &Frame<'a>, given: &Given<'a>, span: SourceSpan) -> Object {
        if !(given.positional.is_empty() && given.named.is_empty()) {
            return self.fail(frame, span, "`Steps::new` takes no arguments");
        }
        self.collections.push(Collection {
            depth: self.depth(),
            state: CollectionState::Empty,
        });
        Object::Steps(self.collections.len() - 1)
    }

    /// `ys.push(y)` and `ys.stack(axis = 1)`.
    pub fn collection_method(
        &mut self,
        frame: &Frame<'a>,
        (id, base): (CollectionId, &'a Expr),
        method: &Ident,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Object {
        let name = match &base.kind {
            ExprKind::Name(name) => name.to_string(),
            _ => "the collection".to_owned(),
        };
        if method == "push" {
            let is_named = matches!(base.kind, ExprKind::Name(_));
            if is_named
                && frame
                    .binding(&name)
                    .is_some_and(|binding| binding.mutable.is_none())
            {
                let error = self.error(
                    frame,
                    base.span,
                    format!("`{name}` is pushed to, but is not `mut`"),
                );
                self.report(error.help(format!("declare it with `let mut {name}`")));
            }
            self.push(frame, (id, &name), given, span);
            return Object::unit();
        }
        if method == "stack" {
            return self.stack_collection(frame, (id, &name), &given, span);
        }
        let error = self.error(
            frame,
            method.span().into(),
            format!("`Steps` have no method `{method}`"),
        );
        self.report(error.note("they have push, for a loop, and stack, for what comes after it"))
    }

    fn push(
        &mut self,
        frame: &Frame<'a>,
        (id, name): (CollectionId, &str),
        given: Given<'a>,
        span: SourceSpan,
    ) {
        let mut args = given.positional.into_iter();
        let (Some((object, place)), None, []) = (args.next(), args.next(), given.named.as_slice()) else {
            self.fail(frame, span, "`push` takes one tensor");
            self.collections[id].state = CollectionState::Broken;
            return;
        };
        let Collection { depth, state } = self.collections[id];
        let here = self.depth();
        let is_in_branch = self
            .regions
            .last()
            .is_some_and(|region| frame.barrier > region.n_scopes);
        let error = match state {
            CollectionState::Broken => return,
            CollectionState::Filling(first) => self
                .error(frame, span, format!("`{name}` is pushed to twice in a step"))
                .at(first, "the first time")
                .help("push once; for two values a step make two `Steps`, or concatenate the two"),
            CollectionState::Full(_) => self
                .error(frame, span, format!("`{name}` is filled by an earlier loop"))
                .help("every loop fills `Steps` of its own"),
            CollectionState::Empty if here == depth => self
                .error(
                    frame,
                    span,
                    format!("`push` stands in a loop, outside of which `{name}` is declared"),
                )
                .help("it takes one value a step; `concat` puts single tensors together"),
            CollectionState::Empty if here > depth + 1 => self
                .error(frame, span, format!("`{name}` is declared outside of two loops"))
                .help("declare it in the outer loop, and push its stack to `Steps` outside of both"),
            CollectionState::Empty if is_in_branch => self
                .error(frame, span, "a `push` in an `if` that is decided at run time")
                .help("push in every step; let the `if` choose a number, or use `select`"),
            CollectionState::Empty => {
                let value = self.pushed_value(frame, object, place);
                self.collections[id].state = match value.zip(self.regions.last_mut()) {
                    Some((value, region)) => {
                        region.collected.push((id, value));
                        CollectionState::Filling(span)
                    }
                    None => CollectionState::Broken,
                };
                return;
            }
        };
        self.report(error);
        self.collections[id].state = CollectionState::Broken;
    }

    /// What is pushed, as a tensor of the same shape in every step. Reports if it is none.
    fn pushed_value(&mut self, frame: &Frame<'a>, object: Object, place: SourceSpan) -> Option<Value> {
        let value = match object {
            Object::Tensor(value) if self.b.is_poison(value) => return None,
            Object::Tensor(value) => value,
            Object::Poison => return None,
            other => match other.scalar() {
                Some(value) if !other.is_truth() => {
                    let ty = Type::scalar();
                    self.b.push(Fill { value, ty }, &[])
                }
                _ => {
                    let error = self.error(frame, place, "`push` takes a tensor");
                    let error = error.found(other.describe());
                    self.report(match other {
                        Object::Tuple(_) => error.help("make `Steps` for each of the values"),
                        _ => error,
                    });
                    return None;
                }
            },
        };
        let index = self.regions.last().map(|region| region.header.index.clone())?;
        let ty = self.b.ty(value).clone();
        let varies = |atom: &Atom| matches!(atom, Atom::Dynamic(symbol) if symbol.name() == &*index);
        if ty.shape.iter().any(|size| size.atoms().iter().any(varies)) {
            let error = self.error(frame, place, "what is pushed has another shape in every step");
            self.report(error.found(ty));
            return None;
        }
        Some(value)
    }

    fn stack_collection(
        &mut self,
        frame: &Frame<'a>,
        (id, name): (CollectionId, &str),
        given: &Given<'a>,
        span: SourceSpan,
    ) -> Object {
        if given.is_poison() {
            return Object::Poison;
        }
        let Collection { depth, state } = self.collections[id];
        let stacked = match state {
            CollectionState::Broken => return Object::Poison,
            CollectionState::Full(value) => self.import(&Object::Tensor(value), depth),
            CollectionState::Empty => {
                let error = self.error(frame, span, format!("nothing was pushed to `{name}`"));
                return self.report(error.help(format!("push a tensor in a loop before: `{name}.push(y);`")));
            }
            CollectionState::Filling(push) => {
                let error = self.error(
                    frame,
                    span,
                    format!("`{name}` is stacked inside of the loop that fills it"),
                );
                return self.report(
                    error
                        .at(push, "it is filled here")
                        .help("stack it after the loop"),
                );
            }
        };
        let Object::Tensor(stacked) = stacked else {
            return Object::Poison;
        };
        let rank = self.b.ty(stacked).rank();
        let usage = format!("{name}.stack(axis = 1)");
        let Some(axis) = self.axis_of(frame, given, rank, &usage, span) else {
            return Object::Poison;
        };
        let axis = axis.unwrap_or(0);
        // The first axis goes to its place; the others keep their order.
        let perm: Vec<usize> = (1..=axis).chain([0]).chain(axis + 1..rank).collect();
        self.b.origin.span = frame.place(span);
        Object::Tensor(self.b.permute(stacked, &perm))
    }
}
