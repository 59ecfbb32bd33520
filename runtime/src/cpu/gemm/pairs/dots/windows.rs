//! Sums over windows of images in one part, by `vdpbf16ps`.
//!
//! A tile is eight places by two vectors of sums, which stay in registers over the whole window and are finished there. More than 16
//! columns take a vector for every 16: a pair of a place's numbers is broadcast and multiplied with both. With one vector of columns a
//! load for every multiplication would take longer than that. So up to 16 columns take two pairs at a time: the first vector has the
//! sums of eight columns, for both pairs by turns, the second those of the other eight, and the sums of both pairs are added in the
//! end.

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

use std::arch::x86_64::{
    __m512, __m512i, _CMP_NLE_UQ, _mm512_add_ps, _mm512_cmp_ps_mask, _mm512_dpbf16_ps, _mm512_load_si512,
    _mm512_loadu_si512, _mm512_maskz_loadu_ps, _mm512_maskz_mov_ps, _mm512_permutex2var_ps,
    _mm512_set1_epi32, _mm512_set1_epi64, _mm512_setzero_ps, _mm512_setzero_si512,
};

use super::super::window::{PairWindows, Spot, Step, Walk};
use super::super::{BLOCK, SIDE};
use super::{ROWS, pairs, part, store};
use crate::cpu::gemm::Start;
use crate::cpu::isa::{Avx512Bf16, Kernel};
use crate::ops::epilogue::{Activation, Simple};

/// Computes sums over windows of images in one part.
pub(in crate::cpu::gemm::pairs) fn windows(bf16: Avx512Bf16, work: PairWindows<'_, '_>) {
    match work.out.cols() {
        0..=SIDE => bf16.run(Places::<2, 1> { bf16, work }),
        _ => bf16.run(Places::<1, 2> { bf16, work }),
    }
}

/// Sums over windows, `PAIRS` pairs of a place at a time, with `VECTORS` vectors of columns; both together are two.
struct Places<'x, 'b, const PAIRS: usize, const VECTORS: usize> {
    bf16: Avx512Bf16,
    work: PairWindows<'x, 'b>,
}

/// What happens to the sums of a place.
struct Ending<const VECTORS: usize> {
    bias: [__m512; VECTORS],
    activation: Activation,
}

impl<const PAIRS: usize, const VECTORS: usize> Kernel for Places<'_, '_, PAIRS, VECTORS> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let work = &self.work;
        let (planes, steps) = (work.planes, work.steps);
        let walk = Walk::new(*planes.sheet(), work.axes, ROWS);
        let (step, pitch) = (walk.step(), walk.pitch());
        let rows: usize = steps
            .list()
            .iter()
            .map(|step| 2 * step.pairs.div_ceil(PAIRS))
            .sum();
        assert!(
            rows <= SIDE * work.weights.len() && planes.parts().count() == 1,
            "weights of {rows} rows"
        );
        // Behind the last number that is read of a tile.
        let end = (ROWS - 1) * step + steps.reach();
        let ending = Ending::<VECTORS>::new(self.bf16, work.finish, work.out.cols());
        for spot in walk {
            // Where windows have no elements, they lie anywhere.
            let is_held = spot.at.checked_add(end).is_some_and(|end| end <= planes.len());
            assert!(is_held || steps.list().is_empty(), "places leave their plane");
            // SAFETY: the plane holds what is read of these places, and there are weights for all pairs, as was just checked.
            let sums = unsafe { self.sums(spot.at, step) };
            self.write(&spot, pitch, sums, &ending);
        }
    }
}

impl<const PAIRS: usize, const VECTORS: usize> Places<'_, '_, PAIRS, VECTORS> {
    /// The sums of eight places, `step` numbers apart, of which the first sees the plane from `at` on.
    ///
    /// # Safety
    /// Where there are steps, the plane must hold the numbers up to their reach for all eight places, and there must be two rows of
    /// weights for each `PAIRS` pairs of a step.
    #[inline(always)]
    unsafe fn sums(&self, at: usize, step: usize) -> [[__m512; 2]; ROWS] {
        let steps: &[Step] = self.work.steps.list();
        // SAFETY: `bf16` proves that the CPU has the instructions. The pairs that are read of a place, rounded up to `PAIRS`, lie below
        // the reach of the steps; they need not be aligned. Rows of weights are 64 bytes that are aligned to 64, one after the
        // other.
        unsafe {
            let mut c = [[_mm512_setzero_ps(); 2]; ROWS];
            let place = self.work.planes.halves().as_ptr().wrapping_add(at);
            let mut row = self.work.weights.as_ptr().cast::<[u32; SIDE]>();
            for step_of_window in steps {
                let from = place.add(step_of_window.at);
                for p in 0..step_of_window.pairs.div_ceil(PAIRS) {
                    let mut columns = [_mm512_setzero_si512(); 2];
                    for v in 0..2 {
                        columns[v] = _mm512_load_si512(row.add(v).cast());
                    }
                    for i in 0..ROWS {
                        let x = pairs(broadcast::<PAIRS>(from.add(i * step + 2 * PAIRS * p)));
                        for v in 0..2 {
                            c[i][v] = _mm512_dpbf16_ps(c[i][v], x, pairs(columns[v]));
                        }
                    }
                    row = row.add(2);
                }
            }
            c
        }
    }

    /// Finishes and writes the sums of those places that count.
    #[inline(always)]
    fn write(
        &mut self,
        spot: &Spot,
        pitch: Option<usize>,
        sums: [[__m512; 2]; ROWS],
        ending: &Ending<VECTORS>,
    ) {
        let bf16 = self.bf16;
        let (axes, rows) = (self.work.axes, self.work.rows);
        if spot.count == ROWS && spot.place[2] + ROWS <= axes[1].places {
            let [image, line, place] = spot.place;
            let first = rows[0] + image * rows[3] + line * rows[1] + place * rows[2];
            for i in 0..ROWS {
                let to = self.work.out.row_mut(first + i * rows[2]);
                ending.write::<PAIRS>(bf16, sums[i], to);
            }
            return;
        }
        let cols = self.work.out.cols();
        let mut kept = [[0.0; BLOCK]; ROWS];
        for i in 0..ROWS {
            ending.write::<PAIRS>(bf16, sums[i], &mut kept[i][..cols]);
        }
        spot.for_each_run(pitch, axes, rows, |some, [first, step]| {
            for (n, i) in some.enumerate() {
                let to = self.work.out.row_mut(first + n * step);
                to.copy_from_slice(&kept[i][..cols]);
            }
        });
    }
}

impl<const VECTORS: usize> Ending<VECTORS> {
    #[inline(always)]
    fn new(_bf16: Avx512Bf16, finish: Simple<'_, f32>, cols: usize) -> Self {
        let all = finish.bias.unwrap_or_default();
        // SAFETY: `_bf16` proves that the CPU has the instructions; the mask has no bit beyond the slice.
        let bias = unsafe {
            let mut bias = [_mm512_setzero_ps(); VECTORS];
            for v in 0..VECTORS {
                let some = all.get(v * SIDE..cols).unwrap_or_default();
                let mask = ((1_u32 << some.len().min(SIDE)) - 1) as u16;
                bias[v] = _mm512_maskz_loadu_ps(mask, some.as_ptr());
            }
            bias
        };
        Self {
            bias,
            activation: finish.activation,
        }
    }

    /// Writes the results of a place.
    #[inline(always)]
    fn write<const PAIRS: usize>(&self, bf16: Avx512Bf16, sums: [__m512; 2], to: &mut [f32]) {
        // SAFETY: `bf16` proves that the CPU has the instructions.
        let y = unsafe {
            let mut y = [_mm512_setzero_ps(); VECTORS];
            for v in 0..VECTORS {
                let sums = match PAIRS {
                    1 => sums[v],
                    _ => both_pairs(sums),
                };
                y[v] = _mm512_add_ps(sums, self.bias[v]);
                if self.activation == Activation::Relu {
                    // NaN stays NaN.
                    y[v] = _mm512_maskz_mov_ps(
                        _mm512_cmp_ps_mask::<_CMP_NLE_UQ>(y[v], _mm512_setzero_ps()),
                        y[v],
                    );
                }
            }
            y
        };
        match to.len() == VECTORS * SIDE {
            true => store(bf16, &y, to),
            false => part(bf16, &y, to, Start::Overwrite),
        }
    }
}

/// One or two pairs in all lanes, by turns.
///
/// # Safety
/// The CPU must have AVX-512, and there must be as many pairs of numbers.
#[inline(always)]
unsafe fn broadcast<const PAIRS: usize>(halves: *const u16) -> __m512i {
    // SAFETY: the caller's.
    unsafe {
        match PAIRS {
            1 => _mm512_set1_epi32(halves.cast::<i32>().read_unaligned()),
            _ => _mm512_set1_epi64(halves.cast::<i64>().read_unaligned()),
        }
    }
}

/// The sums of neighbouring lanes: those of two vectors in order.
///
/// # Safety
/// The CPU must have AVX-512.
#[inline(always)]
unsafe fn both_pairs([low, high]: [__m512; 2]) -> __m512 {
    const TURNS: [[u32; SIDE]; 2] = {
        let mut turns = [[0; SIDE]; 2];
        let mut i = 0;
        while i < SIDE {
            turns[0][i] = 2 * i as u32;
            turns[1][i] = 2 * i as u32 + 1;
            i += 1;
        }
        turns
    };
    // SAFETY: the caller's; constants of 64 bytes are read.
    unsafe {
        let first = _mm512_loadu_si512(TURNS[0].as_ptr().cast());
        let second = _mm512_loadu_si512(TURNS[1].as_ptr().cast());
        _mm512_add_ps(
            _mm512_permutex2var_ps(low, first, high),
            _mm512_permutex2var_ps(low, second, high),
        )
    }
}
