//! Reading slots of the last call.

use super::{Found, Workspace};
use crate::call::outputs::{OutputElement, check_width};
use crate::dtype::{Dtype, Element, Float};
use crate::error::Result;

impl Workspace {
    /// Byte offset of a slot in the last call.
    #[inline]
    pub(super) fn offset(&self, slot: usize) -> usize {
        self.slots[self.mode as usize]
            .as_ref()
            .map_or(0, |slots| slots.plan.offsets[slot])
    }

    /// The elements of a result of the last call.
    #[inline]
    pub(crate) fn elements<T: Element>(&self, found: &Found) -> Result<&[T]> {
        check_width::<T>(found.dtype, self.precision())?;
        let start = found.offset / size_of::<T>();
        Ok(&self.arena.as_slice::<T>()[start..start + found.len])
    }

    /// A slot of the last call, converted.
    pub(crate) fn read_slot<T: OutputElement>(&self, slot: usize, dtype: Dtype, len: usize) -> Vec<T> {
        let start = self.offset(slot) / dtype.width(self.precision());
        let range = start..start + len;
        match (dtype, self.precision().float()) {
            (Dtype::Float, Float::F32) => self.arena.as_slice::<f32>()[range]
                .iter()
                .map(|&x| T::from_f64(f64::from(x)))
                .collect(),
            #[cfg(feature = "f64")]
            (Dtype::Float, Float::F64) => self.arena.as_slice::<f64>()[range]
                .iter()
                .map(|&x| T::from_f64(x))
                .collect(),
            (Dtype::Int, _) => self.arena.as_slice::<i64>()[range]
                .iter()
                .map(|&x| T::from_i64(x))
                .collect(),
            (Dtype::Bool, _) => self.arena.as_slice::<u8>()[range]
                .iter()
                .map(|&x| T::from_i64(i64::from(x != 0)))
                .collect(),
        }
    }

    /// An element of a slot of the last call.
    pub(crate) fn read_number(&self, slot: usize, dtype: Dtype, index: usize) -> f64 {
        let at = self.offset(slot) / dtype.width(self.precision()) + index;
        match (dtype, self.precision().float()) {
            (Dtype::Float, Float::F32) => f64::from(self.arena.as_slice::<f32>()[at]),
            #[cfg(feature = "f64")]
            (Dtype::Float, Float::F64) => self.arena.as_slice::<f64>()[at],
            (Dtype::Int, _) => self.arena.as_slice::<i64>()[at] as f64,
            (Dtype::Bool, _) => f64::from(self.arena.as_slice::<u8>()[at]),
        }
    }
}
