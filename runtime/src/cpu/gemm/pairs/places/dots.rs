//! Sums over places by dot products of pairs of bf16 numbers: `vdpbf16ps` of AVX512-BF16.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use std::arch::x86_64::{
    __m512, __m512i, _MM_HINT_T1, _mm_prefetch, _mm512_castps_si512, _mm512_dpbf16_ps, _mm512_load_si512,
    _mm512_set1_epi32, _mm512_setzero_ps, _mm512_setzero_si512,
};

use super::super::DOT_ROWS;
use super::super::dots::{pairs, part};
use super::{BLOCK, PairLayout, SIDE, Tile, Wanted, Words};
use crate::cpu::gemm::{Block, Start};
use crate::cpu::isa::{Avx512Bf16, Kernel};

/// Channels of the image whose sums are in registers, by two vectors of columns; columns, by vectors of channels.
const ROWS: usize = DOT_ROWS;
/// Elements of a window whose sums are in registers, at most.
const TAPS: usize = 3;

/// Numbers that are asked for one line of the cache after the other.
#[derive(Copy, Clone)]
pub(super) struct Ahead {
    /// The first number of the current line, and of the current pixel.
    at: [*const f32; 2],
    /// Numbers from a line to the next, from a pixel to the next, and of a pixel.
    steps: [usize; 3],
    /// Pixels of a line.
    pixels: usize,
    /// Lines, pixels and numbers of a pixel that are left.
    left: [usize; 3],
}

impl Ahead {
    /// Asks for these.
    pub(super) fn new(wanted: Wanted<'_, f32>) -> Self {
        let (pixels, channels) = match wanted.pixel == wanted.channels {
            true => (1, wanted.pixels * wanted.pixel),
            false => (wanted.pixels, wanted.channels),
        };
        let first = wanted.data.get(wanted.first..).unwrap_or_default().as_ptr();
        Self {
            at: [first; 2],
            steps: [wanted.line, wanted.pixel, channels],
            pixels,
            left: [wanted.lines, pixels, channels],
        }
    }

    /// Lines of the cache in all, about.
    fn count(&self) -> usize {
        self.left[0] * self.pixels * self.steps[2].div_ceil(SIDE)
    }

    /// Asks the second cache for the next lines, so many.
    #[inline(always)]
    fn ask(&mut self, count: usize) {
        for _ in 0..count {
            let [lines, pixels, numbers] = self.left;
            if lines == 0 {
                return;
            }
            let at = self.at[1].wrapping_add(self.steps[2] - numbers);
            // SAFETY: x86-64 has the instruction, which is a hint and reads nothing that a program could see, at any address.
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) };
            if numbers > SIDE {
                self.left[2] = numbers - SIDE;
                continue;
            }
            self.left[2] = self.steps[2];
            self.at[1] = self.at[1].wrapping_add(self.steps[1]);
            self.left[1] = pixels - 1;
            if pixels == 1 {
                self.at = [self.at[0].wrapping_add(self.steps[0]); 2];
                (self.left[0], self.left[1]) = (lines - 1, self.pixels);
            }
        }
    }
}

/// What is asked for while a band is multiplied: so many lines of the cache of either for each line of places.
#[derive(Copy, Clone)]
struct Asking {
    ahead: [Ahead; 2],
    each: [usize; 2],
}

/// Adds the sums of a band that is packed for vectors, and asks for what is wanted then.
#[inline(always)]
pub(super) fn outer(
    bf16: Avx512Bf16,
    layout: &PairLayout,
    (image, cotangent): (&[Tile], &[Tile]),
    ahead: Option<[Ahead; 2]>,
    sums: &mut Block<'_, f32>,
) {
    // Each tile of sums goes through all lines.
    let tiles = layout.strips() * layout.vectors() * layout.taps();
    let turns = (tiles * layout.lines() * layout.images).max(1);
    let mut asking = ahead.map_or(Asking::NONE, |ahead| Asking {
        ahead,
        each: ahead.map(|ahead| ahead.count().div_ceil(turns)),
    });
    let mut row = 0;
    for col in (0..layout.columns).step_by(BLOCK) {
        let cols = BLOCK.min(layout.columns - col);
        let pairs = layout.pairs() * layout.lines() * layout.images;
        let vectors = cols.div_ceil(SIDE);
        assert!(
            row + vectors * pairs <= SIDE * cotangent.len() && layout.part() <= SIDE * image.len(),
            "a band is not packed"
        );
        let strip = Strip {
            bf16,
            layout,
            image,
            cotangent,
            row,
            asking: &mut asking,
            sums: sums.part(0..sums.rows(), col..col + cols),
        };
        match vectors {
            1 => bf16.run(Narrow(strip)),
            _ => bf16.run(Wide(strip)),
        }
        row += vectors * pairs;
    }
}

/// Up to 32 columns of a band that is packed: as many rows of words of the cotangent as they have pairs, from `row` on, for each vector
/// of columns, and `part` rows of the image.
struct Strip<'a, 'b> {
    /// The proof that this may use the instruction.
    bf16: Avx512Bf16,
    layout: &'a PairLayout,
    image: &'a [Tile],
    cotangent: &'a [Tile],
    /// The first row of words of the strip's cotangent.
    row: usize,
    asking: &'a mut Asking,
    sums: Block<'b, f32>,
}

/// Two vectors of columns: a word of the image is multiplied with both.
struct Wide<'a, 'b>(Strip<'a, 'b>);

impl Kernel for Wide<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let layout = *self.0.layout;
        for vector in 0..layout.vectors() {
            let channels = SIDE.min(layout.channels - vector * SIDE);
            for tap in 0..layout.taps() {
                for c in (0..channels).step_by(ROWS) {
                    let row = (vector * SIDE + c) * layout.taps() + tap;
                    self.0
                        .add(layout.first(vector, tap), c, row, ROWS.min(channels - c));
                }
            }
        }
    }
}

/// One vector of columns, which is too few to multiply a word of the image with: a word of the cotangent is multiplied with what up to
/// three elements of the window see of 16 channels.
struct Narrow<'a, 'b>(Strip<'a, 'b>);

impl Kernel for Narrow<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let (vectors, taps) = (self.0.layout.vectors(), self.0.layout.taps());
        let each = taps.div_ceil(taps.div_ceil(TAPS));
        for vector in 0..vectors {
            for tap in (0..taps).step_by(each) {
                match each.min(taps - tap) {
                    1 => self.0.add_turned::<1>(vector, tap),
                    2 => self.0.add_turned::<2>(vector, tap),
                    _ => self.0.add_turned::<TAPS>(vector, tap),
                }
            }
        }
    }
}

impl Asking {
    /// Nothing.
    const NONE: Self = {
        let ahead = Ahead {
            at: [std::ptr::null(); 2],
            steps: [0; 3],
            pixels: 0,
            left: [0; 3],
        };
        Self {
            ahead: [ahead; 2],
            each: [0; 2],
        }
    };

    #[inline(always)]
    fn ask(&mut self) {
        for n in 0..2 {
            self.ahead[n].ask(self.each[n]);
        }
    }
}

impl Strip<'_, '_> {
    /// Adds the sums of eight channels of words from `c` on, where the first place's word lies in row `first`, to `rows` rows of
    /// the result from `to` on.
    #[inline(always)]
    fn add(&mut self, first: usize, c: usize, to: usize, rows: usize) {
        let layout = self.layout;
        let [high, wide] = layout.combs;
        let image = self.image.as_ptr().cast::<[u32; SIDE]>();
        let mut cotangent = self.cotangent.as_ptr().cast::<[u32; SIDE]>();
        // SAFETY: `bf16` proves that the CPU has the instructions. The words of a band are `part` rows, of which those of a plane are
        // `images` times `high.len` lines of `wide.len`. An element of the window lies no further into them than `len - places`
        // along each axis, so that all places read a row of their plane, eight words of it from `c`, which is 0 or 8; the last pair
        // of an odd number of places reads the first of its two alone. The cotangent has two rows for each pair from `row` on. Tiles are
        // aligned to rows of 64 bytes.
        let sums = unsafe {
            let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
            cotangent = cotangent.add(self.row);
            for n in 0..layout.images {
                for line in 0..layout.lines() {
                    self.asking.ask();
                    let start = first + (n * high.len + line) * wide.len;
                    let mut words = image.add(start).cast::<i32>().add(c);
                    for _ in 0..layout.pairs() {
                        let mut columns = [_mm512_setzero_si512(); 2];
                        for v in 0..2 {
                            columns[v] = _mm512_load_si512(cotangent.add(v).cast());
                        }
                        for i in 0..ROWS {
                            let x = pairs(_mm512_set1_epi32(*words.add(i)));
                            for v in 0..2 {
                                sums[i][v] = _mm512_dpbf16_ps(sums[i][v], x, pairs(columns[v]));
                            }
                        }
                        cotangent = cotangent.add(2);
                        words = words.wrapping_add(2 * SIDE);
                    }
                }
            }
            sums
        };
        for i in 0..ROWS {
            if i < rows {
                part(
                    self.bf16,
                    &sums[i],
                    self.sums.row_mut(to + i * layout.taps()),
                    Start::Accumulate,
                );
            }
        }
    }

    /// Adds the sums of `T` elements of the window from `tap` on for a vector of channels.
    #[inline(always)]
    fn add_turned<const T: usize>(&mut self, vector: usize, tap: usize) {
        let words = self.bf16.avx512();
        let (layout, cols) = (self.layout, self.sums.cols());
        let left = self.sums_of::<T>(vector, tap, 0);
        let mut right = [[words.zero(); ROWS]; T];
        if cols > ROWS {
            right = self.sums_of::<T>(vector, tap, ROWS);
        }
        for t in 0..T {
            let mut columns = [words.zero(); SIDE];
            for i in 0..ROWS {
                (columns[i], columns[ROWS + i]) = (left[t][i], right[t][i]);
            }
            let rows = Words::transpose(words, columns);
            for c in 0..SIDE.min(layout.channels - vector * SIDE) {
                let row = (vector * SIDE + c) * layout.taps() + tap + t;
                // SAFETY: any 64 bytes are a vector.
                let sums = unsafe { std::mem::transmute::<__m512i, __m512>(rows[c]) };
                part(self.bf16, &[sums], self.sums.row_mut(row), Start::Accumulate);
            }
        }
    }

    /// The sums of `T` elements of the window from `tap` on, for eight columns from `col` on, with a vector of channels in the lanes.
    #[inline(always)]
    fn sums_of<const T: usize>(&mut self, vector: usize, tap: usize, col: usize) -> [[__m512i; ROWS]; T] {
        let layout = self.layout;
        let [high, wide] = layout.combs;
        let mut image = [self.image.as_ptr().cast::<[u32; SIDE]>(); T];
        for t in 0..T {
            image[t] = image[t].wrapping_add(layout.first(vector, tap + t));
        }
        let mut columns = self.cotangent.as_ptr().cast::<[u32; SIDE]>();
        // SAFETY: as for `add`, where a row of the cotangent belongs to each pair, and whole rows of the image are read.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); ROWS]; T];
            columns = columns.add(self.row);
            for n in 0..layout.images {
                for line in 0..layout.lines() {
                    self.asking.ask();
                    let start = (n * high.len + line) * wide.len;
                    for p in 0..layout.pairs() {
                        let mut x = [_mm512_setzero_si512(); T];
                        for t in 0..T {
                            x[t] = _mm512_load_si512(image[t].wrapping_add(start + 2 * p).cast());
                        }
                        for i in 0..ROWS {
                            let y = pairs(_mm512_set1_epi32(columns.cast::<i32>().add(col + i).read()));
                            for t in 0..T {
                                sums[t][i] = _mm512_dpbf16_ps(sums[t][i], pairs(x[t]), y);
                            }
                        }
                        columns = columns.add(1);
                    }
                }
            }
            let mut words = [[_mm512_setzero_si512(); ROWS]; T];
            for t in 0..T {
                for i in 0..ROWS {
                    words[t][i] = _mm512_castps_si512(sums[t][i]);
                }
            }
            words
        }
    }
}
