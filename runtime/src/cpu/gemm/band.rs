//! Working memory on the stack that is filled front to back.

use std::mem::MaybeUninit;

use super::tile::Product;

/// A list of numbers in a fixed piece of the stack: what is not yet pushed costs nothing.
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

    /// Number of elements pushed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True where nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The next `len` places.
    ///
    /// # Panics
    /// Where there are not as many.
    #[inline(always)]
    fn next(&mut self, len: usize) -> &mut [MaybeUninit<T>] {
        &mut self.elements[self.len..][..len]
    }

    /// Pushes zeros.
    ///
    /// # Panics
    /// Where there is no room for them.
    #[inline]
    pub fn zeros(&mut self, len: usize) {
        self.next(len).fill(MaybeUninit::new(T::ZERO));
        self.len += len;
    }

    /// Pushes these numbers.
    ///
    /// # Panics
    /// Where there is no room for them.
    #[inline]
    pub fn copy(&mut self, from: &[T]) {
        let to = self.next(from.len());
        // SAFETY: both have `from.len()` elements, `MaybeUninit<T>` has the layout of `T`, and what is borrowed mutably
        // overlaps nothing.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to.as_mut_ptr().cast::<T>(), from.len()) }
        self.len += from.len();
    }

    /// Pushes `len` numbers, every `step`th of a slice.
    ///
    /// # Panics
    /// Where there is no room for them, or the slice is too short.
    #[inline]
    pub fn every(&mut self, from: &[T], step: usize, len: usize) {
        let to = self.next(len);
        for (i, to) in to.iter_mut().enumerate() {
            to.write(from[i * step]);
        }
        self.len += len;
    }

    /// What was pushed.
    #[inline]
    pub fn filled(&self) -> &[T] {
        let elements = &self.elements[..self.len];
        // SAFETY: `len` grows only in `zeros`, `copy` and `every`, each of which has written the elements that it adds.
        unsafe { std::slice::from_raw_parts(elements.as_ptr().cast::<T>(), elements.len()) }
    }
}

impl<T: Product, const N: usize> Default for Band<T, N> {
    fn default() -> Self {
        Self::new()
    }
}
