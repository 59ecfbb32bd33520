//! The recursion over the states of an alignment, a frame at a time.
//!
//! The states of a frame lie in memory as all blanks and then all labels, so that each half of the recursion is a loop over
//! neighbours, which compilers turn into vector instructions.
//!
//! Only these loops, [`Merge`] and [`Exponentials`], are compiled for every instruction set, and all kernels of the family
//! share them. What goes around them is little work and compiled for the baseline.

use crate::cpu::isa::{Isa, Kernel};
use crate::ops::lanes;
use crate::real::Real;

/// The way of alignments through the states of one target.
///
/// A row has a number for every state: those of the blanks, then those of the labels. Label `i` lies between blank `i` and
/// blank `i + 1`.
pub(super) struct Walk<'a, T> {
    isa: Isa,
    labels: &'a [i64],
    blank: usize,
    /// The log-probabilities of the labels in the frame at hand.
    emit: &'a mut [T],
    /// 0 where an alignment may go from the label before straight to this one, else minus infinity.
    jump: &'a mut [T],
}

impl<'a, T: Real> Walk<'a, T> {
    /// `memory` has room for twice as many numbers as there are labels.
    pub(super) fn new(isa: Isa, labels: &'a [i64], blank: usize, memory: &'a mut [T]) -> Self {
        let (emit, rest) = memory.split_at_mut(labels.len());
        let jump = &mut rest[..labels.len()];
        for (i, jump) in jump.iter_mut().enumerate() {
            let is_open = i > 0 && labels[i - 1] != labels[i];
            *jump = T::select(is_open, T::ZERO, -T::INFINITY);
        }
        Self {
            isa,
            labels,
            blank,
            emit,
            jump,
        }
    }

    /// 0 where an alignment may go from the label before straight to this one, else minus infinity.
    pub(super) fn jump(&self, label: usize) -> T {
        self.jump[label]
    }

    /// The part of a row's memory that this target uses.
    pub(super) fn row<'r>(&self, memory: &'r mut [T]) -> &'r mut [T] {
        &mut memory[..2 * self.labels.len() + 1]
    }

    /// The state before the first frame: an alignment stands at the first blank, so that the first frame may have that
    /// blank or the first label.
    pub(super) fn begin(&self, row: &mut [T]) {
        row.fill(-T::INFINITY);
        row[0] = T::ZERO;
    }

    /// After the last frame an alignment is at the last label or at the last blank: the states from which nothing is left.
    pub(super) fn finish(&self, row: &mut [T]) {
        row.fill(-T::INFINITY);
        let n = self.labels.len();
        row[n] = T::ZERO;
        if n > 0 {
            row[2 * n] = T::ZERO;
        }
    }

    /// What reached the end.
    pub(super) fn end(&self, row: &[T]) -> T {
        match self.labels.len() {
            0 => row[0],
            n => add_one(row[n], row[2 * n]),
        }
    }

    /// The forward variables (equations 6 and 7) of a frame from those of the frame before.
    pub(super) fn advance(&mut self, frame: &[T], before: &[T], after: &mut [T]) {
        let blank = self.read(frame);
        let n = self.labels.len();
        let (blanks, labels) = before.split_at(n + 1);
        let (new_blanks, new_labels) = after.split_at_mut(n + 1);
        new_blanks[0] = blanks[0];
        if n > 0 {
            new_labels[0] = add_one(labels[0], blanks[0]);
            let merge = Merge {
                blanks: [&blanks[1..], labels],
                new_blanks: &mut new_blanks[1..],
                labels: [&labels[1..], &blanks[1..n], &labels[..n - 1]],
                open: &self.jump[1..],
                new_labels: &mut new_labels[1..],
            };
            T::run(self.isa, merge);
        }
        new_blanks.iter_mut().for_each(|x| *x += blank);
        new_labels.iter_mut().zip(&*self.emit).for_each(|(x, &e)| *x += e);
    }

    /// The backward variables of a frame from those of the frame after it, `frame`: the probability of what follows,
    /// without the frame's own class (Graves and others count it twice and divide by it; 0 / 0 is avoided so). `after` is
    /// left with the frame's log-probabilities added.
    pub(super) fn retreat(&mut self, frame: &[T], after: &mut [T], before: &mut [T]) {
        let blank = self.read(frame);
        let n = self.labels.len();
        let (blanks, labels) = after.split_at_mut(n + 1);
        blanks.iter_mut().for_each(|x| *x += blank);
        labels.iter_mut().zip(&*self.emit).for_each(|(x, &e)| *x += e);
        let (new_blanks, new_labels) = before.split_at_mut(n + 1);
        new_blanks[n] = blanks[n];
        if n > 0 {
            new_labels[n - 1] = add_one(labels[n - 1], blanks[n]);
            let merge = Merge {
                blanks: [&blanks[..n], labels],
                new_blanks: &mut new_blanks[..n],
                labels: [&labels[..n - 1], &blanks[1..n], &labels[1..]],
                open: &self.jump[1..],
                new_labels: &mut new_labels[..n - 1],
            };
            T::run(self.isa, merge);
        }
    }

    /// Takes the log-probabilities of the labels from a frame; gives that of the blank.
    fn read(&mut self, frame: &[T]) -> T {
        for (emit, &y) in self.emit.iter_mut().zip(self.labels) {
            *emit = frame[y as usize];
        }
        frame[self.blank]
    }

    /// Writes the derivatives of `scale * loss` by the log-probabilities of a frame, from its forward and backward
    /// variables; the former are used up. At every frame the products of both add up to the sum over all alignments, so
    /// their shares need no loss to divide by, and do not lose digits because it is large.
    pub(super) fn shares(&self, forward: &mut [T], backward: &[T], scale: f64, dx: &mut [T]) {
        forward.iter_mut().zip(backward).for_each(|(f, &b)| *f += b);
        normalise(forward);
        T::run(self.isa, Exponentials(forward));
        let factor = T::from_f64(-scale / lanes::sum(forward));
        let (blanks, labels) = forward.split_at(self.labels.len() + 1);
        dx.fill(T::ZERO);
        dx[self.blank] = T::from_f64(lanes::sum(blanks)) * factor;
        for (&share, &y) in labels.iter().zip(self.labels) {
            dx[y as usize] += share * factor;
        }
    }
}

/// The states of a frame from those that lead to them, apart from the one at the edge.
struct Merge<'r, T> {
    /// For every blank, itself and the label beside it.
    blanks: [&'r [T]; 2],
    new_blanks: &'r mut [T],
    /// For every label, itself, the blank beside it, and the label beyond.
    labels: [&'r [T]; 3],
    /// 0 where the step from the label beyond may be taken, else minus infinity.
    open: &'r [T],
    new_labels: &'r mut [T],
}

impl<T: Real> Kernel for Merge<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        let n = self.new_blanks.len();
        let [stays, steps] = [&self.blanks[0][..n], &self.blanks[1][..n]];
        for (i, new) in self.new_blanks.iter_mut().enumerate() {
            *new = add(stays[i], steps[i]);
        }
        let n = self.new_labels.len();
        let [stays, steps, jumps] = [&self.labels[0][..n], &self.labels[1][..n], &self.labels[2][..n]];
        let open = &self.open[..n];
        for (i, new) in self.new_labels.iter_mut().enumerate() {
            *new = add3(stays[i], steps[i], jumps[i] + open[i]);
        }
    }
}

/// The exponentials of a row, in place.
struct Exponentials<'r, T>(&'r mut [T]);

impl<T: Real> Kernel for Exponentials<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        for x in self.0 {
            *x = x.exp();
        }
    }
}

/// [`add`], for a place where one sum is needed.
#[inline(never)]
fn add_one<T: Real>(a: T, b: T) -> T {
    add(a, b)
}

/// `log(e^a + e^b)`.
#[inline(always)]
fn add<T: Real>(a: T, b: T) -> T {
    let (top, low) = (a.max(b), a.min(b));
    // The difference of two infinities would be NaN.
    let gap = T::select(low == -T::INFINITY, low, low - top);
    top + gap.exp().log1p()
}

/// `log(e^a + e^b + e^c)`.
#[inline(always)]
fn add3<T: Real>(a: T, b: T, c: T) -> T {
    let top = a.max(b).max(c);
    let shift = T::select(top == -T::INFINITY, T::ZERO, top);
    ((a - shift).exp() + (b - shift).exp() + (c - shift).exp()).log() + shift
}

/// Moves a row so that its largest number is 0; gives by how much. A row without any alignment stays as it is.
pub(super) fn normalise<T: Real>(row: &mut [T]) -> f64 {
    let top = row.iter().fold(-T::INFINITY, |top, &x| top.max(x));
    if top == -T::INFINITY {
        return 0.0;
    }
    row.iter_mut().for_each(|x| *x -= top);
    top.to_f64()
}
