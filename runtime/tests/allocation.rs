//! A training step allocates nothing after the first.

mod tiny;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::{Array2, s};
use tapeless_runtime::call::HostArg;
use tapeless_runtime::model::Model;
use tapeless_runtime::optim::{Adam, Optimizer, RmsProp, Sgd};
use tapeless_runtime::{Device, Precision};
use tiny::Tiny;

/// The system's allocator, counting.
struct Counting;

static N_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        N_ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller's obligations are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's obligations are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of all threads during `body`.
fn allocations(body: impl FnOnce()) -> usize {
    let before = N_ALLOCATIONS.load(Ordering::SeqCst);
    body();
    N_ALLOCATIONS.load(Ordering::SeqCst) - before
}

/// One test only, since the counter is the process's.
#[test]
fn a_step_after_the_first_allocates_nothing() {
    let x = Array2::from_shape_fn((8, 6), |(i, j)| (i + j) as f64 / 8.0);
    let target = Array2::<f64>::zeros((8, 2));
    for precision in [Precision::F32, Precision::F64] {
        let mut model = Tiny::builder(&Device::cpu().threads(2))
            .seed(1)
            .precision(precision)
            .build()
            .unwrap();
        let mut work = model.loss_workspace(8).unwrap();
        let mut optimizers: [Box<dyn Optimizer>; 3] = [
            Box::new(Adam::default().clip_norm(1.0)),
            Box::new(Sgd::new(0.1).momentum(0.9)),
            Box::new(RmsProp::default().centered().clip_value(1.0)),
        ];
        let mut round = |rows: usize| {
            // The columns are strided, so that they are copied; the targets are borrowed in f64.
            let (x, target) = (x.slice(s![..rows, ..;2]), target.slice(s![..rows, ..]));
            for optimizer in &mut optimizers {
                model.loss_grad(&mut work, x, target).unwrap();
                model.loss_grad_add(&mut work, x, target).unwrap();
                optimizer.step_core(model.core_mut(), &mut work).unwrap();
            }
            let args = [HostArg::of(&x), HostArg::of(&target)];
            let loss = model.core().call_in(1, &mut work, &args, &[]).unwrap();
            assert!(loss.scalar(0).unwrap().is_finite());
        };
        round(8);
        for rows in [8, 5, 1, 8] {
            assert_eq!(allocations(|| round(rows)), 0, "{rows} rows in {precision}");
        }
    }
    assert!(allocations(|| drop(vec![1_u8; 10])) > 0, "the counter counts");
}
