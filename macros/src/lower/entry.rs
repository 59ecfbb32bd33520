//! The functions of the compiled model, each lowered from its own signature.

use crate::map::{self, Map, Set};

use crate::ast::{self, DimArg, Function, GradMode, Receiver, ReturnType, ValueType};
use crate::diag::Diagnostics;
use crate::ir::{Builder, Graph, InputId, Mode, Origin, Output, OutputKind, Scalar, Type, Value};
use crate::lower::Solutions;
use crate::lower::expr::dtype_of;
use crate::lower::function::bare_axis;
use crate::lower::object::Object;
use crate::lower::tree::{InstanceId, Tree};
use crate::lower::work::{Frame, Log, Work};
use crate::model::{ArgSlot, DynamicDim, InputDecl, InputGrad, Lowered, LoweredFunction};
use crate::ops::leaf::{Leaf, LeafKind};
use crate::shape::Dim;

pub use crate::lower::work::Use;

/// What is known after all functions are lowered.
pub struct Outcome {
    /// How the fields of the model were used.
    pub uses: Map<usize, Use>,
    /// The shape of every layer's first result.
    pub shapes: Map<InstanceId, Vec<Dim>>,
    /// Whether something was met that was reported before.
    pub poisoned: bool,
}

/// Lowers every function to see what the open `_` are compared with.
pub fn solve(tree: &Tree<'_>, solutions: &Solutions, diagnostics: &mut Diagnostics) -> Solutions {
    let mut log = Log::new(diagnostics, solutions);
    for index in order(tree) {
        lower(tree, &mut log, index, Mode::Eval);
    }
    log.found
}

/// Lowers every public function, and checks the others.
pub fn functions(
    tree: &Tree<'_>,
    solutions: &Solutions,
    diagnostics: &mut Diagnostics,
    lowered: &mut Lowered,
) -> Outcome {
    let mut log = Log::new(diagnostics, solutions);
    reject_ambiguous(tree, log.diagnostics);
    for index in order(tree) {
        let is_called = log.reached.contains(&index);
        let function = &all(tree)[index];
        if !is_public(function) {
            // What a public function calls is checked there, with the arguments that it really gets.
            if !is_called {
                lower(tree, &mut log, index, Mode::Eval);
            }
            continue;
        }
        let Some((mut signature, graph)) = lower(tree, &mut log, index, Mode::Eval) else {
            continue;
        };
        signature.eval = graph;
        if matches!(function.ret, ReturnType::Scalar(_)) {
            let mode = match function.options.grad {
                GradMode::Train => Mode::Train,
                GradMode::Eval => Mode::Eval,
            };
            signature.train = lower(tree, &mut log, index, mode).map(|(_, graph)| graph);
        }
        lowered.functions.push(signature);
    }
    map::sort_by_key(&mut lowered.functions, |function| function.index);
    lowered.checks = std::mem::take(&mut log.checks);
    Outcome {
        uses: log.uses,
        shapes: log.shapes,
        poisoned: log.poisoned,
    }
}

fn all<'a>(tree: &Tree<'a>) -> &'a [Function] {
    tree.model(0)
        .map_or(&[], |model| &model.model.implementation.functions)
}

/// Public functions first, so that private ones are known to be called.
fn order(tree: &Tree<'_>) -> Vec<usize> {
    let functions = all(tree);
    let (public, private): (Vec<usize>, Vec<usize>) =
        (0..functions.len()).partition(|&index| is_public(&functions[index]));
    public.into_iter().chain(private).collect()
}

fn is_public(function: &Function) -> bool {
    !matches!(function.vis, syn::Visibility::Inherited) && matches!(function.receiver, Receiver::SelfRef)
}

fn reject_ambiguous(tree: &Tree<'_>, diagnostics: &mut Diagnostics) {
    let Some(model) = tree.model(0) else { return };
    for function in all(tree) {
        if let Some(field) = model
            .model
            .structure
            .fields
            .iter()
            .find(|field| field.name == function.name)
        {
            let message = format!("`{}` is both a field and a function of the model", function.name);
            let error = crate::diag::Diagnostic::error(function.name.span(), message);
            let error = error.at(field.name.span(), "the field");
            diagnostics.push(error.help(format!(
                "rename one, so that `self.{}(..)` has one meaning",
                field.name
            )));
        }
    }
}

/// The names that sizes and numbers of a function have.
fn names(tree: &Tree<'_>, function: &Function) -> Set<String> {
    let generics = tree.model(0).map(|model| &model.model.structure.generics[..]);
    let generics = generics.unwrap_or_default().iter().map(|generic| &generic.name);
    let dims = function.dims.iter().map(|dim| &dim.name);
    let args = function.args.iter().map(|arg| &arg.name);
    let constants = tree.constants.borrow();
    let constants = constants.iter().map(|constant| constant.text.clone());
    generics
        .chain(dims)
        .chain(args)
        .map(ToString::to_string)
        .chain(constants)
        .collect()
}

/// Lowers one function of the compiled model.
fn lower(tree: &Tree<'_>, log: &mut Log<'_>, index: usize, mode: Mode) -> Option<(LoweredFunction, Graph)> {
    let function = &all(tree)[index];
    log.reached.insert(index);
    let mut b = Builder::new(Origin::root(function.span), mode);
    b.constraints.solved = log
        .found
        .iter()
        .map(|(id, (size, _))| (*id, size.clone()))
        .collect();
    b.taken = names(tree, function);
    let stack = vec![(0, index)];
    log.demands.clear();
    let mut work = Work {
        tree,
        b,
        log,
        stack,
        tensors: Map::new(),
        regions: Vec::new(),
        n_branches: 0,
        collections: Vec::new(),
    };
    let mut frame = work.frame(0, function, None);
    let dims = work.dims(&mut frame)?;
    let mut signature = LoweredFunction {
        name: function.name.to_string(),
        index,
        dims,
        inputs: Vec::new(),
        scalars: Vec::new(),
        args: Vec::new(),
        eval: Graph::default(),
        train: None,
        hvp: function.options.hvp,
        demands: Vec::new(),
        span: function.span,
    };
    let is_sound = work.args(&mut frame, &mut signature);
    let value = work.block(&mut frame, &function.body);
    let value = work.returned(&frame, value);
    if !is_sound || value.is_poison() {
        return None;
    }
    let mut n_results = 0;
    work.results(&value, &mut n_results);
    signature.demands = std::mem::take(&mut work.log.demands);
    Some((signature, work.b.graph))
}

impl<'a> Work<'_, 'a, '_> {
    /// The dynamic dimensions of a signature, bound to symbols.
    fn dims(&mut self, frame: &mut Frame<'a>) -> Option<Vec<DynamicDim>> {
        let function = frame.function;
        let mut dims = Vec::new();
        let mut is_sound = true;
        for dim in &function.dims {
            let name = dim.name.to_string();
            let multiple = match &dim.multiple_of {
                None => Some(1),
                Some(expr) => match self.size_of(frame, expr)?.as_lit() {
                    Some(multiple) if multiple > 0 => Some(multiple),
                    _ => {
                        let message = format!("the multiple of `{name}` is a literal of 1 or more");
                        self.fail(frame, expr.span, message);
                        None
                    }
                },
            };
            let inputs = function.args.iter().filter_map(|arg| match &arg.ty {
                ValueType::Tensor(ty) => Some(ty),
                _ => None,
            });
            let bare = inputs
                .enumerate()
                .find_map(|(input, ty)| Some((input, bare_axis(ty, &dim.name)?)));
            if bare.is_none() {
                // Said where the signature was read.
                self.poisoned();
            }
            let symbol = Dim::dynamic_multiple(&name, multiple.unwrap_or(1));
            frame.sizes.insert(name.clone(), symbol);
            match (multiple, bare) {
                (Some(multiple), Some(bare)) => dims.push(DynamicDim { name, multiple, bare }),
                _ => is_sound = false,
            }
        }
        is_sound.then_some(dims)
    }

    /// The arguments of a signature, bound to leaves and names. False where one was not understood.
    fn args(&mut self, frame: &mut Frame<'a>, signature: &mut LoweredFunction) -> bool {
        let mut is_sound = true;
        for arg in &frame.function.args {
            let object = match &arg.ty {
                ValueType::Error(_) => self.poisoned(),
                ValueType::Host(ty, _) => {
                    signature.args.push(ArgSlot::Scalar(signature.scalars.len()));
                    signature.scalars.push((arg.name.to_string(), *ty));
                    Object::Host(Scalar::Arg(arg.name.to_string().into()), *ty)
                }
                ValueType::Tensor(ty) => match self.input_shape(frame, ty) {
                    None => Object::Poison,
                    Some(shape) => {
                        let id = signature.inputs.len();
                        signature.args.push(ArgSlot::Input(id));
                        signature.inputs.push(InputDecl {
                            name: arg.name.to_string(),
                            dtype: ty.dtype,
                            shape: shape.clone(),
                            grad: if arg.grad.is_some() {
                                InputGrad::Wanted
                            } else {
                                InputGrad::Unwanted
                            },
                        });
                        Object::Tensor(self.input(arg, id, Type::new(dtype_of(ty.dtype), shape)))
                    }
                },
            };
            is_sound &= !object.is_poison();
            frame.bind(&arg.name, object, 0, arg.mutable);
        }
        is_sound
    }

    fn input(&mut self, arg: &ast::Arg, id: usize, ty: Type) -> Value {
        self.b.origin.name = Some(arg.name.to_string().into());
        self.b.origin.span = arg.span;
        let value = self.b.push(
            Leaf {
                kind: LeafKind::Input(InputId::new(id)),
                ty,
            },
            &[],
        );
        self.b.origin.name = None;
        value
    }

    fn input_shape(&mut self, frame: &Frame<'a>, ty: &ast::TensorType) -> Option<Vec<Dim>> {
        let mut shape = Vec::new();
        for arg in &ty.dims {
            match arg {
                DimArg::Expr(expr) => shape.push(self.size_of(frame, expr)?),
                DimArg::Infer(span) => {
                    let error = self.error(frame, *span, "the sizes of an argument are written out");
                    self.report(error.help("name a dynamic dimension: `fn f<N: Dim>(&self, x: Tensor<N>)`"));
                    return None;
                }
            }
        }
        Some(shape)
    }

    /// Declares the results of the graph.
    fn results(&mut self, value: &Object, n_results: &mut usize) {
        match value {
            Object::Tuple(parts) => {
                for part in parts {
                    self.results(part, n_results);
                }
            }
            Object::Tensor(value) => {
                self.b.graph.outputs.push(Output {
                    kind: OutputKind::Result(*n_results),
                    value: *value,
                });
                *n_results += 1;
            }
            _ => {}
        }
    }
}
