//! How a product is computed: what a precision means on an instruction set, and what is fastest for a shape.
//!
//! An [`Arithmetic`] is a precision on an instruction set; kernels hand it to every product. A [`Method`] is what it comes to for
//! one shape. The choice depends on nothing else, so that equal products have equal bits, however many threads share them.
//!
//! # Cost model
//!
//! A product of `m x k` and `k x n` takes, on one core,
//!
//! - a time for every multiply-add, of a result rounded up to what is computed at a time: whole vectors of columns, blocks of
//!   32 x 32 on tiles, eight rows for `vdpbf16ps`;
//! - a time for every number that is packed, rounded or split: those of the first factor once for each task beside another,
//!   those of the second once for each task below another;
//! - the time to configure tiles, and that of a call for `vdpbf16ps`, which takes one and a half times as long for a vector of columns
//!   beside no other.
//!
//! Where one factor has few rows and the other lies right for that ([`Method::Inner`]), nothing is packed, unless numbers must
//! be rounded. The choice cannot know how factors lie, and takes it that they do: weights of layers lie so.
//!
//! Sums over windows of images take the same times for every multiply-add, of the places and the numbers of a window as a unit rounds
//! them up ([`WindowWork`]), and for every number of an image and of the weights that is split.
//!
//! That a second factor may be packed already changes no choice: equal products have equal bits, packed or not.
//!
//! Sums over places ([`PlaceSums`]: the gradient of a convolution's weight) are products whose inner size runs over places, with the same
//! terms: multiply-adds of what is padded, numbers that are rounded or packed, and the sums of each band, which are added to
//! those of earlier ones.
//!
//! Only the ratios of the constants matter. `vdpbf16ps` was measured with these kernels on Zen 4, relative to the same machine's
//! multiply-adds. Those of tiles come from a prototype on a Sapphire Rapids (155 to 175 GFLOP/s for multiply-adds of vectors; 330,
//! 520 and 1000 for six, three and one product of parts; 0.17 ns to split a number into three parts), the time of a configuration
//! is a guess, and none of them was checked with these kernels.

use crate::cpu::amx::Amx;
use crate::cpu::isa::{Avx512Bf16, Isa};
use crate::dtype::Precision;

/// A precision on an instruction set: how products of `f32` matrices are computed. (Those of `f64` are computed in full.)
///
/// An [`Isa`] alone stands for [`Precision::F32`].
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Arithmetic {
    precision: Precision,
    isa: Isa,
}

/// How one product is computed.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Method {
    /// Multiply-adds of vectors.
    Lanes(Isa, Operands),
    /// The same, where one of the factors has few rows (or columns) and the numbers that are multiplied follow each other in memory:
    /// as inner products, which pack nothing. Factors that lie otherwise are multiplied as by [`Lanes`](Self::Lanes).
    Inner(Isa, Operands, Short),
    /// Products of pairs of bf16 numbers, each operand the sum of a number of parts.
    Pairs(Unit, Parts),
}

/// What multiply-adds of vectors do to the operands of a product first.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Operands {
    /// Nothing.
    Exact,
    /// They are rounded to bf16, to nearest even; numbers below 2^-126 become zero.
    Rounded,
}

/// Which axis of a result is the short one.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Short {
    /// It has few rows.
    Rows,
    /// It has few columns.
    Columns,
}

/// What multiplies pairs of bf16 numbers.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Tiles.
    Tiles(Tiling),
    /// `vdpbf16ps`: one part only.
    Dots(Avx512Bf16),
}

/// What multiplies tiles.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Tiling {
    /// AMX.
    Amx(Amx),
    /// Its instructions in plain Rust.
    #[cfg(test)]
    Software,
}

impl Unit {
    /// The vectors of a CPU that has this unit.
    pub fn vectors(self) -> Isa {
        match self {
            Self::Tiles(Tiling::Amx(amx)) => Isa::Avx512(amx.avx512()),
            Self::Dots(bf16) => Isa::Avx512(bf16.avx512()),
            #[cfg(test)]
            Self::Tiles(Tiling::Software) => Isa::Portable,
        }
    }

    /// How many places that follow each other a unit sums the windows of at a time, and how many such runs of them, for this many
    /// columns.
    pub fn places(self, columns: usize) -> [usize; 2] {
        match self {
            Self::Dots(_) => [super::pairs::DOT_ROWS, 1],
            Self::Tiles(_) => [16, if columns <= VECTOR { 4 } else { 2 }],
        }
    }
}

/// Into how many bf16 numbers an operand is split.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Parts {
    /// One: it is rounded.
    One,
    /// Two, of which three products matter: about 16 bits.
    Two,
    /// Three, which are exact, and of which six products matter: an error like that of f32.
    Three,
}

impl Parts {
    /// Their number.
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::Three => 3,
        }
    }

    /// The products of parts of the left and the right operand that are computed, in an order in which neighbours share an
    /// operand.
    pub fn products(self) -> &'static [(usize, usize)] {
        match self {
            Self::One => &[(0, 0)],
            Self::Two => &[(0, 1), (0, 0), (1, 0)],
            Self::Three => &[(0, 2), (0, 1), (1, 1), (1, 0), (2, 0), (0, 0)],
        }
    }
}

/// What a convolution computes, on vectors and in pairs.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct WindowWork {
    /// Columns of the result.
    pub columns: usize,
    /// The fewest numbers that a window sees.
    pub depth: usize,
    /// Multiply-adds of a column: those that count, and those that a unit carries out.
    pub sums: [u64; 2],
    /// Numbers of images, and of weights.
    pub numbers: [u64; 2],
}

impl WindowWork {
    /// Picoseconds on vectors.
    fn lanes_cost(&self, operands: Operands) -> u64 {
        let rate = match operands {
            Operands::Exact => FMA,
            Operands::Rounded => FMA + ROUND_WINDOW,
        };
        let columns = self.columns.next_multiple_of(VECTOR) as u64;
        columns.saturating_mul(self.sums[0]).saturating_mul(rate)
    }

    /// Picoseconds on a unit.
    fn pairs_cost(&self, unit: Unit, parts: Parts) -> u64 {
        let whole = match self.columns % super::pairs::BLOCK {
            1..=VECTOR => self.columns.next_multiple_of(VECTOR),
            _ => self.columns.next_multiple_of(super::pairs::BLOCK),
        };
        let split = SPLIT.0 + SPLIT.1 * parts.count() as u64;
        let once = match unit {
            Unit::Dots(_) => 0,
            _ => SESSION,
        };
        let numbers = self.numbers[0].saturating_add(self.numbers[1]);
        (whole as u64)
            .saturating_mul(self.sums[1])
            .saturating_mul(rate(unit, parts))
            .saturating_add(numbers.saturating_mul(split))
            .saturating_add(once)
    }
}

impl From<Isa> for Arithmetic {
    fn from(isa: Isa) -> Self {
        Self::new(Precision::F32, isa)
    }
}

impl Arithmetic {
    /// The products of a precision on an instruction set.
    pub fn new(precision: Precision, isa: Isa) -> Self {
        Self { precision, isa }
    }

    /// The instruction set.
    pub fn isa(self) -> Isa {
        self.isa
    }

    /// What a kernel must do to the operands of products that it computes on vectors itself.
    pub fn operands(self) -> Operands {
        match self.precision {
            Precision::Bf16 => Operands::Rounded,
            _ => Operands::Exact,
        }
    }

    /// The precision.
    pub fn precision(self) -> Precision {
        self.precision
    }

    /// What would multiply pairs, and in how many parts.
    pub fn unit(self) -> Option<(Unit, Parts)> {
        let parts = match self.precision {
            Precision::F32 => Parts::Three,
            Precision::High => Parts::Two,
            Precision::Bf16 => Parts::One,
            #[cfg(feature = "f64")]
            Precision::F64 => return None,
        };
        match self.isa {
            Isa::Amx(amx) => Some((Unit::Tiles(Tiling::Amx(amx)), parts)),
            Isa::Avx512Bf16(bf16) if parts == Parts::One => Some((Unit::Dots(bf16), parts)),
            _ => None,
        }
    }

    /// Whether a unit computes sums over windows, which come to this work.
    pub fn sums_windows(self, unit: Unit, parts: Parts, work: &WindowWork) -> bool {
        let is_deep = parts == Parts::One || work.depth >= MIN_DEPTH;
        is_deep && work.pairs_cost(unit, parts) < work.lanes_cost(self.operands())
    }

    /// Whether sums over places are computed in pairs: see [`PlaceSums`].
    pub fn has_pairs_for(self, sums: &PlaceSums) -> bool {
        let Some((unit, parts)) = self.unit() else {
            return false;
        };
        let is_deep = parts == Parts::One || sums.places >= MIN_DEPTH;
        is_deep && sums.in_pairs(unit, parts) < sums.on_lanes(self.operands())
    }

    /// How a product of `m x k` and `k x n` is computed.
    pub fn method(self, shape: [usize; 3]) -> Method {
        let lanes = match super::inner::serve(shape) {
            Some(short) => Method::Inner(self.isa, self.operands(), short),
            None => Method::Lanes(self.isa, self.operands()),
        };
        match self.unit() {
            Some((unit, parts)) if parts == Parts::One || shape[2] >= MIN_DEPTH => {
                let pairs = Method::Pairs(unit, parts);
                if cost(pairs, shape) < cost(lanes, shape) {
                    pairs
                } else {
                    lanes
                }
            }
            _ => lanes,
        }
    }
}

/// Picoseconds of a multiply-add in `f32` on vectors.
pub(super) const FMA: u64 = 12;
/// Columns to which vectors round a result up.
pub(super) const VECTOR: usize = 16;
/// Picoseconds of a multiply-add in pairs on vectors.
const DOT: u64 = 6;
/// Picoseconds that a product of matrices in pairs on vectors takes at least.
const CALL: u64 = 100_000;
/// Picoseconds that rounding adds to a multiply-add of a window on vectors.
const ROUND_WINDOW: u64 = 8;
/// Picoseconds that it takes to pack a number for vectors.
const PACK: u64 = 100;
/// Picoseconds that it takes to round a number that was packed.
const ROUND: u64 = 20;
/// Picoseconds that it takes to pack a number in pairs, without and for each part.
const SPLIT: (u64, u64) = (80, 40);
/// Picoseconds to configure the tiles and to release them.
const SESSION: u64 = 100_000;
/// The smallest inner size for several products of parts: much below it, six of them have no error bound below that of a plain
/// loop (see [`pairs`](super::pairs)).
const MIN_DEPTH: usize = 64;

/// Picoseconds of a multiply-add in pairs.
fn rate(unit: Unit, parts: Parts) -> u64 {
    match (unit, parts) {
        (Unit::Dots(_), _) => DOT,
        (Unit::Tiles(_), Parts::One) => 2,
        (Unit::Tiles(_), Parts::Two) => 4,
        (Unit::Tiles(_), Parts::Three) => 6,
    }
}

/// Picoseconds that one core takes for a product of `m x k` and `k x n`.
fn cost(method: Method, [m, n, k]: [usize; 3]) -> u64 {
    let work = |sizes: [usize; 3]| product(&sizes);
    // As two threads would share it: what is fastest must not depend on how many there are.
    let sharing = super::Sharing {
        threads: 2,
        products: 1,
    };
    let (rows, cols) = super::task_block(method, sharing, m, n, k);
    let packed = work([m, k, n.div_ceil(cols)]).saturating_add(work([n, k, m.div_ceil(rows)]));
    let block = super::pairs::BLOCK;
    let split = |parts: Parts| SPLIT.0 + SPLIT.1 * parts.count() as u64;
    let (multiplied, rate, pack, once) = match method {
        Method::Lanes(_, operands) | Method::Inner(_, operands, _) => {
            let pack = match (method, operands) {
                (Method::Inner(..), Operands::Exact) => 0,
                (_, Operands::Exact) => PACK,
                (_, Operands::Rounded) => PACK + ROUND,
            };
            ([m, n.next_multiple_of(VECTOR), k], FMA, pack, 0)
        }
        Method::Pairs(Unit::Dots(_), parts) => {
            let tall = m.next_multiple_of(super::pairs::DOT_ROWS);
            let wide = match n % block {
                1..=VECTOR => n - n % block + VECTOR + VECTOR / 2,
                _ => n.next_multiple_of(block),
            };
            let multiplied = [tall, wide, k.next_multiple_of(block)];
            (multiplied, DOT, split(parts), CALL)
        }
        Method::Pairs(unit, parts) => {
            let padded = [m, n, k].map(|size| size.next_multiple_of(block));
            (padded, rate(unit, parts), split(parts), SESSION)
        }
    };
    let packing = packed.saturating_mul(pack);
    work(multiplied)
        .saturating_mul(rate)
        .saturating_add(packing)
        .saturating_add(once)
}

/// Sums of outer products over places, `sums[(c, t), o]`, and how they would be cut for pairs.
#[derive(Copy, Clone, Debug)]
pub struct PlaceSums {
    /// Channels `c`, elements `t` of a window, channels `o`.
    pub sizes: [usize; 3],
    /// Places that are summed over.
    pub places: usize,
    /// Numbers of images and cotangents, as often as vectors would round them.
    pub numbers: usize,
    /// Bands in all, of all blocks of channels.
    pub bands: usize,
    /// Channels `c` and `o` of a block.
    pub block: [usize; 2],
    /// Places of a band as they are padded.
    pub padded: usize,
    /// Numbers that are packed for a band.
    pub packed: usize,
}

impl PlaceSums {
    /// Picoseconds that one core takes for them on vectors: multiply-adds, and the numbers that are rounded for them.
    fn on_lanes(&self, operands: Operands) -> u64 {
        let [channels, taps, columns] = self.sizes;
        let multiplied = product(&[self.places, channels, taps, columns.next_multiple_of(VECTOR)]);
        let rounded = match operands {
            Operands::Exact => 0,
            Operands::Rounded => product(&[self.numbers]).saturating_mul(OUTER_ROUND),
        };
        multiplied.saturating_mul(FMA).saturating_add(rounded)
    }

    /// The same in pairs: multiply-adds of what is padded, packing, and adding the sums of each band to those of all.
    fn in_pairs(&self, unit: Unit, parts: Parts) -> u64 {
        let [channels, columns] = self.block;
        let block = super::pairs::BLOCK;
        let (added, pack, once) = match unit {
            Unit::Dots(_) => {
                // Blocks of 32 columns by 8 channels, and up to 16 columns by a vector of channels.
                let last = match columns % block {
                    last @ 1..=VECTOR => last,
                    _ => 0,
                };
                let wide = [
                    channels.next_multiple_of(8),
                    (columns - last).next_multiple_of(block),
                ];
                let narrow = [channels.next_multiple_of(VECTOR), last.next_multiple_of(8)];
                (product(&wide) + product(&narrow), PLACE_PACK, 0)
            }
            Unit::Tiles(_) => {
                let split = SPLIT.0 + SPLIT.1 * parts.count() as u64;
                let added = [channels.next_multiple_of(VECTOR), columns.next_multiple_of(block)];
                (product(&added), split, SESSION)
            }
        };
        let sums = added.saturating_mul(self.sizes[1] as u64);
        let multiplied = sums
            .saturating_mul(self.padded as u64)
            .saturating_mul(rate(unit, parts));
        let packing = product(&[self.packed]).saturating_mul(pack);
        let band = multiplied
            .saturating_add(packing)
            .saturating_add(sums.saturating_mul(ADD))
            .saturating_add(once);
        band.saturating_mul(self.bands as u64)
    }
}

/// What it adds to round a number of an image or a cotangent for sums over places on vectors.
const OUTER_ROUND: u64 = 250;
/// Picoseconds that it takes to pack a number of an image or a cotangent for sums over places in pairs on vectors, most of it for reading
/// the number.
const PLACE_PACK: u64 = 150;
/// Picoseconds that it takes to add a sum to those of earlier bands.
const ADD: u64 = 100;

/// The product of some sizes, at most the largest number.
fn product(sizes: &[usize]) -> u64 {
    sizes.iter().fold(1, |all: u64, &n| all.saturating_mul(n as u64))
}
