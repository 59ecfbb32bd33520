//! Working memory on the stack, of which only what is used costs anything.

use std::mem::MaybeUninit;

use super::product::Product;

/// A list of numbers in a fixed piece of the stack.
#[repr(C, align(64))]
pub(super) struct Band<T, const N: usize> {
    elements: [MaybeUninit<T>; N],
    /// Elements at the front that have been written.
    len: usize,
}

impl<T: Product, const N: usize> Band<T, N> {
    /// An empty list.
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self {
            elements: [const { MaybeUninit::uninit() }; N],
            len: 0,
        }
    }

    /// Pushes zeros; returns them, to be replaced.
    ///
    /// # Panics
    /// Where there is no room for them.
    #[inline]
    pub(super) fn push(&mut self, len: usize) -> &mut [T] {
        let (first, end) = (self.len, self.len + len);
        let pushed = &mut self.elements[first..end];
        pushed.fill(MaybeUninit::new(T::ZERO));
        self.len = end;
        // SAFETY: they have just been written, and are borrowed from a band that is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(pushed.as_mut_ptr().cast::<T>(), len) }
    }
}
