//! Working memory on the stack, of which only what is used costs anything.

use std::mem::MaybeUninit;

use super::tile::Product;

/// A list of numbers in a fixed piece of the stack.
#[repr(C, align(64))]
pub struct Band<T, const N: usize> {
    elements: [MaybeUninit<T>; N],
    len: usize,
}

impl<T: Product, const N: usize> Band<T, N> {
    /// An empty list.
    #[inline(always)]
    pub fn new() -> Self {
        Self {
            elements: [const { MaybeUninit::uninit() }; N],
            len: 0,
        }
    }

    /// Forgets what was pushed.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// Pushes zeros; returns them, to be replaced.
    ///
    /// # Panics
    /// Where there is no room for them.
    #[inline]
    pub fn zeros(&mut self, len: usize) -> &mut [T] {
        let to = &mut self.elements[self.len..][..len];
        to.fill(MaybeUninit::new(T::ZERO));
        self.len += len;
        // SAFETY: `fill` has just written all of them, and every value of `T` is fine to write in their place.
        unsafe { std::slice::from_raw_parts_mut(to.as_mut_ptr().cast::<T>(), to.len()) }
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
        // SAFETY: `len` grows only in `zeros`, which has written the elements that it adds.
        unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<T>(), elements.len()) }
    }
}

impl<T: Product, const N: usize> Default for Band<T, N> {
    fn default() -> Self {
        Self::new()
    }
}
