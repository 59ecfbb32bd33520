//! Two programs in turns, compared by the ratios of neighbouring blocks.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

/// How long to measure.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Effort {
    /// Long enough for a ratio.
    Measure,
    /// Once, to see that it runs.
    Smoke,
}

/// Pairs of blocks.
const N_PAIRS: usize = 151;

/// Seconds of a block: long beside the clock's reading, short beside the minutes in which a machine changes its speed.
const BLOCK: f64 = 1e-3;

/// What was measured of a pair of programs.
pub struct Ratios {
    /// Seconds of a call of the first, and of the second; medians.
    seconds: [f64; 2],
    /// The ratio of the first to the second: median, and the ends of the interval that holds nine pairs of ten.
    ratio: [f64; 3],
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [ours, theirs] = self.seconds.map(|seconds| 1e9 * seconds);
        let [low, median, high] = self.ratio;
        write!(
            f,
            "{ours:>9.0} ns / {theirs:>8.0} ns, {median:>6.2} ({low:.2} to {high:.2})"
        )
    }
}

/// Calls both in turns.
pub fn ratios<A, B>(effort: Effort, mut first: impl FnMut() -> A, mut second: impl FnMut() -> B) -> Ratios {
    let n_pairs = match effort {
        Effort::Measure => N_PAIRS,
        Effort::Smoke => 1,
    };
    let n_calls = [calls(&mut first), calls(&mut second)];
    let mut samples = [Vec::new(), Vec::new(), Vec::new()];
    for k in 0..n_pairs {
        // Whoever comes second meets warmer caches and a busier clock: take turns at that as well.
        let (a, b) = if k % 2 == 0 {
            let a = block(n_calls[0], &mut first);
            (a, block(n_calls[1], &mut second))
        } else {
            let b = block(n_calls[1], &mut second);
            (block(n_calls[0], &mut first), b)
        };
        for (samples, sample) in samples.iter_mut().zip([a, b, a / b]) {
            samples.push(sample);
        }
    }
    let [a, b, ratios] = samples.map(|mut samples| {
        samples.sort_by(f64::total_cmp);
        samples
    });
    Ratios {
        seconds: [quantile(&a, 0.5), quantile(&b, 0.5)],
        ratio: [0.05, 0.5, 0.95].map(|share| quantile(&ratios, share)),
    }
}

/// So many calls fill a block.
fn calls<T>(call: &mut impl FnMut() -> T) -> usize {
    let mut n = 1;
    loop {
        let seconds = n as f64 * block(n, call);
        if seconds >= BLOCK / 2.0 {
            return ((BLOCK / seconds * n as f64) as usize).max(1);
        }
        n *= 2;
    }
}

/// Seconds of a call, averaged over a block of them.
fn block<T>(n_calls: usize, call: &mut impl FnMut() -> T) -> f64 {
    let begin = Instant::now();
    for _ in 0..n_calls {
        black_box(call());
    }
    begin.elapsed().as_secs_f64() / n_calls as f64
}

/// The number below which a share of sorted numbers lies.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    sorted[(share * (sorted.len() - 1) as f64).round() as usize]
}
