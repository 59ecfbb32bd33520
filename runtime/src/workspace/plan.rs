//! The memory plan: offsets of slots in one arena, from their sizes and lifetimes.
//!
//! Finding the smallest arena is NP-hard (it is dynamic storage allocation with known lifetimes). The plan
//! is the best of several greedy orders; each slot goes into the smallest gap between those slots that live
//! at the same time (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020). Where that is far from what
//! no plan can be below, orders are changed at random, always in the same way.
//! It is a function of the slots alone, so that the same model has the same plan everywhere.

use crate::arena::{ALIGN, align_up};
use crate::dtype::Precision;
use crate::error::{Error, Result};
use crate::program::SlotSpec;
use crate::sort::sorted;

/// Offsets of slots, and what they add up to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Bytes from the start of the arena, one for each slot; multiples of [`ALIGN`].
    pub offsets: Vec<usize>,
    /// Bytes that the arena needs.
    pub bytes: usize,
    /// The most bytes that are alive at one kernel: no plan can need fewer.
    pub lower_bound: usize,
}

/// A slot in bytes.
#[derive(Copy, Clone)]
struct Piece {
    /// Rounded up, so that the next slot starts aligned.
    bytes: usize,
    first: usize,
    last: usize,
}

impl Piece {
    fn meets(&self, other: &Piece) -> bool {
        self.first <= other.last && other.first <= self.last
    }

    fn span(&self) -> usize {
        self.last.saturating_sub(self.first)
    }
}

/// The numbers below `n` by their keys, the smallest first.
fn ordered(n: usize, key: &dyn Fn(usize) -> (usize, usize)) -> Vec<usize> {
    sorted(n, &|a, b| key(a).cmp(&key(b)))
}

impl Plan {
    /// Places slots so that those that live at the same time never overlap.
    ///
    /// # Errors
    ///
    /// A configuration error if the slots do not fit into the address space.
    pub fn new(slots: &[SlotSpec], precision: Precision) -> Result<Self> {
        let (pieces, _) = pieces(slots, precision)?;
        // Largest first, earliest first, longest first; each with a second thought.
        let largest = |k: usize| usize::MAX - pieces[k].bytes;
        let orders = [
            ordered(pieces.len(), &|k| (largest(k), pieces[k].first)),
            ordered(pieces.len(), &|k| (pieces[k].first, largest(k))),
            ordered(pieces.len(), &|k| (usize::MAX - pieces[k].span(), largest(k))),
        ];
        let placed = orders.iter().map(|order| place(&pieces, order));
        let (offsets, bytes) = placed.min_by_key(|(_, bytes)| *bytes).unwrap_or_default();
        let lower_bound = lower_bound(slots, precision);
        let best = improve(&pieces, orders, (offsets, bytes), lower_bound);
        let (offsets, bytes) = explore(&pieces, best, lower_bound);
        Ok(Self {
            offsets,
            bytes,
            lower_bound,
        })
    }

    /// Places every slot apart from all others, whatever their lifetimes.
    ///
    /// # Errors
    ///
    /// A configuration error if the slots do not fit into the address space.
    pub fn apart(slots: &[SlotSpec], precision: Precision) -> Result<Self> {
        let (pieces, bytes) = pieces(slots, precision)?;
        let ends = pieces.iter().scan(0, |end, piece| {
            *end += piece.bytes;
            Some(*end)
        });
        let offsets = ends.zip(&pieces).map(|(end, piece)| end - piece.bytes).collect();
        Ok(Self {
            offsets,
            bytes,
            lower_bound: lower_bound(slots, precision),
        })
    }
}

/// Rounds of [`improve`]; each costs as much as a greedy order.
const ROUNDS: usize = 64;

/// Looks for a better plan where the greedy ones are far from the bound: in every round the piece that reaches highest moves to
/// the front of each order, so that it is placed while there is room below.
fn improve(
    pieces: &[Piece],
    mut orders: [Vec<usize>; 3],
    greedy: (Vec<usize>, usize),
    lower_bound: usize,
) -> (Vec<usize>, usize) {
    let mut best = greedy;
    for order in &mut orders {
        for _ in 0..ROUNDS {
            if is_good(best.1, lower_bound) {
                return best;
            }
            let (offsets, bytes) = place(pieces, order);
            let highest = (0..order.len()).max_by_key(|&at| offsets[order[at]] + pieces[order[at]].bytes);
            if bytes < best.1 {
                best = (offsets, bytes);
            }
            match highest {
                Some(at) if at > 0 => order[..=at].rotate_right(1),
                _ => break,
            }
        }
    }
    best
}

/// Whether there is little left to be gained.
fn is_good(bytes: usize, lower_bound: usize) -> bool {
    bytes - bytes / 32 <= lower_bound
}

/// Rounds of [`explore`] at most, and about how many pairs of pieces all of them together look at.
const TRIES: usize = 1024;
const PAIRS: usize = 1 << 20;

/// Looks for a better plan by chance, where there is still much to be gained: in every round one piece moves to another place of the order,
/// and stays there if that made nothing worse. It finds plans that leave a little room below for what comes later, as no greedy order
/// does.
fn explore(pieces: &[Piece], best: (Vec<usize>, usize), lower_bound: usize) -> (Vec<usize>, usize) {
    let mut best = best;
    // From below, as they lie: placed so, no piece lies higher than it does.
    let mut order = ordered(pieces.len(), &|k| (best.0[k], pieces[k].first));
    let n = order.len();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |n: usize| {
        // Xorshift (G. Marsaglia, 2003): any numbers do, if they are always the same.
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % n as u64) as usize
    };
    for _ in 0..TRIES.min(PAIRS / (n * n).max(1)) {
        if is_good(best.1, lower_bound) {
            break;
        }
        let (from, to) = (below(n), below(n));
        let piece = order.remove(from);
        order.insert(to, piece);
        let plan = place(pieces, &order);
        if plan.1 <= best.1 {
            best = plan;
        } else {
            let piece = order.remove(to);
            order.insert(from, piece);
        }
    }
    best
}

/// The slots in bytes, and their sum.
fn pieces(slots: &[SlotSpec], precision: Precision) -> Result<(Vec<Piece>, usize)> {
    let mut pieces = Vec::with_capacity(slots.len());
    let mut sum = 0_usize;
    for slot in slots {
        let bytes = slot
            .len
            .checked_mul(slot.dtype.width(precision))
            .filter(|&bytes| bytes < isize::MAX as usize / 2);
        let total = bytes.map(align_up).and_then(|bytes| sum.checked_add(bytes));
        match (bytes, total.filter(|&total| total < isize::MAX as usize / 2)) {
            (Some(bytes), Some(total)) => {
                pieces.push(Piece {
                    bytes: align_up(bytes),
                    first: slot.first,
                    last: slot.last,
                });
                sum = total;
            }
            _ => {
                let message = format!("a buffer of {} elements does not fit into memory", slot.len);
                return Err(Error::config(message).hint("choose a smaller batch"));
            }
        }
    }
    Ok((pieces, sum))
}

/// Offsets when the pieces are placed in an order, and the bytes that they need.
fn place(pieces: &[Piece], order: &[usize]) -> (Vec<usize>, usize) {
    let mut offsets = vec![0_usize; pieces.len()];
    let mut arena = 0;
    // Those placed so far, by offset.
    let mut placed: Vec<usize> = Vec::with_capacity(pieces.len());
    for &k in order {
        let piece = pieces[k];
        if piece.bytes == 0 {
            continue;
        }
        let mut best: Option<(usize, usize)> = None;
        let mut end = 0_usize;
        for &other in placed.iter().filter(|&&other| pieces[other].meets(&piece)) {
            let gap = offsets[other].saturating_sub(end);
            if gap >= piece.bytes && best.is_none_or(|(smallest, _)| gap < smallest) {
                best = Some((gap, end));
            }
            end = end.max(offsets[other] + pieces[other].bytes);
        }
        offsets[k] = best.map_or(end, |(_, offset)| offset);
        arena = arena.max(offsets[k] + piece.bytes);
        let position = placed.partition_point(|&other| offsets[other] <= offsets[k]);
        placed.insert(position, k);
    }
    debug_assert!(offsets.iter().all(|offset| offset.is_multiple_of(ALIGN)));
    (offsets, arena)
}

/// The most bytes alive at one kernel, without rounding.
fn lower_bound(slots: &[SlotSpec], precision: Precision) -> usize {
    let alive = |at: usize| {
        let alive = slots.iter().filter(|slot| slot.first <= at && at <= slot.last);
        alive
            .map(|slot| slot.len * slot.dtype.width(precision))
            .sum::<usize>()
    };
    // The sum can only rise where a slot begins.
    slots.iter().map(|slot| alive(slot.first)).max().unwrap_or(0)
}

/// The most bytes alive at one kernel, of slots `(bytes, first kernel, last kernel)`: for budgets that rustc checks.
#[must_use]
pub const fn live_peak(slots: &[(usize, usize, usize)]) -> usize {
    let (mut peak, mut start) = (0, 0);
    while start < slots.len() {
        let (at, mut alive, mut k) = (slots[start].1, 0_usize, 0);
        while k < slots.len() {
            let (bytes, first, last) = slots[k];
            if first <= at && at <= last {
                alive = alive.saturating_add(bytes);
            }
            k += 1;
        }
        if alive > peak {
            peak = alive;
        }
        start += 1;
    }
    peak
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dtype::Dtype;
    use proptest::prelude::*;

    fn slot(len: usize, first: usize, last: usize) -> SlotSpec {
        SlotSpec {
            dtype: Dtype::Float,
            len,
            first,
            last,
        }
    }

    /// Activations of a chain of layers of these sizes with its reversed sweep: activation k is written by kernel
    /// k and read by its gradient's kernel; the gradient of each lives for two kernels.
    fn chain(sizes: &[usize]) -> Vec<SlotSpec> {
        let n = sizes.len();
        let activations = sizes.iter().enumerate().map(|(k, &len)| slot(len, k, 2 * n - k));
        let gradients = sizes
            .iter()
            .enumerate()
            .map(|(k, &len)| slot(len, 2 * n - k - 1, 2 * n - k));
        activations.chain(gradients).collect()
    }

    fn check(slots: &[SlotSpec], plan: &Plan) {
        for (i, a) in slots.iter().enumerate() {
            let (start, end) = (plan.offsets[i], plan.offsets[i] + 4 * a.len);
            assert!(end <= plan.bytes && start.is_multiple_of(ALIGN));
            for (j, b) in slots.iter().enumerate().skip(i + 1) {
                let (other, other_end) = (plan.offsets[j], plan.offsets[j] + 4 * b.len);
                let apart = end <= other || other_end <= start || a.len == 0 || b.len == 0;
                assert!(
                    apart || a.first > b.last || b.first > a.last,
                    "slots {i} and {j} overlap"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn slots_alive_together_never_overlap(
            raw in prop::collection::vec((0_usize..3000, 0_usize..40, 0_usize..12), 0..60)
        ) {
            let slots: Vec<_> = raw.iter().map(|&(len, first, span)| slot(len, first, first + span)).collect();
            let plan = Plan::new(&slots, Precision::F32).unwrap();
            check(&slots, &plan);
            prop_assert!(plan.bytes >= plan.lower_bound);
            let bytes: Vec<_> = slots.iter().map(|slot| (4 * slot.len, slot.first, slot.last)).collect();
            prop_assert_eq!(live_peak(&bytes), plan.lower_bound);
            let apart = Plan::apart(&slots, Precision::F32).unwrap();
            prop_assert!(plan.bytes <= apart.bytes);
            let everlasting: Vec<_> = slots.iter().map(|slot| SlotSpec { first: 0, last: 99, ..*slot }).collect();
            check(&everlasting, &apart);
        }

        #[test]
        fn chains_come_within_a_tenth_of_the_bound(sizes in prop::collection::vec(500_usize..60_000, 1..14)) {
            let slots = chain(&sizes);
            let plan = Plan::new(&slots, Precision::F32).unwrap();
            check(&slots, &plan);
            prop_assert!(plan.bytes * 10 <= plan.lower_bound * 11, "{plan:?}");
        }
    }

    /// Three of its kernels need all of the bound, to a few bytes.
    #[test]
    fn a_chain_that_no_greedy_order_serves_comes_within_a_tenth() {
        let plan = Plan::new(&chain(&[36161, 22849, 18081, 11425]), Precision::F32).unwrap();
        assert!(plan.bytes * 10 <= plan.lower_bound * 11, "{plan:?}");
    }

    #[test]
    fn a_convolutional_chain_comes_within_a_tenth() {
        let per_image = [32 * 26 * 26, 64 * 24 * 24, 64 * 12 * 12, 9216, 128, 128, 10, 1];
        let sizes: Vec<_> = per_image.iter().map(|len| len * 64).collect();
        let plan = Plan::new(&chain(&sizes), Precision::F32).unwrap();
        assert!(plan.bytes * 10 <= plan.lower_bound * 11, "{plan:?}");
    }

    #[test]
    fn sizes_beyond_memory_are_errors() {
        let error = Plan::new(&[slot(usize::MAX / 2, 0, 1)], Precision::F32).unwrap_err();
        assert!(error.to_string().contains("choose a smaller batch"));
        let halves = [slot(usize::MAX / 32, 0, 1); 16];
        assert!(Plan::new(&halves, Precision::F32).is_err());
    }
}
