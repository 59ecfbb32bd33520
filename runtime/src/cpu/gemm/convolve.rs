//! The loops of convolution on each instruction set.

use super::depthwise::{Depthwise, DepthwiseSums, Each, EachSum};
use super::lanes::{Lanes, Portable};
use super::method::Operands;
use super::outer::{Outer, Products};
use super::pairs::places::{self, Band, OuterPairs, PairRooms};
use super::product::Product;
use super::window::{Places, RoundedPlaces, Windows};
use crate::cpu::isa::{self, Isa, Kernel};

/// Floats whose images can be convolved.
pub trait Convolve: Product {
    /// Columns of the blocks in which `channels` channels of a result are computed; the last has fewer.
    fn columns(isa: Isa, channels: usize) -> usize;

    /// Computes sums over windows.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn windows(isa: Isa, windows: Windows<'_, '_, Self>);

    /// Adds sums over places.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn outer(isa: Isa, outer: Outer<'_, '_, Self>);

    /// Adds sums over a band of places in pairs of bf16 numbers, if its numbers suit that; those of `f64` never do.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn outer_pairs(work: OuterPairs<'_, '_, '_, Self>, rooms: &mut PairRooms) -> Band;

    /// Computes sums over windows where every channel stands for itself.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn depthwise(isa: Isa, depthwise: Depthwise<'_, '_, Self>);

    /// Adds sums over places where every channel stands for itself.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn depthwise_sums(isa: Isa, sums: DepthwiseSums<'_, '_, Self>);

    /// Turns a square of as many numbers a side as a vector has: `to[k * side + r] = from[min(r, last) * step + k]`.
    ///
    /// # Panics
    /// Where the sizes do not fit together.
    fn turn(isa: Isa, from: &[Self], step: usize, last: usize, to: &mut [Self; MOST_LANES * MOST_LANES]);
}

macro_rules! convolves {
    ($($t:ident $pairs:expr, $($arch:literal $set:pat => $lanes:expr),*;)*) => {$(
        impl Convolve for $t {
            fn columns(isa: Isa, channels: usize) -> usize {
                match isa.vectors() {
                    $(#[cfg(target_arch = $arch)]
                    $set => columns::<$t, _>($lanes, channels),)*
                    _ => columns::<$t, _>(Portable, channels),
                }
            }

            fn windows(isa: Isa, work: Windows<'_, '_, $t>) {
                work.check(Self::lanes(isa));
                match work.operands {
                    Operands::Exact => convolves!(run isa, Places work, $($arch $set => $lanes),*),
                    Operands::Rounded => convolves!(run isa, RoundedPlaces work, $($arch $set => $lanes),*),
                }
            }

            fn outer(isa: Isa, work: Outer<'_, '_, $t>) {
                work.check();
                convolves!(run isa, Products work, $($arch $set => $lanes),*);
            }

            fn outer_pairs(work: OuterPairs<'_, '_, '_, $t>, rooms: &mut PairRooms) -> Band {
                $pairs(work, rooms)
            }

            fn depthwise(isa: Isa, work: Depthwise<'_, '_, $t>) {
                work.check();
                convolves!(run isa, Each work, $($arch $set => $lanes),*);
            }

            fn depthwise_sums(isa: Isa, work: DepthwiseSums<'_, '_, $t>) {
                work.check();
                convolves!(run isa, EachSum work, $($arch $set => $lanes),*);
            }

            fn turn(isa: Isa, from: &[$t], step: usize, last: usize, to: &mut [$t; MOST_LANES * MOST_LANES]) {
                let work = Square { from, step, last, to };
                convolves!(run isa, Turning work, $($arch $set => $lanes),*);
            }
        }
    )*};
    (run $isa:ident, $kernel:ident $work:ident, $($arch:literal $set:pat => $lanes:expr),*) => {
        match $isa.vectors() {
            $(#[cfg(target_arch = $arch)]
            $set => {
                let lanes = $lanes;
                lanes.run($kernel { lanes, $work })
            })*
            _ => isa::run_portable($kernel { lanes: Portable, $work }),
        }
    };
}
convolves! {
    f32 places::outer, "x86_64" Isa::Avx512(lanes) => lanes, "x86_64" Isa::Avx2(lanes) => lanes, "aarch64" Isa::Neon(lanes) => lanes;
}
// As for products, f64 has one instruction set of vectors: it serves to check gradients.
#[cfg(feature = "f64")]
convolves! {
    f64 |_, _| Band::Refused, "x86_64" Isa::Avx512(lanes) => lanes.avx2(), "x86_64" Isa::Avx2(lanes) => lanes, "aarch64" Isa::Neon(lanes) => lanes;
}

/// The most numbers of a vector.
pub const MOST_LANES: usize = 16;

struct Square<'a, T> {
    from: &'a [T],
    step: usize,
    last: usize,
    to: &'a mut [T; MOST_LANES * MOST_LANES],
}

struct Turning<'a, L, T> {
    lanes: L,
    work: Square<'a, T>,
}

impl<T: Product, L: Lanes<T>> Kernel for Turning<'_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let Square { from, step, last, to } = self.work;
        self.lanes.turn(from, step, last, to);
    }
}

/// Two vectors, or three where an odd number of vectors is cut better so.
fn columns<T, L: Lanes<T>>(_: L, channels: usize) -> usize {
    let vectors = channels.div_ceil(L::LANES);
    let wide = match L::MOST_VECTORS {
        3 if vectors % 2 == 1 && vectors % 3 != 1 => 3,
        _ => 2,
    };
    wide.min(vectors.max(1)) * L::LANES
}
