//! The context of a call: what emitted code passes to every kernel.

use crate::arena::{Binder, Buf, Memory, Place};
use crate::cpu::gemm::Arithmetic;
use crate::cpu::isa::Isa;
use crate::cpu::threads::Team;
use crate::dtype::{Dtype, Precision};
use crate::error::Error;
use crate::profile::Laps;
use crate::program::{Sizes, SlotSpec};

/// The parts of a context that kernels copy: who computes, and how.
#[derive(Copy, Clone)]
pub struct Env<'a> {
    /// The threads.
    pub team: &'a Team,
    /// The instruction set.
    pub isa: Isa,
    /// How floats are stored, and how products of them are computed.
    pub precision: Precision,
    /// Seed of the model.
    pub seed: u64,
    /// Number of the step: with the seed and a stream it determines every random number.
    pub step: u64,
}

impl Env<'_> {
    /// How products of matrices are computed.
    pub fn arithmetic(&self) -> Arithmetic {
        Arithmetic::new(self.precision, self.isa)
    }
}

/// Whether what stays packed from call to call is there.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub enum Packs {
    /// Nothing is packed yet, or parameters have changed since.
    Absent,
    /// The call before has packed the same parameters.
    Present,
}

/// Everything a call of a compiled function works with.
pub struct Cx<'a> {
    /// Who computes, and how.
    pub env: Env<'a>,
    /// Memory that buffers lie in.
    pub memory: Memory<'a>,
    /// What the sizes of this call depend on.
    pub sizes: Sizes<'a>,
    /// Byte offsets of the arena's slots for these sizes.
    pub slots: &'a [usize],
    /// What there is room for in them.
    pub rooms: &'a [SlotSpec],
    /// What earlier calls have left.
    pub packs: Packs,
    /// Byte offsets of the parameters in their flat buffer (and of their gradients in theirs).
    pub params: &'a [usize],
    /// Byte offsets of the carried tensors in theirs.
    pub states: &'a [usize],
    /// Host scalars among the arguments, as f64 in the order of declaration.
    pub scalars: &'a [f64],
    /// The first mistake that a kernel found in its data (a label out of range). Elsewhere, so that nothing here is to be dropped: what
    /// has to be dropped lies in memory, and every kernel would read it from there.
    pub failure: &'a mut Option<Error>,
    /// Times of kernels, where a profile is taken.
    pub laps: Option<&'a mut Laps>,
}

impl<'a> Cx<'a> {
    /// A dynamic dimension of the function, in order of declaration.
    #[inline(never)]
    pub fn dim(&self, index: usize) -> usize {
        self.sizes.dims[index]
    }

    /// A const generic of the model, in order of declaration.
    #[inline(never)]
    pub fn generic(&self, index: usize) -> usize {
        self.sizes.generics[index]
    }

    /// A host scalar among the arguments.
    #[inline(never)]
    pub fn scalar(&self, index: usize) -> f64 {
        self.scalars[index]
    }

    #[inline]
    pub(crate) fn buf(&self, place: Place, offset: usize, dtype: Dtype, len: usize) -> Buf {
        Buf {
            place,
            offset,
            len,
            width: dtype.width(self.env.precision),
        }
    }

    /// A slot of the workspace.
    #[inline(never)]
    pub fn slot(&self, index: usize, dtype: Dtype, len: usize) -> Buf {
        self.buf(Place::Arena, self.slots[index], dtype, len)
    }

    /// A slot of packed factors, whose length is the runtime's.
    #[inline(never)]
    pub fn packed(&self, index: usize) -> Buf {
        self.slot(index, Dtype::Float, self.rooms[index].len)
    }

    /// A parameter.
    #[inline(never)]
    pub fn param(&self, index: usize, len: usize) -> Buf {
        self.buf(Place::Param, self.params[index], Dtype::Float, len)
    }

    /// The gradient of a parameter.
    #[inline(never)]
    pub fn grad(&self, index: usize, len: usize) -> Buf {
        self.buf(Place::Grad, self.params[index], Dtype::Float, len)
    }

    /// The direction of a product with the Hessian, as far as it concerns a parameter.
    #[inline(never)]
    pub fn direction(&self, index: usize, len: usize) -> Buf {
        self.buf(Place::Direction, self.params[index], Dtype::Float, len)
    }

    /// A carried tensor as committed.
    #[inline(never)]
    pub fn state(&self, index: usize, len: usize) -> Buf {
        self.buf(Place::State, self.states[index], Dtype::Float, len)
    }

    /// A carried tensor of this step.
    #[inline(never)]
    pub fn new_state(&self, index: usize, len: usize) -> Buf {
        self.buf(Place::NewState, self.states[index], Dtype::Float, len)
    }

    /// An argument.
    #[inline(never)]
    pub fn input(&self, index: u8, dtype: Dtype, len: usize) -> Buf {
        self.buf(Place::Input(index), 0, dtype, len)
    }

    /// Starts binding the buffers of one kernel. Every kernel does this exactly once: a profile counts by it.
    #[inline]
    pub fn bind(&mut self) -> Binder<'_, 'a> {
        if let Some(laps) = &mut self.laps {
            laps.kernel_begins();
        }
        self.memory.bind()
    }

    /// The last kernel of a sweep has ended.
    #[inline]
    pub(crate) fn end_sweep(&mut self) {
        if let Some(laps) = &mut self.laps {
            laps.sweep_ends();
        }
    }

    /// Records what is wrong with the data; the first mistake is the one that the caller sees.
    pub fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }
}

/// Runs a block for the float type of the context: `float!(cx, T => kernel::<T>(..))`.
macro_rules! float {
    ($cx:expr, $t:ident => $body:expr) => {
        $crate::dtype::stored!($cx.env.precision, $t => $body)
    };
}
pub(crate) use float;
