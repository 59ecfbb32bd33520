//! Loops: the body, interpreted once a step.

use super::super::tensor::{Tensor, build};
use super::super::world::World;
use super::{Interpretation, Node};
use crate::ops::scan::{Order, Role, Scan};

pub(super) fn scan(scan: &Scan, node: &Node<'_>) -> Vec<Tensor> {
    let count = node.world.size(&scan.count);
    let carried = scan.carries();
    let mut carries: Vec<Tensor> = carried.iter().map(|&k| node.inputs[k].clone()).collect();
    let mut collected: Vec<Vec<Option<Tensor>>> = vec![vec![None; count]; scan.n_collected()];
    let steps: Vec<usize> = match scan.order {
        Order::Ascending => (0..count).collect(),
        Order::Descending => (0..count).rev().collect(),
    };
    for step in steps {
        let mut world = inside(scan, node.world, step);
        world.args = args(scan, node, &carries, step);
        let values = Interpretation::of(&scan.body, &world);
        let value = |value| values.value(value).clone();
        for (c, carry) in carries.iter_mut().enumerate() {
            *carry = value(scan.next(c).expect("every carry has a next value"));
        }
        for (k, rows) in collected.iter_mut().enumerate() {
            rows[step] = Some(value(scan.collected(k).expect("every result is collected")));
        }
    }
    let stacks = collected.iter().enumerate().map(|(k, rows)| {
        let result = &node.shapes[carried.len() + k];
        let value = scan.collected(k).expect("every result is collected");
        stack(scan.body.ty(value).dtype, rows, result)
    });
    let stacks: Vec<Tensor> = stacks.collect();
    carries.into_iter().chain(stacks).collect()
}

/// The world of one step.
fn inside(scan: &Scan, world: &World, step: usize) -> World {
    let mut world = world.clone();
    world.sizes.insert(scan.index.to_string(), step as i64);
    // The one step of a recomputed layer does not count in random streams.
    if !scan.count.is_one() {
        world.steps.push(step);
    }
    world
}

fn args(scan: &Scan, node: &Node<'_>, carries: &[Tensor], step: usize) -> Vec<Tensor> {
    let mut carries = carries.iter();
    let arg = |(role, input): (&Role, &&Tensor)| match role {
        Role::Carry => carries.next().expect("a value for every carry").clone(),
        Role::Outer => (*input).clone(),
        Role::Step => input.gather(&input.shape()[1..], |i| [&[step], i].concat()),
    };
    scan.roles.iter().zip(&node.inputs).map(arg).collect()
}

fn stack(dtype: crate::ir::DType, rows: &[Option<Tensor>], shape: &[usize]) -> Tensor {
    let row = |i: usize| rows[i].as_ref().expect("every step collects");
    match dtype {
        crate::ir::DType::Float => Tensor::Float(build(shape, |i| row(i[0]).float()[&i[1..]])),
        crate::ir::DType::Int => Tensor::Int(build(shape, |i| row(i[0]).int()[&i[1..]])),
        crate::ir::DType::Bool => Tensor::Bool(build(shape, |i| match row(i[0]) {
            Tensor::Bool(x) => x[&i[1..]],
            other => panic!("truth values were expected, found {:?}", other.dtype()),
        })),
    }
}
