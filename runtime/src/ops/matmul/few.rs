//! Small products: straight to their kernel.

use crate::arena::Buf;
use crate::cpu::gemm::{self, Ending, Few, Matrix, Operands, SmallProduct};
use crate::cx::{Cx, float};
use crate::ops::epilogue::Epilogue;
use crate::ops::view::View;

/// A view of two axes, where the type does not say so.
#[inline]
pub(super) fn matrix<const R: usize>(view: &View<R>) -> View<2> {
    View {
        buf: view.buf,
        offset: view.offset,
        shape: [view.shape[R - 2], view.shape[R - 1]],
        strides: [view.strides[R - 2], view.strides[R - 1]],
    }
}

/// Computes a product if it is a small one, and not better served by inner products; false where it is not, and nothing has happened.
#[inline(never)]
pub(super) fn multiply(cx: &mut Cx<'_>, a: &View<2>, b: &View<2>, y: Buf, epilogue: &Epilogue) -> bool {
    let sizes = [a.shape[0], b.shape[1], a.shape[1]];
    let lie_along_k = a.strides[1] == 1 && b.strides[0] == 1;
    // Whatever rounds its operands packs them as well.
    if !gemm::is_few(sizes)
        || lie_along_k && gemm::is_deep(sizes)
        || cx.env.arithmetic().operands() != Operands::Exact
    {
        return false;
    }
    float!(cx, T => compute::<T>(cx, a, b, y, epilogue));
    true
}

fn compute<T: SmallProduct>(cx: &mut Cx<'_>, a: &View<2>, b: &View<2>, y: Buf, epilogue: &Epilogue) {
    let isa = cx.env.isa;
    let mut bind = cx.bind();
    let left = Matrix::new(bind.read::<T>(a.buf), a.offset, a.shape, a.strides);
    let right = Matrix::new(bind.read::<T>(b.buf), b.offset, b.shape, b.strides);
    let ending = Ending {
        bias: epilogue.bias.map(|buf| bind.read::<T>(buf)),
        residual: epilogue.residual.map(|buf| bind.read::<T>(buf)),
        activation: epilogue.activation,
    };
    let y = bind.write::<T>(y);
    T::few(
        isa,
        Few {
            a: left,
            b: right,
            y,
            ending,
        },
    );
}
