//! Timing work that runs on several threads at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Seconds from the moment at which the first thread begins its work to that at which the last one ends it.
///
/// `work` is what each thread does with its own part of `parts`. Every thread reads the clock itself: one that only
/// watched could be scheduled after the work had begun.
pub fn seconds<P: Send>(parts: &mut [P], work: impl Fn(&mut P) + Sync) -> f64 {
    let gate = Gate::new(parts.len());
    let timed = |is_first: bool, part: &mut P| {
        gate.pass(is_first);
        let begin = Instant::now();
        work(part);
        (begin, Instant::now())
    };
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let timed = &timed;
        let threads: Vec<_> = parts
            .iter_mut()
            .enumerate()
            .map(|(k, part)| scope.spawn(move || timed(k == 0, part)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a probe does not panic"))
            .collect()
    });
    let first = spans.iter().map(|span| span.0).min().expect("there is a thread");
    let last = spans.iter().map(|span| span.1).max().expect("there is a thread");
    (last - first).as_secs_f64()
}

/// Threads that go on together, and each on a core of its own: threads that were just made or woken often share one for some
/// milliseconds, which is all that a measurement takes.
struct Gate {
    threads: usize,
    arrivals: AtomicUsize,
    is_open: AtomicBool,
}

/// Two meetings of threads that run at the same time take less; of those that share a core, as long as the system lets one of them run.
const AT_ONCE: Duration = Duration::from_micros(50);

/// Attempts, after which there seem to be more threads than cores.
const ATTEMPTS: usize = 50;

impl Gate {
    fn new(threads: usize) -> Self {
        Self {
            threads,
            arrivals: AtomicUsize::new(0),
            is_open: AtomicBool::new(false),
        }
    }

    /// Waits for the others, busily, so that the system sees that each needs a core. The first thread holds the watch.
    fn pass(&self, is_first: bool) {
        for attempt in 0..ATTEMPTS {
            let meet = |number: usize| self.meet(3 * attempt + number);
            meet(1);
            let begin = Instant::now();
            meet(2);
            if is_first {
                self.is_open.store(begin.elapsed() < AT_ONCE, Ordering::Relaxed);
            }
            meet(3);
            if self.is_open.load(Ordering::Relaxed) {
                return;
            }
        }
    }

    /// Waits until every thread has come for this time.
    fn meet(&self, times: usize) {
        self.arrivals.fetch_add(1, Ordering::AcqRel);
        while self.arrivals.load(Ordering::Acquire) < times * self.threads {
            std::hint::spin_loop();
        }
    }
}
