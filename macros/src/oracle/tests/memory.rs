//! Memory plans: nothing alive is shared, little is wasted.

use super::super::execute::Layout;
use super::*;
use crate::diag::Diagnostics;
use crate::grad::Wanted;
use crate::ir::{CallArg, PackForm, Packing, ParamId, Rows};
use crate::lower::{lower, tests::define};
use crate::shape::Dim;
use proptest::prelude::*;
use tapeless_runtime::cpu::isa::Isa;
use tapeless_runtime::rt;

/// Slots that live at the same kernel lie apart.
fn assert_apart(layout: &Layout, precision: Precision, what: &str) {
    for (a, first) in layout.slots.iter().enumerate() {
        for (b, second) in layout.slots.iter().enumerate().skip(a + 1) {
            let meet = first.first <= second.last && second.first <= first.last;
            let (x, y) = (layout.bytes(a, precision), layout.bytes(b, precision));
            let overlap = x.start < y.end && y.start < x.end;
            assert!(
                !(meet && overlap),
                "{what}: slots {a} and {b} share bytes while both are alive"
            );
        }
    }
}

#[test]
fn slots_that_live_together_lie_apart() {
    for seed in SEEDS {
        let program = program(seed);
        for graph in [
            Some(simplify(&turn(&program.graph, Sweeps::Forward))),
            joint(&program),
        ]
        .into_iter()
        .flatten()
        {
            let plan = planned(&graph);
            for precision in [Precision::F32, Precision::F64] {
                let layout = Layout::new(&plan, &program.world, precision);
                assert_apart(&layout, precision, &format!("seed {seed}"));
                let least = layout.most_alive(plan.kernels.len(), precision);
                assert_eq!(
                    layout.packing.lower_bound, least,
                    "seed {seed}: the bound that is reported"
                );
                assert!(layout.packing.bytes >= least);
            }
        }
    }
}

/// The arena of a loss and its gradient, against the most bytes that are alive at one kernel.
#[track_caller]
fn assert_near_the_bound(source: &str, batch: i64) {
    let mut diagnostics = Diagnostics::new();
    let lowered = lower(&define(source), &mut diagnostics);
    if let Err(errors) = diagnostics.finish() {
        panic!("{errors}");
    }
    let lowered = lowered.expect("there was no error");
    let train = lowered.functions[0].train.clone().expect("a loss");
    let wanted = Wanted {
        params: (0..lowered.params.len()).map(ParamId::new).collect(),
        inputs: Vec::new(),
    };
    let Gradient::Joint(joint) = differentiate(simplify(&turn(&train, Sweeps::Both)), &wanted, simplify)
    else {
        panic!("there is a gradient")
    };
    let plan = planned(&simplify(&joint));
    let world = World {
        sizes: Map::from([("B".to_owned(), batch)]),
        ..World::default()
    };
    let layout = Layout::new(&plan, &world, Precision::F32);
    assert_apart(&layout, Precision::F32, source);
    let (bytes, least) = (
        layout.packing.bytes,
        layout.most_alive(plan.kernels.len(), Precision::F32),
    );
    assert!(10 * bytes <= 11 * least, "{bytes} bytes, but {least} would do");
}

#[test]
fn arenas_of_networks_are_within_a_tenth_of_the_bound() {
    assert_near_the_bound(
        "struct Mlp { fc1: Linear<784, 128>, fc2: Linear<_, 64>, fc3: Linear<_, 10> }
         impl Mlp {
             pub fn loss<B: Dim>(&self, image: Tensor<B, 784>, label: Tensor<u8, B>) -> Scalar {
                 let hidden = self.fc2(self.fc1(image).relu().dropout(0.2)).tanh();
                 cross_entropy(self.fc3(hidden), label)
             }
         }",
        64,
    );
    assert_near_the_bound(
        "struct Cnn { conv1: Conv2d<1, 8, 3>, conv2: Conv2d<_, 16, 3>, fc: Linear<_, 10> }
         impl Cnn {
             pub fn loss<B: Dim>(&self, image: Tensor<B, 1, 28, 28>, label: Tensor<u8, B>) -> Scalar {
                 let hidden = self.conv2(self.conv1(image).relu()).relu().max_pool2d(2);
                 cross_entropy(self.fc(hidden.flatten()), label)
             }
         }",
        32,
    );
}

proptest! {
    /// Budgets count packed factors by a bound that holds in every precision on every instruction path.
    #[test]
    fn packed_factors_take_no_more_than_is_counted(rows in 1usize..600, k in 1usize..10_000, n in 1usize..300, side in 1usize..4) {
        let bound = |form| {
            let packing = Packing {
                form,
                rows: Dim::lit(rows as i64),
                shape: [Dim::lit(k as i64), Dim::lit(n as i64)],
            };
            packing.len().as_lit().expect("a number") as usize
        };
        let kernel = CallArg::Sizes(vec![Dim::lit(side as i64); 2]);
        let window = PackForm::Window(Box::new(CallArg::Struct("Conv2d", vec![("kernel", kernel)])));
        let forms = [(PackForm::Factor(Rows::InOrder), rt::PackForm::Factor, 1), (window, rt::PackForm::Window, side * side)];
        let forms = forms.map(|(form, known, elements)| (bound(form), known, elements));
        for &isa in Isa::available() {
            for precision in [Precision::F32, Precision::High, Precision::Bf16] {
                for (bound, form, elements) in forms {
                    let len = form.len(precision, isa, [rows, k, n, 1, elements], rt::Lasts::Loop);
                    prop_assert!(len <= bound, "{:?} {} on {}: {} of {}", form, precision, isa, len, bound);
                }
            }
        }
    }
}
