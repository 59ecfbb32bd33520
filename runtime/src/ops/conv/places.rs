//! Results of convolutions: for every place the sum over its window.

use std::ops::Range;

use crate::cpu::gemm::{self, At, Axis, Block, Convolve, MOST_LANES, Windows};
use crate::cpu::isa::Isa;
use crate::cx::Env;
use crate::ops::epilogue::Simple;
use crate::ops::lanes;

use super::way::Work;

/// How windows move along an axis, what their weights are, and where the results go.
#[derive(Copy, Clone, Debug)]
pub(super) struct Slide {
    /// The windows.
    pub axis: Axis,
    /// The element of the kernel that belongs to the first of the window.
    pub weight: usize,
    /// From an element of the kernel to that of the next.
    pub weight_step: isize,
    /// Where the first place's result goes.
    pub first: usize,
    /// From a place's result to the next one's.
    pub spacing: usize,
}

impl Slide {
    /// The places whose results go to `from..to`.
    fn part(self, from: usize, to: usize) -> Self {
        let place = |at: usize| at.saturating_sub(self.first).div_ceil(self.spacing);
        let (first, end) = (place(from), place(to).min(self.axis.places));
        Self {
            axis: self.axis.from(first, end.saturating_sub(first)),
            first: self.first + first * self.spacing,
            ..self
        }
    }
}

/// `out[b, place, g, r] = sum over e, c of weights[g, r, c, e] image[b, position(place, e), g, c]` for all images and groups.
#[derive(Copy, Clone)]
pub(super) struct Places<'s> {
    /// Number of images.
    pub batch: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Groups of the weights in one group here: see [`merged`](Places::merged).
    pub members: usize,
    /// Channels of a group of an image.
    pub channels: usize,
    /// Channels of a group of a result.
    pub rows: usize,
    /// Height and width of an image.
    pub size: [usize; 2],
    /// Height and width of a result.
    pub out: [usize; 2],
    /// Multiply-adds in all.
    pub work: usize,
    /// Residues of the places along each axis that see windows of their own.
    pub residues: [usize; 2],
    /// The windows of a residue along an axis.
    pub slide: &'s (dyn Fn(usize, usize) -> Slide + Sync),
}

/// The weights of a convolution as they lie in memory: element `[i, j]` of the kernel, for channel `c` of the image and row `r` of the
/// result, is at `r * row + c * channel + i * line + j`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Weights<'a, T> {
    /// All weights.
    pub data: &'a [T],
    /// From a row to the next.
    pub row: usize,
    /// From a channel to the next.
    pub channel: usize,
    /// From a line of the kernel to the next.
    pub line: usize,
    /// Elements of the kernel.
    pub window: usize,
}

/// Tasks that a convolution is cut into, about, where it is large enough.
const TASKS: usize = 32;
/// Multiply-adds that are worth a task of their own.
const TASK: usize = 1 << 20;
/// Multiply-adds in all below which other threads are not asked for help.
pub(super) const SMALL: usize = 1 << 17;
/// Numbers of images that a task goes through for each block of columns: they stay in the second-level cache.
const NEAR: usize = 1 << 16;

/// Lines below which places at the edges are computed among the others.
const FEW_LINES: usize = 4;

/// How results are cut into tasks.
pub(super) struct Cut {
    /// Images of a task.
    pub images: usize,
    /// Places of an image in a task: whole lines, unless there is one.
    pub places: usize,
    /// Channels of a result.
    pub channels: usize,
}

impl Places<'_> {
    pub(super) fn area(&self) -> usize {
        self.out[0] * self.out[1]
    }

    /// The same with as many groups as fill a vector of results in one: their weights are zero where channels of different groups would
    /// meet. That is as many multiply-adds as lanes that stay empty, in longer runs. Not where an image has infinities or NaN, which
    /// times zero would reach other groups.
    pub fn merged<T: Convolve>(self, env: Env<'_>, images: &[T]) -> Self {
        let most = T::lanes(env.isa) / self.rows.max(1);
        let members = (1..=most)
            .rev()
            .find(|n| self.groups.is_multiple_of(*n))
            .unwrap_or(1);
        let is_finite = || lanes::sum_map(images, |x| x * T::ZERO) == 0.0;
        if members == 1 || !is_finite() {
            return self;
        }
        Self {
            groups: self.groups / members,
            members,
            channels: self.channels * members,
            rows: self.rows * members,
            ..self
        }
    }

    /// Rows of a group as they are packed.
    pub(super) fn padded<T: Convolve>(&self, env: Env<'_>) -> usize {
        self.rows.next_multiple_of(T::lanes(env.isa))
    }

    /// All pairs of residues, with the windows, and where the packed weights begin, for so many numbers of a channel and an element.
    pub(super) fn for_each_residue(&self, numbers: usize, mut f: impl FnMut([Slide; 2], usize)) {
        let mut first = 0;
        for y in 0..self.residues[0] {
            for x in 0..self.residues[1] {
                let slides = [(self.slide)(0, y), (self.slide)(1, x)];
                f(slides, first);
                first += slides[0].axis.taps * slides[1].axis.taps * self.channels * numbers;
            }
        }
    }

    /// Tasks that are worth the time to share them out.
    pub(super) fn tasks(&self) -> usize {
        (self.work / TASK).clamp(1, TASKS)
    }

    fn cut(&self, columns: usize) -> Cut {
        let worth = self.tasks();
        let image = self.size[0] * self.size[1] * self.channels * self.groups;
        let all = self.groups * self.rows;
        let images = (self.batch / worth).min(NEAR / image.max(1));
        if images > 0 {
            return Cut {
                images,
                places: self.area(),
                channels: all,
            };
        }
        let parts = worth.div_ceil(self.batch).max(image.div_ceil(NEAR));
        let unit = if self.out[0] == 1 { 1 } else { self.out[1] };
        let places = self
            .area()
            .div_ceil(parts)
            .next_multiple_of(unit)
            .min(self.area());
        let parts = match self.groups {
            1 => worth.div_ceil(self.batch * self.area().div_ceil(places)),
            _ => 1,
        };
        Cut {
            images: 1,
            places,
            channels: all.div_ceil(parts).next_multiple_of(columns).min(all),
        }
    }

    /// How results are cut, and how many images are one matrix of them.
    pub(super) fn blocks(&self, columns: usize) -> (Cut, usize) {
        let cut = self.cut(columns);
        let images = if cut.images > 1 { self.batch } else { 1 };
        (cut, images)
    }

    /// Calls `f` with each image that `rows` places from number `place` of all on are of, the first of its places, and their rows.
    pub(super) fn for_each_image(
        &self,
        place: usize,
        rows: usize,
        mut f: impl FnMut(usize, usize, Range<usize>),
    ) {
        let mut row = 0;
        while row < rows {
            let (image, first) = ((place + row) / self.area(), (place + row) % self.area());
            let end = rows.min(row + self.area() - first);
            f(image, first, row..end);
            row = end;
        }
    }

    /// The windows of `places` places of an image from number `first` on, and what [`Windows::rows`] says of their results.
    pub(super) fn part(&self, [y, x]: [Slide; 2], first: usize, places: usize) -> ([Slide; 2], [usize; 3]) {
        let (end, width) = (first + places, self.out[1]);
        let (lines, line) = match self.out[0] {
            1 => (0..1, first..end),
            _ => (first / width..end / width, 0..width),
        };
        let (y, x) = (y.part(lines.start, lines.end), x.part(line.start, line.end));
        let row = y.first * width + x.first - first;
        ([y, x], [row, y.spacing * width, x.spacing])
    }

    /// Lays out the weights of all windows.
    pub fn pack_all<T: Convolve>(&self, env: Env<'_>, weights: Weights<'_, T>, packed: &mut [T]) {
        let columns = T::columns(env.isa, self.rows);
        self.for_each_residue(self.groups * self.padded::<T>(env), |slides, first| {
            self.pack(env, columns, slides, weights, &mut packed[first..]);
        });
    }

    /// Lays out the weights of a window: for each group and each block of columns `[elements, channels, columns]`, with zeros in
    /// the lanes that are left after the last column.
    pub(super) fn pack<T: Convolve>(
        &self,
        env: Env<'_>,
        columns: usize,
        [y, x]: [Slide; 2],
        weights: Weights<'_, T>,
        packed: &mut [T],
    ) {
        let depth = y.axis.taps * x.axis.taps * self.channels;
        let padded = self.padded::<T>(env);
        let group = padded * depth;
        if group == 0 {
            return;
        }
        let chunk = if self.groups == 1 { columns * depth } else { group };
        let pack = |n: usize, packed: &mut [T]| {
            let first = n * chunk / depth;
            let (g, mut row) = (first / padded, first % padded);
            let len = weights.data.len() / self.groups;
            let (from, each) = (&weights.data[g * len..][..len], self.channels / self.members);
            for packed in packed.chunks_mut(columns * depth) {
                let columns = packed.len() / depth;
                let rows = row..self.rows.min(row + columns);
                if rows.len() < columns || self.members > 1 {
                    packed.fill(T::ZERO);
                }
                for c in 0..self.channels {
                    let (member, channel) = (c / each, c % each);
                    let from = &from[member * (from.len() / self.members) + channel * weights.channel..];
                    let (rows, first) = match self.members {
                        1 => (rows.clone(), 0),
                        members => (0..self.rows / members, member * (self.rows / members)),
                    };
                    let to = &mut packed[c * columns + first..];
                    weights.turn(env.isa, from, rows, [y, x], (to, self.channels * columns));
                }
                gemm::prepare(env.arithmetic(), packed);
                row += columns;
            }
        };
        self.for_each_chunk(env, &mut packed[..self.groups * group], chunk, pack);
    }

    /// Calls `f` with each chunk of some memory, of length `len`, and its number: on all threads where that is worth it.
    pub(super) fn for_each_chunk<N: Send>(
        &self,
        env: Env<'_>,
        memory: &mut [N],
        len: usize,
        f: impl Fn(usize, &mut [N]) + Sync,
    ) {
        match self.work >= SMALL {
            true => env.team.chunks_mut(memory, len, f),
            false => memory
                .chunks_mut(len)
                .enumerate()
                .for_each(|(n, chunk)| f(n, chunk)),
        }
    }
}

impl<T: Convolve> Weights<'_, T> {
    /// Writes the weights of a channel, a line of rows for each element of the window: `element` numbers lie between two lines.
    pub(super) fn turn(
        &self,
        isa: Isa,
        from: &[T],
        rows: Range<usize>,
        [y, x]: [Slide; 2],
        (to, element): (&mut [T], usize),
    ) {
        let lanes = T::lanes(isa);
        let mut square = [T::ZERO; MOST_LANES * MOST_LANES];
        let number =
            |slide: &Slide, tap: usize| (slide.weight as isize + tap as isize * slide.weight_step) as usize;
        for row in rows.clone().step_by(lanes) {
            let last = (rows.end - row).min(lanes) - 1;
            for first in (0..self.window).step_by(lanes) {
                let from = &from[row * self.row + first..];
                match last * self.row + lanes <= from.len() {
                    true => T::turn(isa, from, self.row, last, &mut square),
                    false => {
                        for k in 0..lanes.min(self.window - first) {
                            for r in 0..lanes {
                                square[k * lanes + r] = from[r.min(last) * self.row + k];
                            }
                        }
                    }
                }
                for i in 0..y.axis.taps {
                    for j in 0..x.axis.taps {
                        let at = number(&y, i) * self.line + number(&x, j);
                        if (first..first + lanes).contains(&at) {
                            let line = &square[(at - first) * lanes..][..=last];
                            let to = &mut to[(i * x.axis.taps + j) * element + row - rows.start..];
                            to[..=last].copy_from_slice(line);
                        }
                    }
                }
            }
        }
    }
}

/// What computes a block of results on vectors.
pub(super) struct Task<'a, T> {
    work: &'a Work<'a, T>,
    packed: &'a [T],
    columns: usize,
}

impl<'a, T: Convolve> Task<'a, T> {
    /// A task with weights that were packed for blocks of so many columns.
    pub(super) fn new(work: &'a Work<'a, T>, (packed, columns): (&'a [T], usize)) -> Self {
        Self {
            work,
            packed,
            columns,
        }
    }

    /// Computes and finishes a block of results.
    pub(super) fn run(&self, at: At, block: &mut Block<'_, T>) {
        let Work {
            places, env, finish, ..
        } = self.work;
        let Places { rows, groups, .. } = *places;
        let area = places.area();
        let padded = places.padded::<T>(*env);
        let place = at.matrix * area + at.row;
        for col in (at.col..at.col + block.cols()).step_by(rows) {
            let group = col / rows;
            let end = ((group + 1) * rows).min(at.col + block.cols());
            for from in (col..end).step_by(self.columns) {
                let cols = from..(from + self.columns).min(end);
                places.for_each_residue(groups * padded, |slides, first| {
                    let depth = slides[0].axis.taps * slides[1].axis.taps * places.channels;
                    let weights = &self.packed[first + (group * padded + from - group * rows) * depth..];
                    let rows = block.rows();
                    places.for_each_image(place, rows, |image, first, rows| {
                        let part = block.part(rows, cols.start - at.col..cols.end - at.col);
                        self.image([image, group], first, slides, weights, part, cols.clone());
                    });
                });
                if finish.in_registers(cols.clone()).is_none() {
                    let rows = block.rows();
                    let mut part = block.part(0..rows, cols.start - at.col..cols.end - at.col);
                    T::finish_columns(env.isa, &mut part, *finish, [place, cols.start]);
                }
            }
        }
    }

    /// The places of an image from number `first` on.
    fn image(
        &self,
        [image, group]: [usize; 2],
        first: usize,
        [y, x]: [Slide; 2],
        weights: &[T],
        mut out: Block<'_, T>,
        cols: Range<usize>,
    ) {
        let work = self.work;
        let Places {
            channels,
            groups,
            size,
            ..
        } = work.places;
        let ([y, x], rows) = work.places.part([y, x], first, out.rows());
        let pixel = channels * groups;
        let image = &work.images[image * size[0] * size[1] * pixel..][..size[0] * size[1] * pixel];
        let finish = work.finish.in_registers(cols);
        let whole = [out.rows(), out.cols()];
        let padded = whole[1].next_multiple_of(T::lanes(work.env.isa));
        let mut run = |places: Range<usize>, taps: Range<usize>| {
            let windows = Windows {
                image: image.get(group * channels..).unwrap_or_default(),
                channels,
                pixel,
                axes: [y.axis, x.axis.part(places.clone(), taps.clone())],
                weights: weights.get(taps.start * channels * padded..).unwrap_or_default(),
                line: x.axis.taps,
                out: out.part(0..whole[0], 0..whole[1]),
                rows: [rows[0] + places.start * rows[2], rows[1], rows[2]],
                operands: work.env.arithmetic().operands(),
                finish: finish.unwrap_or(Simple::NONE),
            };
            T::windows(work.env.isa, windows);
        };
        // What lies in the padding is left out where neighbouring lines fill tiles.
        match y.axis.places >= FEW_LINES {
            true => x.axis.for_each_sight(run),
            false => run(0..x.axis.places, 0..x.axis.taps),
        }
    }
}
