//! The example's language model at the shape of GPT-2 small (Radford et al., 2019): the same source, another type.

#![allow(missing_docs)]

#[path = "../examples/gpt/model.rs"]
mod model;

use tapeless::prelude::*;

type Gpt2 = model::Gpt<50257, 1024, 12, 12, 768>;

#[test]
fn gpt2_small_has_its_parameters_and_its_schedule() {
    let summary = Gpt2::summary();
    assert!(summary.contains("124,439,808"), "{summary}");
    let schedule = Gpt2::explain_at(&[("B", 1)]);
    let text = |name: &str| {
        let start = schedule.find(name).expect("the schedule of that function");
        schedule[start..]
            .split("\n\n")
            .next()
            .expect("a section")
            .to_owned()
    };
    let train = text("Gpt::loss (train)");
    assert!(train.contains("12 steps over"), "{train}");
    // As many kernels as the example's own shape, which has 4 layers.
    let own = model::Gpt::<68, 64, 4, 4, 128>::explain_at(&[("B", 1)]);
    assert_eq!(schedule.matches(" FLOP ").count(), own.matches(" FLOP ").count());
}
