//! The way of a tile's sums from registers to a row of the result.

use super::lanes::Lanes;
use super::tile::{Product, Start};

/// Replaces the first vectors of a row by sums, or adds these.
#[inline(always)]
pub(super) fn write_row<T: Product, L: Lanes<T>, const VECTORS: usize>(
    lanes: L,
    sums: &[L::Vector; VECTORS],
    to: &mut [T],
    start: Start,
) {
    let to = &mut to[..VECTORS * L::LANES];
    for v in 0..VECTORS {
        let to = &mut to[v * L::LANES..];
        let value = match start {
            Start::Overwrite => sums[v],
            // 1 * sum + c is rounded once in either form of the instruction: it is the plain sum.
            Start::Accumulate => lanes.mul_add(lanes.splat(T::ONE), sums[v], lanes.load(to)),
        };
        lanes.store(value, to);
    }
}

/// [`write_row`] for a row that ends before the last vector does.
#[inline(always)]
pub(super) fn write_part<T: Product, L: Lanes<T>, const VECTORS: usize>(
    lanes: L,
    sums: &[L::Vector; VECTORS],
    to: &mut [T],
    start: Start,
) {
    for (v, to) in to.chunks_mut(L::LANES).enumerate() {
        let Some(&sum) = sums.get(v) else { break };
        let value = match start {
            Start::Overwrite => sum,
            Start::Accumulate => lanes.mul_add(lanes.splat(T::ONE), sum, lanes.load_part(to)),
        };
        lanes.store_part(value, to);
    }
}
