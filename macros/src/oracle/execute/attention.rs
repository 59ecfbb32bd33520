//! Calls of attention, of its gradient, and of the rotation of its operands.

use tapeless_runtime::cx::Cx;
use tapeless_runtime::rt;

use super::arguments::{AnyView, Arguments};

/// The operands of both.
struct Operands {
    q: AnyView,
    k: AnyView,
    v: AnyView,
    mask: Option<AnyView>,
}

impl Operands {
    fn take(a: &mut Arguments) -> Self {
        Self {
            q: a.view(),
            k: a.view(),
            v: a.view(),
            mask: a.optional_view(),
        }
    }
}

/// Calls a function with the rank of the operands in its type.
macro_rules! of_rank {
    ($rank:expr, $r:ident => $call:expr; $($n:literal)*) => {
        match $rank {
            $($n => { const $r: usize = $n; $call })*
            rank => panic!("an attention of rank {rank}"),
        }
    };
}

pub(super) fn forward(cx: &mut Cx<'_>, a: &mut Arguments) {
    /// A call that is not inlined, so that the buffers of all ranks do not lie on the stack together.
    #[inline(never)]
    fn call<const R: usize>(cx: &mut Cx<'_>, o: &Operands, [y, lse]: [rt::Buf; 2], spec: rt::Attention) {
        let mask = o.mask.as_ref().map(AnyView::ranked);
        rt::attention::<R>(cx, o.q.ranked(), o.k.ranked(), o.v.ranked(), mask, y, lse, spec);
    }
    let operands = Operands::take(a);
    let (results, spec) = ([a.buf(), a.buf()], spec(a));
    of_rank!(operands.q.shape.len(), R => call::<R>(cx, &operands, results, spec); 2 3 4 5 6);
}

pub(super) fn gradient(cx: &mut Cx<'_>, a: &mut Arguments) {
    #[inline(never)]
    fn call<const R: usize>(
        cx: &mut Cx<'_>,
        o: &Operands,
        ([y, lse], g): ([rt::Buf; 2], &AnyView),
        [dq, dk, dv, rows]: [rt::Buf; 4],
        spec: rt::Attention,
    ) {
        let mask = o.mask.as_ref().map(AnyView::ranked);
        let (q, k, v, g) = (o.q.ranked::<R>(), o.k.ranked(), o.v.ranked(), g.ranked());
        rt::attention_grad(cx, q, k, v, mask, y, lse, g, dq, dk, dv, rows, spec);
    }
    let operands = Operands::take(a);
    let (saved, g) = ([a.buf(), a.buf()], a.view());
    let (results, spec) = ([a.buf(), a.buf(), a.buf(), a.buf()], spec(a));
    of_rank!(operands.q.shape.len(), R => call::<R>(cx, &operands, (saved, &g), results, spec); 2 3 4 5 6);
}

pub(super) fn rotary(cx: &mut Cx<'_>, a: &mut Arguments) {
    let (x, y, table, base) = (a.view(), a.buf(), a.buf(), a.scalar());
    let turn = a.constant(&[
        ("Turn::Forward", rt::Turn::Forward),
        ("Turn::Backward", rt::Turn::Backward),
    ]);
    of_rank!(x.shape.len(), R => rt::rotary::<R>(cx, x.ranked(), y, table, base, turn); 2 3 4 5 6);
}

fn spec(a: &mut Arguments) -> rt::Attention {
    let mut f = a.fields("Attention", &["scale", "reach", "dropout", "stream"]);
    rt::Attention {
        scale: f.scalar(),
        reach: f.constant(&[
            ("Reach::All", rt::Reach::All),
            ("Reach::Causal", rt::Reach::Causal),
        ]),
        dropout: f.scalar(),
        stream: f.stream(),
    }
}
