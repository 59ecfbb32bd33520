//! The model as a tree of instances: every layer with its path, its sizes and its tensors.

mod build;
mod paths;

use crate::map::Map;
use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use crate::diag::SourceSpan;
use crate::ir::Args;
use crate::layers::Builtin;
use crate::model::{Constant, LayerRow, Lowered, TensorDecl, UserModel};
use crate::ops::scan::Recording;
use crate::shape::Dim;

/// The position of an instance in [`Tree::instances`]; 0 is the compiled model.
pub type InstanceId = usize;

/// A model with its layers, and theirs.
pub struct Tree<'a> {
    /// The instances; parents come before their children.
    pub instances: Vec<Instance<'a>>,
    /// Trained tensors.
    pub params: Vec<TensorDecl>,
    /// Carried tensors.
    pub states: Vec<TensorDecl>,
    /// For every tensor that lies in arrays of layers, the arrays, the outermost first.
    pub arrays: Map<TensorRef, Vec<InstanceId>>,
    /// Every `_` among the fields of the compiled model, solved or not.
    pub unknowns: Vec<Unknown>,
    /// The constants that sizes depend on; found while sizes are evaluated, at any time.
    pub constants: RefCell<Vec<Constant>>,
}

/// An `_`.
pub struct Unknown {
    /// Position of the field.
    pub field: usize,
    /// Position among the field's arguments.
    pub position: usize,
    /// The name of the field.
    pub name: String,
    /// The place of the `_`.
    pub span: SourceSpan,
}

/// A model, layer or tensor at its place in the compiled model.
pub struct Instance<'a> {
    /// Its path: `enc.fc1`; empty for the compiled model. The layers of an array have the array's path.
    pub path: Rc<str>,
    /// Its path with `{}` for the position in each enclosing array: `blocks.{}.attn`.
    pub pattern: Rc<str>,
    /// The path of its tensors in files, with `{}` as in `pattern`: that of the fields, but for `#[weights("…")]`.
    pub weights: Rc<str>,
    /// Its type with its sizes: `Linear<784, 128>`, `[Linear<8, 8>; 4]`.
    pub written: String,
    /// The model that has it as a field.
    pub parent: Option<InstanceId>,
    /// The field of the compiled model that it is, or lies in.
    pub field: Option<usize>,
    /// What its gradient gets of what it computes: `#[recompute]`.
    pub recording: Recording,
    /// What it is.
    pub kind: Kind<'a>,
}

/// What an [`Instance`] is.
pub enum Kind<'a> {
    /// A model.
    Model(ModelInstance<'a>),
    /// A layer of the library.
    Layer(LayerInstance),
    /// Several layers of one kind.
    Array(ArrayInstance),
    /// A trained tensor of a model, by position.
    Param(usize),
    /// A carried tensor of a model, by position.
    State(usize),
    /// A layer with an `_` that is not solved (in the last round only).
    Unsolved,
    /// The result of a mistake that is reported, here or where the type is defined.
    Poison,
}

/// A model as part of the compiled one.
pub struct ModelInstance<'a> {
    /// Its definition.
    pub model: &'a UserModel,
    /// The values of its const generics, in the vocabulary of the compiled model.
    pub generics: Vec<Dim>,
    /// The same in the vocabulary of its direct parent, for accessors.
    pub outer_generics: Vec<Dim>,
    /// One a field of its struct.
    pub fields: Vec<InstanceId>,
}

/// An array of layers as part of the compiled model.
pub struct ArrayInstance {
    /// The instance that stands for each of its layers in turn.
    pub elem: InstanceId,
    /// How many there are.
    pub count: Dim,
}

/// A layer of the library as part of the compiled model.
pub struct LayerInstance {
    /// Its row of the table.
    pub builtin: &'static Builtin,
    /// Its sizes by position, its options by name.
    pub config: Args,
    /// The tensors that it declared.
    pub tensors: Vec<(Cow<'static, str>, TensorRef)>,
}

/// A tensor of the compiled model.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TensorRef {
    /// A trained one, by position.
    Param(usize),
    /// A carried one, by position.
    State(usize),
}

/// What a tree is built for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Round {
    /// To find what every `_` is: open ones are symbols.
    Search,
    /// To make graphs: layers with an open `_` are [`Kind::Unsolved`].
    Last,
}

impl<'a> Tree<'a> {
    /// The model at that place, if it is one.
    pub fn model(&self, id: InstanceId) -> Option<&ModelInstance<'a>> {
        match &self.instances[id].kind {
            Kind::Model(model) => Some(model),
            _ => None,
        }
    }

    /// The arrays of layers that a tensor lies in, the outermost first.
    pub fn arrays_of(&self, tensor: TensorRef) -> &[InstanceId] {
        self.arrays.get(&tensor).map_or(&[], Vec::as_slice)
    }

    /// The declaration of a tensor.
    pub fn declaration(&self, tensor: TensorRef) -> &TensorDecl {
        match tensor {
            TensorRef::Param(id) => &self.params[id],
            TensorRef::State(id) => &self.states[id],
        }
    }

    /// Whether some layer is the result of a mistake.
    pub fn is_poisoned(&self) -> bool {
        self.instances
            .iter()
            .any(|instance| matches!(instance.kind, Kind::Poison | Kind::Unsolved))
    }

    /// How a layer is named in messages.
    pub fn title(&self, id: InstanceId) -> String {
        let Instance { path, written, .. } = &self.instances[id];
        if path.is_empty() {
            format!("`{written}`")
        } else {
            format!("layer `{path}`")
        }
    }

    /// Writes down tensors, layers and constants.
    pub fn describe(&self, shapes: &Map<InstanceId, Vec<Dim>>, lowered: &mut Lowered) {
        lowered.params.clone_from(&self.params);
        lowered.states.clone_from(&self.states);
        lowered.constants = self.constants.borrow().clone();
        for &field in self.model(0).map_or(&[][..], |model| &model.fields) {
            self.describe_layer(field, 0, shapes, &mut lowered.rows);
        }
    }

    fn describe_layer(
        &self,
        id: InstanceId,
        depth: usize,
        shapes: &Map<InstanceId, Vec<Dim>>,
        rows: &mut Vec<LayerRow>,
    ) {
        let instance = &self.instances[id];
        // All layers of an array are one row.
        let mut elem = id;
        while let Kind::Array(array) = &self.instances[elem].kind {
            elem = array.elem;
        }
        let (param_ids, inner): (Vec<usize>, &[InstanceId]) = match &self.instances[elem].kind {
            Kind::Model(model) => (Vec::new(), &model.fields),
            Kind::Layer(layer) => {
                let own = layer.tensors.iter().filter_map(|(_, tensor)| match tensor {
                    TensorRef::Param(id) => Some(*id),
                    TensorRef::State(_) => None,
                });
                (own.collect(), &[])
            }
            Kind::Param(id) => (vec![*id], &[]),
            Kind::State(_) | Kind::Array(_) | Kind::Unsolved | Kind::Poison => (Vec::new(), &[]),
        };
        let row = rows.len();
        rows.push(LayerRow {
            path: instance.pattern.to_string(),
            kind: instance.written.clone(),
            depth,
            output: shapes.get(&elem).cloned(),
            params: Dim::sum(param_ids.iter().map(|&id| {
                let TensorDecl { repeats, shape, .. } = &self.params[id];
                crate::shape::numel(repeats) * crate::shape::numel(shape)
            })),
        });
        for &field in inner {
            self.describe_layer(field, depth + 1, shapes, rows);
        }
        let inside: Vec<Dim> = rows[row + 1..]
            .iter()
            .filter(|r| r.depth == depth + 1)
            .map(|r| r.params.clone())
            .collect();
        rows[row].params = &rows[row].params + &Dim::sum(inside);
    }
}
