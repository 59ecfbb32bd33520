//! Building the tree: fields become instances, sizes are evaluated, tensors are declared.

use crate::map::Map;
use std::cell::RefCell;
use std::rc::Rc;

use proc_macro2::Ident;
use quote::ToTokens;

use super::paths::{self, Name};
use super::{
    ArrayInstance, Instance, InstanceId, Kind, LayerInstance, ModelInstance, Round, TensorRef, Tree, Unknown,
};
use crate::ast::{self, DimArg, DimExpr, FieldKind, OptionArg};
use crate::diag::{Diagnostic, Diagnostics, SourceSpan};
use crate::ir::{Args, Operand};
use crate::layers::{Builtin, Role, Sizes};
use crate::lower::names::nearest;
use crate::lower::sizes::{self, Names, SizeError};
use crate::lower::{Solutions, init};
use crate::model::{Definition, InitSpec, TensorDecl, Training, UserModel};
use crate::ops::scan::Recording;
use crate::shape::Dim;

/// What building a tree needs besides the tree.
struct Build<'a, 'd> {
    tree: Tree<'a>,
    round: Round,
    solutions: &'d Solutions,
    diagnostics: &'d mut Diagnostics,
}

/// Where a field lies.
#[derive(Clone)]
struct Home {
    parent: InstanceId,
    /// The field of the compiled model; `None` where this is one itself.
    outer: Option<(usize, SourceSpan)>,
    training: Training,
    /// The arrays of layers around it with their lengths, the outermost first.
    arrays: Vec<(InstanceId, Dim)>,
}

impl<'a> Tree<'a> {
    /// Instantiates the model and all its layers. What is wrong is reported and becomes [`Kind::Poison`].
    pub fn build(
        root: &'a UserModel,
        round: Round,
        solutions: &Solutions,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let tree = Tree {
            instances: Vec::new(),
            params: Vec::new(),
            states: Vec::new(),
            arrays: Map::new(),
            unknowns: unknowns(root),
            constants: RefCell::default(),
        };
        let mut build = Build {
            tree,
            round,
            solutions,
            diagnostics,
        };
        let generics: Vec<Dim> = root
            .structure
            .generics
            .iter()
            .map(|generic| Dim::generic(&generic.name.to_string()))
            .collect();
        build.tree.instances.push(Instance {
            path: "".into(),
            pattern: "".into(),
            weights: "".into(),
            written: root.structure.name.to_string(),
            parent: None,
            field: None,
            recording: Recording::Values,
            kind: Kind::Model(ModelInstance {
                model: root,
                generics: generics.clone(),
                outer_generics: generics,
                fields: Vec::new(),
            }),
        });
        let home = Home {
            parent: 0,
            outer: None,
            training: Training::Trained,
            arrays: Vec::new(),
        };
        build.fields(root, &home);
        if round == Round::Last {
            paths::check(&build.tree, root, build.diagnostics);
        }
        build.tree
    }
}

/// Every `_` among the fields of a model, in order.
fn unknowns(root: &UserModel) -> Vec<Unknown> {
    let mut unknowns = Vec::new();
    for (field, declared) in root.structure.fields.iter().enumerate() {
        let mut kind = &declared.kind;
        let args = loop {
            match kind {
                FieldKind::Layer { args, .. } => break &args[..],
                FieldKind::Param { dims, .. } | FieldKind::State { dims, .. } => break &dims[..],
                FieldKind::Array { elem, .. } => kind = elem,
                FieldKind::Error(_) => break &[],
            }
        };
        for (position, arg) in args.iter().enumerate() {
            if let DimArg::Infer(span) = arg {
                unknowns.push(Unknown {
                    field,
                    position,
                    name: declared.name.to_string(),
                    span: *span,
                });
            }
        }
    }
    unknowns
}

impl<'a> Build<'a, '_> {
    /// Adds the instances of a model's fields; `home` is what they share.
    fn fields(&mut self, model: &'a UserModel, home: &Home) {
        let mut ids = Vec::new();
        for (index, field) in model.structure.fields.iter().enumerate() {
            let training = if field.frozen.is_some() {
                Training::Frozen
            } else {
                home.training
            };
            let home = Home {
                training,
                ..home.clone()
            };
            let child = model.children.get(index).and_then(Option::as_ref);
            let owner = &self.tree.instances[home.parent];
            let name = Name::of(owner, field);
            ids.push(self.field(&home, (index, field), &field.kind, name, child));
        }
        if let Kind::Model(instance) = &mut self.tree.instances[home.parent].kind {
            instance.fields = ids;
        }
    }

    /// Adds the instance of a field (or of the elements of an array, as which it has another kind), and those of its
    /// fields.
    fn field(
        &mut self,
        home: &Home,
        (index, field): (usize, &'a ast::Field),
        kind: &'a FieldKind,
        name: Name,
        child: Option<&'a Rc<Definition>>,
    ) -> InstanceId {
        let (root_field, span) = home.outer.unwrap_or((index, field.span));
        let id = self.tree.instances.len();
        self.tree.instances.push(Instance {
            path: name.path.clone(),
            pattern: name.pattern.clone(),
            weights: name.weights.clone(),
            written: String::new(),
            parent: Some(home.parent),
            field: Some(root_field),
            recording: match field.recompute {
                Some(_) => Recording::Carries,
                None => Recording::Values,
            },
            kind: Kind::Poison,
        });
        let kind = match kind {
            FieldKind::Layer { path, args, .. } => {
                let type_name = path
                    .segments
                    .last()
                    .map(|segment| segment.ident.to_string())
                    .unwrap_or_default();
                self.layer(id, home, (index, field), &type_name, args, child)
            }
            FieldKind::Param { dims, .. } => self.tensor(id, home, (index, field), dims, Role::Param),
            FieldKind::State { dims, .. } => self.tensor(id, home, (index, field), dims, Role::State),
            FieldKind::Array { elem, count, .. } => {
                self.array(id, home, (index, field), (elem, count), &name, child)
            }
            FieldKind::Error(_) => None,
        };
        if let Some(kind) = kind {
            self.tree.instances[id].kind = kind;
        }
        if let Kind::Model(instance) = &self.tree.instances[id].kind {
            let model = instance.model;
            let home = Home {
                parent: id,
                outer: Some((root_field, span)),
                ..home.clone()
            };
            self.fields(model, &home);
        }
        id
    }

    /// An array of layers: one instance that stands for each of them.
    fn array(
        &mut self,
        id: InstanceId,
        home: &Home,
        (index, field): (usize, &'a ast::Field),
        (elem, count): (&'a FieldKind, &DimExpr),
        name: &Name,
        child: Option<&'a Rc<Definition>>,
    ) -> Option<Kind<'a>> {
        let count = self.sizes(home, index, &[DimArg::Expr(count.clone())])?.pop()?;
        let mut inside = home.clone();
        inside.arrays.push((id, count.clone()));
        let elem = self.field(&inside, (index, field), elem, name.element(), child);
        // The attribute is the array's.
        self.tree.instances[elem].recording = Recording::Values;
        self.tree.instances[id].written = format!("[{}; {count}]", self.tree.instances[elem].written);
        Some(Kind::Array(ArrayInstance { elem, count }))
    }

    /// Evaluates the sizes of a field, in the vocabulary of the compiled model.
    fn sizes(&mut self, home: &Home, index: usize, args: &[DimArg]) -> Option<Vec<Dim>> {
        let model = self.tree.model(home.parent)?;
        let known = model
            .model
            .structure
            .generics
            .iter()
            .map(|generic| generic.name.to_string());
        let known: Map<String, Dim> = known.zip(model.generics.iter().cloned()).collect();
        let names = Names {
            sizes: &known,
            renamed: &Map::new(),
        };
        let mut sizes = Vec::new();
        for (position, arg) in args.iter().enumerate() {
            let size = match arg {
                DimArg::Infer(_) if home.parent == 0 => Ok(self.unknown(index, position)),
                DimArg::Infer(_) => Err(SizeError::Because(
                    "a size `_` inside a layer is not solved".to_owned(),
                )),
                DimArg::Expr(expr) => self.tree.size(home.parent, expr, &names),
            };
            let place = home.outer.map_or(arg.span(), |(_, span)| span);
            match size {
                Ok(size) if size.overflows() || size.as_lit().is_some_and(|n| n < 0) => {
                    self.diagnostics
                        .error(place, format!("the size `{size}` is not a size"));
                    return None;
                }
                Ok(size) => sizes.push(size),
                Err(SizeError::Reported) => return None,
                Err(SizeError::Because(message)) => {
                    self.diagnostics.error(place, message);
                    return None;
                }
            }
        }
        Some(sizes)
    }

    /// What an `_` is, or the symbol for it.
    fn unknown(&self, field: usize, position: usize) -> Dim {
        let is_it = |unknown: &Unknown| unknown.field == field && unknown.position == position;
        let id = self.tree.unknowns.iter().position(is_it).unwrap_or(usize::MAX) as u32;
        self.solutions
            .get(&id)
            .map_or_else(|| Dim::infer(id), |(size, _)| size.clone())
    }

    fn layer(
        &mut self,
        id: InstanceId,
        home: &Home,
        (index, field): (usize, &'a ast::Field),
        name: &str,
        args: &[DimArg],
        child: Option<&'a Rc<Definition>>,
    ) -> Option<Kind<'a>> {
        let sizes = self.sizes(home, index, args);
        let place = home.outer.map_or(field.span, |(_, span)| span);
        let written = match sizes.as_deref() {
            None | Some([]) => name.to_owned(),
            Some(sizes) => {
                format!(
                    "{name}<{}>",
                    sizes.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ")
                )
            }
        };
        self.tree.instances[id].written = written;
        let (sizes, definition) = (sizes?, child?);
        if self.round == Round::Last && sizes.iter().any(Dim::has_infer) {
            return Some(Kind::Unsolved);
        }
        match &**definition {
            Definition::Poison => None,
            Definition::Builtin(builtin) => self.builtin(id, home, field, builtin, sizes),
            Definition::User(model) => {
                if let Some(option) = field.options.first() {
                    let place = home.outer.map_or(option.span, |(_, span)| span);
                    let message = format!("the model `{name}` has no option `{}`", option.name);
                    self.diagnostics.error(place, message);
                    return None;
                }
                let expected: Vec<String> = model
                    .structure
                    .generics
                    .iter()
                    .map(|generic| generic.name.to_string())
                    .collect();
                if expected.len() != sizes.len() {
                    let error = Diagnostic::error(place, format!("`{name}` takes {} sizes", expected.len()));
                    self.diagnostics.push(
                        error
                            .expected(format!("`{name}<{}>`", expected.join(", ")))
                            .found(format!("{} sizes", sizes.len())),
                    );
                    return None;
                }
                let outer_generics = self.local_sizes(home.parent, args, &sizes)?;
                Some(Kind::Model(ModelInstance {
                    model,
                    generics: sizes,
                    outer_generics,
                    fields: Vec::new(),
                }))
            }
        }
    }

    /// The sizes of a field in the vocabulary of the model that declares it; `sizes` has them in that of the compiled
    /// model.
    fn local_sizes(&self, parent: InstanceId, args: &[DimArg], sizes: &[Dim]) -> Option<Vec<Dim>> {
        let model = self.tree.model(parent)?;
        let known = model
            .model
            .structure
            .generics
            .iter()
            .map(|generic| generic.name.to_string());
        let known: Map<String, Dim> = known.map(|name| (name.clone(), Dim::generic(&name))).collect();
        let names = Names {
            sizes: &known,
            renamed: &Map::new(),
        };
        // An `_` stands in the compiled model only, which has one vocabulary. It has no text before it is solved, and
        // none is needed then.
        let local = |(arg, size): (&DimArg, &Dim)| match arg {
            DimArg::Infer(_) if size.has_infer() => Some(Dim::zero()),
            DimArg::Infer(_) => Some(size.clone()),
            DimArg::Expr(expr) => sizes::evaluate(expr, &names, &|text, _| Ok(Dim::constant(text))).ok(),
        };
        args.iter().zip(sizes).map(local).collect()
    }

    fn builtin(
        &mut self,
        id: InstanceId,
        home: &Home,
        field: &'a ast::Field,
        builtin: &'static Builtin,
        sizes: Vec<Dim>,
    ) -> Option<Kind<'a>> {
        let place = home.outer.map_or(field.span, |(_, span)| span);
        let fits = match builtin.sizes {
            Sizes::Named(names) => names.len() == sizes.len(),
            Sizes::Between(least, names) => (least..=names.len()).contains(&sizes.len()),
            Sizes::Trailing(_) => !sizes.is_empty(),
        };
        if !fits {
            let written = &self.tree.instances[id].written;
            let error = Diagnostic::error(
                place,
                format!("`{}` does not have {} sizes", builtin.name, sizes.len()),
            );
            self.diagnostics.push(
                error
                    .expected(format!("`{}`", builtin.usage))
                    .found(format!("`{written}`")),
            );
            return None;
        }
        let named = self.options(home, field, builtin)?;
        let config = Args {
            positional: sizes.into_iter().map(|size| Some(Operand::Size(size))).collect(),
            named,
            usage: builtin.usage,
        };
        let declared = match (builtin.declare)(&mut config.clone()) {
            Ok(declared) => declared,
            Err(error) => {
                let path = &self.tree.instances[id].path;
                let mut report = Diagnostic::error(place, format!("layer `{path}`: {}", error.message));
                if let Some(help) = error.help {
                    report = report.help(help);
                }
                self.diagnostics.push(report);
                return None;
            }
        };
        let weight_init = self.weight_init(home, field)?;
        let mut tensors = Vec::new();
        for mut tensor in declared {
            if let (Some(init), "weight") = (&weight_init, &*tensor.name) {
                tensor.init = init.clone();
            }
            let path = paths::join(&self.tree.instances[id].weights, &tensor.name).to_string();
            let tensor_ref = self.declare(path, tensor.shape, tensor.init, tensor.role, home);
            tensors.push((tensor.name, tensor_ref));
        }
        Some(Kind::Layer(LayerInstance {
            builtin,
            config,
            tensors,
        }))
    }

    /// The options of a layer of the library.
    fn options(
        &mut self,
        home: &Home,
        field: &'a ast::Field,
        builtin: &'static Builtin,
    ) -> Option<Vec<(String, Operand, proc_macro2::Span)>> {
        let mut named = Vec::new();
        let mut is_whole = true;
        for option in &field.options {
            let place = home.outer.map_or(option.span, |(_, span)| span);
            let name = option.name.to_string();
            if !builtin.options.contains(&name.as_str()) {
                self.diagnostics.push(unknown_option(builtin, &name, place));
                is_whole = false;
                continue;
            }
            if name == "init" {
                continue;
            }
            match self.option_value(home.parent, option) {
                Ok(operand) => named.push((name, operand, option.name.span())),
                Err(SizeError::Because(message)) => {
                    self.diagnostics.error(
                        place,
                        format!("the option `{name}` of `{}`: {message}", builtin.name),
                    );
                    is_whole = false;
                }
                Err(SizeError::Reported) => is_whole = false,
            }
        }
        is_whole.then_some(named)
    }

    /// The first values that the option `init` of a layer asks for; `None` after a mistake.
    fn weight_init(&mut self, home: &Home, field: &ast::Field) -> Option<Option<InitSpec>> {
        let Some(option) = field.options.iter().rev().find(|option| option.name == "init") else {
            return Some(None);
        };
        let place = home.outer.map_or(option.span, |(_, span)| span);
        let spec = init::spec(&option.value).map_err(|error| error.diagnostic(place));
        spec.map_err(|report| self.diagnostics.push(report))
            .ok()
            .map(Some)
    }

    fn option_value(&self, parent: InstanceId, option: &OptionArg) -> Result<Operand, SizeError> {
        let Some(model) = self.tree.model(parent) else {
            return Err(SizeError::Reported);
        };
        let known = model
            .model
            .structure
            .generics
            .iter()
            .map(|generic| generic.name.to_string());
        let known: Map<String, Dim> = known.zip(model.generics.iter().cloned()).collect();
        init::option(
            &option.value,
            &|name: &Ident| match known.get(&name.to_string()) {
                Some(dim) => Ok(dim.clone()),
                None => self
                    .tree
                    .constant(parent, &name.to_string(), Some(name.to_token_stream())),
            },
        )
    }

    /// A `Param` or `State` field.
    fn tensor(
        &mut self,
        id: InstanceId,
        home: &Home,
        (index, field): (usize, &'a ast::Field),
        dims: &[DimArg],
        role: Role,
    ) -> Option<Kind<'a>> {
        let shape = self.sizes(home, index, dims)?;
        if self.round == Round::Last && shape.iter().any(Dim::has_infer) {
            return Some(Kind::Unsolved);
        }
        let place = home.outer.map_or(field.span, |(_, span)| span);
        let kind = if role == Role::Param { "Param" } else { "State" };
        let sizes = shape.iter().map(Dim::to_string).collect::<Vec<_>>().join(", ");
        self.tree.instances[id].written = format!("{kind}<{sizes}>");
        let mut spec = (role == Role::State).then_some(InitSpec::Zeros);
        for option in &field.options {
            let place = home.outer.map_or(option.span, |(_, span)| span);
            if option.name != "init" {
                let message = format!("a `{kind}` has no option `{}`", option.name);
                self.diagnostics
                    .push(Diagnostic::error(place, message).help("its only option is `init`"));
                return None;
            }
            match init::spec(&option.value) {
                Ok(init) => spec = Some(init),
                Err(error) => {
                    self.diagnostics.push(error.diagnostic(place));
                    return None;
                }
            }
        }
        let Some(init) = spec else {
            let error = Diagnostic::error(
                place,
                format!("the parameter `{}` has no first values", field.name),
            );
            self.diagnostics
                .push(error.help("say which: `#[layer(init = normal(0.0, 0.02))]`, `#[layer(init = ones)]`"));
            return None;
        };
        let path = self.tree.instances[id].weights.to_string();
        Some(match self.declare(path, shape, init, role, home) {
            TensorRef::Param(id) => Kind::Param(id),
            TensorRef::State(id) => Kind::State(id),
        })
    }

    fn declare(
        &mut self,
        path: String,
        shape: Vec<Dim>,
        init: InitSpec,
        role: Role,
        home: &Home,
    ) -> TensorRef {
        let training = if role == Role::State {
            Training::Frozen
        } else {
            home.training
        };
        let list = match role {
            Role::Param => &mut self.tree.params,
            Role::State => &mut self.tree.states,
        };
        list.push(TensorDecl {
            path,
            repeats: home.arrays.iter().map(|(_, count)| count.clone()).collect(),
            shape,
            init,
            training,
        });
        let position = list.len() - 1;
        let tensor = match role {
            Role::Param => TensorRef::Param(position),
            Role::State => TensorRef::State(position),
        };
        if !home.arrays.is_empty() {
            let arrays = home.arrays.iter().map(|(id, _)| *id).collect();
            self.tree.arrays.insert(tensor, arrays);
        }
        tensor
    }
}

fn unknown_option(builtin: &Builtin, name: &str, place: SourceSpan) -> Diagnostic {
    let error = Diagnostic::error(place, format!("`{}` has no option `{name}`", builtin.name));
    match nearest(name, builtin.options.iter().copied()) {
        Some(near) => error.help(format!("did you mean `{near}`?")),
        None if builtin.options.is_empty() => error.note("it has no options"),
        None => error.note(format!("its options are {}", builtin.options.join(", "))),
    }
}
