//! The gradient of a weight in pairs of bf16 numbers: how images are cut into bands, and what becomes of each.

use std::ops::Range;

use super::{Block, Conv2d, Region, Sums, shards};
use crate::cpu::gemm::{
    Arithmetic, Band, OuterPairs, PairLayout, PairRooms, Parts, PlaceSums, Plane, Unit, Wanted,
};
use crate::ops::conv::way::Images;

/// Channels of an image, and of a cotangent, that a task multiplies, at most.
const CHANNELS: usize = 64;
/// Channels that fill a vector, and a block of tiles.
const UNITS: [usize; 2] = [16, 32];
/// Channels of either that a task multiplies on vectors, about.
const ON_VECTORS: usize = super::CHANNELS;
/// Tasks at least, as far as channels go: below that, tasks have fewer channels of the cotangent.
const TASKS: usize = 8;
/// Elements of a window at most.
const WINDOW: usize = 256;
/// Steps of a band, at least, where fewer channels would do as well.
const STEPS: usize = 4;

/// How the images are cut.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::ops::conv) struct Bands {
    unit: (Unit, Parts),
    /// Channels of an image, and of a cotangent, that a task multiplies.
    pub(super) channels: [usize; 2],
    /// Images of a band: more than one only where all their places are in it.
    images: usize,
    /// Lines of places of a band, and places of each.
    places: [usize; 2],
}

impl Bands {
    /// The bands where pairs are faster than vectors.
    pub(in crate::ops::conv) fn chosen(conv: &Conv2d, arithmetic: Arithmetic) -> Option<Self> {
        let bands = Self::new(conv, arithmetic.unit()?)?;
        arithmetic.has_pairs_for(&bands.cost(conv)).then_some(bands)
    }

    /// The bands for a unit, if there are any that it can compute.
    pub(super) fn new(conv: &Conv2d, unit: (Unit, Parts)) -> Option<Self> {
        if conv.groups > 1 || Conv2d::area(conv.kernel) > WINDOW || conv.work() == 0 {
            return None;
        }
        let shards = shards(conv);
        let channels = [conv.in_channels, conv.out_channels];
        let block = |k: usize, most: usize| {
            let blocks = channels[k].div_ceil(most);
            channels[k].div_ceil(blocks).next_multiple_of(UNITS[k])
        };
        let tasks = channels.map(|channels| channels.div_ceil(CHANNELS));
        let rows = match shards * tasks[0] * tasks[1] < TASKS {
            true => block(1, CHANNELS / 2),
            false => block(1, CHANNELS),
        };
        let mut bands = Self {
            unit,
            channels: [block(0, CHANNELS), rows],
            images: 1,
            places: conv.out,
        };
        bands.shrink(conv)?;
        if bands.places == conv.out {
            let most = conv.batch.div_ceil(shards);
            while bands.images < most && bands.with_images(bands.images + 1).layout(conv).fits() {
                bands.images += 1;
            }
            bands.images = most.div_ceil(most.div_ceil(bands.images));
        }
        let is_single = bands.places == conv.out && bands.images * shards >= conv.batch;
        (is_single || bands.are_long(conv)).then_some(bands)
    }

    /// Cuts lines, then places, then channels, until a band fits; channels first where few steps are left.
    fn shrink(&mut self, conv: &Conv2d) -> Option<()> {
        loop {
            let layout = self.layout(conv);
            if layout.fits() {
                break;
            }
            let [lines, places] = self.places;
            let is_long = layout.steps() > STEPS;
            if is_long && lines > 1 {
                self.places[0] -= 1;
            } else if is_long && places > 1 {
                self.places[1] = places.div_ceil(2);
            } else if self.channels[0] > UNITS[0] {
                self.channels[0] = (self.channels[0] / 2).next_multiple_of(UNITS[0]);
            } else if lines > 1 {
                self.places[0] -= 1;
            } else if places > 1 {
                self.places[1] = places.div_ceil(2);
            } else {
                return None;
            }
        }
        for k in 0..2 {
            self.places[k] = conv.out[k].div_ceil(conv.out[k].div_ceil(self.places[k]));
        }
        Some(())
    }

    fn with_images(self, images: usize) -> Self {
        Self { images, ..self }
    }

    /// The layout of a band that is cut nowhere.
    fn layout(&self, conv: &Conv2d) -> PairLayout {
        let channels = [
            self.channels[0].min(conv.in_channels),
            self.channels[1].min(conv.out_channels),
        ];
        let axes = [0, 1].map(|k| conv.forward(k).from(0, self.places[k]));
        PairLayout::new(self.unit, axes, self.images, channels)
    }

    /// Whether the bands of an image are long enough, on average, for the error that is promised of several parts.
    fn are_long(&self, conv: &Conv2d) -> bool {
        // Bands of the full size along an axis, and the one that is left.
        let sizes = [0, 1].map(|k| {
            let full = (conv.out[k] - 1) / self.places[k];
            [(full, self.places[k]), (1, conv.out[k] - full * self.places[k])]
        });
        let (mut bands, mut steps) = (0, 0);
        for (high, lines) in sizes[0] {
            for (wide, places) in sizes[1] {
                let places = [lines, places];
                bands += high * wide;
                steps += high * wide * Self { places, ..*self }.layout(conv).steps();
            }
        }
        self.unit.1 == Parts::One || 5 * bands <= 2 * steps
    }

    /// What the choice depends on.
    fn cost(&self, conv: &Conv2d) -> PlaceSums {
        let layout = self.layout(conv);
        let cuts = [0, 1].map(|k| conv.out[k].div_ceil(self.places[k]));
        let channels = [conv.in_channels, conv.out_channels];
        let blocks = [0, 1].map(|k| channels[k].div_ceil(self.channels[k]));
        let images = conv.batch.div_ceil(self.images);
        PlaceSums {
            sizes: [conv.in_channels, Conv2d::area(conv.kernel), conv.out_channels],
            places: conv.batch * Conv2d::area(conv.out),
            numbers: conv.batch
                * (Conv2d::area(conv.size) * conv.in_channels * conv.out_channels.div_ceil(ON_VECTORS)
                    + Conv2d::area(conv.out) * conv.out_channels * conv.in_channels.div_ceil(ON_VECTORS)),
            bands: images * cuts[0] * cuts[1] * blocks[0] * blocks[1],
            block: [0, 1].map(|k| self.channels[k].min(channels[k])),
            padded: layout.padded(),
            packed: layout.packed(),
        }
    }
}

impl<T: Images> Sums<'_, T> {
    /// Adds the sums of a region band by band; those that pairs would lose on vectors.
    #[inline(never)]
    pub(super) fn add_pairs(&self, bands: &Bands, region: &Region, block: &mut Block<'_, T>) {
        let mut rooms = PairRooms::new();
        let mut next = bands.first(region);
        while let Some(band) = next {
            next = bands.after(&band, region);
            let work = self.band(bands.unit, &band, next.as_ref(), block);
            if T::outer_pairs(work, &mut rooms) == Band::Refused {
                self.add_lanes(&band, block);
            }
        }
    }

    /// What is multiplied for a band, and what will be for the next.
    fn band<'w, 'b>(
        &'w self,
        unit: (Unit, Parts),
        band: &Region,
        next: Option<&Region>,
        sums: &'w mut Block<'b, T>,
    ) -> OuterPairs<'w, 'b, 'w, T> {
        let conv = &self.conv;
        let axes = [0, 1].map(|k| conv.forward(k).from(band.places[k].start, band.places[k].len()));
        let channels = [band.channels.len(), band.rows.len()];
        let steps = [
            Conv2d::area(conv.size) * conv.in_channels,
            Conv2d::area(conv.out) * conv.out_channels,
        ];
        let [line, place] = band.places.each_ref().map(|places| places.start);
        let image = band.images.start * steps[0] + band.channels.start;
        let cotangent =
            band.images.start * steps[1] + (line * conv.out[1] + place) * conv.out_channels + band.rows.start;
        OuterPairs {
            image: Plane {
                data: &self.x[image..],
                line: conv.size[1] * conv.in_channels,
                pixel: conv.in_channels,
            },
            cotangent: Plane {
                data: &self.dy[cotangent..],
                line: conv.out[1] * conv.out_channels,
                pixel: conv.out_channels,
            },
            steps,
            layout: PairLayout::new(unit, axes, band.images.len(), channels),
            next: next.map(|next| self.wanted(next)),
            sums,
        }
    }

    /// The numbers of a band: of images and of cotangents. All lines of the first and the last image, and those between.
    fn wanted(&self, band: &Region) -> [Wanted<'_, T>; 2] {
        let conv = &self.conv;
        let seen = [0, 1].map(|k| {
            let places = &band.places[k];
            conv.forward(k).from(places.start, places.len()).seen()
        });
        let wanted =
            |data, size: [usize; 2], [lines, line]: &[Range<usize>; 2], pixel, channels: &Range<usize>| {
                let first = (band.images.start * size[0] + lines.start) * size[1] + line.start;
                Wanted {
                    data,
                    first: first * pixel + channels.start,
                    lines: (band.images.len() - 1) * size[0] + lines.len(),
                    line: size[1] * pixel,
                    pixels: line.len(),
                    pixel,
                    channels: channels.len(),
                }
            };
        [
            wanted(self.x, conv.size, &seen, conv.in_channels, &band.channels),
            wanted(self.dy, conv.out, &band.places, conv.out_channels, &band.rows),
        ]
    }
}

impl Bands {
    /// The first band of a region.
    fn first(&self, region: &Region) -> Option<Region> {
        let start = |range: &Range<usize>| range.start;
        self.band_at(
            region,
            [
                start(&region.images),
                start(&region.places[0]),
                start(&region.places[1]),
            ],
        )
    }

    /// The band that follows another: places of its lines, then lines, then images.
    fn after(&self, band: &Region, region: &Region) -> Option<Region> {
        let [lines, places] = &region.places;
        if band.places[1].end < places.end {
            return self.band_at(
                region,
                [band.images.start, band.places[0].start, band.places[1].end],
            );
        }
        if band.places[0].end < lines.end {
            return self.band_at(region, [band.images.start, band.places[0].end, places.start]);
        }
        self.band_at(region, [band.images.end, lines.start, places.start])
    }

    /// The band that begins with an image, a line and a place, if they are in the region.
    fn band_at(&self, region: &Region, first: [usize; 3]) -> Option<Region> {
        let all = [&region.images, &region.places[0], &region.places[1]];
        let most = [self.images, self.places[0], self.places[1]];
        let [images, lines, places] = [0, 1, 2].map(|k| first[k]..(first[k] + most[k]).min(all[k].end));
        let is_some = !images.is_empty() && !lines.is_empty() && !places.is_empty();
        is_some.then(|| Region {
            images,
            places: [lines, places],
            ..region.clone()
        })
    }
}

#[cfg(test)]
impl Bands {
    /// Places that a shard sums over, as they are padded.
    pub(super) fn padded(&self, conv: &Conv2d) -> usize {
        let cuts = [0, 1].map(|k| conv.out[k].div_ceil(self.places[k]));
        let images = conv.batch.div_ceil(shards(conv)).div_ceil(self.images);
        images * cuts[0] * cuts[1] * self.layout(conv).padded()
    }
}
