//! Asking for memory before it is needed.
//!
//! A convolution lays out images between its multiplications, at the pace of the memory. While a tile is computed, the memory has
//! nothing to do: so a kernel asks for a few cache lines of the next images after each of its tiles.

/// Bytes of a cache line.
const LINE: usize = 64;

/// Runs of numbers that will be needed: addresses, through which nothing is read.
#[derive(Copy, Clone, Debug)]
pub struct Runs {
    start: *const u8,
    /// Bytes of a run.
    len: usize,
    /// Bytes from a run to the next.
    step: usize,
    count: usize,
}

impl Runs {
    /// Nothing.
    pub const NONE: Self = Self {
        start: std::ptr::null(),
        len: 0,
        step: 0,
        count: 0,
    };

    /// `count` runs of `len` numbers from the front of `numbers` on, `step` apart.
    pub fn new<T>(numbers: &[T], len: usize, step: usize, count: usize) -> Self {
        Self {
            start: numbers.as_ptr().cast(),
            len: len * size_of::<T>(),
            step: step * size_of::<T>(),
            count,
        }
    }

    /// Cache lines in all, about.
    fn lines(&self) -> usize {
        self.len.div_ceil(LINE) * self.count
    }
}

/// Asks for runs bit by bit.
#[derive(Clone, Debug)]
pub struct Ahead {
    runs: [Runs; 2],
    /// Bytes of the first run that were asked for.
    at: usize,
    /// Cache lines that are asked for at a time.
    pace: usize,
}

impl Ahead {
    /// Asks for these runs in `times` parts.
    pub fn new(runs: [Runs; 2], times: usize) -> Self {
        let lines: usize = runs.iter().map(Runs::lines).sum();
        Self {
            runs,
            at: 0,
            pace: lines.div_ceil(times.max(1)),
        }
    }

    /// Asks for the next part.
    #[inline(always)]
    pub(super) fn ask(&mut self) {
        for _ in 0..self.pace {
            let [run, next] = &mut self.runs;
            if self.at >= run.len {
                self.at = 0;
                run.start = run.start.wrapping_add(run.step);
                run.count = run.count.saturating_sub(1);
                if run.count == 0 {
                    if next.count == 0 {
                        self.pace = 0;
                        return;
                    }
                    (*run, *next) = (*next, Runs::NONE);
                }
            }
            prefetch(run.start.wrapping_add(self.at));
            self.at += LINE;
        }
    }
}

/// Asks for a cache line.
#[inline(always)]
fn prefetch(address: *const u8) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing that a program could see, and does nothing at an address that is not mapped. SSE
        // belongs to every x86-64 CPU.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
