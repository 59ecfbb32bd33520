//! Twenty random models compiled for real, against the numbers of the compiler's naive interpreter.
//!
//! `random/models.rs` is drawn by `macros/src/oracle/source`, where the same texts are lowered and interpreted in f64 without
//! kernels, fusion or memory plan; `random/expected` holds what that gives: the results of every function in eval mode, and of
//! the loss in train mode its value, its gradients (which the tests there hold against differences) and the new values of carried
//! tensors. Both sides start from [`unit`].

#![allow(missing_docs)]

use std::collections::BTreeMap;
use std::path::Path;

use ndarray::{ArrayD, IxDyn};
use tapeless::call::HostArg;
use tapeless::model::Core;
use tapeless::prelude::*;
use tapeless::rt::{Dtype, Function, InputKind, Program, Sizes};

#[path = "random/models.rs"]
mod models;

/// Sizes of the dynamic dimensions.
const DIMS: [(&str, usize); 2] = [("B", 3), ("T", 2)];

/// Every host argument.
const HOST: f64 = 0.25;

/// Integers are below this.
const INTEGERS: u64 = 5;

/// The seed of dropout's random streams.
const STREAMS: u64 = 7;

/// Element `element` of tensor `tensor`: a multiple of 1/512 in -1..1.
///
/// Parameters are half of it, carried tensors 1 more than that half, float arguments it itself, integer arguments
/// `hash % INTEGERS`. Tensors count from 0 among the parameters, from 1000 among the carried tensors, from 2000 among the
/// arguments of a function.
fn unit(tensor: u64, element: u64) -> f64 {
    (hash(tensor, element) % 1024) as f64 / 512.0 - 1.0
}

/// The bits behind [`unit`]: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014) of both numbers.
fn hash(tensor: u64, element: u64) -> u64 {
    let mut z = (tensor << 32 | element).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A tensor whose elements are a function of their position in row-major order.
fn fill<T>(shape: &[usize], f: impl Fn(u64) -> T) -> ArrayD<T> {
    let elements = (0..shape.iter().product::<usize>() as u64).map(f).collect();
    ArrayD::from_shape_vec(IxDyn(shape), elements).expect("an element for every place")
}

/// Names of results with what they are; integers as floats.
type Answers = BTreeMap<String, ArrayD<f64>>;

/// What `random/expected` says of a seed.
fn expected(seed: &str) -> Answers {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/random/expected/{seed}.txt"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let line = |line: &str| {
        let (head, numbers) = line.split_once("]: ")?;
        let (name, shape) = head.split_once(" [")?;
        let shape: Vec<usize> = shape
            .split(", ")
            .filter(|n| !n.is_empty())
            .map(|n| n.parse().ok())
            .collect::<Option<_>>()?;
        let numbers: Vec<f64> = numbers
            .split(' ')
            .map(|n| n.parse().ok())
            .collect::<Option<_>>()?;
        Some((
            name.to_owned(),
            ArrayD::from_shape_vec(IxDyn(&shape), numbers).ok()?,
        ))
    };
    let parsed = text
        .lines()
        .map(|text| line(text).unwrap_or_else(|| panic!("{seed}: not understood: {text}")));
    parsed.collect()
}

/// An argument of a function.
enum Value {
    Float(ArrayD<f64>),
    I64(ArrayD<i64>),
    U8(ArrayD<u8>),
}

fn arguments(function: &Function, sizes: &Sizes<'_>) -> Vec<Value> {
    let value = |(k, input): (u64, &tapeless::rt::InputSpec)| {
        let (shape, rank) = sizes.shape(input.shape);
        let shape = &shape[..rank];
        match input.kind {
            InputKind::Float => Value::Float(fill(shape, |i| unit(k, i))),
            InputKind::I64 => Value::I64(fill(shape, |i| (hash(k, i) % INTEGERS) as i64)),
            InputKind::U8 => Value::U8(fill(shape, |i| (hash(k, i) % INTEGERS) as u8)),
            other => panic!("no random model has an argument of kind {other:?}"),
        }
    };
    (2000..).zip(function.inputs).map(value).collect()
}

fn host(values: &[Value]) -> Vec<HostArg<'_>> {
    let mut args = Vec::new();
    for value in values {
        args.push(match value {
            Value::Float(x) => HostArg::of(x),
            Value::I64(x) => HostArg::of(x),
            Value::U8(x) => HostArg::of(x),
        });
    }
    args
}

/// Any of the models: one type, so that what compares them is instantiated once.
struct AnyModel(Core);

impl Model for AnyModel {
    fn from_core(core: Core) -> Self {
        Self(core)
    }

    fn core(&self) -> &Core {
        &self.0
    }

    fn core_mut(&mut self) -> &mut Core {
        &mut self.0
    }

    fn program() -> (&'static Program, Vec<usize>) {
        unreachable!("models of many programs are made from their cores")
    }
}

/// Paths and shapes, kept while the model changes.
fn listing(tensors: Vec<(&str, Vec<usize>)>) -> Vec<(String, Vec<usize>)> {
    let owned = tensors.into_iter().map(|(path, shape)| (path.to_owned(), shape));
    owned.collect()
}

/// A program, and the constants that its sizes mention.
type Compiled = (&'static Program, Vec<usize>);

/// A model whose numbers are those of the formula.
fn filled((program, sizes): &Compiled, precision: Precision, threads: usize) -> Result<AnyModel> {
    let device = Device::cpu().threads(threads);
    let core = Core::new(&device, program, sizes.clone(), precision, STREAMS)?;
    let mut model = AnyModel::from_core(core);
    for (k, (path, shape)) in (0..).zip(listing(model.params())) {
        model.set_param(&path, &fill(&shape, |i| 0.5 * unit(k, i)))?;
    }
    for (k, (path, shape)) in (1000..).zip(listing(model.states())) {
        model.set_state(&path, &fill(&shape, |i| 1.0 + 0.5 * unit(k, i)))?;
    }
    Ok(model)
}

/// The tensors of some declarations.
fn layers(layout: &tapeless::flat::Layout, declarations: &[usize]) -> Vec<usize> {
    declarations.iter().flat_map(|&k| layout.declared(k)).collect()
}

/// Everything that a model computes, by the names of the expected numbers.
fn computed(compiled: &Compiled, precision: Precision, threads: usize) -> Result<Answers> {
    let mut answers = Answers::new();
    for (index, function) in compiled.0.functions.iter().enumerate() {
        let size = |name: &str| DIMS.iter().find(|(dim, _)| *dim == name).expect("a known size").1;
        let dims: Vec<usize> = function.dims.iter().map(|dim| size(dim.name)).collect();
        let sizes = function.sizes(&dims, &compiled.1);
        let (values, scalars) = (arguments(function, &sizes), vec![HOST; function.scalars.len()]);
        let mut model = filled(compiled, precision, threads)?;
        let outputs = model.core().call(index, &host(&values), &scalars)?;
        for (k, result) in function.results.iter().enumerate() {
            let array = match result.dtype {
                Dtype::Float => outputs.array::<f64, IxDyn>(k)?,
                _ => outputs.array::<i64, IxDyn>(k)?.mapv(|n| n as f64),
            };
            answers.insert(format!("{} result {k}", function.name), array);
        }
        let Some(code) = &function.train else { continue };
        let name = format!("{}_grad", function.name);
        let mut work = model.core().workspace(index, &dims)?;
        let loss =
            model
                .core_mut()
                .grad(index, &mut work, &host(&values), &scalars, Accumulate::Overwrite)?;
        answers.insert(format!("{name} result 0"), ndarray::arr0(loss).into_dyn());
        let (params, states) = (listing(model.params()), listing(model.states()));
        // A declaration of an array is a tensor a layer.
        let core = model.core();
        let trained: Vec<usize> = layers(core.params_layout(), code.trained);
        let updated: Vec<usize> = layers(core.states_layout(), code.updates);
        for k in trained {
            let path = &params[k].0;
            answers.insert(format!("{name} gradient {path}"), work.grad(path)?);
        }
        // A step of length zero commits the carried tensors.
        Sgd::new(0.0).step(&mut model, &mut work)?;
        for k in updated {
            let path = &states[k].0;
            answers.insert(format!("{name} state {path}"), model.state(path)?);
        }
    }
    Ok(answers)
}

fn norm(x: &ArrayD<f64>) -> f64 {
    x.iter().map(|v| v * v).sum::<f64>().sqrt()
}

/// Holds a model against its numbers in f64 and f32, and one thread against two.
fn check(seed: &str, compiled: &Compiled) {
    let expected = expected(seed);
    // Gradients that cancel are as wrong as their terms, which are around 1.
    for (precision, tolerance, floor) in [(Precision::F64, 1e-9, 1e-4), (Precision::F32, 1e-3, 1e-1)] {
        let found = computed(compiled, precision, 1).unwrap_or_else(|error| panic!("{seed}: {error}"));
        let names = |answers: &Answers| answers.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected), "{seed}");
        for (name, expected) in &expected {
            let found = &found[name];
            assert_eq!(found.shape(), expected.shape(), "{seed}: {name}");
            let error = norm(&(found - expected)) / norm(expected).max(floor);
            assert!(
                error <= tolerance,
                "{seed} in {precision}: {name} is off by {error:.1e}: {found} instead of {expected}"
            );
        }
        let again = computed(compiled, precision, 2).unwrap_or_else(|error| panic!("{seed}: {error}"));
        for (name, found) in &found {
            let is_same = found
                .iter()
                .zip(&again[name])
                .all(|(a, b)| a.to_bits() == b.to_bits());
            assert!(
                is_same,
                "{seed} in {precision}: {name} depends on the number of threads"
            );
        }
    }
}

macro_rules! seeds {
    ($($seed:ident)*) => {
        $(#[test]
        fn $seed() {
            check(stringify!($seed), &models::$seed::Net::program());
        })*
    };
}

seeds! {
    seed_00 seed_01 seed_02 seed_03 seed_04 seed_05 seed_06 seed_07 seed_08 seed_09
    seed_10 seed_11 seed_12 seed_13 seed_14 seed_15 seed_16 seed_17 seed_18 seed_19
}
