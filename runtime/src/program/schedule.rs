//! Kernels and the loops over them, as `explain` and profiles show them.

use std::ops::Range;

use super::{Formula, Sizes};

/// Kernels that run once a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoopRow {
    /// What it goes over: `blocks`.
    pub name: &'static str,
    /// The kernels, by position.
    pub kernels: Range<usize>,
    /// The number of steps.
    pub count: usize,
}

/// A [`LoopRow`] of any sizes.
#[derive(Clone, Debug)]
pub struct LoopEntry {
    name: &'static str,
    first: usize,
    end: usize,
    count: Formula,
}

impl LoopEntry {
    /// A loop over the kernels from `first` to before `end`.
    pub const fn new(name: &'static str, first: usize, end: usize, count: Formula) -> Self {
        Self {
            name,
            first,
            end,
            count,
        }
    }

    pub(super) fn row(&self, sizes: &Sizes<'_>) -> LoopRow {
        LoopRow {
            name: self.name,
            kernels: self.first..self.end,
            count: sizes.value(self.count),
        }
    }
}

/// The positions of kernels in the order in which they run, those of a loop once a step.
pub fn run_order(n_kernels: usize, loops: &[LoopRow]) -> Vec<usize> {
    fn run(kernels: Range<usize>, loops: &[LoopRow], order: &mut Vec<usize>) {
        let mut k = kernels.start;
        while k < kernels.end {
            match loops
                .iter()
                .position(|l| l.kernels.start == k && l.kernels.end > k)
            {
                Some(first) => {
                    let outer = &loops[first];
                    for _ in 0..outer.count {
                        run(outer.kernels.clone(), &loops[first + 1..], order);
                    }
                    k = outer.kernels.end;
                }
                None => {
                    order.push(k);
                    k += 1;
                }
            }
        }
    }
    let mut order = Vec::new();
    run(0..n_kernels, loops, &mut order);
    order
}

/// A kernel, as `explain` shows it. In a loop, its work is that of all steps.
#[derive(Clone, Debug)]
pub struct KernelRow {
    /// What it computes: `matmul + bias + relu`.
    pub name: &'static str,
    /// The value that it makes: `hidden`.
    pub value: &'static str,
    /// Forward or backward.
    pub phase: &'static str,
    /// Shapes, as text.
    pub shapes: &'static str,
    /// Floating point operations.
    pub flops: u64,
    /// Bytes read and written, in units of elements of the model's precision.
    pub elements: u64,
    /// Slot of the workspace that it writes first, if any.
    pub slot: Option<usize>,
}

/// A [`KernelRow`] of any sizes.
#[derive(Clone, Debug)]
pub struct KernelEntry {
    name: &'static str,
    value: &'static str,
    phase: &'static str,
    shapes: &'static str,
    work: [Formula; 2],
    slot: Option<usize>,
}

impl KernelEntry {
    /// A row from its parts; `work` is floating point operations and elements moved.
    pub const fn new(
        name: &'static str,
        value: &'static str,
        phase: &'static str,
        shapes: &'static str,
        work: [Formula; 2],
        slot: Option<usize>,
    ) -> Self {
        Self {
            name,
            value,
            phase,
            shapes,
            work,
            slot,
        }
    }

    pub(super) fn row(&self, sizes: &Sizes<'_>) -> KernelRow {
        let [flops, elements] = self.work.map(|formula| sizes.value(formula) as u64);
        KernelRow {
            name: self.name,
            value: self.value,
            phase: self.phase,
            shapes: self.shapes,
            flops,
            elements,
            slot: self.slot,
        }
    }
}
