//! Packing images and cotangents of a band.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::ops::Range;

use super::super::pack::Span;
use super::*;
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::Avx512;

/// How two numbers of one part become a pair.
pub(super) trait Pairing<W: Words>: Copy {
    /// Numbers rounded to bf16 as [`Words::rounded`] does it, the even ones in the lower halves of words. (The sign of numbers that
    /// become zero may be kept.)
    fn pair(self, words: W, even: W::Vector, odd: W::Vector) -> W::Vector;
}

/// On any vectors.
#[derive(Copy, Clone)]
pub(super) struct InWords;

impl<W: Words> Pairing<W> for InWords {
    #[inline(always)]
    fn pair(self, words: W, even: W::Vector, odd: W::Vector) -> W::Vector {
        words.across(words.rounded(even), words.rounded(odd))
    }
}

#[cfg(target_arch = "x86_64")]
impl Pairing<Avx512> for Avx512Bf16 {
    #[inline(always)]
    fn pair(self, _: Avx512, even: __m512i, odd: __m512i) -> __m512i {
        // Numbers of both halves by turns.
        const TURNS: [u16; 32] = {
            let mut turns = [0; 32];
            let mut i = 0;
            while i < 32 {
                turns[i] = (i / 2 + i % 2 * 16) as u16;
                i += 1;
            }
            turns
        };
        // SAFETY: the receiver proves that the CPU has the instructions; the constant has 64 bytes, and any 64 bytes are a vector.
        unsafe {
            let halves = _mm512_cvtne2ps_pbh(_mm512_castsi512_ps(odd), _mm512_castsi512_ps(even));
            let halves = std::mem::transmute::<__m512bh, __m512i>(halves);
            _mm512_permutexvar_epi16(_mm512_loadu_si512(TURNS.as_ptr().cast()), halves)
        }
    }
}

/// What splits numbers into `P` parts, and the smallest and largest magnitude that it has seen.
struct Splitter<W: Words, const P: usize> {
    words: W,
    ends: [W::Vector; 2],
}

impl<W: Words, const P: usize> Splitter<W, P> {
    #[inline(always)]
    fn new(words: W) -> Self {
        let ends = [words.read(&[u32::MAX; SIDE]), words.zero()];
        Self { words, ends }
    }

    #[inline(always)]
    fn span(&self) -> Span {
        Span::between(self.words.ends(self.ends))
    }

    /// The parts of up to 16 numbers, and zeros after them. A single part is left to be rounded.
    #[inline(always)]
    fn split(&mut self, numbers: &[f32]) -> [W::Vector; P] {
        let words = self.words;
        let mut padded = [0.0; SIDE];
        let numbers = match numbers.first_chunk::<SIDE>() {
            Some(numbers) => numbers,
            None => {
                padded[..numbers.len()].copy_from_slice(numbers);
                &padded
            }
        };
        let mut rest = words.load(numbers);
        self.ends = words.span(self.ends, rest);
        if P == 1 {
            return [rest; P];
        }
        let mut parts = [words.zero(); P];
        for p in 0..P {
            parts[p] = words.part(rest);
            rest = words.minus(rest, parts[p]);
        }
        parts
    }
}

/// Positions of a line of a plane.
struct Line<'a> {
    numbers: &'a [f32],
    channels: usize,
    /// Where the first position's numbers would lie, and from a position to the next.
    start: isize,
    step: usize,
    /// The positions that lie in the image.
    inside: Range<usize>,
}

impl Line<'_> {
    /// The parts of a position's numbers: zeros in the padding.
    #[inline(always)]
    fn split<W: Words, const P: usize>(&self, splitter: &mut Splitter<W, P>, at: usize) -> [W::Vector; P] {
        if at < self.inside.start || at >= self.inside.end {
            return [splitter.words.zero(); P];
        }
        let from = (self.start + (at * self.step) as isize) as usize;
        splitter.split(&self.numbers[from..from + self.channels])
    }
}

impl<W: Words, R: Pairing<W>, const P: usize> PairSums<'_, '_, '_, '_, W, R, P> {
    /// Pairs of a part of some numbers.
    #[inline(always)]
    fn join(&self, even: &[W::Vector; P], odd: &[W::Vector; P], part: usize) -> W::Vector {
        match P {
            1 => self.pairing.pair(self.words, even[part], odd[part]),
            _ => self.words.across(even[part], odd[part]),
        }
    }

    /// Packs the images: pairs of positions that follow each other in a plane.
    #[inline(always)]
    pub(super) fn pack_image(&mut self) -> Span {
        let (layout, plane) = (self.work.layout, self.work.image);
        let mut splitter = Splitter::<W, P>::new(self.words);
        let [high, wide] = layout.combs;
        for vector in 0..layout.vectors() {
            let channels = vector * SIDE..layout.channels.min((vector + 1) * SIDE);
            for (y, x) in (0..high.period).flat_map(|y| (0..wide.period).map(move |x| (y, x))) {
                let (start, inside) = high.positions(y);
                for image in 0..layout.images {
                    let row = layout.plane(vector, [y, x], image);
                    for at in 0..high.len {
                        let row = row + at * wide.len;
                        if !inside.contains(&at) {
                            self.fill_line(row, wide.len);
                            continue;
                        }
                        let line = (start + (at * high.axis.stride) as isize) as usize;
                        let from = image * self.work.steps[0] + line * plane.line + channels.start;
                        let numbers = &plane.data[from..];
                        self.pack_line(&mut splitter, numbers, channels.len(), x, row);
                    }
                }
            }
        }
        self.fill_tail();
        splitter.span()
    }

    /// A line of a plane that lies in the padding.
    #[inline(always)]
    fn fill_line(&mut self, row: usize, len: usize) {
        let layout = &self.work.layout;
        for part in 0..P {
            for row in row + part * layout.part()..row + part * layout.part() + len {
                self.image[row / SIDE].0[row % SIDE] = [0; SIDE];
            }
        }
    }

    /// What is read after the last line.
    #[inline(always)]
    fn fill_tail(&mut self) {
        let used = self.work.layout.part() * P;
        for row in used..self.image.len() * SIDE {
            self.image[row / SIDE].0[row % SIDE] = [0; SIDE];
        }
    }

    /// Packs a line of a plane: `channels` channels of some pixels, the first of which is the line's first number.
    #[inline(always)]
    fn pack_line(
        &mut self,
        splitter: &mut Splitter<W, P>,
        numbers: &[f32],
        channels: usize,
        plane: usize,
        row: usize,
    ) {
        let layout = self.work.layout;
        let (wide, part) = (layout.combs[1], layout.part());
        let (start, inside) = wide.positions(plane);
        let line = Line {
            numbers,
            channels,
            start: start * self.work.image.pixel as isize,
            step: wide.axis.stride * self.work.image.pixel,
            inside,
        };
        let mut this = line.split(splitter, 0);
        for at in 0..wide.len {
            let next = line.split(splitter, at + 1);
            for p in 0..P {
                let row = row + p * part + at;
                let pairs = self.join(&this, &next, p);
                self.words.write(pairs, &mut self.image[row / SIDE].0[row % SIDE]);
            }
            this = next;
        }
    }

    /// Packs the cotangents for vectors: pairs of the places of each line.
    #[inline(always)]
    pub(super) fn pack_pairs(&mut self) -> Span {
        let layout = self.work.layout;
        let mut splitter = Splitter::<W, P>::new(self.words);
        let mut row = 0;
        for col in (0..layout.columns).step_by(BLOCK) {
            let cols = BLOCK.min(layout.columns - col);
            for image in 0..layout.images {
                for line in 0..layout.lines() {
                    row = self.pack_line_pairs(&mut splitter, [image, line], [col, cols], row);
                }
            }
        }
        splitter.span()
    }

    /// Packs up to 32 columns of the pairs of a line, from a row on; returns the row after the last.
    #[inline(always)]
    fn pack_line_pairs(
        &mut self,
        splitter: &mut Splitter<W, P>,
        [image, line]: [usize; 2],
        [col, cols]: [usize; 2],
        mut row: usize,
    ) -> usize {
        let places = self.work.layout.places();
        let step = self.work.cotangent.pixel;
        let plane = &self.work.cotangent;
        let data = &plane.data[image * self.work.steps[1] + line * plane.line + col..];
        for at in (0..places).step_by(2) {
            for from in (0..cols).step_by(SIDE) {
                let count = SIDE.min(cols - from);
                let even = splitter.split(&data[at * step + from..][..count]);
                let mut odd = [self.words.zero(); P];
                if at + 1 < places {
                    odd = splitter.split(&data[(at + 1) * step + from..][..count]);
                }
                let pairs = self.join(&even, &odd, 0);
                self.words
                    .write(pairs, &mut self.cotangent[row / SIDE].0[row % SIDE]);
                row += 1;
            }
        }
        row
    }

    /// Packs the cotangents for tiles, as the left factor.
    #[inline(always)]
    pub(super) fn pack_tiles(&mut self) -> Span {
        let layout = self.work.layout;
        let mut splitter = Splitter::<W, P>::new(self.words);
        let (runs, tiles) = (layout.runs, 2 * P);
        let mut step = 0;
        for col in (0..layout.columns).step_by(BLOCK) {
            for run in 0..runs.count {
                for first in (0..runs.steps * BLOCK).step_by(BLOCK) {
                    for p in 0..SIDE {
                        self.pack_row(&mut splitter, [run, first + 2 * p, col], [step, p]);
                    }
                    for tile in step..step + tiles {
                        self.turn(tile);
                    }
                    step += tiles;
                }
            }
        }
        splitter.span()
    }

    /// Packs two places, the first of them `at` positions from a run's start, as row `p` of the tiles of a step.
    #[inline(always)]
    fn pack_row(&mut self, splitter: &mut Splitter<W, P>, [run, at, col]: [usize; 3], [step, p]: [usize; 2]) {
        let layout = self.work.layout;
        let places = [self.position(run, at), self.position(run, at + 1)];
        let all = BLOCK.min(layout.columns - col);
        for half in 0..2 {
            let mut parts = [[self.words.zero(); P]; 2];
            if let Some(cols @ 1..) = all.checked_sub(half * SIDE) {
                for n in 0..2 {
                    if let Some(place) = places[n] {
                        let cols = [col + half * SIDE, cols.min(SIDE)];
                        parts[n] = splitter.split(self.place(place, cols));
                    }
                }
            }
            for part in 0..P {
                let pairs = self.join(&parts[0], &parts[1], part);
                self.words
                    .write(pairs, &mut self.cotangent[step + 2 * part + half].0[p]);
            }
        }
    }

    /// Image, line and place of a position of a run, where there is a place.
    #[inline(always)]
    fn position(&self, run: usize, at: usize) -> Option<[usize; 3]> {
        let layout = &self.work.layout;
        let wide = layout.combs[1].len;
        let place = match layout.walk {
            Walk::Lines => [0, run, at],
            Walk::Images => [run, at / wide, at % wide],
        };
        (place[1] < layout.lines() && place[2] < layout.places()).then_some(place)
    }

    /// Columns `cols[0]..cols[0] + cols[1]` of the cotangent of a place.
    #[inline(always)]
    fn place(&self, [image, line, at]: [usize; 3], cols: [usize; 2]) -> &[f32] {
        let plane = &self.work.cotangent;
        let from = image * self.work.steps[1] + line * plane.line + at * plane.pixel + cols[0];
        &plane.data[from..from + cols[1]]
    }

    /// Rows of a tile of the cotangent become columns.
    #[inline(always)]
    fn turn(&mut self, tile: usize) {
        let tile = &mut self.cotangent[tile];
        let mut rows = [self.words.zero(); SIDE];
        for i in 0..SIDE {
            rows[i] = self.words.read(&tile.0[i]);
        }
        let columns = self.words.transpose(rows);
        for i in 0..SIDE {
            self.words.write(columns[i], &mut tile.0[i]);
        }
    }
}
