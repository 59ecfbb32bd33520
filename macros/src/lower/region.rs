//! The bodies of loops that are being lowered, and how values get into them.
//!
//! A body reads nothing but its arguments, so whatever it needs of its surroundings becomes an argument on first use. A
//! *depth* counts the loops around: the function itself is at depth 0, and `Work::regions[d]` holds what was suspended
//! at depth `d` while the body at depth `d + 1` is built. Values belong to one depth; a value from further outside goes
//! through every body between.
//!
//! Tensors of the model enter in the same way. A loop over an array of layers gets one layer's slice of the array's
//! stacked tensor in every step. Whether a carried tensor of the model (a `State`) changes in a body is known at its end
//! only, so the roles of arguments are set then; see `loops`.

use crate::map::Map;
use std::rc::Rc;

use crate::ir::{Builder, Graph, OutputKind, ParamId, StateId, Type, Value};
use crate::lower::collect::CollectionId;
use crate::lower::iterate::{Item, Iteration};
use crate::lower::object::Object;
use crate::lower::tree::{InstanceId, TensorRef};
use crate::lower::work::Work;
use crate::ops::leaf::{Leaf, LeafKind};
use crate::ops::scan::{Order, Recording, Role};
use crate::shape::Dim;

/// A loop whose body is being built.
pub struct Region {
    /// The builder of what is around the loop.
    surroundings: Builder,
    /// The values of tensors of the model around the loop.
    tensors: Map<TensorRef, Value>,
    /// What the loop is.
    pub header: Header,
    /// What the body got from outside so far: argument `k` is `imports[k]`.
    pub imports: Vec<Import>,
    /// What the body gives to collections.
    pub collected: Vec<(CollectionId, Value)>,
    /// Whether the body read or assigned a carried tensor of the model.
    pub state: StateUse,
    /// How many blocks of the function are around the loop.
    pub n_scopes: usize,
}

/// The head of a loop.
#[derive(Clone, Debug)]
pub struct Header {
    /// What it goes over, for the reader.
    pub name: Rc<str>,
    /// What its gradient gets of its steps.
    pub recording: Recording,
    /// The name of the index.
    pub index: Rc<str>,
    /// The number of steps.
    pub count: Dim,
    /// Their direction.
    pub order: Order,
    /// The arrays of layers that it goes through.
    pub arrays: Vec<InstanceId>,
}

/// An argument of a body.
#[derive(Clone, Debug)]
pub struct Import {
    /// The value in the surroundings.
    pub outer: Value,
    /// The leaf of the body.
    pub leaf: Value,
    /// What it is to the body.
    pub role: Role,
    /// The carried tensor of the model that it is, if it is one. Nothing else shares its leaf, because the body may
    /// give it a new value for the next step.
    pub state: Option<StateId>,
}

/// Whether carried tensors of the model matter to a body.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum StateUse {
    /// No carried tensor was met.
    Untouched,
    /// One was read or assigned.
    Touched,
}

impl Work<'_, '_, '_> {
    /// How many loops are around what is being lowered.
    pub fn depth(&self) -> usize {
        self.regions.len()
    }

    /// Begins the body of a loop.
    pub fn enter(&mut self, header: Header, n_scopes: usize) {
        let surroundings = self.b.enter();
        let bound = (header.index.clone(), header.count.clone());
        self.b.constraints.indices.push(bound);
        self.b.taken.insert(header.index.to_string());
        self.regions.push(Region {
            surroundings,
            tensors: std::mem::take(&mut self.tensors),
            header,
            imports: Vec::new(),
            collected: Vec::new(),
            state: StateUse::Untouched,
            n_scopes,
        });
    }

    /// Ends the innermost body, and goes on in its surroundings.
    pub fn leave(&mut self) -> Option<(Header, Vec<Import>, Graph)> {
        let region = self.regions.pop()?;
        self.b.constraints.indices.pop();
        let body = self.b.leave(region.surroundings);
        self.b.taken.remove(&*region.header.index);
        self.tensors = region.tensors;
        Some((region.header, region.imports, body))
    }

    fn builder(&mut self, depth: usize) -> &mut Builder {
        match self.regions.get_mut(depth) {
            Some(region) => &mut region.surroundings,
            None => &mut self.b,
        }
    }

    fn tensors_at(&mut self, depth: usize) -> &mut Map<TensorRef, Value> {
        match self.regions.get_mut(depth) {
            Some(region) => &mut region.tensors,
            None => &mut self.tensors,
        }
    }

    /// A new argument of the body at `depth`, which is 1 or more.
    pub fn arg(&mut self, depth: usize, outer: Value, role: Role, state: Option<StateId>) -> Value {
        let b = self.builder(depth - 1);
        if b.is_poison(outer) {
            return self.builder(depth).poison();
        }
        let (ty, origin) = (b.ty(outer).clone(), b.graph.node(outer.node).origin.clone());
        let ty = match role {
            Role::Step => ty.with_shape(ty.shape.iter().skip(1).cloned().collect()),
            Role::Carry | Role::Outer => ty,
        };
        let k = self.regions[depth - 1].imports.len();
        let kind = LeafKind::Arg(k);
        let b = self.builder(depth);
        let caller = std::mem::replace(&mut b.origin, origin);
        let leaf = b.push(Leaf { kind, ty }, &[]);
        b.origin = caller;
        let import = Import {
            outer,
            leaf,
            role,
            state,
        };
        self.regions[depth - 1].imports.push(import);
        leaf
    }

    /// The argument of the body at `depth` that is `outer` in that role, made on first use.
    pub fn shared_arg(&mut self, depth: usize, outer: Value, role: Role) -> Value {
        let is_it = |i: &&Import| i.outer == outer && i.role == role && i.state.is_none();
        match self.regions[depth - 1].imports.iter().find(is_it) {
            Some(import) => import.leaf,
            None => self.arg(depth, outer, role, None),
        }
    }

    fn import_value(&mut self, value: Value, from: usize) -> Value {
        (from + 1..=self.depth()).fold(value, |value, depth| self.shared_arg(depth, value, Role::Outer))
    }

    /// An object whose tensors belong to the depth `from`, as it is here.
    pub fn import(&mut self, object: &Object, from: usize) -> Object {
        if from == self.depth() {
            return object.clone();
        }
        match object {
            Object::Tensor(value) => Object::Tensor(self.import_value(*value, from)),
            Object::Tuple(parts) => Object::Tuple(parts.iter().map(|part| self.import(part, from)).collect()),
            Object::Iteration(iteration) => Object::Iteration(Iteration {
                item: self.import_item(&iteration.item, from),
                ..iteration.clone()
            }),
            other => other.clone(),
        }
    }

    fn import_item(&mut self, item: &Item, from: usize) -> Item {
        match item {
            Item::Slice(value) => Item::Slice(self.import_value(*value, from)),
            Item::Pair(a, b) => {
                let (a, b) = (self.import_item(a, from), self.import_item(b, from));
                Item::Pair(Box::new(a), Box::new(b))
            }
            Item::Layer(_) | Item::Index { .. } => item.clone(),
        }
    }

    /// The current value of a tensor of the model.
    pub fn tensor(&mut self, tensor: TensorRef) -> Value {
        if let TensorRef::State(_) = tensor {
            self.touch_state();
        }
        self.tensor_at(self.depth(), tensor)
    }

    /// Notes that a carried tensor of the model matters to the innermost loop.
    pub fn touch_state(&mut self) {
        for region in &mut self.regions {
            region.state = StateUse::Touched;
        }
    }

    /// The current value of a tensor of the model at some depth.
    pub fn tensor_at(&mut self, depth: usize, tensor: TensorRef) -> Value {
        if let Some(value) = self.tensors_at(depth).get(&tensor) {
            return *value;
        }
        let value = if depth == 0 {
            self.model_leaf(tensor)
        } else {
            let outer = self.tensor_at(depth - 1, tensor);
            let role = match self.is_one_layers(depth, tensor) {
                Slicing::OneLayer => Role::Step,
                Slicing::Whole => Role::Outer,
            };
            match tensor {
                TensorRef::Param(_) => self.shared_arg(depth, outer, role),
                TensorRef::State(id) => self.arg(depth, outer, role, Some(StateId::new(id))),
            }
        };
        self.tensors_at(depth).insert(tensor, value);
        value
    }

    /// What the body at `depth` sees of a tensor of the model.
    pub fn is_one_layers(&self, depth: usize, tensor: TensorRef) -> Slicing {
        let arrays = &self.regions[depth - 1].header.arrays;
        match self
            .tree
            .arrays_of(tensor)
            .iter()
            .any(|array| arrays.contains(array))
        {
            true => Slicing::OneLayer,
            false => Slicing::Whole,
        }
    }

    /// The leaf of a tensor of the model, at depth 0: those of all layers of an array in one.
    fn model_leaf(&mut self, tensor: TensorRef) -> Value {
        let kind = match tensor {
            TensorRef::Param(id) => LeafKind::Param(ParamId::new(id)),
            TensorRef::State(id) => LeafKind::State(StateId::new(id)),
        };
        let declared = self.tree.declaration(tensor);
        let path = declared.name();
        let (scope, name) = path.rsplit_once('.').unwrap_or(("", &path));
        let shape = declared.repeats.iter().chain(&declared.shape).cloned().collect();
        let b = self.builder(0);
        let mut origin = b.origin.clone();
        origin.scope = scope.into();
        origin.name = Some(name.into());
        let caller = std::mem::replace(&mut b.origin, origin);
        let ty = Type::float(shape);
        let value = b.push(Leaf { kind, ty }, &[]);
        b.origin = caller;
        value
    }

    /// Takes the new values of carried tensors of the model out of the innermost body: the argument that each was, and
    /// what it becomes.
    pub fn take_states(&mut self) -> Vec<(StateId, usize, Value)> {
        let depth = self.depth();
        let updates: Vec<(StateId, Value)> = std::mem::take(&mut self.b.graph.outputs)
            .into_iter()
            .filter_map(|output| match output.kind {
                OutputKind::State(id) => Some((id, output.value)),
                _ => None,
            })
            .collect();
        let mut taken: Vec<(StateId, usize, Value)> = Vec::new();
        for (id, value) in updates {
            if taken.iter().any(|(known, ..)| *known == id) {
                continue;
            }
            let imports = &self.regions[depth - 1].imports;
            let known = imports.iter().position(|import| import.state == Some(id));
            let position = known.unwrap_or_else(|| {
                // Assigned without having been read.
                let tensor = TensorRef::State(id.index());
                let outer = self.tensor_at(depth - 1, tensor);
                let role = match self.is_one_layers(depth, tensor) {
                    Slicing::OneLayer => Role::Step,
                    Slicing::Whole => Role::Outer,
                };
                self.arg(depth, outer, role, Some(id));
                self.regions[depth - 1].imports.len() - 1
            });
            taken.push((id, position, value));
        }
        taken
    }
}

/// What a body sees of a tensor of the model.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Slicing {
    /// The slice of one layer, the loop going through an array that the tensor lies in.
    OneLayer,
    /// What the surroundings see.
    Whole,
}
