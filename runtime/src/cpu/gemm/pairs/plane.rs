//! Images split into bf16 parts, padding and all: what windows in pairs are summed over.
//!
//! A [`Sheet`] says where pixels lie. Those of a line follow each other, and zeros follow them: as many as a window sees beyond
//! either end, once, because what lies beyond the end of a line lies before the start of the next. So do lines of zeros follow the
//! lines of an image. Each part is a plane of its own; all planes look alike.

use std::mem::MaybeUninit;

use super::pack::Span;
#[cfg(target_arch = "x86_64")]
use super::splits::Rounder;
use super::splits::{Splits, Splitter};
#[cfg(target_arch = "x86_64")]
use super::words::Rounds;
use super::words::{OnWords, Words};
use super::{BLOCK, Parts, SIDE};
use crate::cpu::gemm::Axis;
#[cfg(target_arch = "x86_64")]
use crate::cpu::isa::Kernel;

/// Numbers of all parts that there is room for.
const ROOM: usize = 152 << 10;

/// Where the pixels of images lie that some windows see.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Sheet {
    /// Number of images.
    images: usize,
    /// Numbers of a pixel.
    channels: usize,
    /// The first line and the first pixel of a line that are held.
    first: [usize; 2],
    /// Lines that are held of an image, and pixels of a line.
    held: [usize; 2],
    /// Lines of zeros between images, and pixels of zeros between lines.
    gap: [usize; 2],
    /// Numbers behind the last that a window sees, which a block of places may read.
    tail: usize,
}

impl Sheet {
    /// The pixels that some windows see, which move over images alike.
    pub fn new(images: usize, channels: usize, windows: &mut dyn Iterator<Item = [Axis; 2]>) -> Self {
        // From the first to the last position that is seen along each axis, and where the image ends.
        let mut seen = [[isize::MAX, isize::MIN]; 2];
        let (mut size, mut stride, mut places) = ([0; 2], 0, 0);
        for axes in windows {
            places = places.max(axes[1].places);
            if axes.iter().any(|axis| axis.places == 0 || axis.taps == 0) {
                continue;
            }
            for k in 0..2 {
                let axis = &axes[k];
                let last = axis.start + (axis.places as isize - 1) * axis.stride as isize + axis.reach();
                seen[k] = [seen[k][0].min(axis.start), seen[k][1].max(last + 1)];
                size[k] = axis.size;
            }
            stride = stride.max(axes[1].stride);
        }
        let mut sheet = Self {
            images,
            channels,
            first: [0; 2],
            held: [0; 2],
            gap: [0; 2],
            tail: (SIDE - 1) * stride * channels + 2 * BLOCK,
        };
        for k in 0..2 {
            let [from, to] = seen[k];
            if from < to {
                let first = from.clamp(0, size[k] as isize);
                let end = to.clamp(first, size[k] as isize);
                sheet.first[k] = first as usize;
                sheet.held[k] = (end - first) as usize;
                sheet.gap[k] = (first - from).max(to - end).max(0) as usize;
            }
        }
        if stride <= 1 {
            // Places of a line do not reach into the next.
            sheet.gap[1] = sheet.gap[1].max(places.saturating_sub(sheet.held[1]));
        }
        sheet
    }

    /// From a line to the next.
    pub(super) fn line(&self) -> usize {
        (self.held[1] + self.gap[1]) * self.channels
    }

    /// From an image to the next.
    pub(super) fn image(&self) -> usize {
        (self.held[0] + self.gap[0]) * self.line()
    }

    /// Numbers of a pixel.
    pub(super) fn channels(&self) -> usize {
        self.channels
    }

    /// Number of images.
    pub(super) fn images(&self) -> usize {
        self.images
    }

    /// Where a pixel of an image lies, or a zero next to it.
    pub(super) fn at(&self, image: usize, [y, x]: [isize; 2]) -> usize {
        let down = y - self.first[0] as isize + self.gap[0] as isize;
        let right = x - self.first[1] as isize + self.gap[1] as isize;
        // Nothing is read where a window has no elements, whose position may be anywhere.
        let line = (down as usize).wrapping_mul(self.line());
        (image * self.image())
            .wrapping_add(line)
            .wrapping_add((right as usize).wrapping_mul(self.channels))
    }

    /// Numbers of a plane; saturates.
    fn len(&self) -> usize {
        let pitch = self.held[1].saturating_add(self.gap[1]);
        let lines = self.held[0]
            .saturating_add(self.gap[0])
            .saturating_mul(self.images);
        lines
            .saturating_add(self.gap[0])
            .saturating_mul(pitch)
            .saturating_add(self.gap[1])
            .saturating_mul(self.channels)
            .saturating_add(self.tail)
            .checked_next_multiple_of(BLOCK)
            .unwrap_or(usize::MAX)
    }

    /// Whether there is room for so many parts.
    pub fn fits(&self, parts: Parts) -> bool {
        self.len() <= ROOM / parts.count()
    }
}

/// A fixed piece of the stack for planes.
#[repr(C, align(64))]
pub struct PlaneRoom([MaybeUninit<u16>; ROOM]);

impl PlaneRoom {
    /// Room that holds nothing yet.
    #[inline(always)]
    #[expect(clippy::new_without_default, reason = "a default would be moved, all of it")]
    pub fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; ROOM])
    }
}

/// Images in parts.
#[derive(Copy, Clone)]
pub struct Planes<'m> {
    halves: &'m [u16],
    parts: Parts,
    sheet: Sheet,
    span: Span,
}

impl Planes<'_> {
    /// Where pixels lie.
    pub fn sheet(&self) -> &Sheet {
        &self.sheet
    }

    /// The parts of each number.
    pub(super) fn parts(&self) -> Parts {
        self.parts
    }

    /// The numbers that were split.
    pub fn span(&self) -> Span {
        self.span
    }

    /// All planes, one after the other.
    pub(super) fn halves(&self) -> &[u16] {
        self.halves
    }

    /// Numbers of a plane.
    pub(super) fn len(&self) -> usize {
        self.halves.len() / self.parts.count()
    }
}

/// Splits images of `size` pixels, which follow each other in memory, for some windows.
pub(super) struct Splitting<'x, 'm> {
    pub parts: Parts,
    pub sheet: Sheet,
    pub images: &'x [f32],
    pub size: [usize; 2],
    pub room: &'m mut PlaneRoom,
}

impl<'m> OnWords for Splitting<'_, 'm> {
    type Output = Planes<'m>;

    #[inline(always)]
    fn run<W: Words>(self, words: W) -> Planes<'m> {
        match self.parts {
            Parts::One => self.planes(Splitter::<W, 1>::new(words)),
            Parts::Two => self.planes(Splitter::<W, 2>::new(words)),
            Parts::Three => self.planes(Splitter::<W, 3>::new(words)),
        }
    }
}

/// The same by what rounds numbers as it makes pairs.
#[cfg(target_arch = "x86_64")]
pub(super) struct Rounding<'x, 'm, R>(pub R, pub Splitting<'x, 'm>);

#[cfg(target_arch = "x86_64")]
impl<'m, R: Rounds> Kernel for Rounding<'_, 'm, R> {
    type Output = Planes<'m>;

    #[inline(always)]
    fn run(self) -> Planes<'m> {
        self.1.planes(Rounder::new(self.0))
    }
}

impl<'m> Splitting<'_, 'm> {
    #[inline(always)]
    fn planes<S: Splits>(self, splits: S) -> Planes<'m> {
        let Self {
            parts,
            sheet,
            images,
            size,
            room,
        } = self;
        assert!(
            sheet.fits(parts) && parts.count() == S::PARTS,
            "there is no room for {sheet:?}"
        );
        let len = sheet.len();
        let mut planes = Writing {
            splits,
            to: &mut room.0[..S::PARTS * len],
            len,
            at: 0,
        };
        let (pixel, line) = (sheet.channels, size[1] * sheet.channels);
        planes.zeros(sheet.gap[0] * sheet.line() + sheet.gap[1] * pixel);
        for image in 0..sheet.images {
            let lines = &images[image * size[0] * line..][sheet.first[0] * line..][..sheet.held[0] * line];
            if sheet.gap[1] == 0 && sheet.held[1] == size[1] {
                planes.numbers(lines);
            } else {
                for y in 0..sheet.held[0] {
                    let from = y * line + sheet.first[1] * pixel;
                    planes.numbers(&lines[from..][..sheet.held[1] * pixel]);
                    planes.zeros(sheet.gap[1] * pixel);
                }
            }
            planes.zeros(sheet.gap[0] * sheet.line());
        }
        planes.zeros(len - planes.at);
        let (span, to) = (planes.splits.span(), planes.to);
        // SAFETY: every plane has been written from its start to its end: `at` has gone through all of `0..len`.
        let halves = unsafe { std::slice::from_raw_parts(to.as_ptr().cast::<u16>(), to.len()) };
        Planes {
            halves,
            parts,
            sheet,
            span,
        }
    }
}

/// Planes that are being written, all at the same place.
struct Writing<'m, S> {
    splits: S,
    to: &'m mut [MaybeUninit<u16>],
    /// Numbers of a plane.
    len: usize,
    /// Numbers that were written of each.
    at: usize,
}

impl<S: Splits> Writing<'_, S> {
    /// Appends zeros.
    #[inline(always)]
    fn zeros(&mut self, len: usize) {
        for plane in self.to.chunks_exact_mut(self.len) {
            plane[self.at..][..len].fill(MaybeUninit::new(0));
        }
        self.at += len;
    }

    /// Appends numbers. Behind them, up to 31 zeros may be written as well, for which a plane's tail has room.
    #[inline(always)]
    fn numbers(&mut self, numbers: &[f32]) {
        let (whole, rest) = numbers.as_chunks::<BLOCK>();
        for numbers in whole {
            self.step(numbers);
            self.at += BLOCK;
        }
        if !rest.is_empty() {
            let mut padded = [0.0; BLOCK];
            padded[..rest.len()].copy_from_slice(rest);
            self.step(&padded);
            self.at += rest.len();
        }
    }

    #[inline(always)]
    fn step(&mut self, numbers: &[f32; BLOCK]) {
        let (halves, _) = numbers.as_chunks::<SIDE>();
        let low = self.splits.half(&halves[0]);
        let high = self.splits.half(&halves[1]);
        for part in 0..S::PARTS {
            let pairs = self.splits.along(&low, &high, part);
            let to = self.to[part * self.len + self.at..].first_chunk_mut::<BLOCK>();
            self.splits.store(pairs, to.expect("a plane has a tail"));
        }
    }
}
