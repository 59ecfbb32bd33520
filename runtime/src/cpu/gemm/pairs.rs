//! Products of `f32` matrices whose operands are split into bf16 numbers.
//!
//! A number is the sum of *parts*: the first is the number rounded to bf16 (8 bits), the next is what is left, rounded in the same
//! way, and so on; subtracting is exact, and the third part of a normal f32 number is all that is left (24 = 3 x 8 bits). So a
//! product of two numbers is a sum of nine products of parts, of which the six larger ones are computed for full accuracy, three
//! for 16 bits, one for bf16. This goes back to N. Henry, P. Tang, A. Heinecke, *Leveraging the bfloat16 Artificial
//! Intelligence Datatype For Higher-Precision Computations* (2019).
//!
//! # Error
//!
//! With `u = 2^-24`, three parts and an inner size `k`, an element of the result is off by at most `(k / 5 + 28) u |A||B|`:
//!
//! - the products left out, `a1 b2 + a2 b1 + a2 b2`, are below `2.01 u |a||b|`;
//! - a tile instruction adds 16 products one after the other in each of two sums: 16 roundings, and one to add the two;
//! - an instruction for each product of parts and each 32 of `k` rounds once as it adds to the accumulator: `6 ceil(k / 32)`;
//! - a block of `k` rounds once more as it is added to the result, all blocks together `ceil(k / 128)` times;
//! - a product or sum that is flushed to zero loses at most 2^-126, for the numbers admitted below at most about `1.5 u |a||b|` over
//!   the six products, which the roundings counted too high above leave room for.
//!
//! Blocks that are computed on vectors instead (below) have the bound `k u |A||B|` of a plain loop.
//!
//! This is below the bound `k u |A||B|` of a plain loop from `k = 36` on.
//!
//! A sum over a window of `s` pieces of up to 32 numbers (`window.rs`) is off by at most `(6 s + 22) u |A||B|`: it has no blocks, and
//! pieces that are not full. Convolutions have at most `k / 24` pieces of `k` numbers, so that this is at most `k / 4 + 22`.
//!
//! # Which numbers
//!
//! The units treat numbers below 2^-126 as zero. So packing looks for the smallest and the largest magnitude ([`Span`](pack::Span)), and
//! where parts could be lost, or sums overflow that do not in f32, the block is computed by multiply-adds of vectors: infinities,
//! NaN and tiny numbers come out as f32 gives them. With one part products refuse no number, for
//! that is what bf16 means; sums over windows and places, which multiply zeros of the padding as well, refuse what is not finite.
//!
//! # Layout
//!
//! Sixteen rows of 16 pairs of numbers that follow each other along `k` make a [`Tile`]: for the left factor a row of the tile is
//! a row of the matrix, for the right one a pair of `k`, as `tdpbf16ps` asks for. Rows (columns) are packed in strips of 32: for
//! every 32 of `k`, part by part, two tiles. Edges are zeros. On AMX a strip is at most [`STRIP`] tiles, 24 KiB: half of a first-level
//! cache; the strips of the left factor that are packed together fill a quarter of a second-level cache of 1 MiB. Products by
//! `vdpbf16ps`, which have one part, are cut otherwise: `dots/product.rs`.
//!
//! Convolutions have a left factor that is read where it lies: `plane.rs`, `weights.rs` and `window.rs`. A right factor that many
//! products have in common is packed once for all of them (`strips.rs`).
//!
//! `unsafe` here is memory known to be filled ([`Tiles`], planes) and numbers seen as tiles; that of vectors and units is in `words.rs`,
//! `dots.rs`, `dots/windows.rs`, `places/dots.rs` and [`amx`](crate::cpu::amx).

#[cfg(target_arch = "x86_64")]
mod dots;
mod pack;
pub(super) mod places;
mod plane;
#[cfg(test)]
pub(crate) mod software;
mod splits;
mod strips;
#[cfg(test)]
mod tests;
mod weights;
mod window;
mod words;

use std::mem::MaybeUninit;
use std::ops::Range;

use super::method::{Method, Operands, Parts, Tiling, Unit};
use super::product::{Product, Start};
use super::{Block, Factor};
use crate::cpu::amx;
use crate::cpu::isa::Isa;

use pack::Order;
pub use pack::Span;
pub(crate) use places::Spread;
pub use plane::{PlaneRoom, Planes, Sheet};
use splits::{Splits, Splitter};
pub(super) use strips::{pack_strip, strip_len};
pub use weights::{split_weights, tiles_mut, weight_tiles};
#[cfg(target_arch = "x86_64")]
pub(crate) use window::Step;
pub use window::{PairWindows, Steps, Walk, fits_steps, pairs_of, runs, split, steps_of, windows};
pub(crate) use window::{SPOTS, Spots};
use words::{OnWords, Words};

/// Rows and columns of the block of a result that a unit computes at a time, and numbers along `k` that are packed together.
pub(crate) const BLOCK: usize = 32;
/// Rows of a tile, and pairs in a row.
const SIDE: usize = 16;
/// Rows (places) of the sums that `vdpbf16ps` keeps in registers, with two vectors a row.
pub(super) const DOT_ROWS: usize = 8;
/// Most tiles of a strip.
const STRIP: usize = 24;
/// Most strips of rows that are packed at a time.
const STRIPS: usize = 12;
/// Most rows that are packed at a time.
pub(super) const ROW_BLOCK: usize = STRIPS * BLOCK;

/// Sixteen rows of 16 pairs of bf16 numbers; the lower half of a word is the first of its pair.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Tile(pub(crate) [[u32; SIDE]; SIDE]);

impl Tile {
    /// Zeros.
    pub const ZERO: Self = Self([[0; SIDE]; SIDE]);
}

/// The rows of tiles, one after the other.
#[inline(always)]
fn rows_of(tiles: &mut [Tile]) -> &mut [[u32; SIDE]] {
    let start = tiles.as_mut_ptr().cast::<[u32; SIDE]>();
    // SAFETY: a tile is an array of as many rows, and has nothing beside them.
    unsafe { std::slice::from_raw_parts_mut(start, tiles.len() * SIDE) }
}

/// A block of results, row-major.
#[derive(Copy, Clone, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Sums(pub(crate) [[f32; BLOCK]; BLOCK]);

/// A fixed piece of the stack for tiles.
struct Tiles<const N: usize> {
    tiles: [MaybeUninit<Tile>; N],
    len: usize,
}

impl<const N: usize> Tiles<N> {
    fn new() -> Self {
        Self {
            tiles: [const { MaybeUninit::uninit() }; N],
            len: 0,
        }
    }

    /// Pushes tiles of zeros; returns them, to be filled.
    ///
    /// # Panics
    /// Where there is no room for them.
    #[inline(always)]
    fn zeros(&mut self, len: usize) -> &mut [Tile] {
        let to = &mut self.tiles[self.len..][..len];
        for tile in to.iter_mut() {
            tile.write(Tile::ZERO);
        }
        self.len += len;
        // SAFETY: all of them have just been written.
        unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<Tile>(), to.len()) }
    }

    /// The first of the tiles, pushed where they are not there yet.
    ///
    /// # Panics
    /// Where there is no room for them.
    fn first(&mut self, len: usize) -> &mut [Tile] {
        self.zeros(len.saturating_sub(self.len));
        let tiles = &mut self.tiles[..len];
        // SAFETY: as for `filled`: no fewer than `len` tiles have been written.
        unsafe { std::slice::from_raw_parts_mut(tiles.as_mut_ptr().cast::<Tile>(), tiles.len()) }
    }

    /// What was pushed.
    fn filled(&self) -> &[Tile] {
        let tiles = &self.tiles[..self.len];
        // SAFETY: `len` grows only in `zeros`, which has written the tiles that it adds.
        unsafe { std::slice::from_raw_parts(tiles.as_ptr().cast::<Tile>(), tiles.len()) }
    }
}

/// Runs something that needs `len` tiles, at most `N`.
#[cfg(target_arch = "x86_64")]
#[inline(never)]
fn with_tiles<const N: usize>(len: usize, work: &mut dyn FnMut(&mut [Tile])) {
    work(Tiles::<N>::new().first(len));
}

/// `c = a b` or `c += a b`; the sizes fit together.
pub(super) fn product(
    unit: Unit,
    parts: Parts,
    a: Factor<'_, f32>,
    b: Factor<'_, f32>,
    c: &mut Block<'_, f32>,
    start: Start,
) {
    let tiles = match unit {
        #[cfg(target_arch = "x86_64")]
        Unit::Dots(bf16) => return dots::product::product(bf16, a, b, c, start),
        #[cfg(not(target_arch = "x86_64"))]
        Unit::Dots(bf16) => bf16.is_nowhere(),
        Unit::Tiles(tiles) => tiles,
    };
    Engine::with(tiles, |engine| {
        let lanes = unit.vectors();
        words::run(
            unit,
            PairProduct {
                engine,
                lanes,
                parts,
                a,
                b,
                c,
                start,
            },
        );
    });
}

/// Rounds numbers to bf16, as operands with one part are.
#[inline(always)]
pub(super) fn round(numbers: &mut [f32]) {
    for x in numbers {
        *x = f32::from_bits(words::rounded(x.to_bits()));
    }
}

/// Tiles that are ready.
#[derive(Copy, Clone)]
enum Engine<'s> {
    Amx(&'s amx::Session),
    #[cfg(test)]
    Software,
}

impl Engine<'_> {
    /// Makes tiles ready for as long as `f` takes, which must make ready none itself.
    #[inline(always)]
    fn with<R>(tiles: Tiling, f: impl FnOnce(Engine<'_>) -> R) -> R {
        let session;
        f(match tiles {
            Tiling::Amx(amx) => {
                // SAFETY: it ends with this function, whose callers start none in `f`.
                session = unsafe { amx.start() };
                Engine::Amx(&session)
            }
            #[cfg(test)]
            Tiling::Software => Engine::Software,
        })
    }

    /// Sums over the windows of some places: a row for each, `unit` rows for each spot.
    #[inline(always)]
    fn windows(self, work: &Spots<'_>, sums: &mut [Sums; SPOTS * SIDE / BLOCK]) {
        match self {
            Self::Amx(session) => session.windows(work, sums),
            #[cfg(test)]
            Self::Software => software::windows(work, sums),
        }
    }

    /// `sums = a b` for strips `a` and `b`.
    #[inline(always)]
    fn multiply(self, parts: Parts, a: &[Tile], b: &[Tile], sums: &mut Sums) {
        match self {
            Self::Amx(session) => session.multiply(parts, a, b, sums),
            #[cfg(test)]
            Self::Software => software::multiply(parts, a, b, sums),
        }
    }

    /// `sums = a b` for a strip and rows that lie apart.
    #[inline(always)]
    fn sum(self, parts: Parts, a: &[Tile], b: &Spread<'_>, sums: &mut Sums) {
        match self {
            Self::Amx(session) => session.sum(parts, a, b, sums),
            #[cfg(test)]
            Self::Software => software::sum(parts, a, b, sums),
        }
    }
}

/// A product in pairs: a kernel for its packing, which is vectorised.
struct PairProduct<'x, 'c, 'a, 's> {
    engine: Engine<'s>,
    /// What computes blocks with numbers that a unit would lose.
    lanes: Isa,
    parts: Parts,
    a: Factor<'x, f32>,
    b: Factor<'x, f32>,
    c: &'c mut Block<'a, f32>,
    start: Start,
}

impl OnWords for PairProduct<'_, '_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run<W: Words>(mut self, words: W) {
        let k = self.a.size()[1];
        if k == 0 && self.start == Start::Overwrite {
            (0..self.c.rows()).for_each(|i| self.c.row_mut(i).fill(0.0));
        }
        if k == 0 || self.c.cols() == 0 {
            return;
        }
        match self.parts {
            Parts::One => self.blocks::<W, 1>(words, k),
            Parts::Two => self.blocks::<W, 2>(words, k),
            Parts::Three => self.blocks::<W, 3>(words, k),
        }
    }
}

impl PairProduct<'_, '_, '_, '_> {
    /// The product in `P` parts.
    #[inline(always)]
    fn blocks<W: Words, const P: usize>(&mut self, words: W, k: usize) {
        let rows = self.c.rows();
        let steps = k.div_ceil(BLOCK);
        let blocks = steps.div_ceil(STRIP / (2 * P));
        let depth = steps.div_ceil(blocks) * BLOCK;
        for from in (0..k).step_by(depth) {
            let to = (from + depth).min(k);
            let start = if from == 0 { self.start } else { Start::Accumulate };
            for first in (0..rows).step_by(ROW_BLOCK) {
                let some = first..(first + ROW_BLOCK).min(rows);
                self.row_block::<W, P>(words, some, from..to, start);
            }
        }
    }

    /// Adds (or sets) the part of some rows that comes from some of `k`.
    #[inline(always)]
    fn row_block<W: Words, const P: usize>(
        &mut self,
        words: W,
        rows: Range<usize>,
        k: Range<usize>,
        start: Start,
    ) {
        let mut a = Tiles::<{ STRIPS * STRIP }>::new();
        let mut splitter = Splitter::<W, P>::new(words);
        for first in rows.clone().step_by(BLOCK) {
            let some = self.a.part(first..(first + BLOCK).min(rows.end), k.clone());
            pack_rows(&mut splitter, &some, Order::Rows, &mut a);
        }
        let span = splitter.span();
        for col in (0..self.c.cols()).step_by(BLOCK) {
            let cols = col..(col + BLOCK).min(self.c.cols());
            let mut room = Tiles::<STRIP>::new();
            let (b, other) = match self.b {
                Factor::Strips(packed) => strips::read(&packed, self.parts, &k, col),
                b => {
                    let mut splitter = Splitter::<W, P>::new(words);
                    let some = b.transposed().part(cols.clone(), k.clone());
                    pack_rows(&mut splitter, &some, Order::Pairs, &mut room);
                    (room.filled(), splitter.span())
                }
            };
            if self.parts != Parts::One && !span.suits(other, k.len()) {
                self.on_lanes(rows.clone(), cols, k.clone(), start);
            } else {
                self.column_strip(a.filled(), b, rows.clone(), cols, start);
            }
        }
    }

    /// The blocks below each other in some columns.
    #[inline(always)]
    fn column_strip(&mut self, a: &[Tile], b: &[Tile], rows: Range<usize>, cols: Range<usize>, start: Start) {
        let mut sums = Sums([[0.0; BLOCK]; BLOCK]);
        for (strip, first) in a.chunks_exact(b.len()).zip(rows.clone().step_by(BLOCK)) {
            let height = BLOCK.min(rows.end - first);
            self.engine.multiply(self.parts, strip, b, &mut sums);
            for i in 0..height {
                write(&sums.0[i], &mut self.c.row_mut(first + i)[cols.clone()], start);
            }
        }
    }

    /// The same block as multiply-adds of vectors, of exact operands.
    #[inline(never)]
    fn on_lanes(&mut self, rows: Range<usize>, cols: Range<usize>, k: Range<usize>, start: Start) {
        let a = self.a.part(rows.clone(), k.clone());
        let b = match self.b {
            Factor::Strips(packed) => packed.unpacked(),
            b => b,
        };
        let b = b.part(k, cols.clone());
        let method = Method::Lanes(self.lanes, Operands::Exact);
        f32::product(method, a, b, &mut self.c.part(rows, cols), start);
    }
}

/// Packs up to 32 rows of a matrix (columns of the right factor are rows of its transpose).
#[inline(always)]
fn pack_rows<W: Words, const P: usize, const N: usize>(
    splitter: &mut Splitter<W, P>,
    x: &Factor<'_, f32>,
    order: Order,
    to: &mut Tiles<N>,
) {
    let k = x.size()[1];
    for from in (0..k).step_by(BLOCK) {
        splitter.step(x, from..(from + BLOCK).min(k), order, to.zeros(2 * P));
    }
}

/// Replaces part of a row of a result, or adds to it.
#[inline(always)]
fn write(sums: &[f32; BLOCK], to: &mut [f32], start: Start) {
    if let Ok(to) = <&mut [f32; BLOCK]>::try_from(&mut *to) {
        for j in 0..BLOCK {
            to[j] = match start {
                Start::Overwrite => sums[j],
                Start::Accumulate => to[j] + sums[j],
            };
        }
        return;
    }
    let sums = &sums[..to.len()];
    for j in 0..to.len() {
        to[j] = match start {
            Start::Overwrite => sums[j],
            Start::Accumulate => to[j] + sums[j],
        };
    }
}
