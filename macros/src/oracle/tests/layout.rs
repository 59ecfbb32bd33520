//! Images channels last: graphs mean the same in either order.

use super::*;
use crate::layout::{Sweeps, turn_and_show};

#[test]
fn turning_changes_no_result() {
    for seed in SEEDS {
        let Program { graph, world, .. } = program(seed);
        let want = interpret(&graph, &world);
        let turned = [Sweeps::Forward, Sweeps::Both]
            .map(|sweeps| [turn(&graph, sweeps), turn_and_show(&graph, sweeps)]);
        for turned in turned.into_iter().flatten() {
            verified(&turned);
            if let Some(difference) = difference(&interpret(&turned, &world), &want, 1e-12, 1e-6) {
                panic!("seed {seed}: {difference}\n{graph}\nturned\n{turned}");
            }
        }
    }
}
