//! The trainer allocates nothing between two steps. Alone in its process, because every allocation of the process
//! counts.

mod tiny;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ndarray::Array2;
use tapeless_runtime::data::{Arrays, Dataset};
use tapeless_runtime::model::Model;
use tapeless_runtime::optim::{Adam, Schedule};
use tapeless_runtime::{Device, Trainer};
use tiny::Tiny;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed on to the system's allocator, with the arguments it came with.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::SeqCst);
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps `GlobalAlloc`'s contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCHES: usize = 26;

/// What the counter stood at when each batch was read: filled by the data set itself.
static COUNTS: [AtomicUsize; 2 * BATCHES] = [const { AtomicUsize::new(0) }; 2 * BATCHES];
static N_READ: AtomicUsize = AtomicUsize::new(0);

#[test]
fn steps_allocate_nothing() {
    // The last batch is short, and its samples are f64, which have to be converted for a model in f32.
    let x = Array2::from_shape_fn((4 * BATCHES - 1, 3), |(i, j)| ((i + j) % 7) as f64 / 7.0);
    let target = Array2::from_shape_fn((4 * BATCHES - 1, 2), |(i, j)| x[[i, j]]);
    let data = Arrays::new((x, target)).unwrap().map_in_place(|_| {
        let read = N_READ.fetch_add(1, Ordering::SeqCst);
        COUNTS[read].store(ALLOCATIONS.load(Ordering::SeqCst), Ordering::SeqCst);
        Ok(())
    });
    let mut model = Tiny::new(&Device::cpu().threads(2), 1).unwrap();
    // Batches are read when they are asked for, so that reading one marks the end of the step before.
    Trainer::new(Adam::new(1e-3).clip_norm(1.0))
        .epochs(2)
        .batch_size(4)
        .prefetch(0)
        .schedule(Schedule::cosine(0.0))
        .fit_without_validation(&mut model, &data)
        .unwrap();
    assert_eq!(
        (N_READ.load(Ordering::SeqCst), model.step()),
        (2 * BATCHES, 2 * BATCHES as u64)
    );
    let counts: Vec<_> = COUNTS.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    assert!(counts[0] < counts[1], "the first step makes the workspace");
    // Threads that have just started allocate (their names, among other things): hence the second step is left out.
    assert!(
        counts[2..BATCHES].iter().all(|count| *count == counts[2]),
        "{counts:?}"
    );
    assert!(
        counts[BATCHES..].iter().all(|count| *count == counts[BATCHES]),
        "{counts:?}"
    );
}
