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

use crate::cpu::gemm::{Band, Correlate, LANES, Plane, Runs, Slide, Tap};
use crate::cpu::isa::Isa;

/// Numbers of an image that are laid out at a time: in f32 an eighth of the smallest second-level cache in use (1 MiB).
pub(super) const BAND: usize = 1 << 15;
/// Places that are computed at a time: twelve rows of sums stay in the first-level cache.
pub(super) const PLACES: usize = 512;
/// Places that are summed at a time with pixels in the lanes: eight lines of them stay in the first-level cache.
pub(super) const SUMMED: usize = 768;
/// Places that are summed at a time with channels in the lanes: as many of sixty-four rows find room in a band.
pub(super) const TURNED: usize = 512;
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

    /// The same positions in one phase, where they fill all, and how far apart its places then lie.
    pub fn merged(self) -> (Self, usize) {
        let stride = self.slide.stride;
        if stride == 1 || self.phases() < stride || self.slide.divisor > 1 {
            return (self, 1);
        }
        let slide = Slide {
            stride: 1,
            ..self.slide
        };
        let last = self.first + self.places.max(1) - 1;
        match Self::new(slide, self.first * stride, last * stride + 1) {
            Some(axis) => (axis, stride),
            None => (self, 1),
        }
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

    /// Positions of the image that a window sees.
    pub fn seen(&self) -> Range<usize> {
        let image = self.slide.image as isize;
        let end = self.origin + ((self.places.max(1) - 1) * self.slide.stride + self.reach) as isize + 1;
        self.origin.clamp(0, image) as usize..end.clamp(0, image) as usize
    }

    /// Columns at the end of a line that the zeros at the start of the next can stand for (or lines at the end of an image).
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

/// How parts of images of one size lie in a band: `[channels, phases, images, lines, places]`.
#[derive(Copy, Clone, Debug)]
pub(super) struct Layout {
    axes: [Axis; 2],
    images: usize,
    /// From a line to the next.
    pub pitch: usize,
    /// From an image to the next.
    pub image: usize,
    /// From a channel to the next.
    pub channel: usize,
}

impl Layout {
    pub fn new(axes: [Axis; 2], images: usize) -> Self {
        let [lines, columns] = axes.map(|axis| axis.shared());
        let pitch = axes[1].width() - columns;
        let image = (axes[0].width() - lines) * pitch;
        let phases = axes[0].phases() * axes[1].phases();
        // An odd number of cache lines: channels that lie a power of two apart would push each other out of the cache.
        let channel = (phases * images * image + lines * pitch + columns + LANES) | 16;
        Self {
            axes,
            images,
            pitch,
            image,
            channel,
        }
    }

    /// Places, and what lies between those of different lines and images.
    pub fn places(&self) -> usize {
        (self.images - 1) * self.image + (self.axes[0].places - 1) * self.pitch + self.axes[1].places
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
                    offset: (plane * self.images * self.image + line * self.pitch + column) as u32,
                };
                count += 1;
            }
        }
        &taps[..count]
    }

    /// Lays out channels of images in an empty band; `image` numbers lie between an image and the next.
    pub fn lay<T: Correlate, const N: usize>(
        &self,
        isa: Isa,
        planes: &[T],
        image: usize,
        channels: usize,
        band: &mut Band<T, N>,
    ) {
        band.clear();
        let [y, x] = self.axes;
        let area = x.slide.image * y.slide.image;
        let (wide, count) = (x.phases(), y.phases() * x.phases() * self.images);
        for c in 0..channels {
            let mut rest = band.push(self.channel);
            for k in 0..count {
                let (phase, n) = (k / self.images, k % self.images);
                let len = if k + 1 < count { self.image } else { rest.len() };
                let (to, after) = rest.split_at_mut(len);
                let from = &planes[n * image + c * area..][..area];
                T::lay(isa, self.plane(from, [phase / wide, phase % wide], to));
                rest = after;
            }
        }
    }

    /// The lines of one phase of a channel of an image.
    fn plane<'a, T>(&self, from: &'a [T], [phase_y, phase_x]: [usize; 2], to: &'a mut [T]) -> Plane<'a, T> {
        let [y, x] = self.axes;
        let (lines, inside) = (y.inside(phase_y), x.inside(phase_x));
        let is_empty = lines.is_empty() || inside.is_empty();
        let (lines, inside) = if is_empty { (0..0, 0..0) } else { (lines, inside) };
        let first = match is_empty {
            true => 0,
            false => y.image(phase_y, lines.start) * x.slide.image + x.image(phase_x, inside.start),
        };
        Plane {
            from: &from[first..],
            step: y.slide.stride * x.slide.image,
            stride: x.slide.stride,
            len: inside.len(),
            lines,
            before: inside.start,
            pitch: self.pitch,
            to,
        }
    }

    /// The lines of a cotangent as those of the image lie, with zeros where no place is. In `from`, `step` numbers lie between a line
    /// and the next.
    pub fn cotangent<'a, T>(&self, from: &'a [T], step: usize, to: &'a mut [T]) -> Plane<'a, T> {
        let [lines, len] = self.size();
        Plane {
            from,
            step,
            stride: 1,
            len,
            lines: 0..lines,
            before: 0,
            pitch: self.pitch,
            to,
        }
    }
}

/// How places are cut into blocks, by sizes alone.
#[derive(Copy, Clone, Debug)]
pub(super) struct Cut {
    /// Lines of a block. In an image's gradient these are lines of one residue of the stride: as many times more in all.
    pub lines: usize,
    /// Places of a line in a block, likewise.
    pub places: usize,
    /// Channels that find room in a band.
    pub channels: usize,
    /// Images whose places are computed together, where one alone has few.
    pub images: usize,
}

/// Windows of a convolution, and what of them finds room beside each other.
struct Room {
    planes: usize,
    halo: [usize; 2],
    /// Places of a line.
    places: usize,
    most_lines: usize,
}

impl Room {
    fn new([y, x]: [Slide; 2], most: usize) -> Self {
        let reach = [y, x].map(|s| s.window.saturating_sub(1) * s.step.unsigned_abs() / s.divisor);
        let halo = [reach[0] / y.stride, reach[1] / x.stride];
        let places = even(x.places.div_ceil(x.divisor), most);
        Self {
            planes: phases(&y, reach[0]) * phases(&x, reach[1]),
            halo,
            places,
            most_lines: (most / (places + halo[1])).max(1),
        }
    }

    fn width(&self) -> usize {
        self.places + self.halo[1]
    }

    /// What a channel of this many lines of some images takes, at most.
    fn channel(&self, images: usize, lines: usize) -> usize {
        self.planes * images * (lines + self.halo[0]) * self.width() + self.halo[1] + LANES + 16
    }
}

impl Cut {
    /// The blocks for windows over `channels` channels, all of which are needed for a sum; nothing where a window is too large.
    pub fn new(channels: usize, slides: [Slide; 2]) -> Option<Self> {
        let room = Room::new(slides, PLACES);
        let all = slides[0].places.div_ceil(slides[0].divisor);
        let least = FEW_PLACES.div_ceil(room.width()).min(room.most_lines);
        let mut lines = room.most_lines.min(all).max(1);
        while lines > 1
            && (room.channel(1, lines) > BAND || lines > least && channels * room.channel(1, lines) > BAND)
        {
            lines -= 1;
        }
        Self::with(&room, slides, channels, even(all, lines), 1)
    }

    /// The blocks for sums over at most so many places at a time, in which every channel stands for itself.
    pub fn sums(channels: usize, slides: [Slide; 2], most: usize) -> Option<Self> {
        let room = Room::new(slides, most);
        let all = slides[0].places;
        let mut lines = room.most_lines.min(all).max(1);
        while lines > 1 && room.channel(1, lines) > BAND {
            lines -= 1;
        }
        let mut images = 1;
        if lines == all {
            let image = (all + room.halo[0]) * room.width();
            images = (most / image).max(1);
            while images > 1 && room.channel(images, lines) > BAND {
                images -= 1;
            }
        }
        Self::with(&room, slides, channels, even(all, lines), images)
    }

    fn with(room: &Room, [y, x]: [Slide; 2], channels: usize, lines: usize, images: usize) -> Option<Self> {
        let channels = channels.min(BAND / room.channel(images, lines));
        (channels > 0 && y.window * x.window <= TAPS).then_some(Self {
            lines,
            places: room.places,
            channels,
            images,
        })
    }
}

/// The size of the parts of `n` that are at most `most`, as even as can be.
fn even(n: usize, most: usize) -> usize {
    n.div_ceil(n.div_ceil(most).max(1)).max(1)
}

/// The memory of some lines of `part` of the `channels` channels of some images, from the first of them on.
pub(super) fn runs<T>(
    from: &[T],
    size: [usize; 2],
    lines: Range<usize>,
    [images, channels, part]: [usize; 3],
) -> Runs {
    let area = size[0] * size[1];
    match lines.len() == size[0] {
        true => Runs::new(from, part * area, channels * area, images),
        false => Runs::new(
            from.get(lines.start * size[1]..).unwrap_or_default(),
            lines.len() * size[1],
            area,
            part,
        ),
    }
}
