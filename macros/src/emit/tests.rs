//! Emitted code, formatted, for graphs written with the builder.

use quote::quote;

use super::*;
use crate::diag::SourceSpan;
use crate::fuse::{Calls, fuse};
use crate::grad::{Gradient, Wanted, differentiate};
use crate::ir::{Builder, InputId, Mode, Origin, Output, OutputKind, ParamId, Type, Value};
use crate::memory::{self, Reuse};
use crate::ops::leaf::{Leaf, LeafKind};
use crate::shape::Dim;
use crate::simplify::simplify;

fn named(b: &mut Builder, value: Value, name: &str) -> Value {
    b.graph.node_mut(value.node).origin.name = Some(name.into());
    value
}

/// `sum(relu(x * w) * 0.5)`, with `w` spread over the rows of `x`.
fn graph() -> crate::ir::Graph {
    let mut b = Builder::new(Origin::root(SourceSpan::call_site()), Mode::Train);
    let shape = vec![Dim::dynamic("B"), Dim::lit(3)];
    let x = b.push(
        Leaf {
            kind: LeafKind::Input(InputId::new(0)),
            ty: Type::float(shape.clone()),
        },
        &[],
    );
    let w = b.push(
        Leaf {
            kind: LeafKind::Param(ParamId::new(0)),
            ty: Type::float(vec![Dim::lit(3)]),
        },
        &[],
    );
    named(&mut b, x, "x");
    named(&mut b, w, "w");
    let spread = b.expand(w, &shape);
    let product = b.mul(x, spread);
    let hidden = b.pointwise("relu", &[product]);
    named(&mut b, hidden, "hidden");
    let half = b.scale(hidden, 0.5);
    let loss = b.sum(half, &[0, 1]);
    named(&mut b, loss, "loss");
    b.graph.outputs.push(Output {
        kind: OutputKind::Result(0),
        value: loss,
    });
    b.graph
}

fn emitted() -> String {
    let wanted = Wanted {
        params: vec![ParamId::new(0)],
        inputs: vec![],
    };
    let Gradient::Joint(joint) = differentiate(simplify(&graph()), &wanted, simplify) else {
        panic!("there is a gradient")
    };
    let plan = memory::plan(fuse(&simplify(&joint), Calls::Apart), Reuse::AfterLastUse);
    let rt = quote!(rt);
    let mut groups = group::GroupTypes::new(rt.clone(), []);
    let sizes = sizes::SizeNames {
        dims: vec!["B".into()],
        ..Default::default()
    };
    let around = code::Surroundings {
        rt: &rt,
        sizes: &sizes,
        inputs: &["x".into()],
        params: &["w".into()],
        states: &[],
        rows: code::Rows::OfTensors,
    };
    let [forward, backward] = ["forward", "backward"].map(|name| quote::format_ident!("{name}"));
    let f = code::sweep(
        &around,
        &plan,
        0..plan.n_forward,
        &forward,
        " Forward.",
        &mut groups,
    );
    let b = code::sweep(
        &around,
        &plan,
        plan.n_forward..plan.kernels.len(),
        &backward,
        " Backward.",
        &mut groups,
    );
    let groups = groups.into_items();
    prettyplease::unparse(&syn::parse2(quote!(#groups #f #b)).expect("emitted code is Rust"))
}

#[test]
fn a_small_loss_and_its_gradient() {
    insta::assert_snapshot!(emitted());
}
