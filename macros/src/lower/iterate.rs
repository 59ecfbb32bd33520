//! What a `for` goes through: arrays of layers, slices of tensors, numbers, and several of these side by side.
//!
//! As in Rust, `.iter()`, `.rev()`, `.enumerate()` and `.zip(..)` are calls on what is gone through; nothing is done
//! before a `for` takes it. Unlike in Rust, the parts of a `zip` must have equal lengths: stopping early at the shorter
//! one would hide a mistake in a shape.

use proc_macro2::Ident;

use crate::diag::SourceSpan;
use crate::ir::{Value, ViewMap};
use crate::lower::call::Given;
use crate::lower::object::Object;
use crate::lower::tree::{InstanceId, Kind};
use crate::lower::work::{Frame, Work};
use crate::ops::scan::Order;
use crate::ops::view::View;
use crate::shape::Dim;

/// What a `for` goes through.
#[derive(Clone, Debug)]
pub struct Iteration {
    /// The number of steps.
    pub count: Dim,
    /// The direction in which the elements are taken.
    pub order: Order,
    /// What there is in every step.
    pub item: Item,
}

/// What a `for` binds in every step; the index of the step is the position of the element, whatever the direction.
#[derive(Clone, Debug)]
pub enum Item {
    /// A layer of an array.
    Layer(InstanceId),
    /// A slice of a tensor along its first axis.
    Slice(Value),
    /// `start + index`, or `start - index` where it falls.
    Index {
        /// The number at index 0.
        start: Dim,
        /// Whether it rises or falls with the index.
        along: Order,
    },
    /// Two of them.
    Pair(Box<Item>, Box<Item>),
}

impl Item {
    /// The arrays of layers in it.
    pub fn arrays(&self, found: &mut Vec<InstanceId>) {
        match self {
            Self::Layer(array) => found.push(*array),
            Self::Pair(a, b) => {
                a.arrays(found);
                b.arrays(found);
            }
            Self::Slice(_) | Self::Index { .. } => {}
        }
    }
}

impl<'a> Work<'_, 'a, '_> {
    /// What a `for` over this object goes through. Reports if it is nothing to be gone through.
    pub fn iteration(&mut self, frame: &Frame<'a>, object: Object, span: SourceSpan) -> Option<Iteration> {
        match object {
            Object::Poison => None,
            Object::Iteration(iteration) => Some(iteration),
            Object::Range(start, Some(end)) => {
                let start = start.unwrap_or_else(Dim::zero);
                let count = end - &start;
                if count.as_lit().is_some_and(|n| n < 0) {
                    self.fail(frame, span, "this range ends before it begins");
                    return None;
                }
                let along = Order::Ascending;
                let item = Item::Index { start, along };
                let order = Order::Ascending;
                Some(Iteration { count, order, item })
            }
            Object::Range(_, None) => {
                let error = self.error(frame, span, "this range has no end");
                self.report(error.help("write both ends: `for i in 0..4`"));
                None
            }
            Object::Instance(id) => match &self.tree.instances[id].kind {
                Kind::Array(array) => Some(Iteration {
                    count: array.count.clone(),
                    order: Order::Ascending,
                    item: Item::Layer(id),
                }),
                Kind::Poison => {
                    self.poisoned();
                    None
                }
                _ => {
                    let title = self.tree.title(id);
                    let error = self.error(frame, span, format!("{title} is not an array"));
                    self.report(error.help("a field of several layers is written `blocks: [Block<D>; 4]`"));
                    None
                }
            },
            other => {
                let error = self.error(frame, span, "a `for` cannot go through this");
                let error = error.found(other.describe());
                self.report(match other {
                    Object::Tensor(_) => error.help("`x.steps(axis = 1)` gives the slices along an axis"),
                    _ => error.expected("an array of layers, `x.steps(axis = 1)`, or a range of numbers"),
                });
                None
            }
        }
    }

    /// `base.iter()`, `.rev()`, `.enumerate()`, `.zip(other)` and `.len()`.
    pub fn iteration_method(
        &mut self,
        frame: &Frame<'a>,
        (object, place): (Object, SourceSpan),
        method: &Ident,
        given: Given<'a>,
        span: SourceSpan,
    ) -> Object {
        if given.is_poison() {
            return Object::Poison;
        }
        let name = method.to_string();
        let n_args = given.positional.len() + given.named.len();
        let n_expected = usize::from(name == "zip");
        if !["iter", "rev", "enumerate", "zip", "len"].contains(&name.as_str()) {
            let message = format!("{} has no method `{name}`", object.describe());
            let error = self.error(frame, method.span().into(), message);
            return self
                .report(error.note("what a `for` goes through has iter, rev, enumerate, zip and len"));
        }
        if n_args != n_expected || !given.named.is_empty() {
            let usage = if n_expected == 1 {
                "`a.zip(b)`"
            } else {
                "no arguments"
            };
            let error = self.error(frame, span, format!("`{name}` is called with other arguments"));
            return self.report(error.expected(usage).found(arguments(n_args)));
        }
        let Some(mut iteration) = self.iteration(frame, object, place) else {
            return Object::Poison;
        };
        match name.as_str() {
            "len" => return Object::Size(iteration.count),
            "rev" => iteration.order = iteration.order.reversed(),
            "enumerate" => {
                let number = enumerate(&iteration);
                iteration.item = Item::Pair(Box::new(number), Box::new(iteration.item));
            }
            "zip" => {
                let Some((other, place)) = given.positional.into_iter().next() else {
                    return Object::Poison;
                };
                let Some(other) = self.iteration(frame, other, place) else {
                    return Object::Poison;
                };
                return self.zip(frame, iteration, other, span);
            }
            _ => {}
        }
        Object::Iteration(iteration)
    }

    fn zip(&mut self, frame: &Frame<'a>, mut a: Iteration, mut b: Iteration, span: SourceSpan) -> Object {
        if !self.b.constraints.equal(&a.count, &b.count) {
            let error = self.error(frame, span, "what is zipped has different lengths");
            let error = error.expected(format!("{} steps", a.count));
            return self.report(error.found(format!("{} steps", b.count)));
        }
        if !self.settle(frame, span, None) {
            return Object::Poison;
        }
        if a.order != b.order {
            if let Some(item) = self.turned(&b) {
                (b.item, b.order) = (item, a.order);
            } else if let Some(item) = self.turned(&a) {
                (a.item, a.order) = (item, b.order);
            } else {
                let error = self.error(
                    frame,
                    span,
                    "one of two arrays of layers is gone through backwards",
                );
                return self.report(error.help("reverse both: `a.iter().zip(&self.b).rev()`"));
            }
        }
        a.item = Item::Pair(Box::new(a.item), Box::new(b.item));
        Object::Iteration(a)
    }

    /// The item that gives in the other direction what that of the iteration gives in its own; `None` if there are
    /// layers in it.
    fn turned(&mut self, iteration: &Iteration) -> Option<Item> {
        let turn = |work: &mut Self, item: &Item| {
            work.turned(&Iteration {
                item: item.clone(),
                ..iteration.clone()
            })
        };
        Some(match &iteration.item {
            Item::Layer(_) => return None,
            Item::Slice(value) => Item::Slice(self.b.push(View(ViewMap::Flip(vec![0])), &[*value])),
            Item::Index { start, along } => Item::Index {
                start: match along {
                    Order::Ascending => start + &(&iteration.count - 1),
                    Order::Descending => start - &(&iteration.count - 1),
                },
                along: along.reversed(),
            },
            Item::Pair(a, b) => {
                // Layers anywhere in it decide before anything is built.
                let mut arrays = Vec::new();
                iteration.item.arrays(&mut arrays);
                if !arrays.is_empty() {
                    return None;
                }
                Item::Pair(Box::new(turn(self, a)?), Box::new(turn(self, b)?))
            }
        })
    }

    /// `x.steps(axis = 1)`: the slices of a tensor along an axis.
    pub fn steps(&mut self, frame: &Frame<'a>, value: Value, given: &Given<'a>, span: SourceSpan) -> Object {
        if given.is_poison() {
            return Object::Poison;
        }
        let rank = self.b.ty(value).rank();
        let Some(axis) = self.axis_of(frame, given, rank, "x.steps(axis = 1)", span) else {
            return Object::Poison;
        };
        let Some(axis) = axis else {
            let error = self.error(frame, span, "`steps` needs the axis along which it goes");
            return self.report(error.help("it is written `x.steps(axis = 1)`"));
        };
        self.b.origin.span = frame.place(span);
        let perm: Vec<usize> = std::iter::once(axis)
            .chain((0..rank).filter(|k| *k != axis))
            .collect();
        let front = self.b.permute(value, &perm);
        Object::Iteration(Iteration {
            count: self.b.shape(front)[0].clone(),
            order: Order::Ascending,
            item: Item::Slice(front),
        })
    }

    /// The one argument `axis` of a call, a literal: `Some(None)` where there is no argument, `None` after an error.
    pub fn axis_of(
        &mut self,
        frame: &Frame<'a>,
        given: &Given<'a>,
        rank: usize,
        usage: &str,
        span: SourceSpan,
    ) -> Option<Option<usize>> {
        let axis = match (given.positional.as_slice(), given.named.as_slice()) {
            ([], []) => return Some(None),
            ([(axis, _)], []) => axis,
            ([], [(name, axis, _)]) if *name == "axis" => axis,
            _ => {
                self.fail(frame, span, format!("this is written `{usage}`"));
                return None;
            }
        };
        let n_axes = rank as i64;
        let literal = match axis {
            Object::Size(axis) => axis.as_lit(),
            _ => None,
        };
        let wrapped = literal.map(|axis| if axis < 0 { axis + n_axes } else { axis });
        match (literal, wrapped.and_then(|axis| usize::try_from(axis).ok())) {
            (_, Some(axis)) if axis < rank => Some(Some(axis)),
            (Some(axis), _) => {
                self.fail(
                    frame,
                    span,
                    format!("there is no axis {axis} in a tensor of {rank} axes"),
                );
                None
            }
            (None, _) => {
                let found = match axis {
                    Object::Size(size) => format!("`{size}`"),
                    other => other.describe().to_owned(),
                };
                let error = self.error(frame, span, "an axis is a literal, because shapes depend on it");
                self.report(error.found(found));
                None
            }
        }
    }
}

/// The numbers 0, 1, 2, ... in the order in which the elements are taken.
fn enumerate(iteration: &Iteration) -> Item {
    let start = match iteration.order {
        Order::Ascending => Dim::zero(),
        Order::Descending => &iteration.count - 1,
    };
    let along = iteration.order;
    Item::Index { start, along }
}

fn arguments(n: usize) -> String {
    match n {
        1 => "1 argument".to_owned(),
        n => format!("{n} arguments"),
    }
}
