//! Sums over windows of images, in pairs: products of places and columns whose left factor is read where it lies in the
//! [planes](Planes) of an image.
//!
//! What a place sees of a line is one run of numbers, and places next to each other see runs that begin a pixel (or a stride) apart:
//! the rows of a tile are pieces of 32 numbers of these runs. A window is a list of such pieces ([`Steps`]), the same for all places,
//! with tiles of weights for each. Weights of what lies behind the end of a run are zeros, and what is read there is finite: a band
//! of images that holds infinities or NaN is not computed here.
//!
//! Where the stride is 1, the places of a tile may belong to two lines, if that makes fewer tiles; those between the lines are computed
//! and dropped ([`Walk`]).
//!
//! A sum goes through the window's lines, and in them along the run, 32 numbers at a time. It stays in its tile (its register) from
//! the first to the last.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
use super::dots;
#[cfg(target_arch = "x86_64")]
use super::plane::Rounding;
use super::plane::{PlaneRoom, Planes, Sheet, Splitting};
use super::words::{self, OnWords, Words};
use super::{BLOCK, Engine, Parts, SIDE, Sums, Tile};
use crate::cpu::gemm::method::Unit;
use crate::cpu::gemm::{Axis, Block};
use crate::ops::epilogue::{Activation, Simple};

/// Most pieces of a window.
const MOST_STEPS: usize = 512;
/// Most runs of places whose sums are computed together.
pub(crate) const SPOTS: usize = 4;

/// Thirty-two numbers of a run, or what is left of it; for `vdpbf16ps` a whole run.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[repr(C)]
pub(crate) struct Step {
    /// From the first number that a place sees.
    pub at: usize,
    /// Pairs of it that count, the last perhaps with one number.
    pub pairs: usize,
}

/// The pieces of a window.
pub struct Steps {
    steps: [Step; MOST_STEPS],
    len: usize,
    /// Numbers from the first that a place sees to behind the last that is read.
    reach: usize,
}

/// How a window is cut into runs: how many, and numbers of each.
pub fn runs([y, x]: &[Axis; 2], channels: usize) -> [usize; 2] {
    match x.step {
        1 => [y.taps, x.taps * channels],
        _ => [y.taps * x.taps, channels],
    }
}

/// Steps of a window; saturates.
pub fn steps_of(axes: &[Axis; 2], channels: usize) -> usize {
    let [runs, len] = runs(axes, channels);
    runs.saturating_mul(len.div_ceil(BLOCK))
}

/// Pairs of a window's runs; saturates.
pub fn pairs_of(axes: &[Axis; 2], channels: usize) -> usize {
    let [runs, len] = runs(axes, channels);
    runs.saturating_mul(len.div_ceil(2))
}

/// Whether there is room for so many steps.
pub fn fits_steps(steps: usize) -> bool {
    steps <= MOST_STEPS
}

impl Steps {
    /// Those of windows over a sheet, as a unit reads them.
    ///
    /// # Panics
    /// Where there are too many: see [`fits_steps`].
    pub fn new(unit: Unit, sheet: &Sheet, axes: &[Axis; 2]) -> Self {
        let [y, x] = axes;
        let [runs, len] = runs(axes, sheet.channels());
        let across = runs / y.taps.max(1);
        // Numbers of a piece, and those that are read of it.
        let (piece, read) = match unit {
            Unit::Dots(_) => (len.max(1), len.next_multiple_of(4)),
            Unit::Tiles(_) => (BLOCK, BLOCK),
        };
        let mut steps = Self {
            steps: [Step { at: 0, pairs: 0 }; MOST_STEPS],
            len: 0,
            reach: 0,
        };
        for run in 0..runs {
            let (down, right) = (run / across * y.step, run % across * x.step);
            let first = down * sheet.line() + right * sheet.channels();
            for from in (0..len).step_by(piece) {
                let pairs = (len - from).min(piece).div_ceil(2);
                steps.steps[steps.len] = Step {
                    at: first + from,
                    pairs,
                };
                steps.len += 1;
                steps.reach = first + from + read;
            }
        }
        steps
    }

    /// The pieces.
    #[inline(always)]
    pub(super) fn list(&self) -> &[Step] {
        &self.steps[..self.len]
    }

    /// Numbers from the first that a place sees to behind the last that is read.
    pub(super) fn reach(&self) -> usize {
        self.reach
    }
}

/// Places of a line, and perhaps of the next, that are computed at a time.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Spot {
    /// The first number that the first of them sees.
    pub(super) at: usize,
    /// Image, line and place in the line.
    pub(super) place: [usize; 3],
    /// Places of the tile that may count.
    pub(super) count: usize,
}

impl Spot {
    /// Calls `f` with those places of the tile that count, a run of each line, with the row of the first one's result and how far
    /// apart those of neighbours are.
    #[inline(always)]
    pub(super) fn for_each_run(
        &self,
        pitch: Option<usize>,
        [y, x]: [Axis; 2],
        [first, lines, places, images]: [usize; 4],
        mut f: impl FnMut(Range<usize>, [usize; 2]),
    ) {
        let [image, mut line, mut place] = self.place;
        let mut from = 0;
        while line < y.places && from < self.count {
            let some = (self.count - from).min(x.places - place);
            let row = first + image * images + line * lines + place * places;
            f(from..from + some, [row, places]);
            let Some(pitch) = pitch else { return };
            from += pitch - place;
            (line, place) = (line + 1, 0);
        }
    }
}

/// Goes through the places of a sheet's images that count, in order.
#[derive(Copy, Clone)]
pub struct Walk {
    sheet: Sheet,
    axes: [Axis; 2],
    /// Places that are computed at a time.
    unit: usize,
    /// Places of a line of places, with those that lie between lines, where tiles run over the ends of lines.
    pitch: Option<usize>,
    /// Of the next place.
    place: [usize; 3],
}

impl Walk {
    /// The places of these windows in all images, `unit` at a time: over the ends of lines where that makes fewer tiles and places
    /// follow each other as numbers do.
    pub fn new(sheet: Sheet, axes: [Axis; 2], unit: usize) -> Self {
        let [y, x] = axes;
        let is_empty = axes.iter().any(|axis| axis.places == 0);
        let first = if is_empty { sheet.images() } else { 0 };
        let pitch = pitch(&sheet, &axes).filter(|pitch| {
            let over_ends = (y.places.saturating_sub(1) * pitch + x.places).div_ceil(unit);
            over_ends < y.places * x.places.div_ceil(unit)
        });
        Self {
            sheet,
            axes,
            unit,
            pitch,
            place: [first, 0, 0],
        }
    }

    /// Places of a line of places, with those that lie between lines, where tiles run over the ends of lines.
    pub(super) fn pitch(&self) -> Option<usize> {
        self.pitch
    }

    /// The numbers from a place to the next.
    pub(super) fn step(&self) -> usize {
        self.axes[1].stride * self.sheet.channels()
    }
}

/// Places from the first of a line to that of the next, with those that lie between lines, where they follow each other as numbers do.
fn pitch(sheet: &Sheet, [y, x]: &[Axis; 2]) -> Option<usize> {
    (x.stride == 1).then(|| y.stride * (sheet.line() / sheet.channels().max(1)))
}

/// The same windows with all places of an image in one line, where nothing lies between lines, neither of places nor of results.
fn joined(sheet: &Sheet, axes: [Axis; 2], rows: [usize; 4]) -> [Axis; 2] {
    let [y, x] = axes;
    let is_dense = pitch(sheet, &axes) == Some(x.places) && rows[1] == x.places * rows[2];
    match is_dense && y.places > 0 {
        true => [
            Axis { places: 1, ..y },
            Axis {
                places: y.places * x.places,
                ..x
            },
        ],
        false => axes,
    }
}

impl Iterator for Walk {
    type Item = Spot;

    #[inline]
    fn next(&mut self) -> Option<Spot> {
        let ([y, x], [image, line, place]) = (self.axes, self.place);
        if image == self.sheet.images() {
            return None;
        }
        let position = |axis: Axis, place: usize| axis.start + (place * axis.stride) as isize;
        let mut spot = Spot {
            at: self.sheet.at(image, [position(y, line), position(x, place)]),
            place: self.place,
            count: self.unit.min(x.places - place),
        };
        let (mut line, mut end) = (line, place + self.unit);
        if let Some(pitch) = self.pitch {
            // On to the first place that is not in the tile.
            spot.count = self.unit;
            while end >= pitch && line < y.places {
                (line, end) = (line + 1, end - pitch);
            }
        }
        if end >= x.places {
            (line, end) = (line + 1, 0);
        }
        // A tile ends with its image.
        self.place = match line < y.places {
            true => [image, line, end],
            false => [image + 1, 0, 0],
        };
        Some(spot)
    }
}

/// Splits the images of a sheet, which follow each other in memory.
///
/// # Panics
/// Where there is no room for them, or there are fewer numbers.
pub fn split<'m>(
    unit: Unit,
    parts: Parts,
    sheet: Sheet,
    (images, size): (&[f32], [usize; 2]),
    room: &'m mut PlaneRoom,
) -> Planes<'m> {
    let splitting = Splitting {
        parts,
        sheet,
        images,
        size,
        room,
    };
    match unit {
        #[cfg(target_arch = "x86_64")]
        Unit::Dots(bf16) => bf16.run(Rounding(bf16, splitting)),
        _ => words::run(unit, splitting),
    }
}

/// Sums over windows of images in parts, for up to 32 columns.
pub struct PairWindows<'x, 'b> {
    /// The images.
    pub planes: &'x Planes<'x>,
    /// The windows.
    pub axes: [Axis; 2],
    /// The pieces of each.
    pub steps: &'x Steps,
    /// Weights for each piece, as [`split_weights`](super::split_weights) leaves them.
    pub weights: &'x [Tile],
    /// Results: a row for each place.
    pub out: Block<'b, f32>,
    /// The row of the first place, and how far apart those of neighbouring lines, places and images are.
    pub rows: [usize; 4],
    /// What happens to the results.
    pub finish: Simple<'x, f32>,
}

/// Computes sums over windows.
///
/// # Panics
/// Where the sizes do not fit together.
pub fn windows(unit: Unit, mut work: PairWindows<'_, '_>) {
    assert!(work.out.cols() <= BLOCK, "{} columns at a time", work.out.cols());
    work.axes = joined(work.planes.sheet(), work.axes, work.rows);
    let tiles = match unit {
        #[cfg(target_arch = "x86_64")]
        Unit::Dots(bf16) => return dots::windows::windows(bf16, work),
        #[cfg(not(target_arch = "x86_64"))]
        Unit::Dots(bf16) => bf16.is_nowhere(),
        Unit::Tiles(tiles) => tiles,
    };
    let places = unit.places(work.out.cols());
    Engine::with(tiles, |engine| {
        let windowing = Windowing { places, engine, work };
        words::run(unit, windowing);
    });
}

/// What tiles multiply at a time.
pub(crate) struct Spots<'x> {
    pub parts: Parts,
    /// All planes, one after the other, and the numbers of each.
    pub halves: &'x [u16],
    pub plane: usize,
    /// Where runs of places begin.
    pub at: &'x [usize],
    /// From a place to the next.
    pub step: usize,
    /// The pieces of a window, and the numbers from the first to behind the last that is read.
    pub steps: &'x [Step],
    reach: usize,
    pub weights: &'x [Tile],
    pub columns: usize,
}

impl Spots<'_> {
    /// Whether a plane holds what is read of so many places of each run.
    #[inline(always)]
    pub fn are_held(&self, places: usize) -> bool {
        let last = (places - 1) * self.step + self.reach;
        let mut are_held = self.plane * self.parts.count() == self.halves.len();
        for at in self.at {
            are_held &= at + last <= self.plane;
        }
        are_held
    }

    /// Whether there are tiles of weights for all pieces.
    #[inline(always)]
    pub fn have_tiles(&self) -> bool {
        self.weights.len() >= self.steps.len() * 2 * self.parts.count()
    }
}

struct Windowing<'x, 'b, 's> {
    /// Places next to each other, and how many such runs are computed at a time.
    places: [usize; 2],
    engine: Engine<'s>,
    work: PairWindows<'x, 'b>,
}

impl OnWords for Windowing<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Words>(mut self, _: W) {
        let [unit, together] = self.places;
        let planes = self.work.planes;
        let mut walk = Walk::new(*planes.sheet(), self.work.axes, unit);
        let (step, pitch) = (walk.step(), walk.pitch());
        let mut sums = [const { Sums([[0.0; BLOCK]; BLOCK]) }; SPOTS * SIDE / BLOCK];
        let mut next = walk.next();
        while next.is_some() {
            let (mut at, mut spots, mut count) = ([0; SPOTS], [None; SPOTS], 0);
            while let Some(spot) = next
                && count < together
            {
                (at[count], spots[count]) = (spot.at, next);
                count += 1;
                next = walk.next();
            }
            let work = Spots {
                parts: planes.parts(),
                halves: planes.halves(),
                plane: planes.len(),
                at: &at[..count],
                step,
                steps: self.work.steps.list(),
                reach: self.work.steps.reach(),
                weights: self.work.weights,
                columns: self.work.out.cols(),
            };
            // Sums of nothing stay zeros.
            if !work.steps.is_empty() {
                self.engine.windows(&work, &mut sums);
            }
            for (n, spot) in spots.iter().flatten().enumerate() {
                let first = n * unit;
                self.write(spot, pitch, &sums[first / BLOCK].0[first % BLOCK..][..unit]);
            }
        }
    }
}

impl Windowing<'_, '_, '_> {
    /// Writes the sums of those places of a tile that count.
    #[inline(always)]
    fn write(&mut self, spot: &Spot, pitch: Option<usize>, sums: &[[f32; BLOCK]]) {
        let (axes, rows) = (self.work.axes, self.work.rows);
        spot.for_each_run(pitch, axes, rows, |some, place| self.rows(&sums[some], place));
    }

    /// Writes rows of results, `step` apart.
    #[inline(always)]
    fn rows(&mut self, sums: &[[f32; BLOCK]], place: [usize; 2]) {
        match self.work.out.cols() {
            BLOCK => self.whole_rows::<BLOCK>(sums, place),
            SIDE => self.whole_rows::<SIDE>(sums, place),
            columns => {
                let [first, step] = place;
                for i in 0..sums.len() {
                    let mut row = sums[i];
                    finish(self.work.finish, &mut row[..columns]);
                    let to = self.work.out.row_mut(first + i * step);
                    to.copy_from_slice(&row[..columns]);
                }
            }
        }
    }

    /// The same where their length is a constant, so that they go through registers.
    #[inline(always)]
    fn whole_rows<const N: usize>(&mut self, sums: &[[f32; BLOCK]], [first, step]: [usize; 2]) {
        for i in 0..sums.len() {
            let (Some(row), Some(to)) = (
                sums[i].first_chunk::<N>(),
                self.work.out.row_mut(first + i * step).first_chunk_mut::<N>(),
            ) else {
                return;
            };
            let mut row = *row;
            finish(self.work.finish, &mut row);
            *to = row;
        }
    }
}

/// Adds the bias, and applies the activation.
#[inline(always)]
fn finish(finish: Simple<'_, f32>, row: &mut [f32]) {
    if let Some(bias) = finish.bias
        && let Some(bias) = bias.get(..row.len())
    {
        for j in 0..row.len() {
            row[j] += bias[j];
        }
    }
    if finish.activation == Activation::Relu {
        for j in 0..row.len() {
            row[j] = relu(row[j]);
        }
    }
}

/// max(x, 0), NaN stays NaN.
#[inline(always)]
fn relu(x: f32) -> f32 {
    if x <= 0.0 { 0.0 } else { x }
}
