//! The end of a loop: what its body computed becomes results of a [`Scan`], and values of what is around it.

use crate::map::Map;

use proc_macro2::Ident;

use super::{Carry, Effect};
use crate::diag::SourceSpan;
use crate::ir::{Graph, Output, OutputKind, StateId, Type, Value};
use crate::lower::collect::{CollectionId, CollectionState};
use crate::lower::object::Object;
use crate::lower::region::{Header, Import, Slicing, StateUse};
use crate::lower::tree::TensorRef;
use crate::lower::work::{Binding, Frame, Work};
use crate::ops::leaf::LeafKind;
use crate::ops::scan::{Role, Scan};

/// The results of a body, by what becomes of them.
struct Ends {
    /// What a step makes of arguments that are carried.
    next: Map<usize, Value>,
    /// Arguments that are new states of carried tensors of the model.
    carried_states: Vec<(StateId, usize)>,
    /// What is collected for the user.
    collected: Vec<(CollectionId, Value)>,
    /// New states of the layers that the loop goes through, which are collected after that.
    collected_states: Vec<(StateId, Value)>,
    /// Whether all of it is sound.
    is_sound: Soundness,
}

impl Ends {
    /// Whether nothing leaves the body.
    fn is_empty(&self) -> bool {
        self.next.is_empty() && self.collected.is_empty() && self.collected_states.is_empty()
    }
}

/// Whether a mistake was met.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Soundness {
    Sound,
    Poisoned,
}

impl<'a> Work<'_, 'a, '_> {
    /// Ends the body, and hands out what the loop gives.
    pub(super) fn finish_loop(
        &mut self,
        frame: &mut Frame<'a>,
        carries: Vec<Carry<'a>>,
        after: Vec<Binding>,
        place: SourceSpan,
    ) -> Effect {
        let mut ends = Ends {
            next: Map::new(),
            carried_states: Vec::new(),
            collected_states: Vec::new(),
            collected: Vec::new(),
            is_sound: Soundness::Sound,
        };
        for (carry, binding) in carries.iter().zip(&after) {
            self.end(frame, carry.name, (&carry.args, &binding.object), &mut ends);
        }
        self.end_states(&mut ends);
        self.declare_outputs(&mut ends);
        let state = self.regions.last().map(|region| region.state);
        let Some((header, imports, body)) = self.leave() else {
            return Effect::Some;
        };
        let mut results = Vec::new();
        if ends.is_sound == Soundness::Sound && !ends.is_empty() {
            results = self.push_scan(header, &imports, body, &ends);
            if !self.settle(frame, place, None) {
                ends.is_sound = Soundness::Poisoned;
            }
        }
        let effect = match state {
            Some(StateUse::Untouched) if ends.is_empty() => Effect::None,
            _ => Effect::Some,
        };
        let finished = Finished {
            imports,
            ends,
            results,
        };
        for carry in &carries {
            self.hand_out(frame, carry, &finished);
        }
        self.hand_out_collected(&finished);
        self.hand_out_states(&finished);
        effect
    }

    /// Declares what leaves the innermost body.
    fn declare_outputs(&mut self, ends: &mut Ends) {
        if let Some(region) = self.regions.last_mut() {
            ends.collected = std::mem::take(&mut region.collected);
        }
        let next = ends.next.values().enumerate();
        let next = next.map(|(c, value)| output(OutputKind::Next(c), *value));
        let rows = ends.collected.iter().map(|(_, value)| *value);
        let rows = rows.chain(ends.collected_states.iter().map(|(_, value)| *value));
        let rows = rows
            .enumerate()
            .map(|(k, value)| output(OutputKind::Collect(k), value));
        let outputs: Vec<Output> = next.chain(rows).collect();
        if outputs.iter().any(|output| self.b.is_poison(output.value)) {
            ends.is_sound = Soundness::Poisoned;
        }
        self.b.graph.outputs = outputs;
    }

    /// Compares what a carried variable is after a step with what it was before.
    fn end(&mut self, frame: &Frame<'a>, name: &Ident, (before, after): (&Object, &Object), ends: &mut Ends) {
        let (arg, value) = match (before, after) {
            (Object::Poison, _) | (_, Object::Poison) => {
                ends.is_sound = Soundness::Poisoned;
                return;
            }
            (Object::Tuple(before), Object::Tuple(after)) if before.len() == after.len() => {
                for pair in before.iter().zip(after) {
                    self.end(frame, name, pair, ends);
                }
                return;
            }
            (Object::Tensor(arg), Object::Tensor(value)) => (*arg, *value),
            (Object::Tensor(arg), number) if !number.is_truth() && *self.b.ty(*arg) == Type::scalar() => {
                match self.number_tensor(number) {
                    Some(value) => (*arg, value),
                    None => return self.changed_type(frame, name, (before, after), ends),
                }
            }
            _ => return self.changed_type(frame, name, (before, after), ends),
        };
        if self.b.is_poison(arg) || self.b.is_poison(value) {
            ends.is_sound = Soundness::Poisoned;
            return;
        }
        let (expected, found) = (self.b.ty(arg).clone(), self.b.ty(value).clone());
        let fits = self.b.constraints.equal_shapes(&expected.shape, &found.shape);
        if !fits || expected.dtype != found.dtype {
            return self.changed_type(frame, name, (before, after), ends);
        }
        if !self.settle(frame, name.span().into(), None) {
            ends.is_sound = Soundness::Poisoned;
            return;
        }
        if let Some(LeafKind::Arg(k)) = self.b.graph.node(arg.node).leaf()
            && value != arg
        {
            ends.next.insert(k, value);
        }
    }

    fn changed_type(
        &mut self,
        frame: &Frame<'a>,
        name: &Ident,
        (before, after): (&Object, &Object),
        ends: &mut Ends,
    ) {
        ends.is_sound = Soundness::Poisoned;
        let show = |work: &Self, object: &Object| match object {
            Object::Tensor(value) => work.b.ty(*value).to_string(),
            Object::Tuple(parts) => format!("a tuple of {}", parts.len()),
            other => other.describe().to_owned(),
        };
        let message = format!("`{name}` is carried from step to step and must keep its type");
        let error = self.error(frame, name.span().into(), message);
        let error = error.expected(show(self, before)).found(show(self, after));
        let is_scalar = matches!(before, Object::Tensor(arg) if *self.b.ty(*arg) == Type::scalar());
        self.report(match after {
            Object::Tensor(_) if is_scalar => {
                error.help("begin with a tensor of the shape that it has after a step")
            }
            _ => error,
        });
    }

    /// Sorts the new values of carried tensors of the model.
    fn end_states(&mut self, ends: &mut Ends) {
        let depth = self.depth();
        for (id, argument, value) in self.take_states() {
            let import = &self.regions[depth - 1].imports;
            let is_same = import.get(argument).is_some_and(|import| import.leaf == value);
            match self.is_one_layers(depth, TensorRef::State(id.index())) {
                _ if is_same => {}
                Slicing::OneLayer => ends.collected_states.push((id, value)),
                Slicing::Whole => {
                    ends.next.insert(argument, value);
                    ends.carried_states.push((id, argument));
                }
            }
        }
    }

    fn push_scan(&mut self, header: Header, imports: &[Import], body: Graph, ends: &Ends) -> Vec<Value> {
        let role = |(k, import): (usize, &Import)| match import.role {
            _ if ends.next.contains_key(&k) => Role::Carry,
            // It is the same after every step.
            Role::Carry => Role::Outer,
            role => role,
        };
        let scan = Scan {
            name: header.name,
            recording: header.recording,
            index: header.index,
            count: header.count,
            order: header.order,
            roles: imports.iter().enumerate().map(role).collect(),
            body,
        };
        let operands: Vec<Value> = imports.iter().map(|import| import.outer).collect();
        self.b.push_all(scan, &operands)
    }

    /// Gives a carried variable its value after the loop.
    fn hand_out(&mut self, frame: &mut Frame<'a>, carry: &Carry<'a>, finished: &Finished) {
        let (scope, position) = carry.place;
        if finished.ends.is_sound == Soundness::Poisoned {
            frame.scopes[scope][position].object = Object::Poison;
            return;
        }
        let Some(object) = finished.object(&carry.args) else {
            return;
        };
        if let (Object::Tensor(value), [_]) = (&object, &finished.results[..]) {
            let origin = &mut self.b.graph.node_mut(value.node).origin;
            origin.name.get_or_insert_with(|| carry.name.to_string().into());
        }
        frame.scopes[scope][position].object = object;
    }

    /// Gives the user's collections what the loop has collected.
    fn hand_out_collected(&mut self, finished: &Finished) {
        let n_carried = finished.ends.next.len();
        for (k, (id, _)) in finished.ends.collected.iter().enumerate() {
            self.collections[*id].state = match finished.results.get(n_carried + k) {
                Some(value) if finished.ends.is_sound == Soundness::Sound => CollectionState::Full(*value),
                _ => CollectionState::Broken,
            };
        }
    }

    /// Makes the new values of carried tensors of the model current.
    fn hand_out_states(&mut self, finished: &Finished) {
        let ends = &finished.ends;
        if ends.is_sound == Soundness::Poisoned {
            return;
        }
        let carried = ends.carried_states.iter();
        let carried = carried.filter_map(|(id, argument)| Some((*id, finished.result(*argument)?)));
        let first = ends.next.len() + ends.collected.len();
        let collected = ends
            .collected_states
            .iter()
            .zip(finished.results.iter().skip(first));
        let collected = collected.map(|((id, _), value)| (*id, *value));
        for (id, value) in carried.chain(collected) {
            self.b.update_state(id, value);
        }
        self.settle_states();
    }
}

/// What a loop gave.
struct Finished {
    imports: Vec<Import>,
    ends: Ends,
    results: Vec<Value>,
}

impl Finished {
    /// The value of a carried argument after the loop.
    fn result(&self, argument: usize) -> Option<Value> {
        let position = self.ends.next.keys().position(|k| *k == argument)?;
        self.results.get(position).copied()
    }

    /// A carried variable after the loop; `None` if no step has changed it.
    fn object(&self, args: &Object) -> Option<Object> {
        match args {
            Object::Tensor(leaf) => {
                let argument = self.imports.iter().position(|import| import.leaf == *leaf)?;
                self.result(argument).map(Object::Tensor)
            }
            Object::Tuple(parts) => {
                let parts: Vec<(Option<Object>, &Object)> =
                    parts.iter().map(|part| (self.object(part), part)).collect();
                if parts.iter().all(|(after, _)| after.is_none()) {
                    return None;
                }
                let part =
                    |(after, before): (Option<Object>, &Object)| after.unwrap_or_else(|| self.start(before));
                Some(Object::Tuple(parts.into_iter().map(part).collect()))
            }
            _ => None,
        }
    }

    /// What the arguments of an object were before the loop.
    fn start(&self, args: &Object) -> Object {
        match args {
            Object::Tensor(leaf) => match self.imports.iter().find(|import| import.leaf == *leaf) {
                Some(import) => Object::Tensor(import.outer),
                None => Object::Poison,
            },
            Object::Tuple(parts) => Object::Tuple(parts.iter().map(|part| self.start(part)).collect()),
            _ => Object::Poison,
        }
    }
}

fn output(kind: OutputKind, value: Value) -> Output {
    Output { kind, value }
}
