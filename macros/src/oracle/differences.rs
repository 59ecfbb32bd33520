//! Derivatives by central differences of the interpreter, in f64.

use super::interpret::interpret;
use super::tensor::Tensor;
use super::world::World;
use crate::ir::{Graph, InputId, OutputKind, ParamId};

/// What a derivative is taken by.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Variable {
    Param(ParamId),
    Input(InputId),
}

impl Variable {
    /// The output of a joint graph that should agree.
    pub fn output(self) -> OutputKind {
        match self {
            Self::Param(id) => OutputKind::ParamGrad(id),
            Self::Input(id) => OutputKind::InputGrad(id),
        }
    }

    fn of(self, world: &mut World) -> &mut Tensor {
        match self {
            Self::Param(id) => &mut world.params[id.index()],
            Self::Input(id) => &mut world.inputs[id.index()],
        }
    }

    /// Its value.
    pub fn value(self, world: &World) -> &Tensor {
        match self {
            Self::Param(id) => &world.params[id.index()],
            Self::Input(id) => &world.inputs[id.index()],
        }
    }
}

/// The larger step; the other is half of it.
const STEP: f64 = 2e-4;

/// The derivative of the first result by some elements of a variable, from two central differences extrapolated to a step
/// of zero (Richardson): the error is of the fourth order. An entry is `None` where the two do not agree, because a kink lies
/// between the points.
pub fn derivatives(graph: &Graph, world: &World, variable: Variable, elements: &[usize]) -> Vec<Option<f64>> {
    let mut world = world.clone();
    elements
        .iter()
        .map(|&k| {
            let wide = central(graph, &mut world, variable, k, STEP);
            let narrow = central(graph, &mut world, variable, k, STEP / 2.0);
            extrapolated(wide, narrow)
        })
        .collect()
}

fn central(graph: &Graph, world: &mut World, variable: Variable, k: usize, h: f64) -> f64 {
    let at = set(variable.of(world), k, |x| x);
    let mut loss_at = |x: f64| {
        set(variable.of(world), k, |_| x);
        interpret(graph, world)[&OutputKind::Result(0)].float().sum()
    };
    let slope = (loss_at(at + h) - loss_at(at - h)) / (2.0 * h);
    set(variable.of(world), k, |_| at);
    slope
}

/// Replaces an element and gives what it was.
fn set(x: &mut Tensor, k: usize, f: impl Fn(f64) -> f64) -> f64 {
    let Tensor::Float(x) = x else {
        panic!("derivatives are taken by floats")
    };
    let element = x.iter_mut().nth(k).expect("an element of the variable");
    let before = *element;
    *element = f(before);
    before
}

/// The derivative of the first result along a direction of a variable, as [`derivatives`] finds it.
pub fn along(graph: &Graph, world: &World, variable: Variable, direction: &[f64]) -> Option<f64> {
    let mut world = world.clone();
    let start = variable.value(&world).clone();
    let mut loss_at = |h: f64| {
        let moved = start.float().iter().zip(direction).map(|(x, d)| x + h * d);
        let moved: Vec<f64> = moved.collect();
        let Tensor::Float(x) = variable.of(&mut world) else {
            panic!("derivatives are taken by floats")
        };
        x.iter_mut().zip(moved).for_each(|(x, moved)| *x = moved);
        interpret(graph, &world)[&OutputKind::Result(0)].float().sum()
    };
    let mut central = |h: f64| (loss_at(h) - loss_at(-h)) / (2.0 * h);
    let (wide, narrow) = (central(STEP), central(STEP / 2.0));
    extrapolated(wide, narrow)
}

/// From the slopes over a step and over half of it to the one over none.
fn extrapolated(wide: f64, narrow: f64) -> Option<f64> {
    let agree = (wide - narrow).abs() <= 1e-4 * wide.abs().max(narrow.abs()).max(1e-2);
    agree.then_some((4.0 * narrow - wide) / 3.0)
}
