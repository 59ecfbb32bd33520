//! What is printed of a measurement.

use crate::measure::{Kernel, Measured};
use crate::models::Workload;
use crate::roofline::Roofline;

/// The head of the table that ends a report, in Markdown.
pub const HEAD: &str = "\
| workload | device | step (5 % to 95 %) | GFLOP | GFLOP/s | MB moved | floor | share of the floor's speed | outside kernels |
|---|---|---|---|---|---|---|---|---|";

/// A workload's line in that table.
pub fn line(workload: &Workload, measured: &Measured) -> String {
    let [flops, bytes] = work(measured);
    let (step, floor) = (measured.step(), measured.floor());
    format!(
        "| {}, batch {} | {} | {} ({} to {}) | {:.4} | {:.1} | {:.2} | {} | {:.0} % | {} |",
        workload.name,
        workload.batch,
        measured.device,
        time(step),
        time(quantile(&measured.steps, 0.05)),
        time(quantile(&measured.steps, 0.95)),
        1e-9 * flops,
        1e-9 * flops / step,
        1e-6 * bytes,
        time(floor),
        100.0 * floor / step,
        time(measured.outside),
    )
}

/// Prints the step, its floor, and the kernels that lose most.
pub fn print(workload: &Workload, measured: &Measured, n_rows: usize) {
    let [flops, bytes] = work(measured);
    let (step, floor) = (measured.step(), measured.floor());
    println!(
        "{} ({}), batch {}, {}",
        workload.name, workload.about, workload.batch, measured.device
    );
    println!("  {}", rates(&measured.roofline));
    if let Some(exchange) = measured.roofline.exchange {
        println!("  between two cores: {exchange}");
    }
    println!(
        "  step {} (median of {}), {:.4} GFLOP ({:.1} GFLOP/s), {:.2} MB moved, workspace {:.2} MB",
        time(step),
        measured.steps.len(),
        1e-9 * flops,
        1e-9 * flops / step,
        1e-6 * bytes,
        1e-6 * measured.workspace_bytes as f64,
    );
    println!(
        "  floor {}: the step runs at {:.0} % of its speed; {} of the step are outside kernels",
        time(floor),
        100.0 * floor / step,
        time(measured.outside),
    );
    print_kinds(&measured.kernels);
    print_row([
        "kernel", "value", "phase", "calls", "lost", "time", "floor", "share", "GFLOP/s", "GB/s", "level",
    ]);
    let mut kernels: Vec<&Kernel> = measured.kernels.iter().collect();
    kernels.sort_by(|a, b| b.lost().total_cmp(&a.lost()));
    let (shown, rest) = kernels.split_at(n_rows.min(kernels.len()));
    for kernel in shown {
        print_kernel(kernel, &measured.roofline);
    }
    if !rest.is_empty() {
        let sum = |part: fn(&Kernel) -> f64| time(rest.iter().map(|kernel| part(kernel)).sum());
        println!(
            "  and {} more, which lose {} of {} together\n",
            rest.len(),
            sum(Kernel::lost),
            sum(|kernel| kernel.seconds)
        );
    } else {
        println!();
    }
}

/// Kernels of one name together, where a step has so many that single rows hide where the time goes.
struct Kind<'a> {
    kernel: &'a str,
    rows: usize,
    seconds: f64,
    floor: f64,
}

/// Prints the kinds that lose a twentieth of the step or more.
fn print_kinds(kernels: &[Kernel]) {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    for Kernel { row, seconds, floor } in kernels {
        match kinds.iter_mut().find(|kind| kind.kernel == row.kernel) {
            Some(kind) => {
                kind.rows += 1;
                kind.seconds += seconds;
                kind.floor += floor;
            }
            None => kinds.push(Kind {
                kernel: row.kernel,
                rows: 1,
                seconds: *seconds,
                floor: *floor,
            }),
        }
    }
    let lost = |kind: &Kind<'_>| kind.seconds - kind.floor;
    let step: f64 = kernels.iter().map(|kernel| kernel.seconds).sum();
    kinds.sort_by(|a, b| lost(b).total_cmp(&lost(a)));
    println!("  lost by kind of kernel:");
    for kind in kinds.iter().filter(|kind| lost(kind) >= 0.05 * step) {
        println!(
            "    {:>11} of {:>11} ({:>2.0} % of the step): {}, {} rows",
            time(lost(kind)),
            time(kind.seconds),
            100.0 * lost(kind) / step,
            kind.kernel,
            kind.rows,
        );
    }
}

/// Operations and bytes of a step.
fn work(measured: &Measured) -> [f64; 2] {
    let sum = |part: fn(&Kernel) -> u64| measured.kernels.iter().map(part).sum::<u64>() as f64;
    [sum(|kernel| kernel.row.flops), sum(|kernel| kernel.row.bytes)]
}

/// The rates from which floors are worked out.
fn rates(roofline: &Roofline) -> String {
    let levels = roofline
        .levels
        .iter()
        .map(|rates| format!("{} {:.0}", rates.level.name, 1e-9 * rates.best()));
    let levels: Vec<String> = levels.collect();
    let pairs = roofline.pairs.map_or_else(String::new, |(unit, rate)| {
        format!(", {:.0} in pairs of bf16 ({unit})", 1e-9 * rate)
    });
    format!(
        "machine: {:.0} GFLOP/s in f32{pairs}; GB/s at best: {}",
        1e-9 * roofline.fma_f32,
        levels.join(", ")
    )
}

fn print_kernel(kernel: &Kernel, roofline: &Roofline) {
    let Kernel { row, seconds, floor } = kernel;
    let level = roofline.level_of(row.bytes / row.calls.max(1)).level.name;
    print_row([
        row.kernel,
        row.value,
        row.phase,
        &row.calls.to_string(),
        &time(kernel.lost()),
        &time(*seconds),
        &time(*floor),
        &format!("{:.0} %", 100.0 * floor / seconds),
        &format!("{:.1}", 1e-9 * row.flops as f64 / seconds),
        &format!("{:.1}", 1e-9 * row.bytes as f64 / seconds),
        level,
    ]);
}

fn print_row(
    [
        kernel,
        value,
        phase,
        calls,
        lost,
        time,
        floor,
        share,
        flops,
        bytes,
        level,
    ]: [&str; 11],
) {
    println!(
        "  {kernel:<34} {value:<26} {phase:<8} {calls:>5} {lost:>11} {time:>11} {floor:>11} {share:>6} {flops:>8} {bytes:>7}  {level}"
    );
}

/// Seconds in the unit that suits them.
fn time(seconds: f64) -> String {
    let size = seconds.abs();
    if size >= 1.0 {
        format!("{seconds:.3} s")
    } else if size >= 1e-3 {
        format!("{:.3} ms", 1e3 * seconds)
    } else {
        format!("{:.1} us", 1e6 * seconds)
    }
}

/// The number below which a share of the numbers lies.
///
/// # Panics
///
/// If there is none.
fn quantile(numbers: &[f64], share: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(share * (sorted.len() - 1) as f64).round() as usize]
}
