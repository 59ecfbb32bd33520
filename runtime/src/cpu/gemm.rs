//! Products of matrices: the inner engine of matmul and convolution.
//!
//! The method is Goto's (K. Goto, R. van de Geijn, *Anatomy of High-Performance Matrix Multiplication*, 2008): blocks of
//! both factors are packed so that a micro-kernel, which keeps a small tile of the result in registers, reads them
//! front to back. The working memory is a fixed array on the stack, so a product allocates nothing.
//!
//! Invariants:
//!
//! - An element of the result is one chain of multiply-adds over `k` in a fixed order, in blocks whose size depends on
//!   the sizes alone. Its bits therefore do not depend on the number of threads, only on the [`Method`].
//! - The old contents of the result are never read where it is overwritten.
//! - Strides of factors are arbitrary (transposed, broadcast, reversed); [`Matrix::new`] checks once that every element
//!   lies inside its slice.
//!
//! That is the method for products in f64, and for those in f32 that the [`Arithmetic`] leaves on vectors. The others are computed
//! in pairs of bf16 numbers (`pairs.rs`), or as inner products where one factor is short (`inner.rs`), with blocks of their own and the same invariants; `method.rs` decides.
//! Small products are neither packed nor cut (`few.rs`); whether a product is one follows from its sizes, and kernels ask before they come here.
//! Windows of 3 x 3 may be summed by fewer multiply-adds at a precision that allows for it (`winograd.rs`).
//! A second factor that many products have in common may be packed once for all of them (`strips.rs`).
//!
//! `unsafe` in `gemm/` is of three kinds: vector instructions, whose proof is the [`Isa`](crate::cpu::isa::Isa) (`lanes.rs`, `lanes/`,
//! `pairs/dots.rs`, `pairs/dots/windows.rs`, `pairs/words.rs`, `pairs/places/dots.rs`); the blocks of the result that tasks write (`block.rs`); and what is known of memory: packed and
//! filled (`pack.rs`, `tile.rs`, `pairs.rs`, `pairs/plane.rs`, `pairs/strips.rs`, `pairs/weights.rs`, `band.rs`), or a window that lies in its image (`window.rs`).

mod ahead;
mod axis;
mod band;
mod block;
mod convolve;
mod depthwise;
mod few;
mod inner;
mod interleaved;
mod lanes;
mod matrix;
mod method;
mod micro;
mod outer;
mod pack;
mod pairs;
mod product;
mod strips;
#[cfg(test)]
mod tests;
mod tile;
mod window;
pub mod winograd;

pub use axis::Axis;
pub use block::{At, Block, Blocks};
pub use convolve::{Convolve, MOST_LANES};
pub use depthwise::{Depthwise, DepthwiseSums};
pub use few::{Ending, FACTOR, Few, OnVectors, SmallProduct, compute, is_few};
pub use inner::is_deep;
pub use interleaved::Interleaved;
pub use lanes::Lanes;
pub(crate) use lanes::{SQUARE, transpose};
pub use matrix::{Factor, Matrix};
pub use method::{Arithmetic, Method, Operands, Parts, PlaceSums, Short, Tiling, Unit, WindowWork};
pub use outer::{Outer, Plane};
#[cfg(target_arch = "x86_64")]
pub(crate) use pairs::Step;
pub use pairs::Tile;
pub use pairs::places::{Band, OuterPairs, PairLayout, PairRooms, Wanted};
#[cfg(test)]
pub(crate) use pairs::software::ways;
pub(crate) use pairs::{BLOCK, SPOTS, Spots, Spread, Sums};
pub use pairs::{
    PairWindows, PlaneRoom, Planes, Sheet, Span, Steps, Walk, fits_steps, pairs_of, runs, split,
    split_weights, steps_of, tiles_mut, weight_tiles, windows,
};
pub use product::{Product, Start, prepare};
pub use strips::{Strips, Unpacked, is_worth_keeping, pack_right, strips_len};
pub use tile::MAX_ROWS;
pub use window::Windows;

use crate::cpu::threads::Team;

/// `c = a b`, or `c += a b`, on the calling thread.
///
/// # Panics
/// Where the sizes do not fit together.
pub fn product<'f, T: Product>(
    arithmetic: impl Into<Arithmetic>,
    a: impl Into<Factor<'f, T>>,
    b: impl Into<Factor<'f, T>>,
    c: &mut Block<'_, T>,
    start: Start,
) {
    let (a, b) = (a.into(), b.into());
    let ([m, k], [depth, n]) = (a.size(), b.size());
    assert_eq!(
        (m, n, k),
        (c.rows(), c.cols(), depth),
        "the sizes of a product do not fit"
    );
    T::product(arithmetic.into().method([m, n, k]), a, b, c, start);
}

/// Multiply-adds that are worth a second task for a thread.
const TASK: usize = 1 << 21;
/// Multiply-adds in all below which other threads are not asked for help.
const SMALL: usize = 1 << 17;
/// Tasks of one thread, about: enough for a faster core to take more of them, few because every task packs its part of both
/// factors anew.
const TASKS: usize = 4;
/// The largest block of a result that a task computes.
const MAX_BLOCK: (usize, usize) = (768, 1024);
/// Multiply-adds that are worth a task of their own in pairs: packing is dearer, and multiplying cheaper.
const TASK_OF_PAIRS: usize = 1 << 25;
/// Tasks that one product in pairs is cut into, about.
const TASKS_OF_PAIRS: usize = 16;
/// The largest block of a product in pairs.
const MAX_BLOCK_OF_PAIRS: (usize, usize) = (pairs::ROW_BLOCK, 512);

/// Tasks of one thread that a product by `vdpbf16ps` is cut into, about.
const DOT_TASKS: usize = 2;
/// The largest block of such a product.
const MAX_BLOCK_OF_DOTS: (usize, usize) = (1024, 1024);

/// Among whom the work is shared that results are cut into blocks for.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Sharing {
    /// The threads that take tasks.
    pub threads: usize,
    /// The products of one size that are computed together.
    pub products: usize,
}

impl Sharing {
    /// Tasks into which `work` multiply-adds of one product are cut.
    fn tasks(self, work: usize) -> usize {
        if self.threads == 1 {
            return 1;
        }
        let all = work.saturating_mul(self.products);
        let each = (all / (TASK * self.threads)).clamp(1, TASKS);
        (each * self.threads).div_ceil(self.products.max(1))
    }
}

/// Rows and columns of the blocks of an `m` x `n` result that tasks compute, for an inner size `k`.
///
/// Blocks are kept as square as possible, because that is what packs least. On vectors and by `vdpbf16ps` every element is computed
/// alike in any block, so the cut may follow the number of threads; on tiles a block whose numbers do not suit is computed on
/// vectors, so the cut follows the sizes alone.
pub fn task_block(method: Method, sharing: Sharing, m: usize, n: usize, k: usize) -> (usize, usize) {
    let work = m.saturating_mul(n).saturating_mul(k);
    let (tasks, max, units) = match method {
        Method::Lanes(..) | Method::Inner(..) => (sharing.tasks(work), MAX_BLOCK, (12, 32)),
        Method::Pairs(Unit::Dots(_), _) => {
            let most = if sharing.threads == 1 {
                1
            } else {
                DOT_TASKS * sharing.threads
            };
            let tasks = (work / TASK_OF_PAIRS).clamp(1, most);
            (tasks, MAX_BLOCK_OF_DOTS, (BLOCK, BLOCK))
        }
        Method::Pairs(..) => {
            let tasks = (work / TASK_OF_PAIRS).clamp(1, TASKS_OF_PAIRS);
            (tasks, MAX_BLOCK_OF_PAIRS, (BLOCK, BLOCK))
        }
    };
    let parts = |size: usize, parts: usize, unit: usize| {
        size.div_ceil(parts).next_multiple_of(unit).clamp(1, size.max(1))
    };
    let (mut down, mut across) = (m.div_ceil(max.0).max(1), n.div_ceil(max.1).max(1));
    while down * across < tasks {
        let (rows, cols) = (m / down, n / across);
        if cols >= rows && cols >= 64 {
            across += 1;
        } else if rows >= 24 {
            down += 1;
        } else if cols >= 64 {
            across += 1;
        } else {
            break;
        }
    }
    (parts(m, down, units.0), parts(n, across, units.1))
}

/// `c[i] = a(i) b(i)` for every `i` below `count`, where `c` holds `count` row-major matrices of `m` x `n` one after the
/// other. Each block is handed to `finish` while it is in cache.
///
/// # Panics
/// Where the sizes do not fit together.
pub fn products<'f, T: Product, A: Into<Factor<'f, T>>, B: Into<Factor<'f, T>>>(
    (team, arithmetic): (&Team, impl Into<Arithmetic>),
    count: usize,
    factors: impl Fn(usize) -> (A, B) + Sync,
    c: &mut [T],
    (m, n): (usize, usize),
    finish: impl Fn(At, &mut Block<'_, T>) + Sync,
) {
    if c.is_empty() {
        return;
    }
    assert_eq!(
        c.len(),
        count * m * n,
        "the result has another size than the products"
    );
    let factors = |i| {
        let (a, b) = factors(i);
        (a.into(), b.into())
    };
    let depth = factors(0).0.size()[1];
    let method = arithmetic.into().method([m, n, depth]);
    let is_small = count * m * n * depth.max(1) < SMALL;
    let sharing = Sharing {
        threads: if is_small { 1 } else { team.threads() },
        products: count,
    };
    let (rows, cols) = task_block(method, sharing, m, n, depth);
    let blocks = Blocks::new(c, [count * m, n], m, [rows, cols]);
    blocks.run((!is_small).then_some(team), |at, mut block| {
        let (a, b) = factors(at.matrix);
        let a = a.part(at.row..at.row + block.rows(), 0..depth);
        let b = b.part(0..depth, at.col..at.col + block.cols());
        T::product(method, a, b, &mut block, Start::Overwrite);
        finish(at, &mut block);
    });
}
