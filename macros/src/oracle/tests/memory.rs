//! Memory plans: nothing alive is shared, little is wasted.

use super::super::execute::Layout;
use super::*;

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
        for graph in [Some(simplify(&program.graph)), joint(&program)]
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
