//! Prints what this machine can do: see `mod.rs`.

// Floors of kernels are for the other benches.
#[allow(dead_code)]
#[path = "mod.rs"]
mod roofline;

/// Rounds whose medians are printed.
const ROUNDS: usize = 9;

fn main() {
    let n_cores = std::thread::available_parallelism().map_or(1, usize::from);
    let counts = if n_cores > 1 { vec![1, n_cores] } else { vec![1] };
    let mut probes: Vec<_> = counts.into_iter().map(roofline::Probes::new).collect();
    for _ in 0..ROUNDS {
        probes.iter_mut().for_each(roofline::Probes::round);
    }
    for probes in &probes {
        println!("{}", probes.roofline());
    }
}
