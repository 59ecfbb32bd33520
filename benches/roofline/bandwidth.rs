//! Bandwidth of reading, copying and `a = b + s c` on working sets of a given size.
//!
//! Loops are compiled for the best instruction set by the runtime's own dispatch. Counted are the bytes that the program
//! reads and writes; a write that first fetches its cache line moves more than that.

use std::hint::black_box;

use tapeless::cpu::isa::{Isa, Kernel};

use super::clock;

/// What is done with the buffers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Pattern {
    /// The sum of one buffer.
    Read,
    /// One buffer copied into another by the standard library.
    Copy,
    /// `a = b + s c` of three buffers.
    Triad,
}

impl Pattern {
    /// All patterns.
    pub const ALL: [Pattern; 3] = [Pattern::Read, Pattern::Copy, Pattern::Triad];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Pattern::Read => "read",
            Pattern::Copy => "copy",
            Pattern::Triad => "triad",
        }
    }

    /// Buffers that it touches; the working set is divided among them.
    fn n_buffers(self) -> usize {
        match self {
            Pattern::Read => 1,
            Pattern::Copy => 2,
            Pattern::Triad => 3,
        }
    }
}

/// Bytes that a measurement moves on each thread at least: some milliseconds.
const BYTES: usize = 256 << 20;

/// Elements of the inner loops: independent sums, so that additions do not wait for each other.
const LANES: usize = 64;

/// One buffer a thread, which the patterns divide among themselves.
pub struct Buffers {
    threads: Vec<Vec<f32>>,
}

impl Buffers {
    /// Buffers of `bytes` for each thread.
    pub fn new(threads: usize, bytes: usize) -> Self {
        let len = bytes / size_of::<f32>();
        Self {
            threads: (0..threads).map(|thread| vec![thread as f32; len]).collect(),
        }
    }

    /// Bytes that all threads together move in a second.
    pub fn measure(&mut self, pattern: Pattern) -> f64 {
        let len = self.threads[0].len() / pattern.n_buffers() / LANES * LANES;
        let moved = len * pattern.n_buffers() * size_of::<f32>();
        let n_passes = (BYTES / moved).max(1);
        let isa = Isa::best();
        let seconds = clock::seconds(&mut self.threads, |buffer| {
            for _ in 0..n_passes {
                pass(isa, pattern, black_box(buffer), len);
            }
        });
        (moved * n_passes * self.threads.len()) as f64 / seconds
    }
}

fn pass(isa: Isa, pattern: Pattern, buffer: &mut [f32], len: usize) {
    let (a, rest) = buffer.split_at_mut(len);
    match pattern {
        Pattern::Read => {
            black_box(isa.run(Read(a)));
        }
        Pattern::Copy => a.copy_from_slice(&rest[..len]),
        Pattern::Triad => {
            let (b, c) = rest.split_at(len);
            isa.run(Triad(a, b, &c[..len], 3.0));
        }
    }
}

struct Read<'a>(&'a [f32]);

impl Kernel for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run(self) -> f32 {
        let mut sums = [0.0f32; LANES];
        let (chunks, _) = self.0.as_chunks::<LANES>();
        for chunk in chunks {
            for k in 0..LANES {
                sums[k] += chunk[k];
            }
        }
        sums.iter().sum()
    }
}

struct Triad<'a>(&'a mut [f32], &'a [f32], &'a [f32], f32);

impl Kernel for Triad<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Triad(a, b, c, scale) = self;
        for ((a, b), c) in a.iter_mut().zip(b).zip(c) {
            *a = *b + scale * *c;
        }
    }
}
