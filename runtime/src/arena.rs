//! Memory: aligned storage, buffers inside it, and the one place that turns buffers into slices.
//!
//! Emitted code names memory by [`Buf`]: a place, an offset and a length. Kernels ask a [`Binder`] for slices of
//! them. The binder checks bounds, alignment and element width, and that nothing that is written overlaps anything else
//! bound for the same kernel; so a mistake of the memory plan is a panic, never undefined behaviour. This file holds the
//! `unsafe` of the memory system.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::num::NonZero;
use std::ptr::NonNull;

use ndarray::{ArrayBase, Data, Dimension};

use crate::dtype::Element;

/// Alignment of storage and of every buffer in it, in bytes: a cache line, and the widest vector.
pub const ALIGN: usize = 64;

/// Rounds a number of bytes up to the next multiple of [`ALIGN`].
pub fn align_up(bytes: usize) -> usize {
    bytes.div_ceil(ALIGN) * ALIGN
}

/// Zero-initialised bytes, aligned to [`ALIGN`].
///
/// The system gives out zeros without writing any, but only of its own alignment: for a larger one Rust's allocator writes them, and
/// so gets hold of every page before it is needed. So more is asked for, and the bytes begin where they are aligned.
pub struct Storage {
    start: NonNull<u8>,
    bytes: usize,
    /// How far `start` lies behind what was allocated.
    shift: usize,
}

// SAFETY: `Storage` owns its bytes as a `Vec<u8>` does.
unsafe impl Send for Storage {}
// SAFETY: shared access only reads.
unsafe impl Sync for Storage {}

/// Where no bytes begin: an address that is aligned.
const NONE: NonNull<u8> = NonNull::without_provenance(NonZero::new(ALIGN).expect("more than 0"));

/// Alignment of what the system gives out.
const SYSTEM_ALIGN: usize = 16;

impl Storage {
    /// `bytes` zero bytes.
    pub fn zeroed(bytes: usize) -> Self {
        if bytes == 0 {
            return Self {
                start: NONE,
                bytes,
                shift: 0,
            };
        }
        Self::try_zeroed(bytes).unwrap_or_else(|| {
            let layout = Self::layout(bytes).expect("a buffer is smaller than half the address space");
            handle_alloc_error(layout)
        })
    }

    /// `bytes` zero bytes, or `None` if the system does not have them.
    pub fn try_zeroed(bytes: usize) -> Option<Self> {
        if bytes == 0 {
            return Some(Self::zeroed(0));
        }
        // SAFETY: the layout has a size above zero.
        let all = NonNull::new(unsafe { alloc_zeroed(Self::layout(bytes)?) })?;
        let shift = all.as_ptr().addr().next_multiple_of(ALIGN) - all.as_ptr().addr();
        // SAFETY: what was allocated is `ALIGN - SYSTEM_ALIGN` bytes longer, and no address that is aligned to the latter needs a longer
        // way to the next that is aligned to the former.
        let start = unsafe { all.add(shift) };
        Some(Self { start, bytes, shift })
    }

    /// What is allocated for so many bytes.
    fn layout(bytes: usize) -> Option<Layout> {
        let more = bytes.checked_add(ALIGN - SYSTEM_ALIGN)?;
        Layout::from_size_align(more, SYSTEM_ALIGN).ok()
    }

    /// Number of bytes.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Everything, as elements of one type; a rest that is no whole element is left out.
    #[inline]
    pub fn as_slice<T: Element>(&self) -> &[T] {
        self.region().slice(0, self.bytes / size_of::<T>())
    }

    /// Everything, writable.
    #[inline]
    pub fn as_mut_slice<T: Element>(&mut self) -> &mut [T] {
        let len = self.bytes / size_of::<T>();
        // SAFETY: the bytes are owned, borrowed mutably for the result's lifetime, aligned to 64 and initialised;
        // every bit pattern is a value of an `Element`.
        unsafe { std::slice::from_raw_parts_mut(self.pointer().cast::<T>(), len) }
    }

    #[inline]
    fn pointer(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// The bytes as a place that may only be read.
    #[inline]
    pub fn region(&self) -> Region<'_> {
        Region {
            start: self.pointer(),
            bytes: self.bytes,
            access: Access::Read,
            lifetime: PhantomData,
        }
    }

    /// The bytes as a place that may be written.
    #[inline]
    pub fn region_mut(&mut self) -> Region<'_> {
        Region {
            start: self.pointer(),
            bytes: self.bytes,
            access: Access::Write,
            lifetime: PhantomData,
        }
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let (1.., Some(layout)) = (self.bytes, Self::layout(self.bytes)) {
            // SAFETY: allocated in `try_zeroed` with the same layout, `shift` bytes before, and not freed before.
            unsafe { dealloc(self.start.as_ptr().sub(self.shift), layout) }
        }
    }
}

impl Clone for Storage {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.bytes);
        copy.as_mut_slice::<u8>().copy_from_slice(self.as_slice());
        copy
    }
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Storage({} bytes)", self.bytes)
    }
}

/// The elements of an array in standard layout, `None` in any other. As ndarray's `as_slice`, whose look at the axes is two calls: those
/// of arrays of one axis or two are looked at here.
#[inline(always)]
pub(crate) fn elements<T, S: Data<Elem = T>, D: Dimension>(array: &ArrayBase<S, D>) -> Option<&[T]> {
    let len = match (array.shape(), array.strides()) {
        (&[n], &[across]) if n <= 1 || across == 1 => n,
        // Along an axis of size 1 the step says nothing.
        (&[m, n], &[down, across]) if (n <= 1 || across == 1) && (m <= 1 || down.cast_unsigned() == n) => {
            m * n
        }
        _ => return array.as_slice(),
    };
    // SAFETY: the array borrows or owns its elements for as long as it is borrowed. By its strides, they lie one behind the other from
    // the first on, the last axis fastest; and there are as many as the product of its sizes, which ndarray keeps below `isize::MAX`.
    Some(unsafe { std::slice::from_raw_parts(array.as_ptr(), len) })
}

#[derive(Copy, Clone, PartialEq, Eq, Debug)]
enum Access {
    Read,
    Write,
}

/// Borrowed memory that buffers lie in.
///
/// A region that may be written stands for an exclusive borrow and is therefore neither `Copy` nor `Clone`.
pub struct Region<'a> {
    start: *mut u8,
    bytes: usize,
    access: Access,
    lifetime: PhantomData<&'a mut u8>,
}

// SAFETY: a region is a borrow of plain bytes, shared or exclusive, with the sendability of slices.
unsafe impl Send for Region<'_> {}
// SAFETY: through a shared region only reads are possible.
unsafe impl Sync for Region<'_> {}

impl<'a> Region<'a> {
    /// No memory.
    pub const fn empty() -> Self {
        let start = std::ptr::without_provenance_mut(ALIGN);
        Self {
            start,
            bytes: 0,
            access: Access::Read,
            lifetime: PhantomData,
        }
    }

    /// A slice of the caller's, to be read.
    pub fn of_slice<T: Element>(slice: &'a [T]) -> Self {
        let start = slice.as_ptr().cast_mut().cast::<u8>();
        Self {
            start,
            bytes: size_of_val(slice),
            access: Access::Read,
            lifetime: PhantomData,
        }
    }

    /// A slice of the caller's, to be written.
    #[inline(always)]
    pub fn of_slice_mut<T: Element>(slice: &'a mut [T]) -> Self {
        Self {
            start: slice.as_mut_ptr().cast::<u8>(),
            bytes: size_of_val(slice),
            access: Access::Write,
            lifetime: PhantomData,
        }
    }

    /// `len` elements from byte `offset` on.
    #[inline]
    fn slice<T: Element>(&self, offset: usize, len: usize) -> &'a [T] {
        let start = self.extent().check::<T>(offset, len);
        // SAFETY: `check` has shown that the range lies inside the region and is aligned; the region borrows the memory for
        // 'a; every bit pattern is a value. Callers inside this file make sure that no exclusive slice overlaps.
        unsafe { std::slice::from_raw_parts(start, len) }
    }

    /// Where it lies.
    #[inline(always)]
    fn extent(&self) -> Extent {
        Extent {
            start: self.start,
            bytes: self.bytes,
            access: self.access,
        }
    }
}

/// Where a region lies. A value, because of a choice between references to regions LLVM keeps all of them in memory, and what lies on
/// the stack with them.
#[derive(Copy, Clone)]
struct Extent {
    start: *mut u8,
    bytes: usize,
    access: Access,
}

impl Extent {
    /// The address of `len` elements at byte `offset`, inside the region and aligned.
    #[inline(always)]
    fn check<T: Element>(&self, offset: usize, len: usize) -> *mut T {
        // Where the last of so many elements may begin is the same for all that are as long.
        let (all, start) = (self.bytes, self.start);
        let last = len
            .checked_mul(size_of::<T>())
            .and_then(|bytes| all.checked_sub(bytes));
        if last.is_none_or(|last| offset > last) {
            outside(size_of::<T>(), [len, offset, all]);
        }
        let start = start.wrapping_add(offset);
        if !start.addr().is_multiple_of(align_of::<T>()) {
            crooked(offset);
        }
        start.cast()
    }
}

// What goes wrong is said elsewhere, so that the checks, which are inlined, stay short.
#[cold]
#[inline(never)]
fn outside(width: usize, [len, offset, bytes]: [usize; 3]) -> ! {
    panic!("a buffer of {len} x {width} bytes at {offset} leaves its place of {bytes} bytes")
}

#[cold]
#[inline(never)]
fn crooked(offset: usize) -> ! {
    panic!("a buffer at byte {offset} is not aligned")
}

// By numbers: what is passed by reference has to lie in memory, for all that is done with it.
#[cold]
#[inline(never)]
fn overlap(place: Place, a: usize, b: usize) -> ! {
    panic!("two buffers of one kernel overlap, in {place:?} from bytes {a} and {b} on")
}

#[cold]
#[inline(never)]
fn other_width(width: usize, asked: usize) -> ! {
    panic!("a buffer of another element width was asked for: {asked} bytes instead of {width}")
}

#[cold]
#[inline(never)]
fn read_only(place: Place) -> ! {
    panic!("this place may not be written: {place:?}")
}

#[cold]
#[inline(never)]
fn refused(buf: Buf, why: &str) -> ! {
    panic!("{why}: {buf:?}")
}

/// Where a buffer lies.
#[derive(Copy, Clone, PartialEq, Eq, Debug, Hash)]
pub enum Place {
    /// The workspace: activations, gradients of activations, scratch.
    Arena,
    /// The stack of a call in one piece: what nobody reads after it.
    Local,
    /// The flat buffer of parameters; read only.
    Param,
    /// The flat buffer of gradients.
    Grad,
    /// The direction of a product with the Hessian, laid out as the parameters are; read only.
    Direction,
    /// The carried tensors as committed; read only.
    State,
    /// The carried tensors of this step, not yet committed.
    NewState,
    /// An argument of the call; read only.
    Input(u8),
}

/// A contiguous row-major piece of memory that emitted code names.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub struct Buf {
    /// Where it lies.
    pub place: Place,
    /// First byte, from the start of the place.
    pub offset: usize,
    /// Number of elements.
    pub len: usize,
    /// Bytes of an element.
    pub width: usize,
}

impl Buf {
    /// `len` elements from element `start` on.
    #[inline(never)]
    pub fn at(self, start: usize, len: usize) -> Self {
        assert!(
            start + len <= self.len,
            "{start}..{} leaves a buffer of {} elements",
            start + len,
            self.len
        );
        Self {
            offset: self.offset + start * self.width,
            len,
            ..self
        }
    }
}

/// Refuses two buffers, one of which is to be written, that share memory; both lie in their places. Different places never share
/// any: a region that may be written is an exclusive borrow.
#[inline(always)]
fn apart(a: Buf, b: Buf) {
    let end = |buf: Buf| buf.offset + buf.len * buf.width;
    if a.place == b.place && a.offset < end(b) && b.offset < end(a) && a.len > 0 && b.len > 0 {
        overlap(a.place, a.offset, b.offset);
    }
}

/// Buffers that one kernel may bind.
const MAX_BOUND: usize = 32;

/// The memory of one call: every place that buffers may lie in.
pub struct Memory<'a> {
    /// The workspace.
    pub arena: Region<'a>,
    /// Slots on the stack.
    pub locals: Region<'a>,
    /// Parameters.
    pub params: Region<'a>,
    /// Gradients.
    pub grads: Region<'a>,
    /// The direction of a product with the Hessian.
    pub direction: Region<'a>,
    /// Committed carried tensors.
    pub states: Region<'a>,
    /// Carried tensors of this step.
    pub new_states: Region<'a>,
    /// Arguments.
    pub inputs: &'a [Region<'a>],
}

impl<'a> Memory<'a> {
    #[inline(always)]
    fn extent(&self, place: Place) -> Extent {
        match place {
            Place::Arena => self.arena.extent(),
            Place::Local => self.locals.extent(),
            Place::Param => self.params.extent(),
            Place::Grad => self.grads.extent(),
            Place::Direction => self.direction.extent(),
            Place::State => self.states.extent(),
            Place::NewState => self.new_states.extent(),
            Place::Input(k) => self.inputs[usize::from(k)].extent(),
        }
    }

    /// The address of a buffer's elements, which lie inside its place; a place that may not be written is refused.
    #[inline(always)]
    fn start<T: Element>(&self, buf: Buf, access: Access) -> *mut T {
        if buf.width != size_of::<T>() {
            other_width(buf.width, size_of::<T>());
        }
        let extent = self.extent(buf.place);
        if access == Access::Write && extent.access != Access::Write {
            read_only(buf.place);
        }
        extent.check::<T>(buf.offset, buf.len)
    }

    /// All slices of one kernel at once, with the checks of a [`Binder`]: for code into which this is inlined and where places are
    /// constants, so that few comparisons are left of them.
    #[inline(always)]
    #[expect(
        clippy::needless_range_loop,
        reason = "iterators over arrays are calls in some profiles"
    )]
    pub fn lend<'b, T: Element, const R: usize, const W: usize>(
        &'b mut self,
        reads: [Buf; R],
        writes: [Buf; W],
    ) -> ([&'b [T]; R], [&'b mut [T]; W]) {
        let mut from: [&'b [T]; R] = [&[]; R];
        let mut to = [const { MaybeUninit::<&'b mut [T]>::uninit() }; W];
        for k in 0..R {
            let start = self.start::<T>(reads[k], Access::Read);
            // SAFETY: `start` has checked bounds, alignment and width; below, no slice to be written overlaps. The memory is
            // borrowed exclusively for 'b, so no other slice of a writable place is alive.
            from[k] = unsafe { std::slice::from_raw_parts(start, reads[k].len) };
        }
        for k in 0..W {
            let start = self.start::<T>(writes[k], Access::Write);
            for j in 0..R {
                apart(writes[k], reads[j]);
            }
            for j in 0..k {
                apart(writes[k], writes[j]);
            }
            // SAFETY: as above; moreover the place may be written, and no other slice of this call overlaps.
            to[k].write(unsafe { std::slice::from_raw_parts_mut(start, writes[k].len) });
        }
        // SAFETY: the loop has written all of them, and an array of them lies in memory as an array of what they hold. It is read
        // once.
        (from, unsafe { to.as_ptr().cast::<[&'b mut [T]; W]>().read() })
    }

    /// Starts binding the buffers of one kernel; the slices live as long as the borrow.
    #[inline(always)]
    pub fn bind(&mut self) -> Binder<'_, 'a> {
        Binder {
            memory: self,
            bound: [const { MaybeUninit::uninit() }; MAX_BOUND],
            n_bound: 0,
        }
    }
}

#[derive(Copy, Clone)]
struct Bound {
    start: usize,
    end: usize,
    access: Access,
}

/// Hands out the slices of one kernel call and makes sure that they do not overlap wrongly.
pub struct Binder<'b, 'a> {
    memory: &'b Memory<'a>,
    /// The first `n_bound` are there. (Clearing all of them took longer than a small kernel.)
    bound: [MaybeUninit<Bound>; MAX_BOUND],
    n_bound: usize,
}

impl<'b> Binder<'b, '_> {
    /// The elements of a buffer, to be read.
    #[inline]
    pub fn read<T: Element>(&mut self, buf: Buf) -> &'b [T] {
        let start = self.claim::<T>(buf, Access::Read);
        // SAFETY: `claim` has checked bounds, alignment and width, and that no slice handed out for writing by this binder
        // overlaps. The binder came from an exclusive borrow of the memory for 'b, so no other binder is alive.
        unsafe { std::slice::from_raw_parts(start, buf.len) }
    }

    /// The elements of a buffer, to be written. What they hold before is unspecified (but initialised).
    #[inline]
    pub fn write<T: Element>(&mut self, buf: Buf) -> &'b mut [T] {
        let start = self.claim::<T>(buf, Access::Write);
        // SAFETY: as in `read`; moreover the place may be written, and no slice handed out before overlaps.
        unsafe { std::slice::from_raw_parts_mut(start, buf.len) }
    }

    fn claim<T: Element>(&mut self, buf: Buf, access: Access) -> *mut T {
        let start = self.memory.start::<T>(buf, access);
        if buf.len > 0 {
            let range = Bound {
                start: start.addr(),
                end: start.addr() + buf.len * size_of::<T>(),
                access,
            };
            for other in &self.bound[..self.n_bound] {
                // SAFETY: `n_bound` grows only below, by one for each element that is written, from the first on.
                let other = unsafe { other.assume_init_ref() };
                let overlap = range.start < other.end && other.start < range.end;
                let exclusive = access == Access::Write || other.access == Access::Write;
                if overlap && exclusive {
                    refused(buf, "two buffers of one kernel overlap");
                }
            }
            if self.n_bound >= MAX_BOUND {
                refused(buf, "a kernel binds too many buffers");
            }
            self.bound[self.n_bound].write(range);
            self.n_bound += 1;
        }
        start
    }
}

#[cfg(test)]
mod tests;
