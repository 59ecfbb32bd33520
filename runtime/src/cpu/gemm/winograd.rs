//! Windows of 3 x 3 elements that move by one: S. Winograd's minimal algorithm F(4 x 4, 3 x 3), as A. Lavin and S. Gray use it (*Fast
//! Algorithms for Convolutional Neural Networks*, 2016).
//!
//! Sixteen places, a *tile* of 4 x 4, see 6 x 6 pixels. Along an axis, the four results are coefficients of a product of polynomials,
//! which six values determine: those at the points 0, `±p`, `±q` and infinity. So pixels and weights are transformed to 36 values each,
//! these are multiplied point by point, and the sums over all channels, 36 products of matrices, are transformed to results. That takes
//! 36 multiply-adds instead of 144 for every pair of channels, and transforms that every channel pays once.
//!
//! | transform | of | what it computes along an axis |
//! |---|---|---|
//! | `B'` | 6 pixels | the values at the points, in a basis without divisions |
//! | `G` | 3 weights | their polynomial at the points, over what the basis leaves to divide by |
//! | `A'` | 6 products | 4 results |
//! | `A` | 4 cotangents | their polynomial at the points |
//! | `G'` | 6 sums | 3 weights' gradients |
//!
//! The last two are for the gradient of the weights, `G' (sum of B' x * A dy)`; that of the image is a sum over windows like the results.
//!
//! The points are `p = 3/4` and `q = 3/2`: all coefficients of `A` and `B` are exact, and errors are a quarter to half of those that 1
//! and 2 give (on random numbers and 32 channels, in 2^-24: the largest 7.8 and 32 of |A||B|, in the mean 11 and 22 of results, where a plain loop
//! has 4.8 and 5.2; B. Barabasz et al., *Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks*,
//! 2020, explain why).
//!
//! Channels lie in the lanes of vectors everywhere ([`Layout`]).

#![expect(
    clippy::needless_range_loop,
    reason = "an iterator's methods need not be inlined, and then lack the instruction set"
)]

mod products;
mod results;
mod work;

pub use products::{TileProducts, TileSums};
pub use results::{FilterGradient, FilterValues, TileResults};
pub use work::{TileWork, allows_tiles};

use super::band::Band;
use super::few::OnVectors;
use super::lanes::Lanes;

/// Places of a tile along an axis.
pub const PLACES: usize = 4;
/// Elements of a window along an axis.
pub const TAPS: usize = 3;
/// Pixels that a tile sees along an axis, and points.
pub const SEEN: usize = PLACES + TAPS - 1;
/// Points in all.
pub const POINTS: usize = SEEN * SEEN;

/// The finite points, but for 0.
const P: f32 = 0.75;
const Q: f32 = 1.5;
/// What `G` divides by at 0, at `±p` and at `±q`: the products of the distances from the other finite points.
const AT_0: f32 = P * P * Q * Q;
const AT_P: f32 = 2.0 * P * P * (P * P - Q * Q);
const AT_Q: f32 = 2.0 * Q * Q * (Q * Q - P * P);

/// Where a tile lies.
#[derive(Copy, Clone, Debug, Default)]
pub struct TileAt {
    /// Its image.
    pub image: usize,
    /// The first pixel that it sees, or its first place: outside of the image are zeros.
    pub start: [isize; 2],
    /// The row of the result of the first place that counts.
    pub row: usize,
    /// The first of its lines that counts, and the end of them.
    pub lines: [usize; 2],
    /// Its columns that count.
    pub columns: usize,
}

/// A transform along one axis, of `A` vectors to `B`.
trait Line<const A: usize, const B: usize> {
    /// Implementations are `#[inline(always)]`, and no closures, which need not be inlined.
    fn line<L: Lanes<f32>>(lanes: L, x: [L::Vector; A]) -> [L::Vector; B];
}

/// The transform `B'`, of an image.
pub struct OfImage;
/// The transform `A`, of a cotangent.
pub struct OfCotangent;
/// The transform `G`, of weights.
struct OfFilter;
/// The transform `A'`, to results.
struct ToResult;
/// The transform `G'`, to the gradient of weights.
struct ToFilter;

impl Line<SEEN, SEEN> for OfImage {
    #[inline(always)]
    fn line<L: Lanes<f32>>(lanes: L, x: [L::Vector; SEEN]) -> [L::Vector; SEEN] {
        let (p, q) = (lanes.splat(P), lanes.splat(Q));
        let (minus_pp, minus_qq) = (lanes.splat(-P * P), lanes.splat(-Q * Q));
        let (both, sum) = (lanes.splat(AT_0), lanes.splat(-P * P - Q * Q));
        // x (x + p) (x^2 - q^2) and its mirror image; the same with p and q exchanged.
        let (even_p, odd_p) = (
            lanes.mul_add(minus_qq, x[2], x[4]),
            lanes.mul_add(minus_qq, x[1], x[3]),
        );
        let (even_q, odd_q) = (
            lanes.mul_add(minus_pp, x[2], x[4]),
            lanes.mul_add(minus_pp, x[1], x[3]),
        );
        let (minus_p, minus_q) = (lanes.splat(-P), lanes.splat(-Q));
        [
            lanes.mul_add(both, x[0], lanes.mul_add(sum, x[2], x[4])),
            lanes.mul_add(p, odd_p, even_p),
            lanes.mul_add(minus_p, odd_p, even_p),
            lanes.mul_add(q, odd_q, even_q),
            lanes.mul_add(minus_q, odd_q, even_q),
            lanes.mul_add(both, x[1], lanes.mul_add(sum, x[3], x[5])),
        ]
    }
}

impl Line<PLACES, SEEN> for OfCotangent {
    #[inline(always)]
    fn line<L: Lanes<f32>>(lanes: L, y: [L::Vector; PLACES]) -> [L::Vector; SEEN] {
        let (p, q) = (lanes.splat(P), lanes.splat(Q));
        let (minus_p, minus_q) = (lanes.splat(-P), lanes.splat(-Q));
        let (pp, qq) = (lanes.splat(P * P), lanes.splat(Q * Q));
        let (even_p, odd_p) = (lanes.mul_add(pp, y[2], y[0]), lanes.mul_add(pp, y[3], y[1]));
        let (even_q, odd_q) = (lanes.mul_add(qq, y[2], y[0]), lanes.mul_add(qq, y[3], y[1]));
        [
            y[0],
            lanes.mul_add(p, odd_p, even_p),
            lanes.mul_add(minus_p, odd_p, even_p),
            lanes.mul_add(q, odd_q, even_q),
            lanes.mul_add(minus_q, odd_q, even_q),
            y[3],
        ]
    }
}

impl Line<TAPS, SEEN> for OfFilter {
    #[inline(always)]
    fn line<L: Lanes<f32>>(lanes: L, w: [L::Vector; TAPS]) -> [L::Vector; SEEN] {
        let zero = lanes.splat(0.0);
        let (at_p, at_q) = (lanes.splat(1.0 / AT_P), lanes.splat(1.0 / AT_Q));
        let (odd_p, odd_q) = (lanes.splat(P / AT_P), lanes.splat(Q / AT_Q));
        let (minus_odd_p, minus_odd_q) = (lanes.splat(-P / AT_P), lanes.splat(-Q / AT_Q));
        let (pp, qq) = (lanes.splat(P * P / AT_P), lanes.splat(Q * Q / AT_Q));
        let even_p = lanes.mul_add(pp, w[2], lanes.mul_add(at_p, w[0], zero));
        let even_q = lanes.mul_add(qq, w[2], lanes.mul_add(at_q, w[0], zero));
        [
            lanes.mul_add(lanes.splat(1.0 / AT_0), w[0], zero),
            lanes.mul_add(odd_p, w[1], even_p),
            lanes.mul_add(minus_odd_p, w[1], even_p),
            lanes.mul_add(odd_q, w[1], even_q),
            lanes.mul_add(minus_odd_q, w[1], even_q),
            w[2],
        ]
    }
}

impl Line<SEEN, PLACES> for ToResult {
    #[inline(always)]
    fn line<L: Lanes<f32>>(lanes: L, m: [L::Vector; SEEN]) -> [L::Vector; PLACES] {
        let zero = lanes.splat(0.0);
        let (even_p, odd_p) = (lanes.add(m[1], m[2]), lanes.sub(m[1], m[2]));
        let (even_q, odd_q) = (lanes.add(m[3], m[4]), lanes.sub(m[3], m[4]));
        let (p, q) = (lanes.splat(P), lanes.splat(Q));
        let (pp, qq) = (lanes.splat(P * P), lanes.splat(Q * Q));
        let (ppp, qqq) = (lanes.splat(P * P * P), lanes.splat(Q * Q * Q));
        [
            lanes.add(m[0], lanes.add(even_p, even_q)),
            lanes.mul_add(p, odd_p, lanes.mul_add(q, odd_q, zero)),
            lanes.mul_add(pp, even_p, lanes.mul_add(qq, even_q, zero)),
            lanes.mul_add(ppp, odd_p, lanes.mul_add(qqq, odd_q, m[5])),
        ]
    }
}

impl Line<SEEN, TAPS> for ToFilter {
    #[inline(always)]
    fn line<L: Lanes<f32>>(lanes: L, s: [L::Vector; SEEN]) -> [L::Vector; TAPS] {
        let zero = lanes.splat(0.0);
        let (even_p, odd_p) = (lanes.add(s[1], s[2]), lanes.sub(s[1], s[2]));
        let (even_q, odd_q) = (lanes.add(s[3], s[4]), lanes.sub(s[3], s[4]));
        let (at_p, at_q) = (lanes.splat(1.0 / AT_P), lanes.splat(1.0 / AT_Q));
        let (p, q) = (lanes.splat(P / AT_P), lanes.splat(Q / AT_Q));
        let (pp, qq) = (lanes.splat(P * P / AT_P), lanes.splat(Q * Q / AT_Q));
        let at_0 = lanes.mul_add(lanes.splat(1.0 / AT_0), s[0], zero);
        [
            lanes.mul_add(at_p, even_p, lanes.mul_add(at_q, even_q, at_0)),
            lanes.mul_add(p, odd_p, lanes.mul_add(q, odd_q, zero)),
            lanes.mul_add(pp, even_p, lanes.mul_add(qq, even_q, s[5])),
        ]
    }
}

/// A transform along both axes.
#[inline(always)]
fn both<F: Line<A, B>, L: Lanes<f32>, const A: usize, const B: usize>(
    lanes: L,
    x: &[[L::Vector; A]; A],
) -> [[L::Vector; B]; B] {
    let zero = lanes.splat(0.0);
    let mut half = [[zero; A]; B];
    for j in 0..A {
        let mut column = [zero; A];
        for i in 0..A {
            column[i] = x[i][j];
        }
        let column = F::line(lanes, column);
        for i in 0..B {
            half[i][j] = column[i];
        }
    }
    let mut out = [[zero; B]; B];
    for i in 0..B {
        out[i] = F::line(lanes, half[i]);
    }
    out
}

/// Numbers that a [`TileRoom`] holds: half of the second-level cache of most CPUs that have AVX-512.
pub const TILE_ROOM: usize = 1 << 17;

/// Room for values and sums of tiles, on the stack.
pub struct TileRoom(Band<f32, TILE_ROOM>);

impl TileRoom {
    /// Room that costs nothing before it is used.
    #[inline(always)]
    #[expect(clippy::new_without_default, reason = "a default would be moved, all of it")]
    pub fn new() -> Self {
        Self(Band::new())
    }

    /// So many zeros, behind those that were asked for before.
    ///
    /// # Panics
    /// Where all of them are more than [`TILE_ROOM`].
    pub fn zeros(&mut self, len: usize) -> &mut [f32] {
        self.0.push(len)
    }
}

/// Tiles in registers, or a multiple of that.
const ROWS: usize = 8;

/// Where the values of tiles lie: `[vectors of channels, points, tiles, lanes]`.
///
/// So what is read for one point are vectors that follow each other, and the numbers of a channel lie one vector apart.
#[derive(Copy, Clone, Debug)]
pub struct Layout {
    /// Tiles that there is room for: whole registers of them, and one more, which keeps the planes of points from meeting in the same
    /// lines of the cache.
    pitch: usize,
    /// Vectors of channels.
    vectors: usize,
    lanes: usize,
}

impl Layout {
    /// For so many tiles of so many channels.
    pub fn new(tiles: usize, channels: usize, lanes: usize) -> Self {
        Self {
            pitch: tiles.next_multiple_of(ROWS) + 1,
            vectors: channels.div_ceil(lanes),
            lanes,
        }
    }

    /// Numbers in all.
    pub fn numbers(self) -> usize {
        self.vectors * POINTS * self.pitch * self.lanes
    }

    /// Where a vector begins.
    #[inline(always)]
    fn at(self, vector: usize, point: usize, tile: usize) -> usize {
        ((vector * POINTS + point) * self.pitch + tile) * self.lanes
    }

    /// Whether so many numbers have room for so many tiles of so many channels, also for those that are read beyond the last.
    fn has(self, tiles: usize, channels: usize, lanes: usize, numbers: usize) -> bool {
        lanes == self.lanes
            && channels.div_ceil(lanes) <= self.vectors
            && tiles.next_multiple_of(ROWS) < self.pitch
            && self.numbers() <= numbers
    }
}

/// The values of tiles at the points, as [`TileValues`] leaves them.
#[derive(Copy, Clone, Debug)]
pub struct Values<'a> {
    /// All of them.
    pub numbers: &'a [f32],
    /// Where they lie.
    pub layout: Layout,
}

impl<'a> Values<'a> {
    /// Whether these are so many tiles of so many channels.
    fn has(self, tiles: usize, channels: usize, lanes: usize) -> bool {
        self.layout.has(tiles, channels, lanes, self.numbers.len())
    }

    /// So many numbers from a vector on, if they are there.
    #[inline(always)]
    fn run(self, [vector, point, tile]: [usize; 3], len: usize) -> Option<&'a [f32]> {
        let first = self.layout.at(vector, point, tile);
        self.numbers.get(first..first + len)
    }
}

/// Transforms what tiles see of images, or tiles of cotangents, to their values at the points.
pub struct TileValues<'a, 'b, F> {
    /// All images, from the first channel that counts on.
    pub images: &'a [f32],
    /// Height and width of an image.
    pub size: [usize; 2],
    /// From a pixel to the next.
    pub pixel: usize,
    /// Channels that count.
    pub channels: usize,
    /// The tiles.
    pub tiles: &'a [TileAt],
    /// The values; lanes behind the last channel become zero.
    pub values: &'b mut [f32],
    /// Where they lie.
    pub layout: Layout,
    /// What is transformed.
    pub of: F,
}

macro_rules! values {
    ($($of:ident $side:ident)*) => {$(
        impl OnVectors<f32> for TileValues<'_, '_, $of> {
            type Output = ();

            #[inline(always)]
            fn run<L: Lanes<f32>>(self, lanes: L) {
                let layout = self.layout;
                let fits = layout.has(self.tiles.len(), self.channels, L::LANES, self.values.len());
                assert!(fits, "the values of tiles have no room");
                for tile in 0..self.tiles.len() {
                    for vector in 0..self.channels.div_ceil(L::LANES) {
                        let pixels = self.pixels::<L, $side>(lanes, self.tiles[tile], vector * L::LANES);
                        let values = both::<$of, L, $side, SEEN>(lanes, &pixels);
                        let mut at = layout.at(vector, 0, tile);
                        for i in 0..SEEN {
                            for j in 0..SEEN {
                                lanes.store(values[i][j], &mut self.values[at..]);
                                at += layout.pitch * L::LANES;
                            }
                        }
                    }
                }
            }
        }
    )*};
}
values! {
    OfImage SEEN
    OfCotangent PLACES
}

impl<F> TileValues<'_, '_, F> {
    /// A square of a tile's pixels, of a vector of channels from `c` on.
    #[inline(always)]
    fn pixels<L: Lanes<f32>, const SIDE: usize>(
        &self,
        lanes: L,
        tile: TileAt,
        c: usize,
    ) -> [[L::Vector; SIDE]; SIDE] {
        let [height, width] = self.size;
        let count = (self.channels - c).min(L::LANES);
        let mut square = [[lanes.splat(0.0); SIDE]; SIDE];
        for i in 0..SIDE {
            let y = tile.start[0] + i as isize;
            if (y as usize) >= height {
                continue;
            }
            let line = (tile.image * height + y as usize) * width;
            for j in 0..SIDE {
                let x = tile.start[1] + j as isize;
                if (x as usize) >= width {
                    continue;
                }
                let at = (line + x as usize) * self.pixel + c;
                square[i][j] = match count == L::LANES {
                    true => lanes.load(&self.images[at..]),
                    false => lanes.load_part(&self.images[at..at + count]),
                };
            }
        }
        square
    }
}
