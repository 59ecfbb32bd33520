//! The state of lowering: one function in one mode ([`Work`]), and what is gathered over all of them ([`Log`]).

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::Ident;

use crate::ast;
use crate::diag::{Diagnostics, SourceSpan};
use crate::ir::{Builder, OutputKind, ParamId, StateId, Type, Value};
use crate::lower::Solutions;
use crate::lower::object::Object;
use crate::lower::tree::{InstanceId, TensorRef, Tree};
use crate::model::Check;
use crate::ops::leaf::{Leaf, LeafKind};
use crate::shape::Dim;

/// How a layer of the compiled model was used.
#[derive(Copy, Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Use {
    /// Nowhere.
    Never,
    /// Only with what another mistake made meaningless.
    AfterMistake,
    /// With sound arguments.
    Sound,
}

/// What is gathered over all functions and modes.
pub struct Log<'d> {
    /// Errors.
    pub diagnostics: &'d mut Diagnostics,
    /// The sizes for `_` of earlier rounds.
    pub solutions: &'d Solutions,
    /// New sizes for `_`.
    pub found: Solutions,
    /// Equations for rustc.
    pub checks: Vec<Check>,
    /// How the fields of the compiled model were used.
    pub uses: BTreeMap<usize, Use>,
    /// The shape of every layer's first result.
    pub shapes: BTreeMap<InstanceId, Vec<Dim>>,
    /// The functions of the compiled model that were lowered, by position.
    pub reached: BTreeSet<usize>,
    /// Whether something was met that was not understood.
    pub poisoned: bool,
}

impl<'d> Log<'d> {
    /// An empty log.
    pub fn new(diagnostics: &'d mut Diagnostics, solutions: &'d Solutions) -> Self {
        Self {
            diagnostics,
            solutions,
            found: Solutions::new(),
            checks: Vec::new(),
            uses: BTreeMap::new(),
            shapes: BTreeMap::new(),
            reached: BTreeSet::new(),
            poisoned: false,
        }
    }
}

/// One function in one mode.
pub struct Work<'t, 'a, 'd> {
    /// The model.
    pub tree: &'t Tree<'a>,
    /// The graph.
    pub b: Builder,
    /// What is gathered over all functions.
    pub log: &'t mut Log<'d>,
    /// The functions that are being inlined, outermost first: the model, the position of the function.
    pub stack: Vec<(InstanceId, usize)>,
    /// The values of tensors of the model, as far as they were read or assigned.
    pub tensors: BTreeMap<TensorRef, Value>,
}

/// A function at work.
pub struct Frame<'a> {
    /// The model that it belongs to.
    pub instance: InstanceId,
    /// The function.
    pub function: &'a ast::Function,
    /// The values of const generics and dynamic dimensions, by the names that the impl uses.
    pub sizes: BTreeMap<String, Dim>,
    /// How the struct calls the const generics that the impl names differently.
    pub renamed: BTreeMap<String, Ident>,
    /// Variables, by block, innermost last.
    pub scopes: Vec<Vec<Binding>>,
    /// How many blocks are outside of the innermost `if` that is decided at run time; what is bound there cannot be
    /// assigned.
    pub barrier: usize,
    /// The call in the compiled model's source, where this function is one of a layer's.
    pub outer: Option<SourceSpan>,
}

/// A variable.
pub struct Binding {
    /// Its name.
    pub name: String,
    /// Its value.
    pub object: Object,
    /// Whether it was declared `mut`.
    pub mutable: Option<SourceSpan>,
}

impl<'a> Frame<'a> {
    /// The variable of that name, innermost first.
    pub fn variable(&self, name: &str) -> Option<&Object> {
        let bindings = self.scopes.iter().rev().flat_map(|scope| scope.iter().rev());
        bindings
            .into_iter()
            .find(|binding| binding.name == name)
            .map(|binding| &binding.object)
    }

    /// Binds a variable in the innermost block.
    pub fn bind(&mut self, name: &Ident, object: Object, mutable: Option<SourceSpan>) {
        let binding = Binding {
            name: name.to_string(),
            object,
            mutable,
        };
        match self.scopes.last_mut() {
            Some(scope) => scope.push(binding),
            None => self.scopes.push(vec![binding]),
        }
    }

    /// Where an error in this function is shown: in the compiled model's source.
    pub fn place(&self, span: SourceSpan) -> SourceSpan {
        self.outer.unwrap_or(span)
    }
}

impl Work<'_, '_, '_> {
    /// The current value of a tensor of the model.
    pub fn tensor(&mut self, tensor: TensorRef) -> Value {
        if let Some(value) = self.tensors.get(&tensor) {
            return *value;
        }
        let (kind, declared) = match tensor {
            TensorRef::Param(id) => (LeafKind::Param(ParamId::new(id)), &self.tree.params[id]),
            TensorRef::State(id) => (LeafKind::State(StateId::new(id)), &self.tree.states[id]),
        };
        let (scope, name) = declared.path.rsplit_once('.').unwrap_or(("", &declared.path));
        let mut origin = self.b.origin.clone();
        origin.scope = scope.into();
        origin.name = Some(name.into());
        let caller = std::mem::replace(&mut self.b.origin, origin);
        let value = self.b.push(
            Leaf {
                kind,
                ty: Type::float(declared.shape.clone()),
            },
            &[],
        );
        self.b.origin = caller;
        self.tensors.insert(tensor, value);
        value
    }

    /// Makes new values of carried tensors current, and keeps the last of each.
    pub fn settle_states(&mut self) {
        let mut last = BTreeMap::new();
        for output in &self.b.graph.outputs {
            if let OutputKind::State(id) = output.kind {
                last.insert(id, output.value);
            }
        }
        for (id, value) in &last {
            self.tensors.insert(TensorRef::State(id.index()), *value);
        }
        let is_last = |output: &crate::ir::Output| match output.kind {
            OutputKind::State(id) => last.get(&id) == Some(&output.value),
            _ => true,
        };
        self.b.graph.outputs.retain(is_last);
    }

    /// Notes how a layer was used.
    pub fn note_use(&mut self, instance: InstanceId, used: Use) {
        if let Some(field) = self.tree.instances[instance].field {
            let known = self.log.uses.entry(field).or_insert(Use::Never);
            *known = (*known).max(used);
        }
    }
}
