//! `for`: the body becomes a graph of its own, in a [`Scan`](crate::ops::scan::Scan).
//!
//! * A variable from outside that the body assigns is carried from step to step, and keeps its type. It is found before
//!   the body is lowered (`assigned`), because the body must read the carry and not the value from outside. What turns
//!   out to be as it was after every step is not carried.
//! * A number that is carried becomes a tensor without axes, since it is no longer known when the function is called.
//! * What is pushed to `Steps` is collected (`collect`).
//! * A `State` that the body assigns is carried, too, if it belongs to a layer outside; the new states of the layers
//!   that the loop goes through are collected as the array's new state.
//! * After a mistake in a body, everything that the loop would give is silently poison.

mod finish;
mod once;

use std::rc::Rc;

use proc_macro2::Ident;

use crate::ast::{Block, Expr, Pattern};
use crate::diag::SourceSpan;
use crate::ir::{Type, Value};
use crate::lower::assigned::{Effects, effects};
use crate::lower::collect::CollectionState;
use crate::lower::iterate::{Item, Iteration};
use crate::lower::object::Object;
use crate::lower::region::Header;
use crate::lower::tree::{InstanceId, Kind, TensorRef};
use crate::lower::work::{Binding, Frame, Work};
use crate::ops::fill::Fill;
use crate::ops::scan::{Order, Recording, Role};
use crate::shape::Dim;

/// Whether a loop matters to what is around it.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Effect {
    /// It gives a value, or may change a `State` in another mode.
    Some,
    /// It does nothing.
    None,
}

/// A variable from outside that a body assigns.
struct Carry<'a> {
    /// Its last assignment.
    name: &'a Ident,
    /// Its block and position there.
    place: (usize, usize),
    /// What it is to the body at its start: the arguments in the place of its tensors.
    args: Object,
}

impl<'a> Work<'_, 'a, '_> {
    /// `for pattern in iter { body }`.
    pub fn for_loop(
        &mut self,
        frame: &mut Frame<'a>,
        (pattern, iter): (&'a Pattern, &'a Expr),
        body: &'a Block,
        span: SourceSpan,
    ) -> Object {
        let place = SourceSpan::from(span.start);
        let effects = effects(pattern, body);
        let n_mistakes = self.log.n_mistakes;
        let object = self.expr(frame, iter);
        let iteration = self.iteration(frame, object, iter.span);
        let iteration = iteration.filter(|iteration| self.is_not_open(frame, iteration, iter.span));
        let Some(iteration) = iteration else {
            self.poison_effects(frame, &effects);
            return Object::unit();
        };
        let starts = self.starts(frame, &effects);
        self.b.origin.span = frame.place(place);
        let mut arrays = Vec::new();
        iteration.item.arrays(&mut arrays);
        let header = Header {
            name: self.loop_name(&arrays, pattern),
            recording: self.recording_of(&arrays),
            index: self.index_name(&iteration.item, pattern),
            count: iteration.count,
            order: iteration.order,
            arrays,
        };
        let index = Dim::dynamic(&header.index);
        self.enter(header, frame.scopes.len());
        let carries = self.shadow(frame, starts);
        frame.scopes.push(Vec::new());
        let element = self.element(&iteration.item, &index, Some(pattern));
        let n_before = self.b.graph.len();
        self.bind(frame, pattern, element, n_before);
        self.block(frame, body);
        frame.scopes.pop();
        let ends = frame.scopes.pop().unwrap_or_default();
        let is_idle = self.finish_loop(frame, carries, ends, place) == Effect::None;
        let is_whole = n_mistakes == self.log.n_mistakes && !self.log.poisoned;
        if is_idle && is_whole && effects.assigned.is_empty() && effects.pushed.is_empty() {
            let error = self.error(frame, place, "this loop has no effect");
            self.report(error.help(
                "assign a variable that is declared before the loop, `x = block(x);` without `let`, or collect \
                 values in `Steps`",
            ));
        }
        Object::unit()
    }

    /// False, after a report, where a loop around goes through one of the same arrays: "the" layer would have two
    /// meanings.
    fn is_not_open(&mut self, frame: &Frame<'a>, iteration: &Iteration, span: SourceSpan) -> bool {
        let mut arrays = Vec::new();
        iteration.item.arrays(&mut arrays);
        let is_open = |array: &&InstanceId| {
            self.regions
                .iter()
                .any(|region| region.header.arrays.contains(array))
        };
        let Some(array) = arrays.iter().find(is_open) else {
            return true;
        };
        let path = &self.tree.instances[*array].path;
        let error = self.error(
            frame,
            span,
            format!("a loop around this one goes through `{path}` already"),
        );
        self.report(error.help("let one loop end before the next begins"));
        false
    }

    /// After a mistake in the head of a loop: what the body would have changed is unknown.
    fn poison_effects(&mut self, frame: &mut Frame<'a>, effects: &Effects<'a>) {
        for name in &effects.assigned {
            if let Some((scope, position)) = frame.position(&name.to_string()) {
                frame.scopes[scope][position].object = Object::Poison;
            }
        }
        for name in &effects.pushed {
            if let Some(Object::Steps(id)) = frame.binding(&name.to_string()).map(|binding| &binding.object) {
                self.collections[*id].state = CollectionState::Broken;
            }
        }
    }

    /// The variables that are carried, with their values before the loop.
    fn starts(&mut self, frame: &mut Frame<'a>, effects: &Effects<'a>) -> Vec<Carry<'a>> {
        let mut starts = Vec::new();
        for &name in &effects.assigned {
            let text = name.to_string();
            // A name that stands for nothing is reported where it is assigned.
            let Some(place) = frame.position(&text) else {
                continue;
            };
            let object = self.variable(frame, &text).unwrap_or(Object::Poison);
            if place.0 < frame.barrier {
                let message =
                    format!("`{text}` is assigned in one branch of an `if` that is decided at run time");
                let error = self.error(frame, name.span().into(), message);
                self.report(error.help("let the loop stand before the `if`"));
            }
            self.b.origin.span = frame.place(name.span().into());
            let args = self.start(&object).unwrap_or_else(|| {
                let message = format!("`{text}` is assigned in a loop, so it is a tensor or a number");
                let error = self.error(frame, name.span().into(), message);
                self.report(error.found(object.describe()))
            });
            starts.push(Carry { name, place, args });
        }
        starts
    }

    /// A value as it can be carried: numbers become tensors without axes. `None` for what is neither.
    fn start(&mut self, object: &Object) -> Option<Object> {
        Some(match object {
            Object::Tensor(_) | Object::Poison => object.clone(),
            Object::Tuple(parts) => {
                Object::Tuple(parts.iter().map(|part| self.start(part)).collect::<Option<_>>()?)
            }
            other if other.is_truth() => return None,
            other => Object::Tensor(self.number_tensor(other)?),
        })
    }

    /// A number as a tensor without axes.
    fn number_tensor(&mut self, object: &Object) -> Option<Value> {
        let value = object.scalar()?;
        let ty = Type::scalar();
        Some(self.b.push(Fill { value, ty }, &[]))
    }

    /// Binds what is carried anew, inside of the body.
    fn shadow(&mut self, frame: &mut Frame<'a>, starts: Vec<Carry<'a>>) -> Vec<Carry<'a>> {
        let mut scope = Vec::new();
        let mut carries = Vec::new();
        for carry in starts {
            let name = carry.name.to_string();
            let (depth, position) = carry.place;
            let args = self.carry_args(&carry.args, &name);
            scope.push(Binding {
                name,
                object: args.clone(),
                depth: self.depth(),
                mutable: frame.scopes[depth][position].mutable,
            });
            carries.push(Carry { args, ..carry });
        }
        frame.scopes.push(scope);
        carries
    }

    fn carry_args(&mut self, start: &Object, name: &str) -> Object {
        match start {
            Object::Tensor(value) => {
                let arg = self.arg(self.depth(), *value, Role::Carry, None);
                self.name_leaf(arg, name);
                Object::Tensor(arg)
            }
            Object::Tuple(parts) => {
                Object::Tuple(parts.iter().map(|part| self.carry_args(part, name)).collect())
            }
            _ => Object::Poison,
        }
    }

    /// Names an argument of the body after a variable of the function.
    fn name_leaf(&mut self, leaf: Value, name: &str) {
        let scope = self.b.origin.scope.clone();
        let origin = &mut self.b.graph.node_mut(leaf.node).origin;
        origin.name = Some(name.into());
        origin.scope = scope;
    }

    /// What the pattern of a `for` binds in a step.
    fn element(&mut self, item: &Item, index: &Dim, pattern: Option<&Pattern>) -> Object {
        let depth = self.depth();
        match item {
            Item::Index { start, along } => Object::Size(match along {
                Order::Ascending => start + index,
                Order::Descending => start - index,
            }),
            Item::Slice(value) => {
                let slice = self.shared_arg(depth, *value, Role::Step);
                if let Some(Pattern::Name { name, .. }) = pattern {
                    self.name_leaf(slice, &name.to_string());
                }
                if self.b.is_poison(slice) {
                    Object::Poison
                } else {
                    Object::Tensor(slice)
                }
            }
            Item::Layer(array) => {
                let Kind::Array(array) = &self.tree.instances[*array].kind else {
                    return self.poisoned();
                };
                match self.tree.instances[array.elem].kind {
                    Kind::Param(id) => Object::Tensor(self.tensor(TensorRef::Param(id))),
                    Kind::State(id) => Object::Tensor(self.tensor(TensorRef::State(id))),
                    Kind::Poison => self.poisoned(),
                    _ => Object::Instance(array.elem),
                }
            }
            Item::Pair(a, b) => {
                let patterns = match pattern {
                    Some(Pattern::Tuple(parts, _)) => (parts.first(), parts.get(1)),
                    _ => (None, None),
                };
                let a = self.element(a, index, patterns.0);
                Object::Tuple(vec![a, self.element(b, index, patterns.1)])
            }
        }
    }

    /// What a loop is called: the array that it goes through, or its variable.
    fn loop_name(&self, arrays: &[InstanceId], pattern: &Pattern) -> Rc<str> {
        fn variable(pattern: &Pattern) -> Option<String> {
            match pattern {
                Pattern::Name { name, .. } => Some(name.to_string()),
                Pattern::Tuple(parts, _) => parts.iter().rev().find_map(variable),
                Pattern::Wild | Pattern::Error(_) => None,
            }
        }
        let array = arrays.first().map(|id| &self.tree.instances[*id].path);
        let name = array.and_then(|path| path.rsplit('.').next()).map(str::to_owned);
        let name = name.or_else(|| variable(pattern));
        name.unwrap_or_else(|| "steps".to_owned()).into()
    }

    /// `#[recompute]` on one of the arrays holds for the whole loop.
    fn recording_of(&self, arrays: &[InstanceId]) -> Recording {
        let mut recordings = arrays.iter().map(|id| self.tree.instances[*id].recording);
        match recordings.any(|recording| recording == Recording::Carries) {
            true => Recording::Carries,
            false => Recording::Values,
        }
    }

    /// A name for the index of a loop: the user's where there is one, else the next free letter.
    fn index_name(&self, item: &Item, pattern: &Pattern) -> Rc<str> {
        let own = own_index(item, pattern).map(ToString::to_string);
        let own = own.filter(|name| !name.starts_with("r#"));
        let letters = ["i", "j", "k", "l", "m", "n"].map(str::to_owned);
        let numbered = (2_usize..).map(|k| format!("i{k}"));
        let mut names = own.into_iter().chain(letters).chain(numbered);
        let name = names.find(|name| self.is_free(name));
        name.unwrap_or_else(|| "i".to_owned()).into()
    }

    /// Whether no size or number of the compiled function has that name.
    fn is_free(&self, name: &str) -> bool {
        let is_open = self.b.taken.contains(name);
        let is_constant = self
            .tree
            .constants
            .borrow()
            .iter()
            .any(|constant| constant.text == name);
        let model = self.tree.model(0).map(|model| model.model);
        let is_generic = model.is_some_and(|model| model.structure.generics.iter().any(|g| g.name == name));
        let function = model.and_then(|model| model.implementation.functions.get(self.stack.first()?.1));
        let is_in_signature = function.is_some_and(|function| {
            function.args.iter().any(|arg| arg.name == name)
                || function.dims.iter().any(|dim| dim.name == name)
        });
        !(is_open || is_constant || is_generic || is_in_signature)
    }
}

/// The user's name of the index, if he has one for it.
fn own_index<'p>(item: &Item, pattern: &'p Pattern) -> Option<&'p Ident> {
    match (item, pattern) {
        (
            Item::Index {
                start,
                along: Order::Ascending,
            },
            Pattern::Name { name, .. },
        ) if start.is_zero() => Some(name),
        (Item::Pair(a, b), Pattern::Tuple(parts, _)) => match &parts[..] {
            [first, second] => own_index(a, first).or_else(|| own_index(b, second)),
            _ => None,
        },
        _ => None,
    }
}
