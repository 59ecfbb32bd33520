//! Images channels last: graphs mean the same in either order.

use super::*;
use crate::layout::turn_and_show;

#[test]
fn turning_changes_no_result() {
    for seed in SEEDS {
        let Program { graph, world, .. } = program(seed);
        let want = interpret(&graph, &world);
        for turned in [
            turn(&graph, Sweeps::Forward),
            turn(&graph, Sweeps::Both),
            turn_and_show(&graph),
        ] {
            verified(&turned);
            if let Some(difference) = difference(&interpret(&turned, &world), &want, 1e-12, 1e-6) {
                panic!("seed {seed}: {difference}\n{graph}\nturned\n{turned}");
            }
        }
    }
}
