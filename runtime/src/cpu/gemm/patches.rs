//! The patches of an image as a matrix that is never stored: convolution as a product (*im2col* while packing).
//!
//! Row `r` is a place of the sliding window, column `(c, i, j)` an element of the window in channel `c`; the element is
//! `image[c, y, x]` with `y = (r_y * stride + i * step + start) / divisor`, where that is whole and inside the image, and zero
//! elsewhere; likewise `x`. The forward direction has divisor 1; the gradient of the image has stride 1 and the
//! convolution's stride as divisor.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::pack::copy;
use super::tile::Product;

/// How a window moves along one axis.
#[derive(Copy, Clone, Debug)]
pub struct Slide {
    /// Size of the image.
    pub image: usize,
    /// Places of the window.
    pub places: usize,
    /// Elements of the window.
    pub window: usize,
    /// Step from a place to the next.
    pub stride: usize,
    /// Step from an element of the window to the next.
    pub step: isize,
    /// Position of the first element at the first place.
    pub start: isize,
    /// What positions are divided by.
    pub divisor: usize,
}

impl Slide {
    /// The position in the image of an element of the window at a place.
    #[inline(always)]
    fn position(&self, place: usize, element: usize) -> Option<usize> {
        let at = usize::try_from(self.first(element) + (place * self.stride) as isize).ok()?;
        (at.is_multiple_of(self.divisor) && at / self.divisor < self.image).then(|| at / self.divisor)
    }

    /// The undivided position of an element of the window at the first place.
    #[inline(always)]
    fn first(&self, element: usize) -> isize {
        self.start + element as isize * self.step
    }
}

/// The patches of one image (or of a group of its channels), as a matrix or its transpose.
#[derive(Copy, Clone, Debug)]
pub struct Patches<'a, T> {
    image: &'a [T],
    slides: [Slide; 2],
    /// Places and elements of the window: those of the whole image from `first` on.
    size: [usize; 2],
    first: [usize; 2],
    /// Which of them the rows are.
    rows: Rows,
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Rows {
    Places,
    Elements,
}

impl<'a, T: Product> Patches<'a, T> {
    /// A row for every place of the window, a column for each of its elements in each of `channels` channels.
    ///
    /// # Panics
    /// Where the image has another size.
    pub fn new(image: &'a [T], channels: usize, slides: [Slide; 2]) -> Self {
        let [y, x] = slides;
        assert_eq!(
            image.len(),
            channels * y.image * x.image,
            "an image of another size"
        );
        let size = [y.places * x.places, channels * y.window * x.window];
        Self {
            image,
            slides,
            size,
            first: [0, 0],
            rows: Rows::Places,
        }
    }

    fn order<V>(&self, [places, elements]: [V; 2]) -> [V; 2] {
        match self.rows {
            Rows::Places => [places, elements],
            Rows::Elements => [elements, places],
        }
    }

    /// Rows and columns.
    pub fn size(&self) -> [usize; 2] {
        self.order(self.size)
    }

    /// The transposed matrix.
    pub fn transposed(self) -> Self {
        let rows = match self.rows {
            Rows::Places => Rows::Elements,
            Rows::Elements => Rows::Places,
        };
        Self { rows, ..self }
    }

    /// The matrix of these rows and columns.
    ///
    /// # Panics
    /// Where the ranges leave the matrix.
    pub fn part(self, rows: Range<usize>, cols: Range<usize>) -> Self {
        let [m, n] = self.size();
        let inside = rows.start <= rows.end && rows.end <= m && cols.start <= cols.end && cols.end <= n;
        assert!(
            inside,
            "rows {rows:?} and columns {cols:?} of patches of {m} x {n}"
        );
        let [places, elements] = self.order([rows, cols]);
        Self {
            size: [places.len(), elements.len()],
            first: [self.first[0] + places.start, self.first[1] + elements.start],
            ..self
        }
    }

    /// Writes the columns one after the other, each `width` long: its elements, then zeros.
    #[inline(never)]
    pub(super) fn pack(&self, width: usize, out: &mut [MaybeUninit<T>]) {
        match self.rows {
            Rows::Places => {
                for (j, column) in out.chunks_exact_mut(width).enumerate() {
                    let (places, padding) = column.split_at_mut(self.size[0]);
                    self.places(self.first[1] + j, self.first[0], places);
                    padding.fill(MaybeUninit::new(T::ZERO));
                }
            }
            Rows::Elements => self.pack_elements(width, out),
        }
    }

    /// The transposing case: runs of places are gathered element by element of the window, then scattered.
    fn pack_elements(&self, width: usize, out: &mut [MaybeUninit<T>]) {
        const RUN: usize = 64;
        let mut run = [MaybeUninit::new(T::ZERO); RUN];
        for (n, columns) in out.chunks_mut(RUN * width).enumerate() {
            let run = &mut run[..columns.len() / width];
            for i in 0..self.size[1] {
                self.places(self.first[1] + i, self.first[0] + n * RUN, run);
                for (j, column) in columns.chunks_exact_mut(width).enumerate() {
                    column[i] = run[j];
                }
            }
            for column in columns.chunks_exact_mut(width) {
                column[self.size[1]..].fill(MaybeUninit::new(T::ZERO));
            }
        }
    }

    /// Element `element` of the window at as many places as `out` is long, from `place` on.
    #[inline]
    fn places(&self, element: usize, place: usize, mut out: &mut [MaybeUninit<T>]) {
        let [slide_y, slide_x] = &self.slides;
        let (window, j) = (element / slide_x.window, element % slide_x.window);
        let (channel, i) = (window / slide_y.window, window % slide_y.window);
        let (mut y, mut x) = (place / slide_x.places, place % slide_x.places);
        while !out.is_empty() {
            let (row, rest) = out.split_at_mut(out.len().min(slide_x.places - x));
            match slide_y.position(y, i) {
                None => row.fill(MaybeUninit::new(T::ZERO)),
                Some(at) => {
                    let line = (channel * slide_y.image + at) * slide_x.image;
                    along(&self.image[line..line + slide_x.image], slide_x, j, x, row);
                }
            }
            (out, y, x) = (rest, y + 1, 0);
        }
    }
}

/// Element `j` of the window at the places from `x` on of one line of the image.
#[inline]
fn along<T: Product>(line: &[T], slide: &Slide, j: usize, x: usize, out: &mut [MaybeUninit<T>]) {
    if slide.stride == 1 && slide.divisor == 1 {
        // The run lies in the line as it is, apart from what sticks out at both ends.
        let first = slide.first(j) + x as isize;
        let before = usize::try_from(-first).unwrap_or(0).min(out.len());
        let from = usize::try_from(first).unwrap_or(0).min(line.len());
        let inside = (line.len() - from).min(out.len() - before);
        let (left, rest) = out.split_at_mut(before);
        let (middle, right) = rest.split_at_mut(inside);
        left.fill(MaybeUninit::new(T::ZERO));
        copy(&line[from..from + inside], middle);
        right.fill(MaybeUninit::new(T::ZERO));
    } else {
        for (to, place) in out.iter_mut().zip(x..) {
            to.write(slide.position(place, j).map_or(T::ZERO, |at| line[at]));
        }
    }
}
