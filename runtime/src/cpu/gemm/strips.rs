//! A second factor that is packed once for all products that multiply by it: the weights of a recurrent network, which every
//! step uses, and weights of any network from prediction to prediction.
//!
//! A strip is what one method reads for some columns of the result, all of `k` front to back; strips lie one after the other.
//!
//! - On vectors these are the columns of one tile of the micro-kernel: as many as fit into two registers (one, for the last columns).
//! - In pairs they are 32 columns, as tiles of pairs and what is known of their numbers (`pairs/strips.rs`).
//! - Inner products read the factor where it lies: [`pack_right`] packs nothing for them, and [`Strips::of`] finds nothing.
//!
//! The elements are those that a product would pack itself, and they are multiplied in the same order, so that packing them
//! beforehand changes no bit. A block in pairs whose numbers parts would lose is computed from the factor itself, which therefore must
//! still be there.

use std::marker::PhantomData;
use std::ops::Range;

use super::lanes::Lanes;
use super::method::{Method, Operands, Parts};
use super::pack::Room;
use super::pairs;
use super::product::Product;
use super::{Factor, Interleaved, Matrix};
use crate::cpu::isa::Kernel;
use crate::cpu::threads::Team;

/// Rows of a product up to which its second factor is worth keeping packed. Packing took 0.13 ns a number
/// from the second cache and 0.6 from further away, a multiply-add takes 0.017: at 1024 rows a product takes 1 to 3 % longer where it packs
/// the factor itself, and a copy of the weights costs memory.
const FEW_ROWS: usize = 1024;

/// Whether it pays to keep the second factor of a product with so many rows packed when the product is over.
pub fn is_worth_keeping(rows: usize) -> bool {
    rows <= FEW_ROWS
}

/// Elements that the strips of a `k` x `n` matrix take for products by a method; none where it reads the matrix itself.
pub fn strips_len<T: Product>(method: Method, [k, n]: [usize; 2]) -> usize {
    Form::of::<T>(method).map_or(0, |form| form.len([k, n]))
}

/// A packed matrix, or a part of one.
#[derive(Copy, Clone, Debug)]
pub struct Strips<'a, T> {
    form: Form,
    numbers: &'a [T],
    /// The whole matrix.
    of: Unpacked<'a, T>,
    /// Its rows.
    depth: usize,
    /// First row and first column of the part.
    start: [usize; 2],
    /// Rows and columns of the part.
    size: [usize; 2],
}

/// A factor that can be packed.
#[derive(Copy, Clone, Debug)]
pub enum Unpacked<'a, T> {
    /// A matrix in memory.
    Matrix(Matrix<'a, T>),
    /// One whose rows are read in another order than they lie.
    Interleaved(Interleaved<'a, T>),
}

impl<'a, T> From<Matrix<'a, T>> for Unpacked<'a, T> {
    fn from(matrix: Matrix<'a, T>) -> Self {
        Self::Matrix(matrix)
    }
}

impl<'a, T> From<Unpacked<'a, T>> for Factor<'a, T> {
    fn from(unpacked: Unpacked<'a, T>) -> Self {
        match unpacked {
            Unpacked::Matrix(x) => Self::Matrix(x),
            Unpacked::Interleaved(x) => Self::Interleaved(x),
        }
    }
}

/// What reads strips.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Form {
    /// Vectors of so many lanes.
    Vectors(usize),
    /// Products in pairs.
    Pairs(Parts),
}

impl Form {
    /// The strips that a method reads, if it reads any.
    fn of<T: Product>(method: Method) -> Option<Self> {
        match method {
            Method::Lanes(isa, _) => Some(Self::Vectors(T::lanes(isa))),
            Method::Pairs(_, parts) => Some(Self::Pairs(parts)),
            Method::Inner(..) => None,
        }
    }

    /// Columns of a strip, and its elements for an inner size `k`.
    fn strip(self, k: usize) -> [usize; 2] {
        match self {
            Self::Vectors(lanes) => [2 * lanes, 2 * lanes * k],
            Self::Pairs(parts) => [pairs::BLOCK, pairs::strip_len(parts, k)],
        }
    }

    /// Elements of all strips of a `k` x `n` matrix.
    fn len(self, [k, n]: [usize; 2]) -> usize {
        match self {
            Self::Vectors(lanes) => k * n.next_multiple_of(lanes),
            Self::Pairs(parts) => n.div_ceil(pairs::BLOCK) * pairs::strip_len(parts, k),
        }
    }
}

/// Packs `b` for products by a method, if that reads strips.
///
/// # Panics
/// Where `out` has fewer elements than [`strips_len`], or, in pairs, does not begin at a multiple of 64 bytes.
pub fn pack_right<'a, T: Product>(team: &Team, method: Method, b: impl Into<Unpacked<'a, T>>, out: &mut [T]) {
    let b = Factor::from(b.into());
    let [k, n] = b.size();
    let Some(form) = Form::of::<T>(method) else {
        return;
    };
    if k == 0 || n == 0 {
        return;
    }
    let [width, len] = form.strip(k);
    let out = &mut out[..form.len([k, n])];
    team.chunks_mut(out, len, |strip, out| {
        let first = width * strip;
        T::pack_strip(method, b, first..(first + width).min(n), out);
    });
}

impl<'a, T: Product> Strips<'a, T> {
    /// What [`pack_right`] left of `b` in `numbers` for products by a method, if that reads strips.
    ///
    /// # Panics
    /// Where there are fewer numbers than that many columns take.
    pub fn of(method: Method, b: impl Into<Unpacked<'a, T>>, numbers: &'a [T]) -> Option<Self> {
        let form = Form::of::<T>(method)?;
        let of = b.into();
        let size = Factor::from(of).size();
        Some(Self {
            form,
            numbers: &numbers[..form.len(size)],
            of,
            depth: size[0],
            start: [0, 0],
            size,
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

    /// The numbers that were packed, where they lie.
    pub(super) fn unpacked(&self) -> Factor<'a, T> {
        let ([row, col], [rows, cols]) = (self.start, self.size);
        Factor::from(self.of).part(row..row + rows, col..col + cols)
    }

    /// Rows `k` of the strip of `width` columns that begins with column `col`, on vectors.
    #[inline(always)]
    pub(super) fn strip(&self, k: &Range<usize>, col: usize, width: usize) -> &'a [T] {
        debug_assert!(
            matches!(self.form, Form::Vectors(_)),
            "packed for {:?}",
            self.form
        );
        let first = (self.start[1] + col) * self.depth + (self.start[0] + k.start) * width;
        &self.numbers[first..][..k.len() * width]
    }

    /// The whole strip in pairs that begins with column `col`, the first of its rows that belongs to this part, and the number of its
    /// rows.
    pub(super) fn whole_strip(&self, parts: Parts, col: usize) -> (&'a [T], [usize; 2]) {
        assert_eq!(self.form, Form::Pairs(parts), "what reads strips packed them");
        let (col, depth) = (self.start[1] + col, self.depth);
        let len = pairs::strip_len(parts, depth);
        assert!(
            col.is_multiple_of(pairs::BLOCK),
            "no strip begins with column {col}"
        );
        (
            &self.numbers[col / pairs::BLOCK * len..][..len],
            [self.start[0], depth],
        )
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
