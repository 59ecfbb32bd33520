//! A team of threads allocates nothing once it exists. Alone in its process, because every allocation of the
//! process counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tapeless_runtime::cpu::threads::Team;

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

#[test]
fn running_tasks_allocates_nothing() {
    let team = Team::new(NonZeroUsize::new(4).expect("4 is not 0")).expect("the system gives four threads");
    let mut out = vec![0u64; 1000];
    // New threads allocate while they start (their names, among other things).
    std::thread::sleep(Duration::from_millis(50));
    let before = ALLOCATIONS.load(Ordering::SeqCst);
    for round in 0..500 {
        team.chunks_mut(&mut out, 7, |i, chunk| {
            chunk.iter_mut().for_each(|x| *x += i as u64);
            // A nested job, and now and then a pause that sends threads to sleep.
            team.run(3, &|_| ());
            if i == 1 && round % 100 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        if round % 50 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert_eq!(ALLOCATIONS.load(Ordering::SeqCst) - before, 0);
    assert!(out.iter().enumerate().all(|(j, &x)| x == 500 * (j as u64 / 7)));
    drop(vec![0u8; 10]);
    assert!(ALLOCATIONS.load(Ordering::SeqCst) > before, "the counter counts");
}
