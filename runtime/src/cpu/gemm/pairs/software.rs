//! The tile instructions in plain Rust, as their manual describes them, so that everything around them is tested on every
//! machine.

use super::window::Spots;
use super::{BLOCK, Parts, SIDE, Spread, Sums, Tile, Tiling, Unit};
use crate::cpu::amx::Amx;
use crate::cpu::isa::{Avx512Bf16, Isa, Kernel};

/// Bits of a number's exponent.
const EXPONENT: u32 = 0x7f80_0000;

/// Units and parts that can be tried on this CPU: its tiles, in plain Rust where it has none, and its dot products.
pub(crate) fn ways() -> Vec<(Unit, Parts)> {
    let tiles = Unit::Tiles(Amx::detect().map_or(Tiling::Software, Tiling::Amx));
    let all = [Parts::One, Parts::Two, Parts::Three].map(|parts| (tiles, parts));
    let dots = Avx512Bf16::detect().map(|bf16| (Unit::Dots(bf16), Parts::One));
    all.into_iter().chain(dots).collect()
}

/// Numbers below 2^-126 are zero, as operands and as results.
#[inline(always)]
fn flushed(x: f32) -> f32 {
    let is_normal = x.to_bits() & EXPONENT != 0;
    if is_normal { x } else { 0.0_f32.copysign(x) }
}

/// A bf16 number in the lower half of a word.
#[inline(always)]
fn widened(half: u32) -> f32 {
    flushed(f32::from_bits(half << 16))
}

/// `c += a b` for a tile of the left and one of the right factor: `TDPBF16PS` in *Intel 64 and IA-32 Architectures Software
/// Developer's Manual*, volume 2. The even and the odd products have a sum each, by fused multiply-adds from zero on; these are
/// added, and then added to the accumulator.
pub(crate) fn dot(c: &mut [[f32; SIDE]; SIDE], a: &Tile, b: &Tile) {
    Isa::best().run(Dot { c, a, b });
}

/// A kernel, because a fused multiply-add is one instruction on a CPU that has it, and a slow function elsewhere: of the same bits.
struct Dot<'c, 'x> {
    c: &'c mut [[f32; SIDE]; SIDE],
    a: &'x Tile,
    b: &'x Tile,
}

impl Kernel for Dot<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for (c, a) in self.c.iter_mut().zip(&self.a.0) {
            let (mut even, mut odd) = ([0.0_f32; SIDE], [0.0_f32; SIDE]);
            for (a, b) in a.iter().zip(&self.b.0) {
                let [low, high] = [widened(a & 0xffff), widened(a >> 16)];
                for n in 0..SIDE {
                    even[n] = flushed(low.mul_add(widened(b[n] & 0xffff), even[n]));
                    odd[n] = flushed(high.mul_add(widened(b[n] >> 16), odd[n]));
                }
            }
            for n in 0..SIDE {
                c[n] = flushed(flushed(c[n]) + flushed(even[n] + odd[n]));
            }
        }
    }
}

/// `sums = a b` for strips, with the products of parts in the order of the assembly.
pub(super) fn multiply(parts: Parts, a: &[Tile], b: &[Tile], sums: &mut Sums) {
    let mut c = [[[[0.0; SIDE]; SIDE]; 2]; 2];
    let tiles = 2 * parts.count();
    for (a, b) in a.chunks_exact(tiles).zip(b.chunks_exact(tiles)) {
        for &(p, q) in parts.products() {
            for (i, c) in c.iter_mut().enumerate() {
                for (j, c) in c.iter_mut().enumerate() {
                    dot(c, &a[2 * p + i], &b[2 * q + j]);
                }
            }
        }
    }
    for i in 0..BLOCK {
        for j in 0..BLOCK {
            sums.0[i][j] = c[i / SIDE][j / SIDE][i % SIDE][j % SIDE];
        }
    }
}

/// Sums over windows of places, whose rows are read where they lie.
pub(super) fn windows(work: &Spots<'_>, sums: &mut [Sums]) {
    let (parts, plane) = (work.parts, work.plane);
    let row = |part: usize, first: usize| -> [u32; SIDE] {
        let halves = &work.halves[part * plane..][first..][..BLOCK];
        std::array::from_fn(|p| u32::from(halves[2 * p]) | u32::from(halves[2 * p + 1]) << 16)
    };
    for (n, at) in work.at.iter().enumerate() {
        let mut c = [[[0.0; SIDE]; SIDE]; 2];
        let tiles = work.weights.chunks_exact(2 * parts.count());
        for (step, tiles) in work.steps.iter().zip(tiles) {
            for &(p, q) in parts.products() {
                let a = Tile(std::array::from_fn(|i| row(p, at + step.at + i * work.step)));
                for (j, c) in c.iter_mut().enumerate() {
                    dot(c, &a, &tiles[2 * q + j]);
                }
            }
        }
        let [left, right] = c;
        for (i, (left, right)) in left.iter().zip(&right).enumerate() {
            let to = &mut sums[n * SIDE / BLOCK].0[n * SIDE % BLOCK + i];
            let columns = left.iter().chain(right).take(work.columns);
            for (to, sum) in to.iter_mut().zip(columns) {
                *to = *sum;
            }
        }
    }
}

/// `sums = a b` for a strip and rows that lie apart, in the order of the assembly: what it reads, as strips.
pub(super) fn sum(parts: Parts, a: &[Tile], b: &Spread<'_>, sums: &mut Sums) {
    let mut strip = Vec::new();
    for step in 0..b.runs.count * b.runs.steps {
        let start = step / b.runs.steps * b.runs.pitch + step % b.runs.steps * BLOCK;
        for tile in 0..2 * parts.count() {
            let first = b.first[tile % 2] + tile / 2 * b.part + start;
            let row = |p: usize| first + 2 * p;
            strip.push(Tile(std::array::from_fn(|p| {
                b.words[row(p) / SIDE].0[row(p) % SIDE]
            })));
        }
    }
    multiply(parts, a, &strip, sums);
}
