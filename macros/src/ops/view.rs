//! Views: other readings of the same elements. They cost nothing unless a kernel needs contiguous memory.

use crate::ir::{
    Builder, Constraints, Cotangents, Kernel, Rule, Sample, ShapeError, Site, Surface, Type, Value, ViewMap,
};
use crate::ops::pad::Pad;
use crate::shape::{self, Dim};

/// A view of its operand.
#[derive(Clone, PartialEq, Debug)]
pub struct View(pub ViewMap);

impl Rule for View {
    fn name(&self) -> &'static str {
        match &self.0 {
            ViewMap::Reshape(_) => "reshape",
            ViewMap::Permute(_) => "permute",
            ViewMap::Expand(_) => "expand",
            ViewMap::Slice { .. } => "slice",
            ViewMap::Flip(_) => "flip",
        }
    }

    fn attributes(&self) -> String {
        match &self.0 {
            ViewMap::Reshape(_) | ViewMap::Expand(_) => String::new(),
            ViewMap::Permute(axes) | ViewMap::Flip(axes) => format!("{axes:?}"),
            ViewMap::Slice { starts, steps, .. } => {
                let along = starts.iter().zip(steps).map(|(start, step)| match step {
                    1 => format!("{start}.."),
                    _ => format!("{start}..; {step}"),
                });
                along.collect::<Vec<_>>().join(", ")
            }
        }
    }

    fn types(&self, inputs: &[Type], constraints: &mut Constraints) -> Result<Vec<Type>, ShapeError> {
        let x = &inputs[0];
        let shape = match &self.0 {
            ViewMap::Reshape(shape) => reshaped(x, shape, constraints)?,
            ViewMap::Permute(perm) => permuted(x, perm)?,
            ViewMap::Expand(shape) => expanded(x, shape)?,
            ViewMap::Slice { sizes, starts, .. } if sizes.len() == x.rank() && starts.len() == x.rank() => {
                sizes.clone()
            }
            ViewMap::Slice { sizes, .. } => {
                return Err(ShapeError::new(format!("{} ranges for a tensor of {} axes", sizes.len(), x.rank())));
            }
            ViewMap::Flip(axes) => {
                if let Some(axis) = axes.iter().find(|&&axis| axis >= x.rank()) {
                    return Err(ShapeError::new(format!("axis {axis} of {x}, which has {} axes", x.rank())));
                }
                x.shape.clone()
            }
        };
        Ok(vec![x.with_shape(shape)])
    }

    fn grad(&self, b: &mut Builder, site: &Site<'_>, out_bars: &[Option<Value>]) -> Cotangents {
        let Some(g) = out_bars[0] else { return Cotangents::Flow(vec![None]) };
        let from = b.shape(site.inputs[0]);
        let bar = match &self.0 {
            ViewMap::Reshape(_) => b.reshape(g, from),
            ViewMap::Permute(perm) => {
                let mut inverse = vec![0; perm.len()];
                perm.iter().enumerate().for_each(|(k, &p)| inverse[p] = k);
                b.permute(g, &inverse)
            }
            ViewMap::Expand(_) => b.sum_to(g, &from),
            ViewMap::Slice { starts, steps, .. } => {
                let pad = Pad::scatter(starts.clone(), steps.clone(), from);
                b.push(pad, &[g])
            }
            ViewMap::Flip(_) => b.push(self.clone(), &[g]),
        };
        Cotangents::Flow(vec![Some(bar)])
    }

    fn kernel(&self, _: &[Type], _: &[Type]) -> Kernel {
        Kernel::View(self.0.clone())
    }

    fn flops(&self, _: &[Type], _: &[Type]) -> Dim {
        Dim::zero()
    }

    fn surfaces() -> &'static [Surface] {
        &[]
    }

    fn samples() -> Vec<Sample> {
        Vec::new()
    }
}

fn reshaped(x: &Type, shape: &[Dim], constraints: &mut Constraints) -> Result<Vec<Dim>, ShapeError> {
    let (from, to) = (x.numel(), shape::numel(shape));
    if constraints.equal(&from, &to) {
        return Ok(shape.to_vec());
    }
    let message = format!("cannot reshape {x} ({from} elements) to {} ({to} elements)", shape::display(shape));
    Err(ShapeError::new(message))
}

fn permuted(x: &Type, perm: &[usize]) -> Result<Vec<Dim>, ShapeError> {
    let mut seen = vec![false; x.rank()];
    let is_permutation = perm.len() == x.rank()
        && perm.iter().all(|&k| k < seen.len() && !std::mem::replace(&mut seen[k], true));
    if !is_permutation {
        return Err(ShapeError::new(format!("{perm:?} is not an order of the {} axes of {x}", x.rank())));
    }
    Ok(perm.iter().map(|&k| x.shape[k].clone()).collect())
}

fn expanded(x: &Type, shape: &[Dim]) -> Result<Vec<Dim>, ShapeError> {
    let fits = shape.len() >= x.rank()
        && x.shape.iter().rev().zip(shape.iter().rev()).all(|(from, to)| from.is_one() || from == to);
    if !fits {
        let message = format!("cannot broadcast {} to {}", shape::display(&x.shape), shape::display(shape));
        return Err(ShapeError::new(message).help("axes of size 1 are repeated, and axes are added in front"));
    }
    Ok(shape.to_vec())
}
