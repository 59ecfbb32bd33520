//! Dot products of pairs of bf16 numbers: `vdpbf16ps` of AVX512-BF16.
//!
//! Here are the tiles of a product of matrices; their blocking and packing are in `dots/`, and so are sums over windows
//! (`windows.rs`).

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

pub(super) mod pack;
pub(super) mod product;
pub(super) mod windows;

use std::arch::x86_64::{
    __m512, _MM_HINT_T1, _mm_prefetch, _mm512_add_ps, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_loadu_ps,
    _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
    _mm512_storeu_ps,
};
use std::ops::Range;

use super::pack::Order;
use super::{BLOCK, DOT_ROWS as ROWS, SIDE, Tile};
use crate::cpu::gemm::{Block, Factor, Start};
use crate::cpu::isa::{Avx512Bf16, Kernel};

/// Numbers that are wanted soon: runs of 32, which lie a step apart, 32 runs for every 32 of `k`.
struct Ahead {
    /// The first number of the next run, and of the first run of its 32 of `k`.
    at: [*const f32; 2],
    /// Steps to the next run, and to the next 32 of `k`.
    steps: [isize; 2],
    /// Runs that were asked for of this 32 of `k`.
    run: usize,
    /// Runs that are left, and how many are asked for at a time.
    left: usize,
    each: usize,
}

impl Ahead {
    /// Nothing.
    const NONE: Self = Self {
        at: [std::ptr::null(); 2],
        steps: [0; 2],
        run: 0,
        left: 0,
        each: 0,
    };

    /// Some rows of a strip, from `k` on for so many steps of 32, asked for in so many turns.
    #[inline(always)]
    fn new(x: &Factor<'_, f32>, k: usize, steps: usize, turns: usize) -> Self {
        let (start, apart, left) = match x {
            Factor::Matrix(x) => {
                let (block, [line, next]) = (BLOCK as isize, x.step());
                let apart = match [line, next] {
                    [_, 1] => [line, block],
                    _ => [next, next * block],
                };
                let dense = line == 1 || next == 1;
                (
                    x.run(0, k, 1).as_ptr(),
                    apart,
                    if dense { steps * BLOCK } else { 0 },
                )
            }
            Factor::Interleaved(_) | Factor::Strips(_) => return Self::NONE,
        };
        Self {
            at: [start; 2],
            steps: apart,
            run: 0,
            left,
            each: left.div_ceil(turns),
        }
    }

    /// Asks the second cache for the next runs. An address that is no memory is asked for without harm.
    #[inline(always)]
    fn ask(&mut self) {
        for _ in 0..self.each.min(self.left) {
            let run = self.at[0];
            // SAFETY: x86-64 has the instruction, which is a hint and reads nothing that a program could see.
            unsafe {
                _mm_prefetch::<_MM_HINT_T1>(run.cast());
                _mm_prefetch::<_MM_HINT_T1>(run.wrapping_add(SIDE).cast());
            }
            self.at[0] = run.wrapping_offset(self.steps[0]);
            self.run += 1;
            self.left -= 1;
            if self.run == BLOCK {
                let start = self.at[1].wrapping_offset(self.steps[1]);
                (self.at, self.run) = ([start; 2], 0);
            }
        }
    }
}

/// The strip that is multiplied next, to be packed meanwhile.
pub(super) struct Next<'x, 't> {
    /// Up to 32 rows, and room for their tiles.
    pub(super) x: Factor<'x, f32>,
    pub(super) order: Order,
    pub(super) tiles: &'t mut [Tile],
}

/// Strips of rows times strips of columns: a block of a result.
pub(super) struct Pass<'x, 't, 'c, 'b> {
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
    /// What is packed meanwhile, piece by piece: asked for during a block of 32 x 32, packed after it.
    pub(super) next: Option<Next<'x, 't>>,
}

/// Replaces a block of a result, or adds to it: one call for all of its tiles. (Where each was a call, the loads of its arguments
/// waited for the stores of the last tile.)
pub(super) fn multiply(pass: Pass<'_, '_, '_, '_>) {
    pass.bf16.run(pass);
}

impl Kernel for Pass<'_, '_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let tiles = self.tiles;
        let blocks = self.rows.len().div_ceil(BLOCK) * self.cols.len().div_ceil(BLOCK);
        let mut pieces = (0, (tiles / 2).div_ceil(blocks.max(1)));
        let (mut row, mut strip) = (self.rows.start, 0);
        while row < self.rows.end {
            let a = &self.a[strip * tiles..][..tiles];
            let height = BLOCK.min(self.rows.end - row);
            let (mut col, mut beside) = (self.cols.start, 0);
            while col < self.cols.end {
                let b = &self.b[beside * tiles..][..tiles];
                let width = BLOCK.min(self.cols.end - col);
                self.block([a, b], [row, col], [height, width], &mut pieces);
                (col, beside) = (col + BLOCK, beside + 1);
            }
            (row, strip) = (row + BLOCK, strip + 1);
        }
    }
}

impl<'t> Pass<'_, 't, '_, '_> {
    /// A block of up to 32 x 32, and a piece of the next strip.
    #[inline(always)]
    fn block(
        &mut self,
        strips: [&'t [Tile]; 2],
        [row, col]: [usize; 2],
        [height, width]: [usize; 2],
        (step, each): &mut (usize, usize),
    ) {
        let steps = (*each).min(self.tiles / 2 - *step);
        let turns = height.div_ceil(ROWS) * (self.tiles / 2);
        let mut ahead = match &self.next {
            Some(next) if steps > 0 => Ahead::new(&next.x, *step * BLOCK, steps, turns),
            _ => Ahead::NONE,
        };
        let mut first = 0;
        while first < height {
            let size = [ROWS.min(height - first), width];
            match width {
                ..=SIDE => self.tile::<1>(strips, first, [row, col], size, &mut ahead),
                _ => self.tile::<2>(strips, first, [row, col], size, &mut ahead),
            }
            first += ROWS;
        }
        if let Some(next) = &mut self.next
            && steps > 0
        {
            let [rows, k] = next.x.size();
            let some = *step * BLOCK..((*step + steps) * BLOCK).min(k);
            let tiles = &mut next.tiles[2 * *step..][..2 * steps];
            let x = next.x.part(0..rows, some);
            pack::strip(self.bf16, &x, next.order, pack::Following::Left, tiles);
        }
        *step += steps;
    }

    /// Rows from `first` on of the block at some row and column, as far as there are any.
    #[inline(always)]
    fn tile<const VECTORS: usize>(
        &mut self,
        strips: [&[Tile]; 2],
        first: usize,
        [row, col]: [usize; 2],
        [height, width]: [usize; 2],
        ahead: &mut Ahead,
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
#[inline(always)]
fn sums<const VECTORS: usize>(
    _bf16: Avx512Bf16,
    [a, b]: [&[Tile]; 2],
    first: usize,
    ahead: &mut Ahead,
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
            ahead.ask();
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
#[inline(always)]
pub(super) fn part<const VECTORS: usize>(
    _bf16: Avx512Bf16,
    sums: &[__m512; VECTORS],
    to: &mut [f32],
    start: Start,
) {
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
#[inline(always)]
pub(super) fn pairs(words: std::arch::x86_64::__m512i) -> std::arch::x86_64::__m512bh {
    // SAFETY: both are 64 bytes of which any bits are a value.
    unsafe { std::mem::transmute(words) }
}
