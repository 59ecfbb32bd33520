//! Networks of 10 to 1000 parameters against loops written by hand for exactly them.
//!
//! At this size nearly all that a framework does is overhead: a step of the smallest takes some hundred nanoseconds by hand. Both
//! sides begin with the same weights, see the same batches, and must have the same losses over the first steps before they are
//! timed. Blocks of both alternate, and what is reported is the ratio of neighbours, so that a slow minute of the machine meets
//! both.
//!
//! ```text
//! cargo bench --bench small                     every network and batch
//! cargo bench --bench small -- 8-8-1            one network
//! ```

mod by_hand;
mod model;
mod pairs;

use by_hand::ByHand;
use model::{Ours, Ours3x2x1, Ours8x8x1, Ours16x16x1, Ours16x48x3};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Samples of a batch.
const BATCHES: [usize; 4] = [1, 4, 8, 32];

/// Steps whose losses are compared.
const N_COMPARED: usize = 20;

/// The largest relative distance of two losses that counts as the same: sums are taken in different orders.
const TOLERANCE: f64 = 1e-4;

fn main() -> Result<()> {
    let mut filter = None;
    let mut effort = pairs::Effort::Smoke;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            // What cargo passes to every bench; without it, `cargo test --benches` asks only whether it runs.
            "--bench" => effort = pairs::Effort::Measure,
            name => filter = Some(name.to_owned()),
        }
    }
    println!(
        "ours / by hand, one thread: median of pairs of blocks (nine pairs of ten lie within); below 1 ours is faster; by hand for the target's baseline"
    );
    compare::<Ours3x2x1, 3, 2, 1>(filter.as_deref(), effort)?;
    compare::<Ours8x8x1, 8, 8, 1>(filter.as_deref(), effort)?;
    compare::<Ours16x16x1, 16, 16, 1>(filter.as_deref(), effort)?;
    compare::<Ours16x48x3, 16, 48, 3>(filter.as_deref(), effort)
}

/// Compares training steps and predictions of IN-HIDDEN-OUT at every size of batch.
fn compare<O: Ours, const IN: usize, const HIDDEN: usize, const OUT: usize>(
    filter: Option<&str>,
    effort: pairs::Effort,
) -> Result<()> {
    let name = format!("{IN}-{HIDDEN}-{OUT}");
    if filter.is_some_and(|filter| filter != name) {
        return Ok(());
    }
    let n_params = IN * HIDDEN + HIDDEN + HIDDEN * OUT + OUT;
    println!("{name}, {n_params} parameters");
    for batch in BATCHES {
        let mut ours = O::new(batch)?;
        let mut by_hand = ByHand::<IN, HIDDEN, OUT>::new(ours.weights()?, ours.batch());
        check(&mut ours, &mut by_hand).map_err(|error| format!("{name}, batch {batch}: {error}"))?;
        let steps = pairs::ratios(effort, || ours.step(), || by_hand.step());
        println!("  step, batch {batch:>2}:       {steps}");
        let predictions = pairs::ratios(effort, || ours.predict(), || by_hand.predict());
        println!("  prediction, batch {batch:>2}: {predictions}");
    }
    Ok(())
}

/// Demands that the losses of the first steps agree.
fn check<const IN: usize, const HIDDEN: usize, const OUT: usize>(
    ours: &mut impl Ours,
    by_hand: &mut ByHand<IN, HIDDEN, OUT>,
) -> Result<()> {
    for step in 0..N_COMPARED {
        let (a, b) = (ours.step(), f64::from(by_hand.step()));
        if (a - b).abs() > TOLERANCE * b.abs() {
            return Err(format!("step {step}: our loss is {a}, that of the loop {b}").into());
        }
    }
    let (a, b) = (ours.predict(), f64::from(by_hand.predict()));
    if (a - b).abs() > TOLERANCE * b.abs().max(1e-2) {
        return Err(format!("our first prediction is {a}, that of the loop {b}").into());
    }
    Ok(())
}
