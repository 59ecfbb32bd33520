//! Timing work that runs on several threads at once.

use std::sync::Barrier;
use std::time::Instant;

/// Seconds from the moment at which the first thread begins its work to that at which the last one ends it.
///
/// `work` is what each thread does with its own part of `parts`. Every thread reads the clock itself: one that only
/// watched could be scheduled after the work had begun.
pub fn seconds<P: Send>(parts: &mut [P], work: impl Fn(&mut P) + Sync) -> f64 {
    let gate = Barrier::new(parts.len());
    let timed = |part: &mut P| {
        gate.wait();
        let begin = Instant::now();
        work(part);
        (begin, Instant::now())
    };
    let spans: Vec<(Instant, Instant)> = std::thread::scope(|scope| {
        let timed = &timed;
        let threads: Vec<_> = parts
            .iter_mut()
            .map(|part| scope.spawn(move || timed(part)))
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
