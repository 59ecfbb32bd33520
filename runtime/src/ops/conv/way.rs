//! What sums over windows, for their sizes: vectors, pairs of bf16 numbers or tiles of places.
//!
//! `f64` knows vectors alone, which is what the methods of [`Images`] do if nobody says otherwise.

use super::places::{Places, Task, Weights};
use super::results::Results;
use super::sums::{self, Bands};
use super::{Conv2d, pairs, winograd};
use crate::cpu::gemm::{Block, Convolve};
use crate::cx::Env;
use crate::ops::epilogue::Finish;

/// Sums over windows that are to be computed: what all tasks have in common.
#[derive(Copy, Clone)]
pub(super) struct Work<'a, T> {
    pub places: Places<'a>,
    pub env: Env<'a>,
    pub images: &'a [T],
    /// Weights as they lie in memory.
    pub weights: Weights<'a, T>,
    pub finish: Finish<'a, T>,
}

/// Floats of images.
pub(super) trait Images: Convolve {
    /// Lays out weights for [`sum_packed`](Self::sum_packed).
    fn pack_weights(places: &Places<'_>, env: Env<'_>, weights: Weights<'_, Self>, packed: &mut [Self]) {
        places.pack_all(env, weights, packed);
    }

    /// Computes all results with weights that [`pack_weights`](Self::pack_weights) has laid out.
    fn sum_packed(work: &Work<'_, Self>, packed: &[Self], out: Results<'_, Self>) {
        work.on_lanes(packed, out);
    }

    /// Computes all results; `packed` has room for the weights.
    fn sum(work: &Work<'_, Self>, packed: &mut [Self], out: Results<'_, Self>) {
        work.packed_on_lanes(packed, out);
    }

    /// What sums the gradient of the weight.
    fn sum_way(_conv: &Conv2d, _env: Env<'_>) -> sums::Way {
        sums::Way::Lanes
    }

    /// Computes a block of that gradient by tiles; gives whether all of it are finite numbers.
    fn tile_sums(
        _env: Env<'_>,
        _data: [&[Self]; 2],
        _conv: &Conv2d,
        _region: &sums::Region,
        _block: &mut Block<'_, Self>,
    ) -> bool {
        false
    }
}

#[cfg(feature = "f64")]
impl Images for f64 {}

impl Images for f32 {
    fn pack_weights(places: &Places<'_>, env: Env<'_>, weights: Weights<'_, f32>, packed: &mut [f32]) {
        match winograd::serves(places, env) {
            true => winograd::pack(places, env, weights, packed),
            false => places.pack_all(env, weights, packed),
        }
    }

    fn sum_packed(work: &Work<'_, f32>, packed: &[f32], out: Results<'_, f32>) {
        match winograd::serves(&work.places, work.env) {
            true => winograd::run(work, packed, out),
            false => work.on_lanes(packed, out),
        }
    }

    fn sum(work: &Work<'_, f32>, packed: &mut [f32], out: Results<'_, f32>) {
        if out.memory.is_empty() {
            return;
        }
        if winograd::serves(&work.places, work.env) {
            winograd::pack(&work.places, work.env, work.weights, packed);
            return winograd::run(work, packed, out);
        }
        match pairs::method(&work.places, work.env.arithmetic()) {
            Some(method) => pairs::run(work, method, packed, out),
            None => work.packed_on_lanes(packed, out),
        }
    }

    fn sum_way(conv: &Conv2d, env: Env<'_>) -> sums::Way {
        match winograd::sums_serve(conv, env) {
            true => sums::Way::Tiles,
            false => Bands::chosen(conv, env.arithmetic()).into(),
        }
    }

    fn tile_sums(
        env: Env<'_>,
        data: [&[f32]; 2],
        conv: &Conv2d,
        region: &sums::Region,
        block: &mut Block<'_, f32>,
    ) -> bool {
        winograd::add(env, data, conv, region, block)
    }
}

impl<T: Convolve> Work<'_, T> {
    /// Computes all results on vectors, with weights that [`Places::pack_all`] has laid out.
    fn on_lanes(&self, packed: &[T], out: Results<'_, T>) {
        if out.memory.is_empty() {
            return;
        }
        let (places, env) = (&self.places, self.env);
        let columns = T::columns(env.isa, places.rows);
        out.compute(
            places,
            env,
            (places.blocks(columns), [columns, 1]),
            |at, block| {
                Task::new(self, (packed, columns)).run(at, block);
            },
        );
    }

    /// The same; `packed` has room for the weights.
    pub(super) fn packed_on_lanes(&self, packed: &mut [T], out: Results<'_, T>) {
        if out.memory.is_empty() {
            return;
        }
        let places = self.places.merged(self.env, self.images);
        let work = Work { places, ..*self };
        work.places.pack_all(self.env, self.weights, packed);
        work.on_lanes(packed, out);
    }
}
