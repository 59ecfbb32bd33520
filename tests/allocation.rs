//! A training step allocates nothing after the first.

#![allow(missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array1, Array4};
use tapeless::prelude::*;

/// Counts what is allocated on any thread.
struct Counting;

static COUNT: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's contract is the system allocator's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above; the block came from `alloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[model]
pub struct Net {
    conv: Conv2d<1, 4, 3>,
    norm: BatchNorm2d<4>,
    fc: Linear<_, 10>,
}

#[model]
impl Net {
    pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 12, 12>, label: Tensor<u8, B>) -> Scalar {
        let maps = self.norm(self.conv(image)).relu().max_pool2d(2);
        cross_entropy(self.fc(maps.flatten().dropout(0.3)), label)
    }
}

/// Allocations of ten training steps, the second of them on a smaller batch.
fn allocations(precision: Precision, optimizer: &mut impl Optimizer) -> Result<usize> {
    let mut model = Net::builder(&Device::cpu().threads(2))
        .precision(precision)
        .seed(1)
        .build()?;
    let image = Array4::from_shape_fn((16, 1, 12, 12), |(b, _, y, x)| ((b + y * x) as f32).cos());
    let label = Array1::from_shape_fn(16, |b| (b % 10) as u8);
    let mut work = model.loss_workspace(16)?;
    model.train_step(&mut work, optimizer, &image, &label)?;
    let before = COUNT.load(Ordering::Relaxed);
    for step in 0..10 {
        let n = if step == 1 { 5 } else { 16 };
        let (image, label) = (
            image.slice(ndarray::s![..n, .., .., ..]),
            label.slice(ndarray::s![..n]),
        );
        model.train_step(&mut work, optimizer, image, label)?;
    }
    Ok(COUNT.load(Ordering::Relaxed) - before)
}

#[test]
fn a_training_step_allocates_nothing_after_the_first() -> Result<()> {
    for &precision in Precision::ALL {
        assert_eq!(
            allocations(precision, &mut Adam::new(1e-3))?,
            0,
            "Adam in {precision}"
        );
        assert_eq!(
            allocations(precision, &mut Sgd::new(1e-2).momentum(0.9))?,
            0,
            "Sgd in {precision}"
        );
    }
    Ok(())
}
