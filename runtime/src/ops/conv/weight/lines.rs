//! Weights' gradients as dot products of lines, with pixels in the lanes of vectors: few channels are as fast as many.

use super::{Part, Sums};
use crate::cpu::gemm::{self, Ahead, At, Band, Block, Correlate, Dots, LANES, Lines, Tap};
use crate::ops::conv::Conv2d;
use crate::ops::conv::window::{BAND, Layout, TAPS};

impl<T: Correlate> Sums<'_, T> {
    /// Computes a block of the gradient.
    #[inline(never)]
    pub(super) fn lines(&self, at: At, mut block: Block<'_, T>) {
        (0..block.rows()).for_each(|r| block.row_mut(r).fill(T::ZERO));
        let mut dy = Band::<T, BAND>::new();
        let mut band = Band::<T, BAND>::new();
        let size = [block.rows(), block.cols()];
        let tiles = size[0].div_ceil(8) * size[1].div_ceil(3);
        self.for_each_part(at, size, tiles, |part, axes, ahead| {
            let layout = &Layout::new(axes, part.images.len());
            self.lay_cotangent(part, layout, &mut dy);
            gemm::prepare(self.env.arithmetic(), dy.filled_mut());
            self.add_lines(part, layout, dy.filled(), &mut band, &mut block, ahead);
        });
    }

    /// Lays out the cotangent as the image is, with zeros where no place is.
    fn lay_cotangent(&self, part: &Part, layout: &Layout, dy: &mut Band<T, BAND>) {
        dy.clear();
        let row = layout.places().next_multiple_of(LANES);
        for r in part.rows.clone() {
            let mut rest = dy.push(row);
            for image in part.images.clone() {
                let is_last = image + 1 == part.images.end;
                let (to, after) = rest.split_at_mut(if is_last { rest.len() } else { layout.image });
                let from = self.cotangent(part, image, r);
                T::lay(self.env.isa, layout.cotangent(from, self.conv.out[1], to));
                rest = after;
            }
        }
    }

    /// Adds what the places of a part give.
    fn add_lines(
        &self,
        part: &Part,
        layout: &Layout,
        dy: &[T],
        band: &mut Band<T, BAND>,
        block: &mut Block<'_, T>,
        ahead: &mut Ahead,
    ) {
        let window = Conv2d::area(self.conv.kernel);
        let mut taps = [Tap::default(); TAPS];
        let taps = layout.taps(&mut taps);
        let row = layout.places().next_multiple_of(LANES);
        for from in part.channels.clone().step_by(self.cut.channels) {
            let some = self.cut.channels.min(part.channels.end - from);
            layout.lay(self.env.isa, self.channel(part, from), self.image(), some, band);
            gemm::prepare(self.env.arithmetic(), band.filled_mut());
            let dots = Dots {
                lines: Lines {
                    data: band.filled(),
                    step: layout.channel,
                    channels: some,
                    taps,
                },
                rows: dy,
                row,
                first: (from - part.channels.start) * window,
                sums: block,
                ahead,
            };
            T::dots(self.env.isa, dots);
        }
    }
}
