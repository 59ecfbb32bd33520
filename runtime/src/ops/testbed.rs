//! What the tests of kernels share: memory, a team and a context, and values in either precision.

use std::num::NonZeroUsize;

use crate::arena::{Buf, Memory, Place, Region, Storage, align_up};
use crate::cpu::isa::Isa;
use crate::cpu::threads::Team;
use crate::cx::{Cx, Env};
use crate::dtype::{Dtype, Float, Precision};
use crate::error::Error;
use crate::program::Sizes;

/// Memory of one test, in which buffers are placed one after the other.
pub(crate) struct Bed {
    storage: Storage,
    used: usize,
    team: Team,
    precision: Precision,
    isa: Isa,
}

/// Both precisions, to run a test in each.
pub(crate) const PRECISIONS: [Precision; 2] = [Precision::F32, Precision::F64];

impl Bed {
    /// A bed with the best instruction set and this many threads.
    pub(crate) fn new(precision: Precision, threads: usize) -> Self {
        let team =
            Team::new(NonZeroUsize::new(threads).expect("at least one thread")).expect("threads start");
        Self {
            storage: Storage::zeroed(1 << 16),
            used: 0,
            team,
            precision,
            isa: Isa::best(),
        }
    }

    /// The same with a chosen instruction set.
    pub(crate) fn with_isa(mut self, isa: Isa) -> Self {
        self.isa = isa;
        self
    }

    /// A buffer that holds these numbers, rounded to the precision.
    pub(crate) fn floats(&mut self, values: &[f64]) -> Buf {
        let buf = self.place(Dtype::Float, values.len());
        match self.precision.float() {
            Float::F32 => self
                .slice_mut::<f32>(buf)
                .iter_mut()
                .zip(values)
                .for_each(|(y, x)| *y = *x as f32),
            Float::F64 => self.slice_mut::<f64>(buf).copy_from_slice(values),
        }
        buf
    }

    /// A buffer that holds these integers.
    pub(crate) fn ints(&mut self, values: &[i64]) -> Buf {
        let buf = self.place(Dtype::Int, values.len());
        self.slice_mut::<i64>(buf).copy_from_slice(values);
        buf
    }

    /// A buffer that holds these truth values.
    pub(crate) fn bools(&mut self, values: &[bool]) -> Buf {
        let buf = self.place(Dtype::Bool, values.len());
        self.slice_mut::<u8>(buf)
            .iter_mut()
            .zip(values)
            .for_each(|(y, x)| *y = u8::from(*x));
        buf
    }

    /// A buffer for a result. What it holds (NaN, for floats) is nothing that a kernel computes, so that an element that is
    /// not written fails its test.
    pub(crate) fn output(&mut self, dtype: Dtype, len: usize) -> Buf {
        let buf = self.place(dtype, len);
        match dtype {
            Dtype::Float => return self.floats_in(buf, f64::NAN),
            Dtype::Int => self.slice_mut::<i64>(buf).fill(-7_777),
            Dtype::Bool => self.slice_mut::<u8>(buf).fill(77),
        }
        buf
    }

    fn floats_in(&mut self, buf: Buf, value: f64) -> Buf {
        match self.precision.float() {
            Float::F32 => self.slice_mut::<f32>(buf).fill(value as f32),
            Float::F64 => self.slice_mut::<f64>(buf).fill(value),
        }
        buf
    }

    fn place(&mut self, dtype: Dtype, len: usize) -> Buf {
        let width = dtype.width(self.precision);
        let buf = Buf {
            place: Place::Arena,
            offset: self.used,
            len,
            width,
        };
        self.used = align_up(self.used + len * width);
        if self.used > self.storage.bytes() {
            let mut larger = Storage::zeroed(self.used.next_power_of_two());
            larger.as_mut_slice::<u8>()[..self.storage.bytes()].copy_from_slice(self.storage.as_slice());
            self.storage = larger;
        }
        buf
    }

    fn slice_mut<T: crate::dtype::Element>(&mut self, buf: Buf) -> &mut [T] {
        let first = buf.offset / size_of::<T>();
        &mut self.storage.as_mut_slice::<T>()[first..first + buf.len]
    }

    /// Runs a kernel and returns what it complained about.
    pub(crate) fn call(&mut self, kernel: impl FnOnce(&mut Cx<'_>)) -> Option<Error> {
        let env = Env {
            team: &self.team,
            isa: self.isa,
            precision: self.precision,
            seed: 1,
            step: 0,
        };
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

    /// The numbers in a buffer.
    pub(crate) fn read_floats(&mut self, buf: Buf) -> Vec<f64> {
        match self.precision.float() {
            Float::F32 => self.slice_mut::<f32>(buf).iter().map(|x| f64::from(*x)).collect(),
            Float::F64 => self.slice_mut::<f64>(buf).to_vec(),
        }
    }

    /// The integers in a buffer.
    pub(crate) fn read_ints(&mut self, buf: Buf) -> Vec<i64> {
        self.slice_mut(buf).to_vec()
    }

    /// The bytes in a buffer of truth values.
    pub(crate) fn read_bools(&mut self, buf: Buf) -> Vec<u8> {
        self.slice_mut(buf).to_vec()
    }
}

/// Numbers that look random but are the same in every run, in `-1..1`.
pub(crate) fn numbers(len: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = |_| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // Half as many digits as f32 has, so that sums of few are exact and rounding is the kernel's alone.
        ((state >> 40) as f64 / f64::from(1u32 << 23) - 1.0) as f32 as f64
    };
    (0..len).map(next).collect()
}

/// Fails where two lists differ by more than `tolerance`, relative to the larger of 1 and the wanted number.
#[track_caller]
pub(crate) fn assert_close(got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    for (k, (got, want)) in got.iter().zip(want).enumerate() {
        let is_close = got == want
            || got.is_nan() && want.is_nan()
            || (got - want).abs() <= tolerance * want.abs().max(1.0);
        assert!(is_close, "element {k} is {got}, not {want}");
    }
}
