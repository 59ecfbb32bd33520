//! Working memory on the stack, of which only what is used costs anything.

use std::mem::MaybeUninit;

use super::tile::Product;

/// A list of numbers in a fixed piece of the stack.
#[repr(C, align(64))]
pub struct Band<T, const N: usize> {
    elements: [MaybeUninit<T>; N],
    len: usize,
    /// Elements at the front that have been written.
    written: usize,
}

impl<T: Product, const N: usize> Band<T, N> {
    /// An empty list.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            elements: [const { MaybeUninit::uninit() }; N],
            len: 0,
            written: 0,
        }
    }

    /// Forgets what was pushed.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Pushes numbers, zeros or older ones; returns them, to be replaced.
    ///
    /// # Panics
    /// Where there is no room for them.
    #[inline]
    pub fn push(&mut self, len: usize) -> &mut [T] {
        let (first, end) = (self.len, self.len + len);
        if end > self.written {
            self.elements[self.written..end].fill(MaybeUninit::new(T::ZERO));
            self.written = end;
        }
        self.len = end;
        &mut self.filled_mut()[first..]
    }

    /// What was pushed, to be changed.
    #[inline]
    pub fn filled_mut(&mut self) -> &mut [T] {
        let elements = &mut self.elements[..self.len];
        // SAFETY: as in `filled`; the elements are borrowed from a band that is borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(elements.as_mut_ptr().cast::<T>(), elements.len()) }
    }

    /// What was pushed.
    #[inline]
    pub fn filled(&self) -> &[T] {
        let elements = &self.elements[..self.len];
        // SAFETY: `len` grows only in `push`, to no more than `written`, the elements that it has written once.
        unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<T>(), elements.len()) }
    }
}

impl<T: Product, const N: usize> Default for Band<T, N> {
    fn default() -> Self {
        Self::new()
    }
}
