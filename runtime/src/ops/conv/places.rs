//! Results of convolutions: for every place the sum over the window and its channels.

use std::ops::Range;

use super::window::{Axis, BAND, Cut, Layout, PLACES, TAPS, runs};
use crate::cpu::gemm::{
    self, Ahead, At, Band, Block, Blocks, Correlate, Correlation, LANES, Lines, Placing, Runs, Slide, Start,
    Tap,
};
use crate::cpu::isa::Isa;
use crate::cx::Env;

/// `out[b, g, r, place] = sum over c, e of weights[g, r, c, e] image[b, g, c, position(place, e)]` for all images and groups.
#[derive(Copy, Clone, Debug)]
pub(super) struct Places {
    /// Number of images.
    pub batch: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Channels of a group of an image.
    pub channels: usize,
    /// Channels of a group of a result.
    pub rows: usize,
    /// How the window moves.
    pub slides: [Slide; 2],
}

/// Rows of a tile's sums.
const MAX_STRIP: usize = 12;
/// Room for the sums of a strip.
const SUMS: usize = MAX_STRIP * PLACES;
/// Tasks that a convolution is cut into, at least, where it is large enough.
const TASKS: usize = 16;
/// Multiply-adds that are worth a task of their own.
const TASK: usize = 1 << 20;
/// Multiply-adds in all below which other threads are not asked for help.
const SMALL: usize = 1 << 17;

impl Places {
    fn window(&self) -> usize {
        self.slides[0].window * self.slides[1].window
    }

    /// Weights of a row.
    fn depth(&self) -> usize {
        self.channels * self.window()
    }

    fn area(&self) -> usize {
        self.slides[0].places * self.slides[1].places
    }

    fn work(&self) -> usize {
        [self.batch, self.groups, self.rows, self.depth(), self.area()]
            .into_iter()
            .fold(1, usize::saturating_mul)
    }

    /// Rows and places of the blocks that tasks compute.
    fn task(&self, cut: &Cut) -> [usize; 2] {
        let [y, x] = self.slides;
        let places = match y.places {
            1 => cut.places * x.divisor,
            _ => cut.lines * y.divisor * x.places,
        };
        let tasks = self.batch * self.groups * self.area().div_ceil(places);
        let worth = (self.work() / TASK).min(TASKS);
        let parts = worth
            .div_ceil(tasks.max(1))
            .clamp(1, self.rows.div_ceil(2 * MAX_STRIP));
        let rows = self.rows.div_ceil(parts).next_multiple_of(MAX_STRIP);
        [rows.min(self.rows), places]
    }

    /// Computes all results; `packed` has room for the weights. Every finished block is handed to `finish`.
    pub fn run<T: Correlate>(
        &self,
        env: Env<'_>,
        cut: Cut,
        images: &[T],
        (weights, packed): (Weights<'_, T>, &mut [T]),
        out: &mut [T],
        finish: impl Fn(At, &mut Block<'_, T>) + Sync,
    ) {
        if out.is_empty() {
            return;
        }
        let [rows, places] = self.task(&cut);
        let depth = self.depth();
        weights.pack(env, self, rows, packed);
        let packed: &[T] = packed;
        let team = (self.work() >= SMALL).then_some(env.team);
        let count = self.batch * self.groups;
        let image = self.channels * self.slides[0].image * self.slides[1].image;
        let blocks = Blocks::new(out, [count * self.rows, self.area()], self.rows, [rows, places]);
        blocks.run(team, |at, mut block| {
            let ahead = self.ahead(env, &cut, (images, places), at, &mut block);
            let first = at.matrix % self.groups * self.rows + at.row;
            let task = Task {
                places: self,
                env,
                cut,
                image: &images[at.matrix * image..][..image],
                weights: &packed[first * depth..][..block.rows() * depth],
            };
            task.run(at.col, &mut block, ahead);
            finish(at, &mut block);
        });
    }

    /// What to ask for while a block is computed: the block itself, and what of an image the block of `places` places will need that
    /// this thread is likely to compute next.
    fn ahead<T>(
        &self,
        env: Env<'_>,
        cut: &Cut,
        (images, places): (&[T], usize),
        at: At,
        block: &mut Block<'_, T>,
    ) -> Ahead {
        let [y, x] = self.slides;
        let across = self.area().div_ceil(places);
        let next = at.matrix * across + at.col / places + env.team.threads();
        let (matrix, col) = (next / across, next % across * places);
        let axis = || {
            let (first, lines) = (col / x.places, places.div_ceil(x.places));
            Axis::new(y, first, y.places.min(first + lines))
        };
        let area = y.image * x.image;
        let input = match images
            .get(matrix * self.channels * area..)
            .and_then(|from| Some((from, axis()?)))
        {
            Some((from, axis)) => runs(
                from,
                [y.image, x.image],
                axis.seen(),
                [1, self.channels, self.channels],
            ),
            None => Runs::NONE,
        };
        let (rows, cols) = (block.rows(), block.cols());
        let output = Runs::new(block.row_mut(0), cols, self.area(), rows);
        let tiles = rows.div_ceil(MAX_STRIP) * cols.div_ceil(LANES) * self.channels.div_ceil(cut.channels);
        Ahead::new([output, input], tiles)
    }
}

/// The weights of a convolution as they lie in memory: element `k` of row `r` of group `g` is at
/// `g * group + r * row + k / window * channel + k % window`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Weights<'a, T> {
    /// All weights.
    pub data: &'a [T],
    /// From a row to the next.
    pub row: usize,
    /// From a channel to the next.
    pub channel: usize,
}

impl<T: Correlate> Weights<'_, T> {
    /// Lays out the weights strip by strip as [`Correlation`] reads them, where tasks have `part` rows.
    fn pack(&self, env: Env<'_>, places: &Places, part: usize, packed: &mut [T]) {
        let (depth, window) = (places.depth(), places.window());
        let group = places.rows * depth;
        let chunk = if places.groups == 1 { part * depth } else { group };
        env.team.chunks_mut(packed, chunk, |n, packed| {
            let mut first = n * chunk / depth;
            for packed in packed.chunks_mut(part * depth) {
                let mut rest = packed;
                while !rest.is_empty() {
                    let rows = T::strip(env.isa, rest.len() / depth);
                    let (strip, after) = rest.split_at_mut(rows * depth);
                    let (g, row) = (first / places.rows, first % places.rows);
                    let from = &self.data[g * group + row * self.row..];
                    for c in 0..places.channels {
                        let to = &mut strip[c * window * rows..][..window * rows];
                        for r in 0..rows {
                            let from = &from[r * self.row + c * self.channel..][..window];
                            // Indices: an iterator's methods need not be inlined, and cost more than the copies.
                            for t in 0..window {
                                to[t * rows + r] = from[t];
                            }
                        }
                    }
                    gemm::prepare(env.arithmetic(), strip);
                    (rest, first) = (after, first + rows);
                }
            }
        });
    }
}

/// What computes a block of the results of one group of one image.
struct Task<'a, T> {
    places: &'a Places,
    env: Env<'a>,
    cut: Cut,
    image: &'a [T],
    /// The packed weights of the block's rows.
    weights: &'a [T],
}

/// Where the results of a layout go: lines and places within a block, and how far apart they are.
struct Target {
    width: usize,
    first: [usize; 2],
    step: [usize; 2],
}

impl<T: Correlate> Task<'_, T> {
    /// Computes the block whose first place is number `col`.
    #[inline(never)]
    fn run(&self, col: usize, block: &mut Block<'_, T>, mut ahead: Ahead) {
        let [y, x] = self.places.slides;
        let (lines, columns) = match y.places {
            1 => (0..1, col..col + block.cols()),
            _ => (col / x.places..(col + block.cols()) / x.places, 0..x.places),
        };
        let mut band = Band::<T, BAND>::new();
        let mut sums = Band::<T, SUMS>::new();
        let step = self.cut.places * x.divisor;
        for from in columns.clone().step_by(step) {
            let part = from..(from + step).min(columns.end);
            for residue_y in 0..y.divisor.min(lines.len()) {
                for residue_x in 0..x.divisor.min(part.len()) {
                    let first = [lines.start + residue_y, part.start + residue_x];
                    let target = Target {
                        width: columns.len(),
                        first: [residue_y, first[1] - columns.start],
                        step: [y.divisor, x.divisor],
                    };
                    let axes = (
                        Axis::new(y, first[0], lines.end),
                        Axis::new(x, first[1], part.end),
                    );
                    match axes {
                        (Some(y), Some(x)) => {
                            let rooms = (&mut band, &mut sums);
                            self.layout(Layout::new([y, x], 1), rooms, block, &target, &mut ahead);
                        }
                        _ => clear(block, &target, [&lines, &part], first),
                    }
                }
            }
        }
    }

    /// Computes the places of a layout.
    fn layout(
        &self,
        layout: Layout,
        (band, sums): (&mut Band<T, BAND>, &mut Band<T, SUMS>),
        block: &mut Block<'_, T>,
        target: &Target,
        ahead: &mut Ahead,
    ) {
        let (channels, depth) = (self.places.channels, self.places.depth());
        let window = self.places.window();
        let mut taps = [Tap::default(); TAPS];
        let taps = layout.taps(&mut taps);
        let lying = self.lying(&layout, target, block.rows());
        let row = lying.map_or_else(|| layout.places().next_multiple_of(LANES), |_| 0);
        sums.clear();
        let sums = sums.push(row * block.rows().min(MAX_STRIP));
        let (mut rest, mut first, mut laid) = (self.weights, 0, 0..0);
        while first < block.rows() {
            let rows = T::strip(self.env.isa, block.rows() - first);
            let (strip, after) = rest.split_at(rows * depth);
            for from in (0..channels).step_by(self.cut.channels) {
                let some = from..(from + self.cut.channels).min(channels);
                if laid != some {
                    self.lay(&layout, &some, band);
                    laid = some.clone();
                }
                let (places, [width, gap]) = lying.unwrap_or((layout.places(), [layout.places(), 0]));
                let correlation = Correlation {
                    lines: Lines {
                        data: band.filled(),
                        step: layout.channel,
                        channels: some.len(),
                        taps,
                    },
                    weights: &strip[from * window * rows..],
                    window,
                    sums: match lying {
                        Some(_) => block.part(first..first + rows, 0..block.cols()),
                        None => Block::whole(&mut sums[..rows * row], rows, row),
                    },
                    places,
                    width,
                    gap,
                    ahead,
                    start: if from == 0 {
                        Start::Overwrite
                    } else {
                        Start::Accumulate
                    },
                };
                T::correlate(self.env.isa, correlation);
            }
            if lying.is_none() {
                let strip = block.part(first..first + rows, 0..block.cols());
                put(self.env.isa, (sums, row), &layout, strip, target);
            }
            (rest, first) = (after, first + rows);
        }
    }

    /// Lays out some channels.
    fn lay(&self, layout: &Layout, some: &Range<usize>, band: &mut Band<T, BAND>) {
        let area = self.image.len() / self.places.channels;
        layout.lay(
            self.env.isa,
            &self.image[some.start * area..],
            0,
            some.len(),
            band,
        );
        gemm::prepare(self.env.arithmetic(), band.filled_mut());
    }

    /// Number of places, and the width of lines with the gap between them, where the places of a layout are those of the block as they
    /// lie there, and no vector would be cut by the end of a line, or only in its middle: then sums are written where they belong, and nothing is
    /// computed for the gaps.
    fn lying(&self, layout: &Layout, target: &Target, rows: usize) -> Option<(usize, [usize; 2])> {
        let [lines, width] = layout.size();
        if target.step != [1, 1] || width != target.width {
            return None;
        }
        let unit = T::unit(self.env.isa, rows);
        let gap = match lines {
            1 => 0,
            _ => layout.pitch - width,
        };
        (gap == 0 || width.is_multiple_of(unit)).then_some((lines * width, [width, gap]))
    }
}

/// Writes the sums of a strip, rows of `row` numbers, to where their places are.
fn put<T: Correlate>(
    isa: Isa,
    (from, row): (&[T], usize),
    layout: &Layout,
    block: Block<'_, T>,
    target: &Target,
) {
    let placing = Placing {
        from,
        row,
        pitch: layout.pitch,
        size: layout.size(),
        block,
        to: target.first[0] * target.width + target.first[1],
        width: target.step[0] * target.width,
        stride: target.step[1],
    };
    T::put(isa, placing);
}

/// Writes zeros to the places of one residue.
fn clear<T: Correlate>(
    block: &mut Block<'_, T>,
    target: &Target,
    [lines, part]: [&Range<usize>; 2],
    first: [usize; 2],
) {
    for r in 0..block.rows() {
        let row = block.row_mut(r);
        for line in 0..(lines.end - first[0]).div_ceil(target.step[0]) {
            let at = (target.first[0] + line * target.step[0]) * target.width + target.first[1];
            for u in 0..(part.end - first[1]).div_ceil(target.step[1]) {
                row[at + u * target.step[1]] = T::ZERO;
            }
        }
    }
}
