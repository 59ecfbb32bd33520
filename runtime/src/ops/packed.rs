//! What is packed once for several kernels: factors of products, weights of convolutions.
//!
//! Several lie one behind the other where loops take one after the other from a tensor. How long they are, and whether there are any,
//! follows from sizes, precision and CPU ([`PackForm::len`]); what packs and what reads takes the same decision.

use crate::arena::{Binder, Buf};
use crate::cpu::gemm::{self, Arithmetic};
use crate::cpu::isa::Isa;
use crate::cx::{Cx, Packs};
use crate::dtype::{Element, Precision};
use crate::ops::{conv, matmul};
use crate::program::{Lasts, PackForm};

/// One of several that are packed.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Packed {
    /// All of them.
    pub numbers: Buf,
    /// The number of this one.
    pub index: usize,
}

impl Packed {
    /// Its numbers, where one takes so many; nothing where there is no room for that, as nothing was packed then.
    pub fn read<'b, T: Element>(self, bind: &mut Binder<'b, '_>, len: usize) -> Option<&'b [T]> {
        let all = bind.read::<T>(self.numbers);
        let own = self.index * len..(self.index + 1) * len;
        all.get(own).filter(|own| !own.is_empty())
    }
}

/// Whether what lasts so long was packed by an earlier call.
pub(crate) fn is_there(cx: &Cx<'_>, lasts: Lasts) -> bool {
    lasts == Lasts::Calls && cx.packs == Packs::Present
}

impl PackForm {
    /// Elements that this takes packed, for sizes `[rows, k, n, count, elements]`: `count` of them, each with `n` columns of `k` numbers, for
    /// results with so many rows (places), of windows with so many elements. None where kernels read it where it lies, and where keeping it from call to call does not
    /// pay.
    ///
    /// # Panics
    /// For a precision without its feature.
    pub fn len(self, precision: Precision, isa: Isa, sizes: [usize; 5], lasts: Lasts) -> usize {
        if lasts == Lasts::Calls && !gemm::is_worth_keeping(sizes[0]) {
            return 0;
        }
        let arithmetic = Arithmetic::new(precision, isa);
        match self {
            Self::Factor => matmul::packed_len(arithmetic, [sizes[0], sizes[1], sizes[2], sizes[3]]),
            Self::Window => conv::packed_len(arithmetic, sizes),
        }
    }
}
