//! Where a window meets an image, and the image as lines in which every element of the window is a fixed step away.
//!
//! Along an axis, element `e` of the window meets, at place `v`, position `v * spread + position(e)` of the image. Positions are
//! sorted into `spread` phases (one for convolutions of stride 1): within a phase, the next place lies one further. So an image
//! becomes, for every channel, `phases x phases` planes of lines of one pitch, with the zeros of the padding in them; and
//! numbering places by `line * pitch + place`, every element of the window is one offset for all places. The numbers between
//! the last place of a line and the next line belong to no place: they are computed and dropped.
//!
//! The gradient of an image sees a window of its own for each residue of the stride, with part of the elements ([`Axis::new`]).

use std::ops::Range;

use crate::cpu::gemm::{Band, Correlate, LANES, Slide, Tap};

/// Numbers of an image that are laid out at a time: in f32 an eighth of the smallest second-level cache in use (1 MiB).
pub(super) const BAND: usize = 1 << 15;
/// Places that are computed at a time: twelve rows of sums stay in the first-level cache.
pub(super) const PLACES: usize = 512;
/// Places below which a block is not cut further only to hold all channels: the halo around it would be most of it.
const FEW_PLACES: usize = 96;
/// Elements of the largest window.
pub(super) const TAPS: usize = 256;

/// One axis of the windows that are computed together.
#[derive(Copy, Clone, Debug)]
pub(super) struct Axis {
    slide: Slide,
    /// The first place.
    first: usize,
    /// Number of places.
    pub places: usize,
    /// Position of the first of the elements at the first place.
    origin: isize,
    /// From the first of the elements to the last.
    reach: usize,
}

impl Axis {
    /// Places `first`, `first + divisor`, ... below `end`; nothing where no element of the window meets the image's grid there.
    pub fn new(slide: Slide, first: usize, end: usize) -> Option<Self> {
        let positions = || (0..slide.window).filter_map(|e| position(&slide, first, e));
        let (low, high) = (positions().min()?, positions().max()?);
        Some(Self {
            slide,
            first,
            places: end.saturating_sub(first).div_ceil(slide.divisor),
            origin: low,
            reach: (high - low) as usize,
        })
    }

    /// How far from the first of the elements this one lies, if it meets the grid.
    fn relative(&self, element: usize) -> Option<usize> {
        position(&self.slide, self.first, element).map(|at| (at - self.origin) as usize)
    }

    fn phases(&self) -> usize {
        phases(&self.slide, self.reach)
    }

    /// Phase and column of a distance from the first of the elements.
    fn split(&self, relative: usize) -> (usize, usize) {
        (relative % self.slide.stride, relative / self.slide.stride)
    }

    /// Columns of a phase.
    fn width(&self) -> usize {
        self.places + self.reach / self.slide.stride
    }

    /// Columns of a phase that lie in the image.
    fn inside(&self, phase: usize) -> Range<usize> {
        let start = self.origin + phase as isize;
        let stride = self.slide.stride as isize;
        let column = |position: isize| {
            let column = (position - start + stride - 1).div_euclid(stride);
            column.clamp(0, self.width() as isize) as usize
        };
        let (from, to) = (column(0), column(self.slide.image as isize));
        from..to.max(from)
    }

    /// The position in the image of a column that lies in it.
    fn image(&self, phase: usize, column: usize) -> usize {
        (self.origin + (column * self.slide.stride + phase) as isize) as usize
    }

    /// Columns at the end of a line that the zeros at the start of the next can stand for.
    fn shared(&self) -> usize {
        let zeros = (0..self.phases()).map(|phase| {
            let inside = self.inside(phase);
            inside.start.min(self.width() - inside.end)
        });
        zeros.min().unwrap_or(0).min(self.reach / self.slide.stride)
    }
}

/// The position of an element of the window at a place, where it meets the image's grid.
fn position(slide: &Slide, place: usize, element: usize) -> Option<isize> {
    let divisor = slide.divisor as isize;
    let undivided = (place * slide.stride) as isize + slide.start + element as isize * slide.step;
    (undivided.rem_euclid(divisor) == 0).then(|| undivided.div_euclid(divisor))
}

/// Phases that hold an element of a window of this reach.
fn phases(slide: &Slide, reach: usize) -> usize {
    match slide.step.unsigned_abs().is_multiple_of(slide.stride) {
        true => 1,
        false => slide.stride.min(reach + 1),
    }
}

/// How part of an image lies in a band.
#[derive(Copy, Clone, Debug)]
pub(super) struct Layout {
    axes: [Axis; 2],
    rows: usize,
    /// From a line to the next.
    pub pitch: usize,
    /// From a channel to the next.
    pub channel: usize,
}

impl Layout {
    pub fn new(axes: [Axis; 2]) -> Self {
        let shared = axes[1].shared();
        let (rows, pitch) = (axes[0].width(), axes[1].width() - shared);
        let phases = axes[0].phases() * axes[1].phases();
        // An odd number of cache lines: channels that lie a power of two apart would push each other out of the cache.
        let channel = (phases * rows * pitch + shared + LANES) | 16;
        Self {
            axes,
            rows,
            pitch,
            channel,
        }
    }

    /// Places, and what lies between those of different lines.
    pub fn places(&self) -> usize {
        (self.axes[0].places - 1) * self.pitch + self.axes[1].places
    }

    /// Number of lines and places of a line.
    pub fn size(&self) -> [usize; 2] {
        self.axes.map(|axis| axis.places)
    }

    /// Writes the elements of the window that meet the image to the front of `taps`; returns them.
    pub fn taps<'t>(&self, taps: &'t mut [Tap; TAPS]) -> &'t [Tap] {
        let [y, x] = self.axes;
        let mut count = 0;
        for i in 0..y.slide.window {
            let Some(row) = y.relative(i) else { continue };
            let (phase_y, line) = y.split(row);
            for j in 0..x.slide.window {
                let Some(column) = x.relative(j) else { continue };
                let (phase_x, column) = x.split(column);
                let plane = phase_y * x.phases() + phase_x;
                taps[count] = Tap {
                    weight: (i * x.slide.window + j) as u32,
                    offset: ((plane * self.rows + line) * self.pitch + column) as u32,
                };
                count += 1;
            }
        }
        &taps[..count]
    }

    /// Lays out channels of an image in an empty band.
    pub fn lay<T: Correlate, const N: usize>(&self, planes: &[T], channels: usize, band: &mut Band<T, N>) {
        band.clear();
        let [y, x] = self.axes;
        let (width, area) = (x.slide.image, x.slide.image * y.slide.image);
        for c in 0..channels {
            let plane = &planes[c * area..][..area];
            for phase_y in 0..y.phases() {
                let inside = y.inside(phase_y);
                for phase_x in 0..x.phases() {
                    band.zeros(inside.start * self.pitch);
                    for line in inside.clone() {
                        let line = &plane[y.image(phase_y, line) * width..][..width];
                        self.line(line, phase_x, band);
                    }
                    band.zeros((self.rows - inside.end) * self.pitch);
                }
            }
            band.zeros((c + 1) * self.channel - band.len());
        }
    }

    fn line<T: Correlate, const N: usize>(&self, line: &[T], phase: usize, band: &mut Band<T, N>) {
        let x = self.axes[1];
        let inside = x.inside(phase);
        band.zeros(inside.start);
        if !inside.is_empty() {
            let from = &line[x.image(phase, inside.start)..];
            match x.slide.stride {
                1 => band.copy(&from[..inside.len()]),
                step => band.every(from, step, inside.len()),
            }
        }
        band.zeros(self.pitch - inside.end);
    }
}

/// How places are cut into blocks, by sizes alone.
#[derive(Copy, Clone, Debug)]
pub(super) struct Cut {
    /// Lines of a block, where every line is a place of the slide's divisor.
    pub lines: usize,
    /// Places of a line in a block.
    pub places: usize,
    /// Channels that find room in a band.
    pub channels: usize,
}

impl Cut {
    /// The blocks for windows over `channels` channels; nothing where a window is too large for a band.
    pub fn new(channels: usize, slides: [Slide; 2]) -> Option<Self> {
        let [y, x] = slides;
        if y.window * x.window > TAPS {
            return None;
        }
        let reach = slides.map(|s| (s.window - 1) * s.step.unsigned_abs() / s.divisor);
        let halo = [reach[0] / y.stride, reach[1] / x.stride];
        let planes = phases(&y, reach[0]) * phases(&x, reach[1]);
        let all = slides.map(|s| s.places.div_ceil(s.divisor));
        let places = even(all[1], PLACES);
        let width = places + halo[1];
        let room = |lines: usize| planes * (lines + halo[0]) * width + halo[1] + LANES + 16;
        let most = (PLACES / width).max(1);
        let least = FEW_PLACES.div_ceil(width).min(most);
        let mut lines = most;
        while lines > 1 && (room(lines) > BAND || lines > least && channels * room(lines) > BAND) {
            lines -= 1;
        }
        let lines = even(all[0], lines);
        let channels = channels.min(BAND / room(lines));
        (channels > 0).then_some(Self {
            lines,
            places,
            channels,
        })
    }
}

/// The size of the parts of `n` that are at most `most`, as even as can be.
fn even(n: usize, most: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).max(1)
}
