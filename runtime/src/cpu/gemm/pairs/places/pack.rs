//! Packing images and cotangents of a band.

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

/// How a line of a plane is packed: pairs of neighbours, one of which at least lies in the image.
struct Line {
    /// Where the first number in the image lies, and from a position to the next.
    from: usize,
    step: usize,
    /// The pairs, and all positions.
    pairs: Range<usize>,
    len: usize,
    /// Positions in the image.
    inside: usize,
    /// Rows from a part to the next.
    part: usize,
}

impl Line {
    /// Writes the pairs, and zeros around them; returns what has seen the numbers, which stays in registers.
    #[inline(always)]
    fn pack<S: Splits, C: Channels>(
        &self,
        mut splits: S,
        channels: C,
        numbers: &[f32],
        rows: &mut [[u32; SIDE]],
    ) -> S {
        for p in 0..S::PARTS {
            let rows = &mut rows[p * self.part..][..self.len];
            clear(&mut rows[..self.pairs.start]);
            clear(&mut rows[self.pairs.end..]);
        }
        let mut rest = numbers.get(self.from..).unwrap_or_default();
        // The first pair begins with the first number, or before it.
        let mut left = self.inside;
        let mut this = splits.zeros();
        if self.pairs.len() == self.inside && left > 0 {
            this = channels.half(&mut splits, rest);
            rest = rest.get(self.step..).unwrap_or_default();
            left -= 1;
        }
        for at in self.pairs.clone() {
            let mut next = splits.zeros();
            if left > 0 {
                next = channels.half(&mut splits, rest);
                rest = rest.get(self.step..).unwrap_or_default();
                left -= 1;
            }
            for p in 0..S::PARTS {
                let pairs = splits.across(&this, &next, p);
                splits.write(pairs, &mut rows[p * self.part + at]);
            }
            this = next;
        }
        splits
    }
}

/// Makes rows zeros; there are few.
#[inline(always)]
fn clear(rows: &mut [[u32; SIDE]]) {
    for row in rows {
        *row = [0; SIDE];
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
    /// Writes the pairs of a vector of columns; returns what has seen the numbers.
    #[inline(always)]
    fn pack<S: Splits, C: Channels>(&self, mut splits: S, channels: C, rows: &mut [[u32; SIDE]]) -> S {
        let mut from = 0;
        for n in 0..self.places.div_ceil(2) {
            let even = channels.half(&mut splits, &self.numbers[from..]);
            let mut odd = splits.zeros();
            if 2 * n + 1 < self.places {
                odd = channels.half(&mut splits, &self.numbers[from + self.step..]);
            }
            let pairs = splits.across(&even, &odd, 0);
            splits.write(pairs, &mut rows[n * self.vectors]);
            from += 2 * self.step;
        }
        splits
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
                let (line, (start, inside)) = (self.line(x), high.positions(y));
                for image in 0..layout.images {
                    let row = layout.plane(vector, [y, x], image);
                    for at in 0..high.len {
                        let rows = &mut rows_of(self.image)[row + at * wide.len..];
                        if !inside.contains(&at) {
                            (0..S::PARTS).for_each(|p| clear(&mut rows[p * line.part..][..line.len]));
                            continue;
                        }
                        let down = (start + (at * high.axis.stride) as isize) as usize;
                        let from = image * self.work.steps[0] + down * plane.line + channels.start;
                        let numbers = &plane.data[from..];
                        *splits = match channels.len() {
                            SIDE => line.pack(*splits, All, numbers, rows),
                            few => line.pack(*splits, Few(few), numbers, rows),
                        };
                    }
                }
            }
        }
        let used = layout.part() * S::PARTS;
        clear(&mut rows_of(self.image)[used..]);
    }

    /// How lines of a plane are packed.
    fn line(&self, plane: usize) -> Line {
        let (layout, pixel) = (self.work.layout, self.work.image.pixel);
        let wide = layout.combs[1];
        let (start, inside) = wide.positions(plane);
        let from = start + (inside.start * wide.axis.stride) as isize;
        let pairs = match inside.is_empty() {
            true => 0..0,
            false => inside.start.saturating_sub(1)..inside.end,
        };
        Line {
            from: from.max(0) as usize * pixel,
            step: wide.axis.stride * pixel,
            pairs,
            len: wide.len,
            inside: inside.len(),
            part: layout.part(),
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
            for (image, line) in
                (0..layout.images).flat_map(|image| (0..layout.lines()).map(move |line| (image, line)))
            {
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
                        SIDE.. => *splits = pairs.pack(*splits, All, &mut rows[v..]),
                        few => *splits = pairs.pack(*splits, Few(few), &mut rows[v..]),
                    }
                }
                rest = others;
            }
        }
    }

    /// Packs the cotangents for tiles, as the left factor.
    #[inline(always)]
    pub(super) fn pack_tiles<W: Words, const P: usize>(&mut self, splits: &mut Splitter<W, P>) {
        let layout = self.work.layout;
        let (runs, tiles) = (layout.runs, 2 * P);
        let mut step = 0;
        for col in (0..layout.columns).step_by(BLOCK) {
            for run in 0..runs.count {
                for first in (0..runs.steps * BLOCK).step_by(BLOCK) {
                    for p in 0..SIDE {
                        self.pack_row(splits, [run, first + 2 * p, col], [step, p]);
                    }
                    for tile in step..step + tiles {
                        splits.turn(&mut self.cotangent[tile]);
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
}
