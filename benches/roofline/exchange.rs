//! How far apart two cores are: the time to hand a word over and back, and the rate at which one reads what the other wrote.
//!
//! Cores of a virtual machine may share a cache in one minute and lie on different dies in the next, without a sign of it but this:
//! on a virtual EPYC (Zen 4) 51 ns and 63 GB/s, or 300 ns and 27 GB/s.

use std::fmt;
use std::hint;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::median;

/// What two cores do to each other.
#[derive(Copy, Clone, Debug)]
pub struct Exchange {
    /// Seconds for a word to the other core and one back, of the best of some batches.
    pub round_trip: f64,
    /// Bytes a second of numbers that the other core has just written.
    pub foreign: f64,
}

impl Exchange {
    /// The medians of some measurements, if there are any.
    pub(super) fn median(samples: &[Self]) -> Option<Self> {
        let of = |part: fn(&Self) -> f64| median(&samples.iter().map(part).collect::<Vec<_>>());
        (!samples.is_empty()).then(|| Self {
            round_trip: of(|sample| sample.round_trip),
            foreign: of(|sample| sample.foreign),
        })
    }
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (nanoseconds, gigabytes) = (1e9 * self.round_trip, 1e-9 * self.foreign);
        write!(
            f,
            "{nanoseconds:.0} ns to hand a word over and back, {gigabytes:.0} GB/s of what the other wrote"
        )
    }
}

/// Round trips of a batch, and batches.
const TRIPS: u32 = 200;
const BATCHES: u32 = 20;

/// Words of a line of the cache, lines that are written and read at a time, and how often.
const LINE: usize = 8;
const LINES: usize = 8 << 10;
const TURNS: u32 = 8;

/// Measures two threads of this process, wherever the system runs them.
pub fn measure() -> Exchange {
    let (turn, data) = (AtomicU32::new(0), words());
    thread::scope(|scope| {
        scope.spawn(|| echo(&turn, &data));
        let mut next = 0;
        let mut exchange = Exchange {
            round_trip: f64::INFINITY,
            foreign: 0.0,
        };
        for _ in 0..BATCHES {
            let begin = Instant::now();
            for _ in 0..TRIPS {
                call(&turn, &mut next);
            }
            let trip = begin.elapsed().as_secs_f64() / f64::from(TRIPS);
            exchange.round_trip = exchange.round_trip.min(trip);
        }
        for _ in 0..TURNS {
            call(&turn, &mut next);
            let begin = Instant::now();
            let sum: u64 = data
                .iter()
                .step_by(LINE)
                .map(|word| word.load(Ordering::Relaxed))
                .fold(0, u64::wrapping_add);
            hint::black_box(sum);
            let rate = (size_of::<u64>() * LINE * LINES) as f64 / begin.elapsed().as_secs_f64();
            exchange.foreign = exchange.foreign.max(rate);
        }
        exchange
    })
}

fn words() -> Vec<AtomicU64> {
    (0..(LINE * LINES) as u64).map(AtomicU64::new).collect()
}

/// Gives the turn to the other thread and waits until it comes back: even turns are those of the caller.
fn call(turn: &AtomicU32, next: &mut u32) {
    turn.store(*next + 1, Ordering::Release);
    *next += 2;
    wait(turn, *next);
}

/// The other thread: gives every turn back, from the end of the batches on with all words written anew.
fn echo(turn: &AtomicU32, data: &[AtomicU64]) {
    for k in 0..BATCHES * TRIPS + TURNS {
        wait(turn, 2 * k + 1);
        if k >= BATCHES * TRIPS {
            for word in data {
                word.store(u64::from(k), Ordering::Relaxed);
            }
        }
        turn.store(2 * k + 2, Ordering::Release);
    }
}

fn wait(turn: &AtomicU32, for_it: u32) {
    while turn.load(Ordering::Acquire) != for_it {
        hint::spin_loop();
    }
}
