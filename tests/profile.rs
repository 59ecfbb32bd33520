//! Profiles: every kernel of a step with its time, operations and bytes, without changing what is computed.

#![allow(missing_docs)]

use ndarray::{Array1, Array2};
use tapeless::prelude::*;
use tapeless::profile::{Profile, ProfileRow};

#[model]
pub struct Net {
    fc1: Linear<12, 8>,
    fc2: Linear<_, 3>,
}

#[model]
impl Net {
    pub fn loss<B: Dim>(&self, x: Tensor<B, 12>, label: Tensor<u8, B>) -> Scalar {
        let hidden = self.fc1(x).relu();
        cross_entropy(self.fc2(hidden), label)
    }
}

const BATCH: usize = 5;

fn batch() -> (Array2<f32>, Array1<u8>) {
    let x = Array2::from_shape_fn((BATCH, 12), |(b, k)| ((b * 12 + k) as f32).sin());
    (x, Array1::from_shape_fn(BATCH, |b| (b % 3) as u8))
}

fn net() -> Result<(Net, Workspace)> {
    let model = Net::new(&Device::cpu().threads(1), 3)?;
    let work = model.loss_workspace(BATCH)?;
    Ok((model, work))
}

fn profile_of(n_steps: usize, optimizer: &mut impl Optimizer) -> Result<Profile> {
    let ((mut model, mut work), (x, label)) = (net()?, batch());
    work.start_profile();
    for _ in 0..n_steps {
        model.train_step(&mut work, optimizer, &x, &label)?;
    }
    work.stop_profile()
}

#[test]
fn the_rows_are_the_kernels_that_explain_lists_and_the_update() -> Result<()> {
    let profile = profile_of(3, &mut Adam::new(1e-2))?;
    let explained = Net::explain_at(&[("B", BATCH)]);
    let train = explained.split("(train)").nth(1).expect("there is a train mode");
    let (rows, n_kernels) = (profile.rows(), profile.rows().len() - 1);
    assert!(train.contains(&format!("{n_kernels} kernels")), "{train}");
    let mut lines = train.lines().skip(2);
    for row in &rows[..n_kernels] {
        let line = lines.next().expect("a line a kernel");
        for word in [row.kernel, row.value, row.phase] {
            assert!(line.contains(word), "`{word}` is not in {line}");
        }
        assert!(
            row.calls == 3 && row.seconds > 0.0 && row.fastest * 3.0 <= row.seconds,
            "{row:?}"
        );
    }
    let updated: Vec<&str> = rows
        .iter()
        .map(|row| row.value)
        .filter(|value| value.ends_with(".grad"))
        .collect();
    assert_eq!(
        updated,
        [
            "fc2.bias.grad",
            "fc2.weight.grad",
            "fc1.bias.grad",
            "fc1.weight.grad"
        ]
    );
    let first = &rows[0];
    assert_eq!((first.value, first.phase), ("hidden", "forward"));
    // Weights, batch, bias and result in f32.
    assert_eq!(first.bytes, 3 * 4 * (12 * 8 + BATCH * 12 + 8 + BATCH * 8) as u64);
    assert!(
        first.flops >= 3 * (2 * BATCH * 12 * 8) as u64,
        "{} FLOP",
        first.flops
    );
    assert!(profile.seconds_outside() >= 0.0 && profile.seconds_outside() < profile.seconds());
    let table = profile.to_string();
    assert_eq!(table.lines().count(), rows.len() + 2, "{table}");
    Ok(())
}

#[test]
fn the_update_is_a_row_with_the_bytes_of_its_buffers() -> Result<()> {
    fn update(profile: &Profile) -> &ProfileRow {
        profile.rows().last().expect("there is an update")
    }
    // Every parameter starts on a cache line of 16 numbers; the update passes over the padding between them.
    let n_params = (12 * 8 + 16 + 32 + 3) as u64;
    let adam = profile_of(2, &mut Adam::new(1e-2))?;
    let row = update(&adam);
    assert_eq!(
        (row.kernel, row.phase, row.bytes),
        ("adam", "update", 2 * 28 * n_params)
    );
    let sgd = profile_of(2, &mut Sgd::new(1e-2))?;
    assert_eq!(update(&sgd).bytes, 2 * 12 * n_params);
    let clipped = profile_of(2, &mut Sgd::new(1e-2).clip_norm(1.0))?;
    assert_eq!(update(&clipped).bytes, 2 * 16 * n_params);
    assert!(update(&clipped).flops > update(&sgd).flops);
    Ok(())
}

#[test]
fn a_profile_changes_no_bit() -> Result<()> {
    let (x, label) = batch();
    let (mut plain, mut work) = net()?;
    let (mut profiled, mut profiling) = net()?;
    let mut adam = [Adam::new(1e-2), Adam::new(1e-2)];
    for step in 0..4 {
        if step == 1 {
            profiling.start_profile();
        }
        let a = plain.train_step(&mut work, &mut adam[0], &x, &label)?;
        let b = profiled.train_step(&mut profiling, &mut adam[1], &x, &label)?;
        assert_eq!(a.to_bits(), b.to_bits());
    }
    assert_eq!(profiling.stop_profile()?.rows()[0].calls, 3);
    Ok(())
}

#[test]
fn plain_calls_are_rows_of_their_own_and_failed_ones_are_none() -> Result<()> {
    let ((mut model, mut work), (x, label)) = (net()?, batch());
    work.start_profile();
    model.loss_in(&mut work, &x, &label)?;
    let wrong = Array1::from_elem(BATCH, 9u8);
    assert!(model.loss_grad(&mut work, &x, &wrong).is_err());
    let eval_only = work.stop_profile()?;
    assert!(
        eval_only
            .rows()
            .iter()
            .all(|row| row.phase == "eval" && row.calls == 1)
    );
    work.start_profile();
    model.loss_in(&mut work, &x, &label)?;
    model.loss_grad(&mut work, &x, &label)?;
    let both = work.stop_profile()?;
    let phases = ["eval", "forward", "backward"];
    for phase in phases {
        assert!(both.rows().iter().any(|row| row.phase == phase), "no {phase}");
    }
    Ok(())
}

#[test]
fn stopping_what_was_not_started_is_an_error() -> Result<()> {
    let (_, mut work) = net()?;
    let error = work.stop_profile().unwrap_err().to_string();
    assert!(error.contains("start_profile"), "{error}");
    Ok(())
}
