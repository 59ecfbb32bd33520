//! The places of windows, some at a time, in the order of the result.
//!
//! Most tiles are neighbours in a line, whose positions are multiples of a distance: a few vector instructions. Going from place to
//! place, and writing row by row what is a tile, took a tenth of a prediction of the MNIST CNN.

use super::Windows;

/// Where the places of a tile lie.
pub(super) struct Spots<const R: usize> {
    /// The position of the window's first element.
    pub(super) y: [isize; R],
    pub(super) x: [isize; R],
    /// Its number in the image, where it lies inside.
    pub(super) at: [isize; R],
    /// The row of the result.
    pub(super) row: [usize; R],
    /// Places that count: the others repeat the last of them.
    pub(super) count: usize,
    /// Whether all windows lie in the image.
    pub(super) is_inside: bool,
}

/// Goes through the places in the order of the result.
pub(super) struct Walk {
    /// Places that are left.
    pub(super) rest: usize,
    /// Line and place in the line.
    place: [usize; 2],
    /// As of [`Spots`].
    y: isize,
    x: isize,
    at: isize,
    row: usize,
    /// Whether what windows see of lines lies in these at every place.
    pub(super) sees_lines: bool,
}

impl Walk {
    pub(super) fn new<T>(work: &Windows<'_, '_, T>) -> Self {
        let [y, x] = work.axes;
        let last = x.start + (x.places.max(1) as isize - 1) * x.stride as isize + x.reach();
        Self {
            rest: y.places * x.places,
            place: [0, 0],
            y: y.start,
            x: x.start,
            at: (y.start * x.size as isize + x.start) * work.pixel as isize,
            row: work.rows[0],
            sees_lines: x.start >= 0 && last < x.size as isize,
        }
    }

    /// The next places; goes on to the one after them.
    #[inline(always)]
    pub(super) fn spots<T, const R: usize>(&mut self, work: &Windows<'_, '_, T>) -> Spots<R> {
        match self.place[1] + R <= work.axes[1].places && R <= self.rest {
            true => self.line(work),
            false => self.around(work),
        }
    }

    /// The next places, which are of one line.
    #[inline(always)]
    fn line<T, const R: usize>(&mut self, work: &Windows<'_, '_, T>) -> Spots<R> {
        let [y, x] = work.axes;
        let (right, pixels, down) = (x.stride as isize, (x.stride * work.pixel) as isize, work.rows[2]);
        let mut spots = Spots {
            y: [self.y; R],
            x: [0; R],
            at: [0; R],
            row: [0; R],
            count: R,
            is_inside: self.sees_lines && self.y >= 0 && self.y + y.reach() < y.size as isize,
        };
        for i in 0..R {
            spots.x[i] = self.x + i as isize * right;
            spots.at[i] = self.at + i as isize * pixels;
            spots.row[i] = self.row + i * down;
        }
        self.rest -= R;
        self.place[1] += R;
        self.x += R as isize * right;
        self.at += R as isize * pixels;
        self.row += R * down;
        self.end_line(work);
        spots
    }

    /// Goes on to the next line at the end of one.
    #[inline(always)]
    fn end_line<T>(&mut self, work: &Windows<'_, '_, T>) {
        let [y, x] = work.axes;
        if self.place[1] == x.places && self.rest > 0 {
            self.place = [self.place[0] + 1, 0];
            (self.y, self.x) = (self.y + y.stride as isize, x.start);
            self.at = (self.y * x.size as isize + self.x) * work.pixel as isize;
            self.row = work.rows[0] + self.place[0] * work.rows[1];
        }
    }

    /// The next places, where lines end among them or there are too few.
    #[inline(never)]
    fn around<T, const R: usize>(&mut self, work: &Windows<'_, '_, T>) -> Spots<R> {
        let [y, x] = work.axes;
        let mut spots = Spots {
            y: [0; R],
            x: [0; R],
            at: [0; R],
            row: [0; R],
            count: self.rest.min(R),
            is_inside: self.sees_lines && self.y >= 0,
        };
        let mut last = self.y;
        for i in 0..R {
            (spots.y[i], spots.x[i]) = (self.y, self.x);
            (spots.at[i], spots.row[i]) = (self.at, self.row);
            last = self.y;
            if self.rest > 1 {
                self.rest -= 1;
                self.place[1] += 1;
                self.x += x.stride as isize;
                self.at += (x.stride * work.pixel) as isize;
                self.row += work.rows[2];
                self.end_line(work);
            } else {
                self.rest = 0;
            }
        }
        spots.is_inside &= last + y.reach() < y.size as isize;
        spots
    }
}

impl<const R: usize> Spots<R> {
    /// The first row of the results, where all places count and their rows follow each other.
    #[inline(always)]
    pub(super) fn run(&self) -> Option<usize> {
        let mut follows = self.count == R;
        for i in 0..R {
            follows &= self.row[i] == self.row[0] + i;
        }
        follows.then_some(self.row[0])
    }

    /// Whether an element of a place's window lies in the image.
    #[inline(always)]
    pub(super) fn sees(&self, i: usize, [down, right]: [usize; 2], size: [usize; 2]) -> bool {
        let (line, column) = (self.y[i] + down as isize, self.x[i] + right as isize);
        (line as usize) < size[0] && (column as usize) < size[1]
    }
}
