//! A second factor that is packed once for all products that multiply by it: the weights of a recurrent network, which every
//! step uses.
//!
//! A strip is what the micro-kernel reads for one tile: the columns that fit into two registers (one, for the last columns), all of `k`
//! front to back. Strips lie one after the other; a block of `k` is a part of each. The elements are those that a product
//! would pack itself, and they are multiplied in the same order, so that packing them beforehand changes no bit.
//!
//! Only products on vectors read strips. Those in pairs and inner products read the factor where it lies; [`pack_right`] then
//! packs nothing and [`Strips::of`] finds nothing, by the same choice of a method from the sizes alone.

use std::marker::PhantomData;
use std::ops::Range;

use super::lanes::Lanes;
use super::method::{Arithmetic, Method, Operands};
use super::pack::Room;
use super::tile::Product;
use super::{Factor, Matrix};
use crate::cpu::isa::{Isa, Kernel};
use crate::cpu::threads::Team;

/// Columns of the widest strip of any instruction set.
const WIDEST: usize = 32;

/// Elements that the strips of a `k` x `n` matrix take at most, on any instruction set.
pub fn strips_len(k: usize, n: usize) -> usize {
    k * n.next_multiple_of(WIDEST)
}

/// A packed matrix, or a part of one.
#[derive(Copy, Clone, Debug)]
pub struct Strips<'a, T> {
    numbers: &'a [T],
    /// Rows of the whole matrix.
    depth: usize,
    /// First row and first column of the part.
    start: [usize; 2],
    /// Rows and columns of the part.
    size: [usize; 2],
}

/// The vectors for which products of a shape read strips, and what happens to the numbers in them.
fn vectors(arithmetic: Arithmetic, shape: [usize; 3]) -> Option<(Isa, Operands)> {
    match arithmetic.method(shape) {
        Method::Lanes(isa, operands) => Some((isa, operands)),
        Method::Inner(..) | Method::Pairs(..) => None,
    }
}

/// Packs `b` for products with factors of `m` rows, where those read strips.
///
/// # Panics
/// Where `out` has fewer elements than [`strips_len`] says.
pub fn pack_right<T: Product>(
    team: &Team,
    arithmetic: Arithmetic,
    m: usize,
    b: Matrix<'_, T>,
    out: &mut [T],
) {
    let [k, n] = [b.rows(), b.cols()];
    let Some((isa, operands)) = vectors(arithmetic, [m, n, k]) else {
        return;
    };
    if k == 0 || n == 0 {
        return;
    }
    let lanes = T::lanes(isa);
    let out = &mut out[..k * columns(n, lanes)];
    team.chunks_mut(out, 2 * lanes * k, |strip, out| {
        let first = 2 * lanes * strip;
        let cols = first..(first + 2 * lanes).min(n);
        T::pack_strip(isa, operands, b.into(), cols, out);
    });
}

/// Columns of a matrix of `n`, rounded up to whole strips.
fn columns(n: usize, lanes: usize) -> usize {
    n.next_multiple_of(lanes)
}

impl<'a, T: Product> Strips<'a, T> {
    /// What [`pack_right`] left in `numbers` for products of `m` x `k` and `k` x `n`, if those read strips.
    ///
    /// # Panics
    /// Where there are fewer numbers than that many columns take.
    pub fn of(arithmetic: Arithmetic, [m, n, k]: [usize; 3], numbers: &'a [T]) -> Option<Self> {
        let (isa, _) = vectors(arithmetic, [m, n, k])?;
        Some(Self {
            numbers: &numbers[..k * columns(n, T::lanes(isa))],
            depth: k,
            start: [0, 0],
            size: [k, n],
        })
    }

    /// Rows and columns.
    pub(super) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// The part of these rows and columns; a part's first column is one of a strip.
    pub(super) fn part(&self, k: Range<usize>, cols: Range<usize>) -> Self {
        let [depth, n] = self.size;
        assert!(
            k.start <= k.end && k.end <= depth && cols.start <= cols.end && cols.end <= n,
            "rows {k:?} and columns {cols:?} of strips of {depth} x {n}"
        );
        Self {
            start: [self.start[0] + k.start, self.start[1] + cols.start],
            size: [k.len(), cols.len()],
            ..*self
        }
    }

    /// Rows `k` of the strip of `width` columns that begins with column `col`.
    #[inline(always)]
    pub(super) fn strip(&self, k: &Range<usize>, col: usize, width: usize) -> &'a [T] {
        let first = (self.start[1] + col) * self.depth + (self.start[0] + k.start) * width;
        &self.numbers[first..][..k.len() * width]
    }
}

/// Packs one strip on the vectors of one instruction set.
pub(super) struct PackStrip<'x, 'o, L, T> {
    pub(super) lanes: PhantomData<L>,
    pub(super) operands: Operands,
    pub(super) b: Factor<'x, T>,
    pub(super) cols: Range<usize>,
    pub(super) out: &'o mut [T],
}

impl<T: Product, L: Lanes<T>> Kernel for PackStrip<'_, '_, L, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let (k, turned) = (self.b.size()[0], self.b.transposed());
        let mut room = Room::over(self.out);
        // The width is a constant in each arm, which makes packing straight-line code.
        let packed = if self.cols.len() > L::LANES {
            room.pack(0, &turned, self.cols, 0..k, 2 * L::LANES)
        } else {
            room.pack(0, &turned, self.cols, 0..k, L::LANES)
        };
        match self.operands {
            Operands::Exact => (),
            Operands::Rounded => T::round_operands(packed),
        }
    }
}
