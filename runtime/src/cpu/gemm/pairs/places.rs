//! Sums of outer products over places, in pairs: the gradient of a convolution's weight.
//!
//! `sums[(c, t), o] += sum over places p of image[p + offset(t), c] cotangent[p, o]` for elements `t` of a window: a product whose
//! inner size runs over places, so that a pair is a place and the next one of its line.
//!
//! # Layout
//!
//! - The *image* is split once for all elements of the window. For 16 channels it is one word a position: the pair of the number
//!   there and of that one place further. So the tile of an element of the window is 16 words of every second position from an
//!   offset on, which depends on the element alone. A stride is taken out beforehand: positions that are the same modulo the
//!   stride lie in a plane of their own, as far as elements of the window meet them, and neighbours in a plane are places that
//!   follow each other. Padding is zeros.
//! - The *cotangent* is packed as the unit reads it. For tiles it is the left factor, channels by pairs of places, and the steps of
//!   32 places run over the ends of lines as the image's positions do, with zeros where there is no place, or start anew with every
//!   line, whichever needs fewer. `vdpbf16ps` multiplies vectors of the cotangent by single words of the image, or, where the cotangent
//!   has one vector, vectors of the image by single words of it, so that lines may have any length.
//!
//! # Error
//!
//! That of products (see [`pairs`](super)), where the inner size `k` is the number of places as they are padded: a *band*, what is
//! packed at a time, rounds once more as it is added. Callers see to it that bands have two and a half steps of 32 on average
//! ([`PairLayout::steps`]), or that there is one only: `6 / 32 + 1 / 80 = 1 / 5`.
//!
//! # Which numbers
//!
//! As for products, bands with numbers that parts would lose are refused, for the caller to compute them on vectors. So are bands
//! with infinities or NaN in every precision, for here they would be multiplied by the zeros between lines, and a NaN would come
//! out for elements of the window that do not see them.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

#[cfg(target_arch = "x86_64")]
mod dots;
mod pack;

#[cfg(target_arch = "x86_64")]
use super::splits::Rounder;
use super::splits::{Splits, Splitter};
use super::words::{self, OnWords, Words};
use super::{BLOCK, Engine, SIDE, Sums, Tile, Tiles};
use crate::cpu::gemm::{Axis, Block, Parts, Plane, Unit};
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::{Avx512Bf16, Kernel};
#[cfg(target_arch = "x86_64")]
use dots::Ahead;

/// Most tiles of a band of images.
const IMAGE: usize = 256;
/// Most tiles of a band of cotangents.
const COTANGENT: usize = 128;
/// Tiles of both that `vdpbf16ps` works on at a time, about: they stay in the second-level cache, beside what is asked for meanwhile.
const NEAR: usize = 160;
/// Rows of words after the last that belongs to an image: as far as a step reads.
const TAIL: usize = BLOCK;

/// Memory for a band that is packed.
pub struct PairRooms {
    image: Tiles<IMAGE>,
    cotangent: Tiles<COTANGENT>,
}

impl PairRooms {
    /// Memory that holds nothing yet.
    #[expect(clippy::new_without_default, reason = "384 KiB are made in one place only")]
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            image: Tiles::new(),
            cotangent: Tiles::new(),
        }
    }
}

/// What became of a band.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
#[must_use]
pub enum Band {
    /// Its sums were added.
    Added,
    /// It holds numbers that the unit would lose: nothing was added.
    Refused,
}

/// A band: places of some images, what they see, and where their sums are added.
pub struct OuterPairs<'a, 'b, 'c, T> {
    /// The first image, from the first channel that counts on.
    pub image: Plane<'a, T>,
    /// The cotangent, from the first place and channel that counts on.
    pub cotangent: Plane<'a, T>,
    /// From an image to the next, and from its cotangent to the next.
    pub steps: [usize; 2],
    /// How it is packed.
    pub layout: PairLayout,
    /// What is read for the next band, images and cotangents: `vdpbf16ps` asks the second cache for it meanwhile.
    pub next: Option<[Wanted<'a, T>; 2]>,
    /// Where to add: row `c * taps + t` for channel `c` and element `t` of the window.
    pub sums: &'c mut Block<'b, T>,
}

/// Numbers that are wanted soon.
#[derive(Copy, Clone, Debug)]
pub struct Wanted<'a, T> {
    /// All numbers, and which of them is the first.
    pub data: &'a [T],
    /// See `data`.
    pub first: usize,
    /// Lines, and from a line to the next.
    pub lines: usize,
    /// See `lines`.
    pub line: usize,
    /// Pixels of a line, and from a pixel to the next.
    pub pixels: usize,
    /// See `pixels`.
    pub pixel: usize,
    /// Numbers of a pixel.
    pub channels: usize,
}

/// How positions of an image along one axis lie once its stride is taken out.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
struct Comb {
    axis: Axis,
    /// Planes: elements of the window this far apart lie in the same one.
    period: usize,
    /// Positions of a plane.
    len: usize,
}

impl Comb {
    fn new(axis: Axis) -> Self {
        let whole = |n: &usize| (n * axis.step).is_multiple_of(axis.stride);
        let period = (1..axis.taps).find(whole).unwrap_or(axis.taps);
        Self {
            axis,
            period,
            len: axis.places + axis.taps.saturating_sub(1) * axis.step / axis.stride,
        }
    }

    /// The plane of an element of the window, and where in it the first place sees the element.
    #[inline(always)]
    fn offset(&self, tap: usize) -> [usize; 2] {
        [tap % self.period, tap * self.axis.step / self.axis.stride]
    }

    /// The first pixel of a plane's positions, and those of them that lie in the image.
    #[inline(always)]
    fn positions(&self, plane: usize) -> (isize, std::ops::Range<usize>) {
        let stride = self.axis.stride as isize;
        let start = self.axis.start + (plane * self.axis.step % self.axis.stride) as isize;
        let reach = |end: isize| {
            let position = (end - start + stride - 1).div_euclid(stride);
            position.clamp(0, self.len as isize) as usize
        };
        let (from, to) = (reach(0), reach(self.axis.size as isize));
        (start, from..to.max(from))
    }
}

/// What steps of 32 places run over.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Walk {
    /// The positions of an image, over the ends of lines.
    Images,
    /// The places of a line.
    Lines,
}

/// Steps of 32 places.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(crate) struct Runs {
    /// Runs of steps.
    pub(crate) count: usize,
    /// Steps of a run.
    pub(crate) steps: usize,
    /// Rows of words from a run's first position to that of the next.
    pub(crate) pitch: usize,
}

/// How a band is packed: by sizes, unit and parts alone.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct PairLayout {
    unit: Unit,
    parts: Parts,
    images: usize,
    combs: [Comb; 2],
    channels: usize,
    columns: usize,
    walk: Walk,
    runs: Runs,
}

impl PairLayout {
    /// The layout for the windows of a band's places, of `channels` channels of `images` images, and `columns` channels of the
    /// cotangent.
    pub fn new(
        (unit, parts): (Unit, Parts),
        axes: [Axis; 2],
        images: usize,
        [channels, columns]: [usize; 2],
    ) -> Self {
        let mut combs = axes.map(Comb::new);
        if !matches!(unit, Unit::Dots(_)) {
            // A step may run over the end of a line, but no pair does.
            combs[1].len = combs[1].len.next_multiple_of(2);
        }
        let [lines, places] = axes.map(|axis| axis.places);
        let [high, wide] = [combs[0].len, combs[1].len];
        let over_ends = Runs {
            count: images,
            steps: ((lines.max(1) - 1) * wide + places).div_ceil(BLOCK),
            pitch: high * wide,
        };
        let by_lines = Runs {
            count: lines,
            steps: places.div_ceil(BLOCK),
            pitch: wide,
        };
        let steps = |runs: &Runs| runs.count * runs.steps;
        let (walk, runs) = match images == 1 && steps(&by_lines) < steps(&over_ends) {
            true => (Walk::Lines, by_lines),
            false => (Walk::Images, over_ends),
        };
        Self {
            unit,
            parts,
            images,
            combs,
            channels,
            columns,
            walk,
            runs,
        }
    }

    /// Whether there is room for it, and it is no larger than serves the unit.
    pub fn fits(&self) -> bool {
        let [image, cotangent] = self.tiles();
        let is_near = match self.unit {
            Unit::Dots(_) => image + cotangent <= NEAR || self.lines() * self.places() <= 2 * BLOCK,
            _ => true,
        };
        image <= IMAGE && cotangent <= COTANGENT && is_near
    }

    /// Steps of 32 places, as tiles make them.
    pub fn steps(&self) -> usize {
        self.runs.count * self.runs.steps
    }

    /// Places of the band as they are padded.
    pub fn padded(&self) -> usize {
        match self.unit {
            Unit::Dots(_) => 2 * self.pairs() * self.lines() * self.images,
            _ => self.steps() * BLOCK,
        }
    }

    /// Numbers that are packed, of the image and of the cotangent.
    pub fn packed(&self) -> usize {
        self.part() * SIDE + self.padded() * self.columns.next_multiple_of(SIDE)
    }

    /// Lines of places.
    #[inline(always)]
    fn lines(&self) -> usize {
        self.combs[0].axis.places
    }

    /// Places of a line.
    #[inline(always)]
    fn places(&self) -> usize {
        self.combs[1].axis.places
    }

    /// Elements of the window.
    #[inline(always)]
    fn taps(&self) -> usize {
        self.combs[0].axis.taps * self.combs[1].axis.taps
    }

    /// Pairs of a line, where lines are not run together.
    #[inline(always)]
    fn pairs(&self) -> usize {
        self.places().div_ceil(2)
    }

    /// Vectors of channels of the image.
    #[inline(always)]
    fn vectors(&self) -> usize {
        self.channels.div_ceil(SIDE)
    }

    /// Strips of 32 channels of the cotangent.
    #[inline(always)]
    fn strips(&self) -> usize {
        self.columns.div_ceil(BLOCK)
    }

    /// Rows of words of a plane of one image.
    #[inline(always)]
    fn single(&self) -> usize {
        self.combs[0].len * self.combs[1].len
    }

    /// Rows of words of a part of the band of images.
    #[inline(always)]
    fn part(&self) -> usize {
        self.vectors() * self.combs[0].period * self.combs[1].period * self.images * self.single()
    }

    /// The row of a plane's first word: of a vector of channels, a plane, an image.
    #[inline(always)]
    fn plane(&self, vector: usize, plane: [usize; 2], image: usize) -> usize {
        let [high, wide] = self.combs.map(|comb| comb.period);
        (((vector * high + plane[0]) * wide + plane[1]) * self.images + image) * self.single()
    }

    /// The row of the first word that the first place sees of a vector of channels in an element of the window.
    #[inline(always)]
    fn first(&self, vector: usize, tap: usize) -> usize {
        let across = self.combs[1].axis.taps;
        let [y, line] = self.combs[0].offset(tap / across);
        let [x, at] = self.combs[1].offset(tap % across);
        self.plane(vector, [y, x], 0) + line * self.combs[1].len + at
    }

    /// Tiles of images and cotangents.
    fn tiles(&self) -> [usize; 2] {
        let image = (self.parts.count() * self.part() + TAIL).div_ceil(SIDE);
        let cotangent = match self.unit {
            Unit::Dots(_) => {
                let vectors = self.columns.div_ceil(SIDE);
                (vectors * self.pairs() * self.lines() * self.images).div_ceil(SIDE)
            }
            _ => self.strips() * self.steps() * 2 * self.parts.count(),
        };
        [image, cotangent]
    }
}

/// Adds the sums of a band, or refuses to.
///
/// # Panics
/// Where the sizes do not fit together.
pub(in crate::cpu::gemm) fn outer(work: OuterPairs<'_, '_, '_, f32>, rooms: &mut PairRooms) -> Band {
    let layout = work.layout;
    assert!(
        work.sums.rows() == layout.channels * layout.taps() && work.sums.cols() == layout.columns,
        "the sizes of outer products do not fit"
    );
    let [image, cotangent] = layout.tiles();
    let (image, cotangent) = (rooms.image.first(image), rooms.cotangent.first(cotangent));
    let band = Packing {
        work,
        image,
        cotangent,
    };
    match (layout.unit, layout.parts) {
        #[cfg(target_arch = "x86_64")]
        (Unit::Dots(bf16), _) => bf16.run(OnVectors(bf16, band)),
        #[cfg(not(target_arch = "x86_64"))]
        (Unit::Dots(bf16), _) => bf16.is_nowhere(),
        (Unit::Tiles(tiles), parts) => Engine::with(tiles, |engine| match parts {
            Parts::One => words::run(layout.unit, OnTiles::<1>(engine, band)),
            Parts::Two => words::run(layout.unit, OnTiles::<2>(engine, band)),
            Parts::Three => words::run(layout.unit, OnTiles::<3>(engine, band)),
        }),
    }
}

/// A band and the memory for it.
struct Packing<'a, 'b, 'c, 'm> {
    work: OuterPairs<'a, 'b, 'c, f32>,
    image: &'m mut [Tile],
    cotangent: &'m mut [Tile],
}

/// A band for `vdpbf16ps`: a kernel, for packing is vectorised.
#[cfg(target_arch = "x86_64")]
struct OnVectors<'a, 'b, 'c, 'm>(Avx512Bf16, Packing<'a, 'b, 'c, 'm>);

#[cfg(target_arch = "x86_64")]
impl Kernel for OnVectors<'_, '_, '_, '_> {
    type Output = Band;

    #[inline(always)]
    fn run(self) -> Band {
        let Self(bf16, mut band) = self;
        let layout = band.work.layout;
        let [mut image, mut cotangent] = [Rounder::new(bf16), Rounder::new(bf16)];
        band.pack_image(&mut image);
        band.pack_pairs(&mut cotangent);
        if !image.span().serves(cotangent.span(), Parts::One, layout.padded()) {
            return Band::Refused;
        }
        let ahead = band.work.next.map(|next| next.map(Ahead::new));
        dots::outer(bf16, &layout, (band.image, band.cotangent), ahead, band.work.sums);
        Band::Added
    }
}

/// A band for tiles, in `P` parts.
struct OnTiles<'a, 'b, 'c, 'm, 's, const P: usize>(Engine<'s>, Packing<'a, 'b, 'c, 'm>);

impl<const P: usize> OnWords for OnTiles<'_, '_, '_, '_, '_, P> {
    type Output = Band;

    #[inline(always)]
    fn run<W: Words>(self, words: W) -> Band {
        let Self(engine, mut band) = self;
        let layout = band.work.layout;
        let [mut image, mut cotangent] = [0; 2].map(|_| Splitter::<W, P>::new(words));
        band.pack_image(&mut image);
        band.pack_tiles(&mut cotangent);
        if !image
            .span()
            .serves(cotangent.span(), layout.parts, layout.padded())
        {
            return Band::Refused;
        }
        band.blocks(words, engine);
        Band::Added
    }
}

impl Packing<'_, '_, '_, '_> {
    /// Adds the sums block by block: 32 channels of the cotangent by two vectors of channels, each in one element of the window.
    #[inline(always)]
    fn blocks<W: Words>(&mut self, words: W, engine: Engine<'_>) {
        let layout = self.work.layout;
        let taps = layout.taps();
        let strip = layout.steps() * 2 * layout.parts.count();
        let all = layout.vectors() * taps;
        let mut sums = Sums([[0.0; BLOCK]; BLOCK]);
        for (col, a) in (0..layout.columns)
            .step_by(BLOCK)
            .zip(self.cotangent.chunks_exact(strip))
        {
            for n in (0..all).step_by(2) {
                let halves = [n, (n + 1).min(all - 1)];
                let spread = Spread {
                    words: self.image,
                    first: halves.map(|n| layout.first(n / taps, n % taps)),
                    part: layout.part(),
                    runs: layout.runs,
                };
                engine.sum(layout.parts, a, &spread, &mut sums);
                for half in n..(n + 2).min(all) {
                    let place = [half / taps * SIDE, half % taps, col];
                    add_turned(words, (&sums, half - n), place, &layout, self.work.sums);
                }
            }
        }
    }
}

/// Adds one of the two vectors of channels of a block: from channel `c` on, in element `tap`, in columns from `col` on.
#[inline(always)]
fn add_turned<W: Words>(
    words: W,
    (sums, half): (&Sums, usize),
    [c, tap, col]: [usize; 3],
    layout: &PairLayout,
    to: &mut Block<'_, f32>,
) {
    let channels = SIDE.min(layout.channels - c);
    for from in (0..BLOCK.min(layout.columns - col)).step_by(SIDE) {
        let mut rows = [words.zero(); SIDE];
        for i in 0..SIDE {
            if let Some(row) = sums.0[from + i][half * SIDE..].first_chunk() {
                rows[i] = words.load(row);
            }
        }
        let turned = words.transpose(rows);
        for i in 0..channels {
            let mut row = [0; SIDE];
            words.write(turned[i], &mut row);
            let to = &mut to.row_mut((c + i) * layout.taps() + tap)[col + from..];
            if let Some(to) = to.first_chunk_mut::<SIDE>() {
                for j in 0..SIDE {
                    to[j] += f32::from_bits(row[j]);
                }
                continue;
            }
            for j in 0..to.len() {
                to[j] += f32::from_bits(row[j]);
            }
        }
    }
}

/// The right factor of a block: for each half of its columns rows of 16 words, of which every second belongs to it.
pub(crate) struct Spread<'a> {
    /// The rows, 16 in a tile.
    pub(crate) words: &'a [Tile],
    /// The first row of each half.
    pub(crate) first: [usize; 2],
    /// Rows from a part to the next.
    pub(crate) part: usize,
    /// Steps, each of which reads 32 rows of both halves from its first position on.
    pub(crate) runs: Runs,
}

impl Spread<'_> {
    /// Rows up to the last that is read for a number of parts.
    pub(crate) fn end(&self, parts: usize) -> usize {
        let run = (self.runs.count - 1) * self.runs.pitch + self.runs.steps * BLOCK;
        self.first[0].max(self.first[1]) + (parts - 1) * self.part + run
    }
}
