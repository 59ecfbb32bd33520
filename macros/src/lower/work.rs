//! The state of lowering: one function in one mode ([`Work`]), and what is gathered over all of them ([`Log`]).

use crate::map::{Map, Set};

use proc_macro2::Ident;

use crate::ast;
use crate::diag::{Diagnostics, SourceSpan};
use crate::ir::{Builder, Demand, OutputKind, Value};
use crate::lower::Solutions;
use crate::lower::collect::Collection;
use crate::lower::object::Object;
use crate::lower::region::Region;
use crate::lower::tree::{InstanceId, TensorRef, Tree};
use crate::model::Check;
use crate::shape::{Atom, Dim};

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
    /// What the sizes of the function's calls must fulfil.
    pub demands: Vec<Demand>,
    /// How the fields of the compiled model were used.
    pub uses: Map<usize, Use>,
    /// The shape of every layer's first result.
    pub shapes: Map<InstanceId, Vec<Dim>>,
    /// The functions of the compiled model that were lowered, by position.
    pub reached: Set<usize>,
    /// Whether something was met that was not understood.
    pub poisoned: bool,
    /// The number of mistakes that were met, those that were reported before included.
    pub n_mistakes: usize,
}

impl<'d> Log<'d> {
    /// An empty log.
    pub fn new(diagnostics: &'d mut Diagnostics, solutions: &'d Solutions) -> Self {
        Self {
            diagnostics,
            solutions,
            found: Solutions::new(),
            checks: Vec::new(),
            demands: Vec::new(),
            uses: Map::new(),
            shapes: Map::new(),
            reached: Set::new(),
            poisoned: false,
            n_mistakes: 0,
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
    /// The values of tensors of the model, as far as they were read or assigned in the innermost loop.
    pub tensors: Map<TensorRef, Value>,
    /// The loops whose bodies are being built, the outermost first.
    pub regions: Vec<Region>,
    /// The number of `if`s around that are decided at run time, in this function and in those that call it.
    pub n_branches: usize,
    /// What is collected in loops.
    pub collections: Vec<Collection>,
}

/// A function at work.
pub struct Frame<'a> {
    /// The model that it belongs to.
    pub instance: InstanceId,
    /// The function.
    pub function: &'a ast::Function,
    /// The values of const generics and dynamic dimensions, by the names that the impl uses.
    pub sizes: Map<String, Dim>,
    /// How the struct calls the const generics that the impl names differently.
    pub renamed: Map<String, Ident>,
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
    /// The number of loops around the binding: the tensors of the value belong there.
    pub depth: usize,
    /// Whether it was declared `mut`.
    pub mutable: Option<SourceSpan>,
}

impl<'a> Frame<'a> {
    /// The variable of that name, innermost first.
    pub fn binding(&self, name: &str) -> Option<&Binding> {
        let mut bindings = self.scopes.iter().rev().flat_map(|scope| scope.iter().rev());
        bindings.find(|binding| binding.name == name)
    }

    /// The block and the position in it of the variable of that name, innermost first.
    pub fn position(&self, name: &str) -> Option<(usize, usize)> {
        let mut scopes = self.scopes.iter().enumerate().rev();
        scopes.find_map(|(depth, scope)| {
            let position = scope.iter().rposition(|binding| binding.name == name)?;
            Some((depth, position))
        })
    }

    /// Binds a variable in the innermost block, inside of `depth` loops.
    pub fn bind(&mut self, name: &Ident, object: Object, depth: usize, mutable: Option<SourceSpan>) {
        let binding = Binding {
            name: name.to_string(),
            object,
            depth,
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

impl<'a> Work<'_, 'a, '_> {
    /// What a variable is here.
    pub fn variable(&mut self, frame: &Frame<'a>, name: &str) -> Option<Object> {
        let binding = frame.binding(name)?;
        Some(self.import(&binding.object, binding.depth))
    }

    /// Makes new values of carried tensors current, and keeps the last of each.
    pub fn settle_states(&mut self) {
        let mut last = Map::new();
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

    /// Notes the shape of a layer's first result, unless it is another in every step of a loop.
    pub fn note_shape(&mut self, instance: InstanceId, value: Value) {
        let shape = self.b.shape(value);
        let is_index = |atom: &Atom| {
            let indices = &self.b.constraints.indices;
            matches!(atom, Atom::Dynamic(symbol) if indices.iter().any(|(index, _)| &**index == symbol.name()))
        };
        if !shape.iter().any(|size| size.atoms().iter().any(is_index)) {
            self.log.shapes.get_or_insert_with(instance, || shape);
        }
    }

    /// Notes how a layer was used.
    pub fn note_use(&mut self, instance: InstanceId, used: Use) {
        if let Some(field) = self.tree.instances[instance].field {
            let known = self.log.uses.get_or_insert_with(field, || Use::Never);
            *known = (*known).max(used);
        }
    }
}
