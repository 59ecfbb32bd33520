//! Where the buffers of a call in one piece lie.
//!
//! With one sample at a time the lengths of slots are constants. What nobody reads after the call then lies on the stack, at places that
//! the compiler knows: no check of them is left, and where every access is a whole vector or a single number, LLVM keeps them in registers,
//! so that no kernel waits for what the one before has written.

use crate::arena::Region;
use crate::cx::Cx;

/// Memory for the slots of a call on the stack.
pub trait Local {
    /// Zeros.
    fn new() -> Self;

    /// All of it.
    fn region(&mut self) -> Region<'_>;
}

/// So many bytes of it.
#[repr(align(64))]
pub struct Room<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> Local for Room<BYTES> {
    #[inline(always)]
    fn new() -> Self {
        Self([0; BYTES])
    }

    #[inline(always)]
    fn region(&mut self) -> Region<'_> {
        Region::of_slice_mut(&mut self.0)
    }
}

/// Where `S` slots and the tensors of `P` parameters begin, copied from the context: what is stored into buffers could else change it, as
/// far as the compiler can tell, and every kernel would check its buffers anew.
pub struct Places<const S: usize, const P: usize> {
    pub(super) slots: [usize; S],
    pub(super) params: [usize; P],
}

impl<const S: usize, const P: usize> Places<S, P> {
    /// Those of a context.
    ///
    /// # Panics
    /// Where it has fewer.
    #[inline(always)]
    pub fn new(cx: &Cx<'_>) -> Self {
        Self {
            slots: *cx.slots.first_chunk().expect("a plan has all slots"),
            params: *cx.params.first_chunk().expect("a layout has all parameters"),
        }
    }
}
