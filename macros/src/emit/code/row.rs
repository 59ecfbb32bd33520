//! Groups of one operation, as calls of the runtime.

use proc_macro2::TokenStream;
use quote::quote;

use super::{Buffers, Part};
use crate::emit::group::{KINDS, Single};
use crate::plan::{Group, LineCode};

/// Which groups of one operation are calls of the runtime's `row` instead of types of their own. A row is compiled in the
/// runtime once; but numbers are tensors to it, and a type has them in its code.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(in crate::emit) enum Rows {
    /// All: for sweeps whose speed is not what counts.
    All,
    /// Those that take no numbers, and constants.
    OfTensors,
}

impl Part<'_> {
    /// `rt::row(cx, rt::Row::Mul, &[B, 128], [&[rt::In::dense(x), rt::In::number(0.5)], &[], &[]], y)`
    pub(super) fn row(&mut self, single: &Single<'_>, group: &Group, buffers: &Buffers<'_>) -> TokenStream {
        let rt = self.around.rt;
        let operands = KINDS.map(|kind| {
            let of_kind = single.operands.iter().filter(|&&k| group.lines[k].dtype == kind);
            let operands: Vec<TokenStream> = of_kind
                .map(|&k| match group.lines[k].code {
                    LineCode::Load(read) => self.group_input(buffers, read),
                    LineCode::Scalar(scalar) => {
                        let value = self.spelling.scalar(&group.scalars[scalar]);
                        quote!(#rt::In::number(#value))
                    }
                    LineCode::Row(..) => unreachable!("a single row reads tensors and numbers"),
                })
                .collect();
            quote!(&[#(#operands),*])
        });
        let (shape, name, out) = (
            self.spelling.dims(&group.shape),
            single.name(group),
            &buffers.writes[0],
        );
        quote!(#rt::row(cx, #rt::Row::#name, &#shape, [#(#operands),*], #out))
    }
}
