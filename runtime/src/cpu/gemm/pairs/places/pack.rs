//! Packing images and cotangents of a band.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use std::ops::Range;

use super::super::rows_of;
use super::*;

/// How many of the 16 channels of a vector there are.
trait Channels: Copy {
    /// The first of some numbers.
    fn half<S: Splits>(self, splits: &mut S, numbers: &[f32]) -> S::Half;
}

/// Sixteen.
#[derive(Copy, Clone)]
struct All;

impl Channels for All {
    #[inline(always)]
    fn half<S: Splits>(self, splits: &mut S, numbers: &[f32]) -> S::Half {
        splits.half(numbers.first_chunk().expect("sixteen channels"))
    }
}

/// Fewer.
#[derive(Copy, Clone)]
struct Few(usize);

impl Channels for Few {
    #[inline(always)]
    fn half<S: Splits>(self, splits: &mut S, numbers: &[f32]) -> S::Half {
        splits.some(&numbers[..self.0])
    }
}

/// Positions of a line of a plane that lie in the image: pairs of neighbours, of which one at least does.
struct Line<'a> {
    /// From the first position's on.
    numbers: &'a [f32],
    /// From a position to the next.
    step: usize,
    /// Positions before the first pair, and pairs.
    first: usize,
    pairs: usize,
    /// The position of the first pair's second number, and how many positions there are in all.
    start: usize,
    len: usize,
}

impl Line<'_> {
    /// Writes the pairs, those of each part so many rows apart.
    #[inline(always)]
    fn pack<S: Splits, C: Channels>(&self, splits: &mut S, channels: C, rows: &mut [[u32; SIDE]], part: usize) {
        // What has been seen stays in registers.
        let mut seen = *splits;
        let mut this = match self.start {
            0 => seen.zeros(),
            _ => channels.half(&mut seen, self.numbers),
        };
        for n in 0..self.pairs {
            let mut next = seen.zeros();
            if self.start + n < self.len {
                next = channels.half(&mut seen, &self.numbers[(self.start + n) * self.step..]);
            }
            for p in 0..S::PARTS {
                let pairs = seen.across(&this, &next, p);
                seen.write(pairs, &mut rows[p * part + self.first + n]);
            }
            this = next;
        }
        *splits = seen;
    }
}

/// Places of a line, in pairs of their own.
#[cfg(target_arch = "x86_64")]
struct Pairs<'a> {
    /// From the first place's on.
    numbers: &'a [f32],
    /// From a place to the next.
    step: usize,
    places: usize,
    /// Rows from a pair to the next.
    vectors: usize,
}

#[cfg(target_arch = "x86_64")]
impl Pairs<'_> {
    /// Writes the pairs of a vector of columns.
    #[inline(always)]
    fn pack<S: Splits, C: Channels>(&self, splits: &mut S, channels: C, rows: &mut [[u32; SIDE]]) {
        let mut seen = *splits;
        let mut from = 0;
        for n in 0..self.places.div_ceil(2) {
            let even = channels.half(&mut seen, &self.numbers[from..]);
            let mut odd = seen.zeros();
            if 2 * n + 1 < self.places {
                odd = channels.half(&mut seen, &self.numbers[from + self.step..]);
            }
            let pairs = seen.across(&even, &odd, 0);
            seen.write(pairs, &mut rows[n * self.vectors]);
            from += 2 * self.step;
        }
        *splits = seen;
    }
}

impl Packing<'_, '_, '_, '_> {
    /// Packs the images: pairs of positions that follow each other in a plane.
    #[inline(always)]
    pub(super) fn pack_image<S: Splits>(&mut self, splits: &mut S) {
        let (layout, plane) = (self.work.layout, self.work.image);
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
                            self.fill_line::<S>(row, 0..wide.len);
                            continue;
                        }
                        let line = (start + (at * high.axis.stride) as isize) as usize;
                        let from = image * self.work.steps[0] + line * plane.line + channels.start;
                        let numbers = &plane.data[from..];
                        self.pack_line(splits, numbers, channels.len(), x, row);
                    }
                }
            }
        }
        self.fill_tail::<S>();
    }

    /// Positions of a line of a plane that lie in the padding.
    #[inline(always)]
    fn fill_line<S: Splits>(&mut self, row: usize, some: Range<usize>) {
        let part = self.work.layout.part();
        let rows = rows_of(self.image);
        for p in 0..S::PARTS {
            rows[row + p * part..][some.clone()].fill([0; SIDE]);
        }
    }

    /// What is read after the last line.
    #[inline(always)]
    fn fill_tail<S: Splits>(&mut self) {
        let used = self.work.layout.part() * S::PARTS;
        rows_of(self.image)[used..].fill([0; SIDE]);
    }

    /// Packs a line of a plane: `channels` channels of some pixels, the first of which is the line's first number.
    #[inline(always)]
    fn pack_line<S: Splits>(
        &mut self,
        splits: &mut S,
        numbers: &[f32],
        channels: usize,
        plane: usize,
        row: usize,
    ) {
        let layout = self.work.layout;
        let (wide, part) = (layout.combs[1], layout.part());
        let (start, inside) = wide.positions(plane);
        if inside.is_empty() {
            return self.fill_line::<S>(row, 0..wide.len);
        }
        let (pixel, first) = (self.work.image.pixel, inside.start.saturating_sub(1));
        let from = (start + (inside.start * wide.axis.stride) as isize) as usize;
        let line = Line {
            numbers: &numbers[from * pixel..],
            step: wide.axis.stride * pixel,
            first,
            pairs: inside.end - first,
            start: usize::from(inside.start == 0),
            len: inside.len(),
        };
        self.fill_line::<S>(row, 0..first);
        self.fill_line::<S>(row, inside.end..wide.len);
        let rows = &mut rows_of(self.image)[row..];
        match channels {
            SIDE => line.pack(splits, All, rows, part),
            few => line.pack(splits, Few(few), rows, part),
        }
    }

    /// Packs the cotangents for vectors: pairs of the places of each line.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    pub(super) fn pack_pairs<S: Splits>(&mut self, splits: &mut S) {
        let (layout, plane) = (self.work.layout, self.work.cotangent);
        let mut rest = rows_of(self.cotangent);
        for col in (0..layout.columns).step_by(BLOCK) {
            let cols = BLOCK.min(layout.columns - col);
            let vectors = cols.div_ceil(SIDE);
            for (image, line) in (0..layout.images).flat_map(|image| (0..layout.lines()).map(move |line| (image, line))) {
                let (rows, others) = rest.split_at_mut(layout.pairs() * vectors);
                let from = image * self.work.steps[1] + line * plane.line + col;
                for v in 0..vectors {
                    let pairs = Pairs {
                        numbers: &plane.data[from + v * SIDE..],
                        step: plane.pixel,
                        places: layout.places(),
                        vectors,
                    };
                    match cols - v * SIDE {
                        SIDE.. => pairs.pack(splits, All, &mut rows[v..]),
                        few => pairs.pack(splits, Few(few), &mut rows[v..]),
                    }
                }
                rest = others;
            }
        }
    }

    /// Packs the cotangents for tiles, as the left factor.
    #[inline(always)]
    pub(super) fn pack_tiles<W: Words, S: Splits>(&mut self, words: W, splits: &mut S) {
        let layout = self.work.layout;
        let (runs, tiles) = (layout.runs, 2 * S::PARTS);
        let mut step = 0;
        for col in (0..layout.columns).step_by(BLOCK) {
            for run in 0..runs.count {
                for first in (0..runs.steps * BLOCK).step_by(BLOCK) {
                    for p in 0..SIDE {
                        self.pack_row(splits, [run, first + 2 * p, col], [step, p]);
                    }
                    for tile in step..step + tiles {
                        self.turn(words, tile);
                    }
                    step += tiles;
                }
            }
        }
    }

    /// Packs two places, the first of them `at` positions from a run's start, as row `p` of the tiles of a step.
    #[inline(always)]
    fn pack_row<S: Splits>(&mut self, splits: &mut S, [run, at, col]: [usize; 3], [step, p]: [usize; 2]) {
        let layout = self.work.layout;
        let places = [self.position(run, at), self.position(run, at + 1)];
        let all = BLOCK.min(layout.columns - col);
        for half in 0..2 {
            let mut numbers = [splits.zeros(); 2];
            if let Some(cols @ 1..) = all.checked_sub(half * SIDE) {
                for n in 0..2 {
                    if let Some(place) = places[n] {
                        let cols = [col + half * SIDE, cols.min(SIDE)];
                        numbers[n] = splits.some(self.place(place, cols));
                    }
                }
            }
            for part in 0..S::PARTS {
                let pairs = splits.across(&numbers[0], &numbers[1], part);
                splits.write(pairs, &mut self.cotangent[step + 2 * part + half].0[p]);
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
    fn turn<W: Words>(&mut self, words: W, tile: usize) {
        let tile = &mut self.cotangent[tile];
        let mut rows = [words.zero(); SIDE];
        for i in 0..SIDE {
            rows[i] = words.read(&tile.0[i]);
        }
        let columns = words.transpose(rows);
        for i in 0..SIDE {
            words.write(columns[i], &mut tile.0[i]);
        }
    }
}
