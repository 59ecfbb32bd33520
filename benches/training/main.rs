//! Training steps of the two MNIST models: criterion's statistics, then every step against what the machine can do.
//!
//! `cargo bench --bench training -- mlp` takes one model; the comparison covers what the filter leaves.

mod models;
mod report;
#[path = "../roofline/mod.rs"]
mod roofline;

use criterion::Criterion;
use models::{BATCH, Training};

/// Numbers of threads that are measured.
const THREADS: [usize; 2] = [1, 2];

/// Criterion's statistics; keeps the trainings that its filter has left.
fn steps(c: &mut Criterion, trainings: &mut Vec<Training>) {
    trainings.retain_mut(|training| {
        let mut has_run = false;
        let mut group = c.benchmark_group(training.name);
        group.sample_size(20);
        let id = format!("step, batch {BATCH}, {} threads", training.threads);
        group.bench_function(id, |b| {
            has_run = true;
            b.iter(|| training.step());
        });
        group.finish();
        has_run
    });
}

fn main() {
    let mut trainings: Vec<Training> = THREADS.into_iter().flat_map(models::all).collect();
    let mut criterion = Criterion::default().configure_from_args();
    steps(&mut criterion, &mut trainings);
    criterion.final_summary();
    // `cargo test --benches` asks only whether it runs.
    let is_measurement = std::env::args().any(|arg| arg == "--bench");
    if is_measurement {
        report::print(&mut trainings, &THREADS);
    }
}
