//! Where windows meet an image, along one axis.

use std::ops::Range;

/// One axis of windows: element `t` of the window of place `v` lies at `start + v * stride + t * step`.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Axis {
    /// Pixels of the image.
    pub size: usize,
    /// Where the first element of the first place's window lies: below 0 in the padding.
    pub start: isize,
    /// From a place to the next.
    pub stride: usize,
    /// Elements of the window.
    pub taps: usize,
    /// From an element to the next.
    pub step: usize,
    /// Number of places.
    pub places: usize,
}

impl Axis {
    /// From the first element of a window to the last.
    pub(super) fn reach(&self) -> isize {
        (self.taps.max(1) - 1) as isize * self.step as isize
    }

    /// Some elements of the windows of some places.
    pub fn part(self, places: Range<usize>, taps: Range<usize>) -> Self {
        let first = self.from(places.start, places.len());
        Self {
            start: first.start + (taps.start * self.step) as isize,
            taps: taps.len(),
            ..first
        }
    }

    /// The same windows from place `first` on.
    pub fn from(self, first: usize, places: usize) -> Self {
        let start = self.start + (first * self.stride) as isize;
        Self {
            start,
            places,
            ..self
        }
    }

    /// Pixels from the first to the last that a window sees.
    pub fn seen(&self) -> Range<usize> {
        let end = self.start + (self.places.max(1) as isize - 1) * self.stride as isize + self.reach() + 1;
        let inside = |position: isize| position.clamp(0, self.size as isize) as usize;
        inside(self.start)..inside(end)
    }

    /// Where an element of a place's window lies, which is in the image.
    #[inline(always)]
    pub(super) fn position(&self, place: usize, tap: usize) -> usize {
        (self.start + (place * self.stride + tap * self.step) as isize) as usize
    }

    /// The elements that a place sees of the image.
    #[inline(always)]
    pub(super) fn seen_at(&self, place: usize) -> Range<usize> {
        let start = self.start + (place * self.stride) as isize;
        let tap = |position: isize| {
            let tap = (position - start + self.step as isize - 1).div_euclid(self.step as isize);
            tap.clamp(0, self.taps as isize) as usize
        };
        tap(0)..tap(self.size as isize).max(tap(0))
    }

    /// The windows without what lies in the padding: calls `f` with neighbouring places that see the same elements, with the first of
    /// these.
    pub fn for_each_sight(&self, mut f: impl FnMut(Range<usize>, Range<usize>)) {
        let mut place = 0;
        while place < self.places {
            let taps = self.seen_at(place);
            let whole = self.inside(self.taps.saturating_sub(1)).end;
            let mut end = if taps == (0..self.taps) {
                whole.max(place + 1)
            } else {
                place + 1
            };
            while end < self.places && self.seen_at(end) == taps {
                end += 1;
            }
            f(place..end, taps);
            place = end;
        }
    }

    /// The places at which element `tap` lies in the image.
    pub fn inside(&self, tap: usize) -> Range<usize> {
        let start = self.start + (tap * self.step) as isize;
        let stride = self.stride as isize;
        let place = |position: isize| {
            let place = (position - start + stride - 1).div_euclid(stride);
            place.clamp(0, self.places as isize) as usize
        };
        let (from, to) = (place(0), place(self.size as isize));
        from..to.max(from)
    }
}
