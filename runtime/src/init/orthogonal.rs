//! Random matrices with orthonormal rows or columns.
//!
//! The Q factor of a Gaussian matrix, with R's diagonal positive, is evenly distributed over all such
//! matrices (Mezzadri, "How to generate random matrices from the classical compact groups", 2007). It is
//! found by the modified Gram-Schmidt process, each vector treated twice, which makes it orthogonal to
//! rounding (Giraud, Langou and Rozložník, "On the loss of orthogonality in the Gram-Schmidt
//! orthogonalization process", 2005), and whose R has a positive diagonal as it comes.

use crate::real::Real;
use crate::rng::Stream;

/// Fills `out`, a row-major matrix of `rows` rows, with `gain` times such a matrix.
pub(super) fn fill<T: Real>(stream: &Stream, gain: f64, rows: usize, out: &mut [T]) {
    if out.is_empty() {
        return;
    }
    let cols = out.len() / rows;
    let basis = orthonormal_vectors(stream, rows.min(cols), rows.max(cols));
    let len = rows.max(cols);
    for (i, x) in out.iter_mut().enumerate() {
        let (row, col) = (i / cols, i % cols);
        let (vector, component) = if rows < cols { (row, col) } else { (col, row) };
        *x = T::from_f64(gain * basis[vector * len + component]);
    }
}

/// `count` random orthonormal vectors of length `len >= count`, one after the other.
fn orthonormal_vectors(stream: &Stream, count: usize, len: usize) -> Vec<f64> {
    let mut basis: Vec<f64> = (0..count * len).map(|i| stream.normal_f64(i as u64)).collect();
    for k in 0..count {
        let (done, rest) = basis.split_at_mut(k * len);
        let vector = &mut rest[..len];
        for _ in 0..2 {
            for other in done.chunks_exact(len) {
                let projection = dot(vector, other);
                vector
                    .iter_mut()
                    .zip(other)
                    .for_each(|(x, y)| *x -= projection * y);
            }
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
    basis
}

/// The inner product, in eight interleaved partial sums (which a CPU can keep in flight together).
fn dot(x: &[f64], y: &[f64]) -> f64 {
    let (xs, ys) = (x.chunks_exact(8), y.chunks_exact(8));
    let tail: f64 = xs
        .remainder()
        .iter()
        .zip(ys.remainder())
        .map(|(x, y)| x * y)
        .sum();
    let mut sums = [0.0; 8];
    for (x, y) in xs.zip(ys) {
        for ((sum, x), y) in sums.iter_mut().zip(x).zip(y) {
            *sum += x * y;
        }
    }
    sums.iter().sum::<f64>() + tail
}
