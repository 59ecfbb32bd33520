//! What the tests of kernels share: buffers with values, a context to call a kernel in, random numbers, differences.

use std::num::NonZeroUsize;

use crate::arena::{Buf, Memory, Place, Region, Storage, align_up};
use crate::cpu::isa::Isa;
use crate::cpu::threads::Team;
use crate::cx::{Cx, Env};
use crate::dtype::{Float, Precision};
use crate::error::Error;
use crate::program::Sizes;
use crate::rng::Key;

/// Memory with some buffers, and a team to work on them.
pub struct Desk {
    precision: Precision,
    storage: Storage,
    used: usize,
    team: Team,
    isa: Isa,
    /// The step that random numbers depend on.
    pub step: u64,
}

impl Desk {
    /// An empty desk with a team of two threads and the best instruction set.
    pub fn new(precision: Precision) -> Self {
        Self::with(precision, 2, Isa::best())
    }

    /// An empty desk.
    pub fn with(precision: Precision, threads: usize, isa: Isa) -> Self {
        let team = Team::new(NonZeroUsize::new(threads).unwrap()).unwrap();
        Self {
            precision,
            storage: Storage::zeroed(1 << 12),
            used: 0,
            team,
            isa,
            step: 0,
        }
    }

    fn take(&mut self, len: usize, width: usize) -> Buf {
        let buf = Buf {
            place: Place::Arena,
            offset: self.used,
            len,
            width,
        };
        self.used += align_up(len * width);
        if self.used > self.storage.bytes() {
            let mut grown = Storage::zeroed(2 * self.used);
            let old: &[u8] = self.storage.as_slice();
            grown.as_mut_slice::<u8>()[..old.len()].copy_from_slice(old);
            self.storage = grown;
        }
        buf
    }

    /// A buffer of floats with these values, rounded to the precision.
    pub fn floats(&mut self, values: &[f64]) -> Buf {
        let buf = self.take(values.len(), self.precision.width());
        match self.precision.float() {
            Float::F32 => {
                let slice = &mut self.storage.as_mut_slice::<f32>()[buf.offset / 4..];
                slice.iter_mut().zip(values).for_each(|(x, v)| *x = *v as f32);
            }
            Float::F64 => {
                let slice = &mut self.storage.as_mut_slice::<f64>()[buf.offset / 8..];
                slice.iter_mut().zip(values).for_each(|(x, v)| *x = *v);
            }
        }
        buf
    }

    /// A buffer of integers.
    pub fn ints(&mut self, values: &[i64]) -> Buf {
        let buf = self.take(values.len(), 8);
        self.storage.as_mut_slice::<i64>()[buf.offset / 8..][..values.len()].copy_from_slice(values);
        buf
    }

    /// A buffer of truth values.
    pub fn bools(&mut self, values: &[bool]) -> Buf {
        let buf = self.take(values.len(), 1);
        let slice = &mut self.storage.as_mut_slice::<u8>()[buf.offset..];
        slice.iter_mut().zip(values).for_each(|(x, v)| *x = u8::from(*v));
        buf
    }

    /// A buffer of floats to be written; it holds NaN, so that an element left out shows.
    pub fn blank(&mut self, len: usize) -> Buf {
        self.floats(&vec![f64::NAN; len])
    }

    /// Calls a kernel; gives the mistake that it found in its data.
    pub fn run(&mut self, kernel: impl FnOnce(&mut Cx<'_>)) -> Option<Error> {
        let memory = Memory {
            arena: self.storage.region_mut(),
            locals: Region::empty(),
            params: Region::empty(),
            grads: Region::empty(),
            direction: Region::empty(),
            states: Region::empty(),
            new_states: Region::empty(),
            inputs: &[],
        };
        let env = Env {
            team: &self.team,
            isa: self.isa,
            precision: self.precision,
            seed: 42,
            step: self.step,
        };
        let sizes = Sizes {
            dims: &[],
            generics: &[],
            names: &[],
        };
        let mut failure = None;
        let mut cx = Cx {
            env,
            memory,
            sizes,
            slots: &[],
            rooms: &[],
            packs: crate::cx::Packs::Absent,
            params: &[],
            states: &[],
            scalars: &[],
            failure: &mut failure,
            laps: None,
        };
        kernel(&mut cx);
        failure
    }

    /// The values of a buffer of floats.
    pub fn read(&self, buf: Buf) -> Vec<f64> {
        match self.precision.float() {
            Float::F32 => self.storage.as_slice::<f32>()[buf.offset / 4..][..buf.len]
                .iter()
                .map(|&x| f64::from(x))
                .collect(),
            Float::F64 => self.storage.as_slice::<f64>()[buf.offset / 8..][..buf.len].to_vec(),
        }
    }
}

/// `n` draws from the standard normal distribution, rounded so that `f32` holds them exactly.
pub fn normal(n: usize, stream: u64) -> Vec<f64> {
    let stream = Key { seed: 1, stream }.stream(0);
    (0..n as u64)
        .map(|i| f64::from(stream.normal_f64(i) as f32))
        .collect()
}

/// `n` whole numbers in `0..bound`.
pub fn whole(n: usize, bound: usize, stream: u64) -> Vec<i64> {
    let stream = Key { seed: 1, stream }.stream(1);
    (0..n as u64)
        .map(|i| stream.below(bound as u64, i) as i64)
        .collect()
}

/// The gradient of `f` at `x` by central differences, in f64.
pub fn differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let mut x = x.to_vec();
    (0..x.len())
        .map(|i| {
            let (at, h) = (x[i], 1e-5 * x[i].abs().max(1.0));
            x[i] = at + h;
            let above = f(&x);
            x[i] = at - h;
            let below = f(&x);
            x[i] = at;
            (above - below) / (2.0 * h)
        })
        .collect()
}

/// Asserts `‖got - want‖ <= tolerance * max(‖got‖, ‖want‖, 1e-3)`.
#[track_caller]
pub fn assert_close(got: &[f64], want: &[f64], tolerance: f64, what: &str) {
    assert_eq!(got.len(), want.len(), "{what}");
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>().sqrt();
    let error = norm(&mut got.iter().zip(want).map(|(a, b)| a - b));
    let scale = norm(&mut got.iter().copied())
        .max(norm(&mut want.iter().copied()))
        .max(1e-3);
    assert!(
        error <= tolerance * scale,
        "{what}: error {error:e} of {scale:e}\n got {got:?}\nwant {want:?}"
    );
}

/// The tolerance for a result of a few hundred roundings.
pub fn tolerance(precision: Precision) -> f64 {
    match precision.float() {
        Float::F32 => 2e-5,
        Float::F64 => 1e-12,
    }
}

/// Both precisions.
pub const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::F64];
