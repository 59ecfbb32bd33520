//! What a model computes, by the naive interpreter.

use crate::map::Map;

use super::{DIMS, HOST, INTEGERS, STREAMS, Source, hash, unit};
use crate::ast::TensorDtype;
use crate::diag::Diagnostics;
use crate::grad::{Gradient, Wanted, differentiate};
use crate::ir::{Graph, OutputKind, ParamId};
use crate::lower::{lower, tests::define};
use crate::model::{Lowered, LoweredFunction, TensorDecl, Training, UserModel};
use crate::oracle::generate::Program;
use crate::oracle::interpret::interpret;
use crate::oracle::tensor::{Tensor, build};
use crate::oracle::world::World;
use crate::simplify::simplify;

/// The model `Net` of a text, as the doors of the macro would hand it over.
pub fn understood(source: &Source) -> UserModel {
    define(&source.text())
}

/// The model with every name resolved.
///
/// # Panics
/// Where the front end refuses the text.
pub fn lowered(source: &Source) -> Lowered {
    let mut diagnostics = Diagnostics::new();
    let lowered = lower(&understood(source), &mut diagnostics);
    if let Err(errors) = diagnostics.finish() {
        panic!("a correct text is refused: {errors}\n{}", source.text());
    }
    lowered.expect("there was no error")
}

/// The element `element` of tensor `tensor` for every element.
fn fill(shape: &[usize], f: impl Fn(u64) -> f64) -> Tensor {
    let mut element = 0;
    Tensor::Float(build(shape, |_| {
        element += 1;
        f(element - 1)
    }))
}

/// What was declared, filled with what `f` makes of [`unit`]. Every layer of an array counts as a tensor of its own.
fn tensors(world: &World, declared: &[TensorDecl], first: u64, f: impl Fn(f64) -> f64) -> Vec<Tensor> {
    let mut tensor = first;
    let filled = declared.iter().map(|declaration| {
        let (repeats, own) = (world.shape(&declaration.repeats), world.shape(&declaration.shape));
        let n: u64 = own.iter().product::<usize>() as u64;
        let start = tensor;
        tensor += repeats.iter().product::<usize>() as u64;
        fill(&[repeats, own].concat(), |i| {
            f(unit(start + i / n.max(1), i % n.max(1)))
        })
    });
    filled.collect()
}

/// What a function is called with.
pub fn world(source: &Source, lowered: &Lowered, function: &LoweredFunction) -> World {
    let mut world = World {
        seed: STREAMS,
        step: 0,
        ..World::default()
    };
    let sizes = DIMS.iter().chain(&source.constants);
    world.sizes = sizes.map(|(name, n)| ((*name).to_owned(), *n as i64)).collect();
    world.scalars = function
        .scalars
        .iter()
        .map(|(name, _)| (name.clone(), HOST))
        .collect();
    world.params = tensors(&world, &lowered.params, 0, |x| 0.5 * x);
    world.states = tensors(&world, &lowered.states, 1000, |x| 1.0 + 0.5 * x);
    for (k, input) in (2000..).zip(&function.inputs) {
        let shape = world.shape(&input.shape);
        let numbers = fill(&shape, |i| unit(k, i));
        world.inputs.push(match input.dtype {
            TensorDtype::Float => numbers,
            TensorDtype::Bool => unreachable!("no text has an argument of truth values"),
            _ => {
                let mut element = 0;
                Tensor::Int(build(&shape, |_| {
                    element += 1;
                    (hash(k, element - 1) % INTEGERS) as i64
                }))
            }
        });
    }
    world
}

/// The loss in train mode as a program whose gradients by all trained parameters are wanted.
pub fn program(source: &Source, lowered: &Lowered, function: &LoweredFunction) -> Option<Program> {
    let trained = (0..).zip(&lowered.params);
    let trained = trained.filter(|(_, param)| param.training == Training::Trained);
    Some(Program {
        graph: function.train.clone()?,
        world: world(source, lowered, function),
        wanted: Wanted {
            params: trained.map(|(k, _)| ParamId::new(k)).collect(),
            inputs: Vec::new(),
        },
    })
}

/// Names of outputs with what they are.
pub type Answers = Map<String, Tensor>;

/// Everything that the test of the real macro compares: the results of every public function in eval mode, and of the loss in
/// train mode the value, the gradients by path, and the new values of carried tensors.
pub fn answers(source: &Source) -> Answers {
    let lowered = lowered(source);
    let mut answers = Answers::new();
    for function in &lowered.functions {
        let world = world(source, &lowered, function);
        add(&mut answers, &lowered, &function.name, &function.eval, &world);
        let Some(program) = program(source, &lowered, function) else {
            continue;
        };
        if let Gradient::Joint(joint) = differentiate(program.graph, &program.wanted, simplify) {
            let name = format!("{}_grad", function.name);
            add(&mut answers, &lowered, &name, &joint, &program.world);
        }
    }
    answers
}

fn add(answers: &mut Answers, lowered: &Lowered, function: &str, graph: &Graph, world: &World) {
    for (kind, value) in interpret(graph, world) {
        match kind {
            OutputKind::Result(k) => {
                answers.insert(format!("{function} result {k}"), value);
            }
            OutputKind::ParamGrad(id) => {
                let declared = &lowered.params[id.index()];
                add_layers(answers, &format!("{function} gradient"), declared, &value, world);
            }
            OutputKind::State(id) => {
                let declared = &lowered.states[id.index()];
                add_layers(answers, &format!("{function} state"), declared, &value, world);
            }
            OutputKind::InputGrad(_) => unreachable!("no text asks for the gradient of an argument"),
            OutputKind::Next(_) | OutputKind::Collect(_) => unreachable!("only bodies of loops have these"),
        }
    }
}

/// The tensors of a declaration, by path.
fn add_layers(answers: &mut Answers, what: &str, declared: &TensorDecl, value: &Tensor, world: &World) {
    let (repeats, own) = (world.shape(&declared.repeats), world.shape(&declared.shape));
    let layers = value
        .float()
        .view()
        .into_shape_with_order([&[repeats.iter().product()], &own[..]].concat());
    let layers = layers.expect("the layers lie one behind the other");
    for (k, layer) in layers.outer_iter().enumerate() {
        let mut index = k;
        let mut path = declared.path.clone();
        for count in repeats.iter().rev() {
            let place = path.rfind("{}").expect("a place for the number of the layer");
            path.replace_range(place..place + 2, &(index % count).to_string());
            index /= count;
        }
        answers.insert(format!("{what} {path}"), Tensor::Float(layer.to_owned()));
    }
}
