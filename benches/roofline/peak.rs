//! The rate of fused multiply-adds: chains long enough in number that no multiply-add waits for the one before.

use std::hint::black_box;
use std::time::Instant;

use super::clock;

/// Floating point operations a second in f32 on some threads, by the best instruction set.
pub fn f32(threads: usize) -> f64 {
    rate(threads, chains::<f32>())
}

/// The same in f64.
pub fn f64(threads: usize) -> f64 {
    rate(threads, chains::<f64>())
}

/// The rate in f32 on the calling thread over about a millisecond, after half a millisecond of the same that wakes the core.
pub fn probe() -> f64 {
    let (run, lanes) = chains::<f32>();
    run(black_box(LINKS / 4));
    let begin = Instant::now();
    run(black_box(LINKS / 2));
    (CHAINS * lanes * LINKS) as f64 / begin.elapsed().as_secs_f64()
}

/// Links of every chain: some milliseconds.
const LINKS: usize = 1 << 20;

/// Independent chains of vectors: present CPUs start up to 2 multiply-adds a cycle and take 4 cycles for each.
const CHAINS: usize = 12;

/// Runs [`CHAINS`] chains of the given number of links, and how many numbers lie in a vector.
type Chains = (fn(usize), usize);

fn rate(threads: usize, (run, lanes): Chains) -> f64 {
    let mut parts = vec![LINKS; threads];
    let seconds = clock::seconds(&mut parts, |links| run(black_box(*links)));
    (2 * CHAINS * lanes * LINKS * threads) as f64 / seconds
}

/// A float of which vectors exist.
trait Float {
    /// A plain loop over arrays, for CPUs without a path of their own.
    fn portable(links: usize);
    /// The chains of the best path of this CPU.
    fn best() -> Chains;
}

fn chains<T: Float>() -> Chains {
    T::best()
}

/// The chains of one instruction set: names of the loop, its features, the type of vectors, and the three intrinsics that
/// make a vector of equal numbers, multiply and add, and sum up.
macro_rules! chains {
    ($($name:ident: $arch:literal, $features:literal, $module:ident, $float:ty, $splat:ident, $fma:expr, $lanes:literal;)*) => {$(
        #[cfg(target_arch = $arch)]
        mod $name {
            use std::arch::$module::*;
            use std::hint::black_box;

            /// Runs the chains.
            #[target_feature(enable = $features)]
            fn links(n: usize) {
                let (scale, shift) = (black_box(0.999 as $float), black_box(1e-3 as $float));
                let (scale, shift) = ($splat(scale), $splat(shift));
                let mut chains = [shift; super::CHAINS];
                for _ in 0..n {
                    for chain in &mut chains {
                        *chain = $fma(*chain, scale, shift);
                    }
                }
                black_box(chains);
            }

            /// Runs the chains on a CPU that has the features.
            pub fn run(n: usize) {
                // SAFETY: `best` hands this function out only where it has found the features that `links` enables.
                unsafe { links(n) }
            }

            /// Numbers in a vector.
            pub const LANES: usize = $lanes;
        }
    )*};
}

chains! {
    avx512_f32: "x86_64", "avx512f", x86_64, f32, _mm512_set1_ps, _mm512_fmadd_ps, 16;
    avx512_f64: "x86_64", "avx512f", x86_64, f64, _mm512_set1_pd, _mm512_fmadd_pd, 8;
    avx2_f32: "x86_64", "avx2,fma", x86_64, f32, _mm256_set1_ps, _mm256_fmadd_ps, 8;
    avx2_f64: "x86_64", "avx2,fma", x86_64, f64, _mm256_set1_pd, _mm256_fmadd_pd, 4;
    neon_f32: "aarch64", "neon", aarch64, f32, vdupq_n_f32, |x, scale, shift| vfmaq_f32(shift, x, scale), 4;
    neon_f64: "aarch64", "neon", aarch64, f64, vdupq_n_f64, |x, scale, shift| vfmaq_f64(shift, x, scale), 2;
}

/// The two floats: their vectors of 128 bits where nothing is known, and the loops above.
macro_rules! floats {
    ($($float:ty: $lanes:literal, $avx512:ident, $avx2:ident, $neon:ident;)*) => {$(
        impl Float for $float {
            fn portable(links: usize) {
                let (scale, shift) = (black_box(0.999 as $float), black_box(1e-3 as $float));
                let mut chains = [[shift; $lanes]; CHAINS];
                for _ in 0..links {
                    for x in chains.as_flattened_mut() {
                        *x = *x * scale + shift;
                    }
                }
                black_box(chains);
            }

            fn best() -> Chains {
                #[cfg(target_arch = "x86_64")]
                {
                    if std::arch::is_x86_feature_detected!("avx512f") {
                        return ($avx512::run, $avx512::LANES);
                    }
                    if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                        return ($avx2::run, $avx2::LANES);
                    }
                }
                #[cfg(target_arch = "aarch64")]
                if std::arch::is_aarch64_feature_detected!("neon") {
                    return ($neon::run, $neon::LANES);
                }
                (<$float>::portable, $lanes)
            }
        }
    )*};
}

floats! {
    f32: 4, avx512_f32, avx2_f32, neon_f32;
    f64: 2, avx512_f64, avx2_f64, neon_f64;
}
