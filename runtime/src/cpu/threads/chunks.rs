//! The safe ways to let the tasks of a [`Team`] write: each task is handed its own chunks of a slice.

use std::marker::PhantomData;

use super::Team;

/// A mutable slice cut into chunks that different tasks may hold at the same time.
struct Chunks<'a, T> {
    start: *mut T,
    len: usize,
    chunk_len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: sharing this gives out `&mut T` to other threads by `take`, whose contract forbids overlaps: that
// is sending `&mut T`, for which `T: Send` is enough.
unsafe impl<T: Send> Sync for Chunks<'_, T> {}

impl<'a, T> Chunks<'a, T> {
    fn new(slice: &'a mut [T], chunk_len: usize) -> Self {
        assert!(
            chunk_len > 0 || slice.is_empty(),
            "a slice of {} elements cannot be cut into chunks of length 0",
            slice.len()
        );
        Chunks {
            start: slice.as_mut_ptr(),
            len: slice.len(),
            chunk_len,
            slice: PhantomData,
        }
    }

    fn count(&self) -> usize {
        if self.len == 0 {
            0
        } else {
            self.len.div_ceil(self.chunk_len)
        }
    }

    /// Chunk `i`: empty from `count()` on.
    ///
    /// # Safety
    ///
    /// No chunk may be taken twice for each value of this type.
    #[expect(clippy::mut_from_ref, reason = "the contract makes every chunk unique")]
    unsafe fn take(&self, i: usize) -> &mut [T] {
        let from = i.saturating_mul(self.chunk_len).min(self.len);
        let len = self.chunk_len.min(self.len - from);
        // SAFETY: `from + len <= self.len`, so the range lies in the slice, which is borrowed mutably for
        // `'a`; ranges of different `i` are disjoint and, by contract, no `i` comes twice.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

/// The safe ways to let tasks write: each task is handed its own chunks.
impl Team {
    /// Calls `body(i, chunk)` for each of the consecutive chunks of `out` of length `chunk_len`; the last may
    /// be shorter. No call for an empty slice.
    ///
    /// # Panics
    ///
    /// If `chunk_len` is 0 and `out` is not empty; and if a call panics.
    pub fn chunks_mut<T: Send>(
        &self,
        out: &mut [T],
        chunk_len: usize,
        body: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let out = Chunks::new(out, chunk_len);
        // SAFETY: `run` calls its closure once for each task, so each chunk is taken once.
        self.run(out.count(), &|i| body(i, unsafe { out.take(i) }));
    }

    /// Calls `body(i, a_chunk, b_chunk)` with chunk `i` of length `a_len` of `a` and chunk `i` of length
    /// `b_len` of `b`, until both have run out; of one that runs out early, or is empty, the rest of the
    /// calls get an empty chunk.
    ///
    /// # Panics
    ///
    /// If a length is 0 while its slice is not empty; and if a call panics.
    pub fn chunks_mut2<A: Send, B: Send>(
        &self,
        a: &mut [A],
        a_len: usize,
        b: &mut [B],
        b_len: usize,
        body: impl Fn(usize, &mut [A], &mut [B]) + Sync,
    ) {
        let (a, b) = (Chunks::new(a, a_len), Chunks::new(b, b_len));
        let tasks = a.count().max(b.count());
        // SAFETY: `run` calls its closure once for each task, so each chunk is taken once.
        self.run(tasks, &|i| unsafe { body(i, a.take(i), b.take(i)) });
    }

    /// As [`chunks_mut2`](Team::chunks_mut2), with three slices, each with its chunk length.
    ///
    /// # Panics
    ///
    /// If a length is 0 while its slice is not empty; and if a call panics.
    pub fn chunks_mut3<A: Send, B: Send, C: Send>(
        &self,
        (a, a_len): (&mut [A], usize),
        (b, b_len): (&mut [B], usize),
        (c, c_len): (&mut [C], usize),
        body: impl Fn(usize, &mut [A], &mut [B], &mut [C]) + Sync,
    ) {
        let (a, b, c) = (
            Chunks::new(a, a_len),
            Chunks::new(b, b_len),
            Chunks::new(c, c_len),
        );
        let tasks = a.count().max(b.count()).max(c.count());
        // SAFETY: `run` calls its closure once for each task, so each chunk is taken once.
        self.run(tasks, &|i| unsafe { body(i, a.take(i), b.take(i), c.take(i)) });
    }
}
