//! Results of convolutions in pairs of bf16 numbers, on units that multiply these.
//!
//! A task goes through its places in bands: as many images, or lines of one, as there is room for in parts. A band is split once,
//! with the padding around it, for all windows that see it (those of an image's gradient are one for each residue of the stride) and
//! all columns. Where a band holds numbers that parts would lose, or infinities or NaN, its results are those of vectors.
//!
//! Scratch holds the weights as vectors read them, and behind them their parts. Bands are a function of sizes and the precision
//! alone.

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};

use super::places::{Places, Slide, Task};
use super::results::Results;
use super::way::Work;
use crate::cpu::gemm::{
    self, Arithmetic, At, Axis, BLOCK, Block, PairWindows, Parts, PlaneRoom, Product, Sheet, Span, Steps,
    Tile, Unit, Walk, WindowWork,
};
use crate::cx::Env;
use crate::ops::epilogue::Simple;

/// How often weights lie in scratch: as vectors read them, and what their parts take at most.
const COPIES: usize = 3;

/// The unit and the parts, where windows of these sizes are summed in pairs.
pub(super) fn method(places: &Places<'_>, arithmetic: Arithmetic) -> Option<(Unit, Parts)> {
    let (unit, parts) = arithmetic
        .unit()
        .filter(|(unit, parts)| serves(places, *unit, *parts))?;
    arithmetic
        .sums_windows(unit, parts, &work(places, unit))
        .then_some((unit, parts))
}

/// The windows of all residues.
fn for_each_window(places: &Places<'_>, mut f: impl FnMut([Slide; 2])) {
    places.for_each_residue(0, |slides, _| f(slides));
}

fn axes(slides: [Slide; 2]) -> [Axis; 2] {
    slides.map(|slide| slide.axis)
}

/// Whether windows can be summed in pairs: one group, room for the weights and for what a line of places sees, and with several parts, for
/// which an error is stated, pieces of 32 numbers that are full enough.
fn serves(places: &Places<'_>, unit: Unit, parts: Parts) -> bool {
    let strips = places.rows.next_multiple_of(BLOCK);
    let (mut numbers, mut tiles, mut is_short, mut is_full) = (0_usize, 0_usize, true, true);
    for_each_window(places, |slides| {
        let axes = axes(slides);
        let steps = gemm::steps_of(&axes, places.channels);
        is_short &= gemm::fits_steps(steps);
        let own = axes[0].taps * axes[1].taps * places.channels;
        is_full &= steps.saturating_mul(3 * BLOCK) <= own.saturating_mul(4);
        numbers = numbers.saturating_add(own);
        tiles = tiles.saturating_add(gemm::weight_tiles(unit, parts, &axes, places.channels));
    });
    let words = tiles.saturating_mul(size_of::<Tile>() / size_of::<f32>() * strips / BLOCK);
    let has_room = words <= (COPIES - 1).saturating_mul(numbers).saturating_mul(strips);
    let is_full = is_full || parts == Parts::One;
    places.groups == 1 && is_short && has_room && is_full && numbers > 0 && fits_a_line(places, parts)
}

/// Whether there is room for the parts of what a line of places in the middle of an image sees: the least that is split together.
fn fits_a_line(places: &Places<'_>, parts: Parts) -> bool {
    let unit = if places.out[0] == 1 { 1 } else { places.out[1] };
    let middle = places.area() / unit.max(1) / 2 * unit;
    sheet(places, 1, middle..middle + unit).fits(parts)
}

/// What a unit would have to do.
fn work(places: &Places<'_>, unit: Unit) -> WindowWork {
    let sheet = sheet(places, 1, 0..places.area());
    let [run, _] = unit.places(places.rows);
    let mut work = WindowWork {
        columns: places.rows,
        depth: usize::MAX,
        sums: [0; 2],
        numbers: [
            (places.batch * places.size[0] * places.size[1] * places.channels) as u64,
            0,
        ],
    };
    for_each_window(places, |slides| {
        let axes = axes(slides);
        let depth = axes[0].taps * axes[1].taps * places.channels;
        let counted = axes[0].places * axes[1].places * depth;
        if counted > 0 {
            work.depth = work.depth.min(depth);
        }
        let padded = match unit {
            Unit::Dots(_) => 2 * gemm::pairs_of(&axes, places.channels),
            _ => BLOCK * gemm::steps_of(&axes, places.channels),
        };
        let spots = Walk::new(sheet, axes, run).count();
        work.sums[0] += (places.batch * counted) as u64;
        work.sums[1] += (places.batch * spots * run * padded) as u64;
        work.numbers[1] += (depth * places.rows) as u64;
    });
    work
}

/// Where pixels lie that some places of images see.
fn sheet(places: &Places<'_>, images: usize, part: Range<usize>) -> Sheet {
    let residues = (0..places.residues[0]).flat_map(|y| (0..places.residues[1]).map(move |x| [y, x]));
    let mut windows = residues.map(|[y, x]| {
        let slides = [(places.slide)(0, y), (places.slide)(1, x)];
        axes(places.part(slides, part.start, part.len()).0)
    });
    Sheet::new(images, places.channels, &mut windows)
}

/// Computes all results in pairs. `packed` has room for the weights three times, in whole strips of 32 columns.
pub(super) fn run(
    work: &Work<'_, f32>,
    (unit, parts): (Unit, Parts),
    packed: &mut [f32],
    out: Results<'_, f32>,
) {
    let (places, env) = (&work.places, work.env);
    if out.memory.is_empty() {
        return;
    }
    let padded = places.padded::<f32>(env);
    let mut depth = 0;
    for_each_window(places, |[y, x]| {
        depth += y.axis.taps * x.axis.taps * places.channels
    });
    let (plain, room) = packed.split_at_mut(depth * padded);
    places.for_each_residue(padded, |slides, first| {
        places.pack(env, BLOCK, slides, work.weights, &mut plain[first..]);
    });
    let plain: &[f32] = plain;
    let tiles = gemm::tiles_mut(room);
    let span = split_weights(places, env, (unit, parts), plain, tiles);
    let job = Job {
        work,
        unit,
        parts,
        plain,
        tiles,
        span,
    };
    let cut = places.blocks(BLOCK);
    out.compute(places, env, (cut, [BLOCK, 1]), |at, block| job.task(at, block));
}

/// Splits the packed weights: for each residue and each block of 32 columns the tiles of all steps.
fn split_weights(
    places: &Places<'_>,
    env: Env<'_>,
    (unit, parts): (Unit, Parts),
    plain: &[f32],
    tiles: &mut [Tile],
) -> Span {
    let padded = places.padded::<f32>(env);
    let seen = [AtomicU32::new(u32::MAX), AtomicU32::new(0)];
    let mut rest = tiles;
    places.for_each_residue(padded, |slides, first| {
        let axes = axes(slides);
        let [runs, len] = gemm::runs(&axes, places.channels);
        let (depth, blocks) = (runs * len, padded.div_ceil(BLOCK));
        if depth == 0 {
            return;
        }
        let each = gemm::weight_tiles(unit, parts, &axes, places.channels);
        let some = rest
            .split_off_mut(..blocks * each)
            .expect("scratch has room for the parts of weights");
        let split = |block: usize, tiles: &mut [Tile]| {
            let columns = BLOCK.min(padded - block * BLOCK);
            let weights = &plain[first + block * BLOCK * depth..][..depth * columns];
            let span = gemm::split_weights(unit, parts, [runs, len], (weights, columns), tiles);
            let [low, high] = span.ends();
            seen[0].fetch_min(low, Ordering::Relaxed);
            seen[1].fetch_max(high, Ordering::Relaxed);
        };
        places.for_each_chunk(env, some, each, split);
    });
    Span::between(seen.map(AtomicU32::into_inner))
}

/// What all tasks have in common.
struct Job<'a> {
    work: &'a Work<'a, f32>,
    unit: Unit,
    parts: Parts,
    /// Weights as vectors read them.
    plain: &'a [f32],
    /// Their parts.
    tiles: &'a [Tile],
    span: Span,
}

/// Results that are computed from planes that are split together: all places of some images, or some of one.
struct Band {
    image: usize,
    images: usize,
    places: Range<usize>,
}

impl Job<'_> {
    /// Computes a block of results.
    fn task(&self, at: At, block: &mut Block<'_, f32>) {
        let mut room = PlaneRoom::new();
        let area = self.work.places.area();
        let first = at.matrix * area + at.row;
        let (mut row, rows, cols) = (0, block.rows(), block.cols());
        while row < rows {
            let band = self.band(first + row, rows - row);
            let end = row + band.images * band.places.len();
            self.compute(&band, at.col, &mut block.part(row..end, 0..cols), &mut room);
            row = end;
        }
    }

    /// The next results that there is room for, from place `first` of all on: as many whole images, or the lines (places of a line) that
    /// an image is cut into evenly.
    fn band(&self, first: usize, rows: usize) -> Band {
        let (places, area) = (&self.work.places, self.work.places.area());
        let (image, first) = (first / area, first % area);
        let fits = |images: usize, part: Range<usize>| sheet(places, images, part).fits(self.parts);
        let mut images = if first == 0 { rows / area } else { 0 };
        while images > 0 && !fits(images, 0..area) {
            images /= 2;
        }
        if images > 0 {
            return Band {
                image,
                images,
                places: 0..area,
            };
        }
        let unit = if places.out[0] == 1 { 1 } else { places.out[1] };
        let units = rows.min(area - first) / unit;
        let mut cuts = 1;
        while cuts < units && !fits(1, first..first + units.div_ceil(cuts) * unit) {
            cuts += 1;
        }
        Band {
            image,
            images: 1,
            places: first..first + units.div_ceil(cuts) * unit,
        }
    }

    /// Computes a band.
    fn compute(&self, band: &Band, col: usize, out: &mut Block<'_, f32>, room: &mut PlaneRoom) {
        let Work { places, finish, .. } = self.work;
        let size = places.size;
        let sheet = sheet(places, band.images, band.places.clone());
        let image = size[0] * size[1] * places.channels;
        let images = &self.work.images[band.image * image..][..band.images * image];
        let mut depth = 1;
        for_each_window(places, |[y, x]| {
            depth = depth.max(y.axis.taps * x.axis.taps * places.channels);
        });
        let planes = sheet
            .fits(self.parts)
            .then(|| gemm::split(self.unit, self.parts, sheet, (images, size), room));
        let planes = planes.filter(|planes| self.span.serves(planes.span(), self.parts, depth));
        let row = band.image * places.area() + band.places.start;
        let Some(planes) = planes else {
            let at = At { matrix: 0, row, col };
            return Task::new(self.work, (self.plain, BLOCK)).run(at, out);
        };
        let mut tiles = self.tiles;
        for_each_window(places, |slides| {
            let each = gemm::weight_tiles(self.unit, self.parts, &axes(slides), places.channels);
            let (some, rest) = tiles.split_at(each * places.rows.div_ceil(BLOCK));
            tiles = rest;
            let (slides, rows) = places.part(slides, band.places.start, band.places.len());
            let windows = Windows {
                planes: &planes,
                axes: axes(slides),
                rows: [rows[0], rows[1], rows[2], places.area()],
                tiles: some,
                of_block: each,
            };
            self.columns(&windows, col, out);
        });
        let cols = col..col + out.cols();
        if finish.in_registers(cols).is_none() {
            f32::finish_columns(self.work.env.isa, out, *finish, [row, col]);
        }
    }

    /// The sums over some windows, for all columns.
    fn columns(&self, windows: &Windows<'_>, first: usize, out: &mut Block<'_, f32>) {
        let steps = Steps::new(self.unit, windows.planes.sheet(), &windows.axes);
        let (rows, cols) = (out.rows(), out.cols());
        for col in (0..cols).step_by(BLOCK) {
            let some = col..(col + BLOCK).min(cols);
            let tiles = &windows.tiles[(first + col) / BLOCK * windows.of_block..][..windows.of_block];
            let finish = self
                .work
                .finish
                .in_registers(first + some.start..first + some.end);
            let work = PairWindows {
                planes: windows.planes,
                axes: windows.axes,
                steps: &steps,
                weights: tiles,
                out: out.part(0..rows, some),
                rows: windows.rows,
                finish: finish.unwrap_or(Simple::NONE),
            };
            gemm::windows(self.unit, work);
        }
    }
}

/// The windows of a residue in a band.
struct Windows<'a> {
    planes: &'a gemm::Planes<'a>,
    axes: [Axis; 2],
    rows: [usize; 4],
    /// The tiles of all columns, and how many those of 32 are.
    tiles: &'a [Tile],
    of_block: usize,
}
