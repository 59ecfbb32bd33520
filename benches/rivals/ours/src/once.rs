//! What is measured once a process: the time to the end of the first step, and the memory.

use ndarray::{Array1, Array2};
use serde_json::json;
use tapeless::prelude::*;

use crate::Result;
use crate::models::mlp::{Mlp, WORKLOAD};
use crate::models::{Setup, Workload};

/// Makes the mlp and takes a step on a batch of zeros, whose making costs nothing. Whoever started the process holds the watch.
pub fn first_step(setup: &Setup) -> Result<()> {
    let mut model: Mlp = setup.model()?;
    let mut work = model.loss_workspace(WORKLOAD.batch)?;
    let (x, y) = (
        Array2::<f32>::zeros((WORKLOAD.batch, 784)),
        Array1::<u8>::zeros(WORKLOAD.batch),
    );
    let loss = model.train_step(&mut work, &mut Adam::new(1e-3), &x, &y, 0.2)?;
    println!("{}", json!({ "loss": loss, "peak_rss_mb": peak_rss_mb()? }));
    Ok(())
}

/// Takes three steps of a workload and tells the memory that the process has had at most, beside what was planned: parameters
/// and the workspace with their gradients. An optimizer's moments are not part of the plan.
pub fn memory(workload: &Workload, setup: &Setup) -> Result<()> {
    let mut training = (workload.start)(setup)?;
    let mut loss = f64::NAN;
    for step in 0..3 {
        loss = training.step(step)?;
    }
    let workspace_mb = training.workspace().bytes() as f64 / 1e6;
    println!(
        "{}",
        json!({ "loss": loss, "peak_rss_mb": peak_rss_mb()?, "workspace_mb": workspace_mb })
    );
    Ok(())
}

/// The most memory that this process has held, in megabytes, as Linux counts it.
pub fn peak_rss_mb() -> Result<f64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: f64 = kilobytes.ok_or("the system does not tell VmHWM")?.parse()?;
    Ok(kilobytes * 1024.0 / 1e6)
}
