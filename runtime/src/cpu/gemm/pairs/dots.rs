//! Dot products of pairs of bf16 numbers: `vdpbf16ps` of AVX512-BF16.
//!
//! Here are the loops that hold the instruction: tiles of a product of matrices, and sums over windows. Blocking and packing
//! of products are in `dots/`.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

#[cfg(target_arch = "x86_64")]
pub(super) mod pack;
#[cfg(target_arch = "x86_64")]
pub(super) mod product;

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m512, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_loadu_ps, _mm512_mask_storeu_ps,
    _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512, _mm512_store_ps,
    _mm512_storeu_ps,
};
use std::ops::Range;

use super::window::Spots;
use super::{BLOCK, SIDE, Sums, Tile};
use crate::cpu::gemm::{Block, Start};
use crate::cpu::isa::{Avx512Bf16, Kernel};

/// Rows of a tile of sums in registers, which has two vectors a row.
pub(in crate::cpu::gemm) const ROWS: usize = 8;

/// Numbers that are wanted soon: lines of 32 that follow each other, some for every 32 of `k`.
#[derive(Copy, Clone)]
pub(super) struct Ahead {
    /// The first of them.
    start: *const f32,
    /// Steps to the next line, and to the next 32 of `k`.
    steps: [isize; 2],
    /// How many of the lines a tile asks for.
    lines: usize,
    /// How many have not been asked for.
    left: usize,
}

impl Ahead {
    /// Nothing is wanted.
    pub(super) const NONE: Self = Self {
        start: std::ptr::null(),
        steps: [0; 2],
        lines: 0,
        left: 0,
    };

    /// `all` lines from the first number of a slice on, so many of them for each tile.
    #[inline(always)]
    pub(super) fn new(numbers: &[f32], steps: [isize; 2], lines: usize, all: usize) -> Self {
        Self {
            start: numbers.as_ptr(),
            steps,
            lines: lines.min(all),
            left: all,
        }
    }

    /// What is left after a tile has asked for its lines.
    #[inline(always)]
    pub(super) fn passed(self) -> Self {
        let left = self.left - self.lines;
        Self {
            start: self.start.wrapping_offset(self.lines as isize * self.steps[0]),
            lines: self.lines.min(left),
            left,
            ..self
        }
    }

    /// Asks the second cache for the lines of some step. An address that is no memory is asked for without harm.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn ask(&self, step: usize) {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        let mut at = self.start.wrapping_offset(step as isize * self.steps[1]);
        for _ in 0..self.lines {
            // SAFETY: x86-64 has the instruction, which is a hint and reads nothing that a program could see.
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(at.cast());
                _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(SIDE).cast());
            }
            at = at.wrapping_offset(self.steps[0]);
        }
    }
}

/// Strips of rows times strips of columns: a block of a result.
pub(super) struct Pass<'t, 'c, 'b> {
    /// The proof that this may use the instruction.
    pub(super) bf16: Avx512Bf16,
    /// Strips of rows, and of columns, each of so many tiles.
    pub(super) a: &'t [Tile],
    pub(super) b: &'t [Tile],
    pub(super) tiles: usize,
    /// Where the block lies.
    pub(super) rows: Range<usize>,
    pub(super) cols: Range<usize>,
    pub(super) c: &'c mut Block<'b, f32>,
    pub(super) start: Start,
    /// What its tiles ask for.
    pub(super) ahead: Ahead,
}

/// Replaces a block of a result, or adds to it: one call for all of its tiles. (Where each was a call, the loads of its arguments
/// waited for the stores of the last tile.)
pub(super) fn multiply(pass: Pass<'_, '_, '_>) {
    pass.bf16.run(pass);
}

#[cfg(target_arch = "x86_64")]
impl Kernel for Pass<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let (mut ahead, tiles) = (self.ahead, self.tiles);
        let (mut row, mut strip) = (self.rows.start, 0);
        while row < self.rows.end {
            let a = &self.a[strip * tiles..][..tiles];
            let height = BLOCK.min(self.rows.end - row);
            let (mut col, mut beside) = (self.cols.start, 0);
            while col < self.cols.end {
                let b = &self.b[beside * tiles..][..tiles];
                let width = BLOCK.min(self.cols.end - col);
                let mut first = 0;
                while first < height {
                    let size = [ROWS.min(height - first), width];
                    match width {
                        ..=SIDE => self.tile::<1>([a, b], first, [row, col], size, &ahead),
                        _ => self.tile::<2>([a, b], first, [row, col], size, &ahead),
                    }
                    ahead = ahead.passed();
                    first += ROWS;
                }
                (col, beside) = (col + BLOCK, beside + 1);
            }
            (row, strip) = (row + BLOCK, strip + 1);
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Pass<'_, '_, '_> {
    /// Rows from `first` on of the block at some row and column, as far as there are any.
    #[inline(always)]
    fn tile<const VECTORS: usize>(
        &mut self,
        strips: [&[Tile]; 2],
        first: usize,
        [row, col]: [usize; 2],
        [height, width]: [usize; 2],
        ahead: &Ahead,
    ) {
        let sums = sums::<VECTORS>(self.bf16, strips, first, ahead);
        let row = row + first;
        if height == ROWS && width == VECTORS * SIDE {
            let mut to = self.c.inside::<ROWS>(row, col, VECTORS * SIDE);
            match self.start {
                Start::Overwrite => (0..ROWS).for_each(|i| store(self.bf16, &sums[i], to.row_mut(i))),
                Start::Accumulate => (0..ROWS).for_each(|i| add(self.bf16, &sums[i], to.row_mut(i))),
            }
            return;
        }
        for i in 0..ROWS {
            if i < height {
                let to = &mut self.c.row_mut(row + i)[col..][..width];
                part(self.bf16, &sums[i], to, self.start);
            }
        }
    }
}

/// The sums of a tile, in registers: rows `first..first + ROWS` of a strip times all columns of another.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn sums<const VECTORS: usize>(
    _bf16: Avx512Bf16,
    [a, b]: [&[Tile]; 2],
    first: usize,
    ahead: &Ahead,
) -> [[__m512; VECTORS]; ROWS] {
    let ((a, _), (b, _)) = (a.as_chunks::<2>(), b.as_chunks::<2>());
    let steps = a.len().min(b.len());
    // What is cut here is compared with no length in the loop.
    let (a, b) = (&a[..steps], &b[..steps]);
    let (half, row) = (first / SIDE % 2, first % SIDE / ROWS * ROWS);
    // SAFETY: `_bf16` proves that the CPU has the instructions. Loads are of rows of tiles, 64 bytes in a type aligned to as many.
    unsafe {
        let mut c = [[_mm512_setzero_ps(); VECTORS]; ROWS];
        // By index: a call of an iterator would push the sums out of the registers, once a step.
        for step in 0..steps {
            ahead.ask(step);
            let b = &b[step];
            let Some(rows) = a[step][half].0[row..].first_chunk::<ROWS>() else {
                break;
            };
            for p in 0..SIDE {
                let mut columns = [_mm512_setzero_si512(); VECTORS];
                for v in 0..VECTORS {
                    columns[v] = _mm512_load_si512(b[v].0[p].as_ptr().cast());
                }
                for i in 0..ROWS {
                    let x = pairs(_mm512_set1_epi32(rows[i][p].cast_signed()));
                    for v in 0..VECTORS {
                        c[i][v] = _mm512_dpbf16_ps(c[i][v], x, pairs(columns[v]));
                    }
                }
            }
        }
        c
    }
}

/// Replaces a row of a tile.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn store<const VECTORS: usize>(_bf16: Avx512Bf16, sums: &[__m512; VECTORS], to: &mut [f32]) {
    let to = &mut to[..VECTORS * SIDE];
    for v in 0..VECTORS {
        let to = &mut to[v * SIDE..][..SIDE];
        // SAFETY: `_bf16` proves that the CPU has the instructions; the slice has 16 numbers.
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), sums[v]) };
    }
}

/// Adds to a row of a tile.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn add<const VECTORS: usize>(_bf16: Avx512Bf16, sums: &[__m512; VECTORS], to: &mut [f32]) {
    let to = &mut to[..VECTORS * SIDE];
    for v in 0..VECTORS {
        let to = &mut to[v * SIDE..][..SIDE];
        // SAFETY: `_bf16` proves that the CPU has the instructions; the slice has 16 numbers.
        unsafe {
            _mm512_storeu_ps(
                to.as_mut_ptr(),
                _mm512_add_ps(_mm512_loadu_ps(to.as_ptr()), sums[v]),
            )
        };
    }
}

/// Replaces a row of a tile that ends before the last vector does, or adds to it.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn part<const VECTORS: usize>(_bf16: Avx512Bf16, sums: &[__m512; VECTORS], to: &mut [f32], start: Start) {
    for v in 0..VECTORS {
        let to = to.get_mut(v * SIDE..).unwrap_or_default();
        let mask = ((1u32 << to.len().min(SIDE)) - 1) as u16;
        // SAFETY: `_bf16` proves that the CPU has the instructions; the mask has no bit beyond the slice.
        unsafe {
            let sums = match start {
                Start::Overwrite => sums[v],
                Start::Accumulate => _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to.as_ptr()), sums[v]),
            };
            _mm512_mask_storeu_ps(to.as_mut_ptr(), mask, sums);
        }
    }
}

/// Words as pairs of bf16 numbers.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn pairs(words: std::arch::x86_64::__m512i) -> std::arch::x86_64::__m512bh {
    // SAFETY: both are 64 bytes of which any bits are a value.
    unsafe { std::mem::transmute(words) }
}

/// Sums over the windows of one run of places, of images in one part: a row for each place.
pub(super) fn windows(bf16: Avx512Bf16, work: &Spots<'_>, sums: &mut [Sums]) {
    let window = Window {
        _bf16: bf16,
        work,
        sums: &mut sums[0],
    };
    match work.columns {
        0..=SIDE => bf16.run(Places::<16, 1>(window)),
        _ => bf16.run(Places::<8, 2>(window)),
    }
}

/// The windows of a run of places.
struct Window<'a> {
    /// The proof that [`Places`] may use the instruction.
    _bf16: Avx512Bf16,
    work: &'a Spots<'a>,
    sums: &'a mut Sums,
}

/// Those of `PLACES` places, and `VECTORS` vectors of columns.
struct Places<'a, const PLACES: usize, const VECTORS: usize>(Window<'a>);

#[cfg(target_arch = "x86_64")]
impl<const PLACES: usize, const VECTORS: usize> Kernel for Places<'_, PLACES, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Window { work, sums, .. } = self.0;
        assert!(
            work.are_held(PLACES) && work.have_rows(VECTORS),
            "places leave their plane"
        );
        let first = work.at[0];
        // SAFETY: `_bf16` proves that the CPU has the instructions. The plane holds the 32 numbers of each step of `PLACES` places, of
        // which the pairs that are read are some; those need not be aligned. There are `VECTORS` rows of weights for each pair, of
        // 64 bytes that are aligned to 64, one after the other; rows of sums are aligned as well.
        unsafe {
            let mut c = [[_mm512_setzero_ps(); VECTORS]; PLACES];
            let place = work.halves.as_ptr().add(first);
            let mut row = work.weights.as_ptr().cast::<[u32; SIDE]>();
            for step in work.steps {
                let from = place.add(step.at);
                for p in 0..step.pairs {
                    let mut columns = [_mm512_setzero_si512(); VECTORS];
                    for v in 0..VECTORS {
                        columns[v] = _mm512_load_si512(row.add(v).cast());
                    }
                    for i in 0..PLACES {
                        let word = from.add(i * work.step + 2 * p).cast::<i32>().read_unaligned();
                        let x = pairs(_mm512_set1_epi32(word));
                        for v in 0..VECTORS {
                            c[i][v] = _mm512_dpbf16_ps(c[i][v], x, pairs(columns[v]));
                        }
                    }
                    row = row.add(VECTORS);
                }
            }
            for i in 0..PLACES {
                for v in 0..VECTORS {
                    _mm512_store_ps(sums.0[i][v * SIDE..].as_mut_ptr(), c[i][v]);
                }
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
impl<const PLACES: usize, const VECTORS: usize> Kernel for Places<'_, PLACES, VECTORS> {
    type Output = ();

    /// No proof of these instructions exists here.
    fn run(self) {
        unreachable!("AVX512-BF16 belongs to x86-64");
    }
}
