//! What this machine can do: arithmetic and bandwidth, against which a step is measured.
//!
//! [`Probes`] measures, for a number of threads, the rate of fused multiply-adds in f32 and f64, that of products of pairs of bf16 numbers
//! (tiles, or `vdpbf16ps`), and the bandwidth of reading, copying and `a = b + s c` for working sets in every level of the memory hierarchy; for several threads also how far apart two
//! cores are. A round measures everything once, for
//! about a tenth of a second; benches interleave rounds with their own measurements, so that a machine that becomes slower
//! for a while becomes so for both, and [`Probes::roofline`] takes medians.
//!
//! Not here: NUMA.

mod bandwidth;
mod caches;
mod clock;
mod exchange;
mod pairs;
mod peak;

use std::fmt;

pub use bandwidth::Pattern;
pub use caches::Level;
pub use exchange::Exchange;

/// The rates of a machine for a number of threads, in units a second.
#[derive(Clone, Debug)]
pub struct Roofline {
    /// Threads that were used.
    pub threads: usize,
    /// Floating point operations in f32, a multiply-add counting as two.
    pub fma_f32: f64,
    /// The same in f64.
    pub fma_f64: f64,
    /// The same in products of pairs of bf16 numbers, and what multiplies them, where something does.
    pub pairs: Option<(&'static str, f64)>,
    /// Levels of the memory hierarchy, the nearest first.
    pub levels: Vec<LevelRates>,
    /// How far apart two of the cores are, where there are two threads.
    pub exchange: Option<Exchange>,
}

/// Bandwidths of a level: bytes that all threads together read and write in a second.
#[derive(Clone, Debug)]
pub struct LevelRates {
    /// The level.
    pub level: Level,
    /// Bandwidth of each of [`Pattern::ALL`].
    pub rates: [f64; Pattern::ALL.len()],
}

impl LevelRates {
    /// The bandwidth of the fastest pattern.
    pub fn best(&self) -> f64 {
        self.rates.iter().copied().fold(0.0, f64::max)
    }
}

impl Roofline {
    /// The level in which `bytes`, spread over the threads, find room.
    pub fn level_of(&self, bytes: u64) -> &LevelRates {
        let holds = |rates: &&LevelRates| bytes as f64 <= rates.level.room(self.threads) as f64;
        self.levels
            .iter()
            .find(holds)
            .unwrap_or_else(|| self.levels.last().expect("main memory is a level"))
    }

    /// Seconds below which no schedule brings a kernel: the longer of its arithmetic at a peak ([`fma_f32`](Self::fma_f32) or
    /// [`fma_f64`](Self::fma_f64)) and its bytes at the best bandwidth of the nearest level in which all of them find room.
    pub fn floor(&self, peak: f64, flops: u64, bytes: u64) -> f64 {
        let arithmetic = flops as f64 / peak;
        let movement = bytes as f64 / self.level_of(bytes).best();
        arithmetic.max(movement)
    }
}

impl fmt::Display for Roofline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (single, double) = (1e-9 * self.fma_f32, 1e-9 * self.fma_f64);
        writeln!(
            f,
            "{} threads: {single:.0} GFLOP/s in f32, {double:.0} in f64 (fused multiply-adds)",
            self.threads
        )?;
        if let Some((unit, rate)) = self.pairs {
            writeln!(f, "{:.0} GFLOP/s in pairs of bf16 ({unit})", 1e-9 * rate)?;
        }
        let heads = Pattern::ALL.map(|pattern| format!("{:>10}", pattern.name()));
        writeln!(f, "{:<8}{:>16}{} GB/s", "level", "bytes a thread", heads.concat())?;
        for LevelRates { level, rates } in &self.levels {
            let rates = rates.map(|rate| format!("{:>10.1}", 1e-9 * rate));
            writeln!(f, "{:<8}{:>16}{}", level.name, level.working_set, rates.concat())?;
        }
        if let Some(exchange) = self.exchange {
            writeln!(f, "between two cores: {exchange}")?;
        }
        Ok(())
    }
}

/// Floating point operations a second in f32 on the calling thread, over about a millisecond: how fast its core is just now.
#[allow(dead_code)]
pub fn fma_probe() -> f64 {
    peak::probe()
}

/// The same of tiles, where there are any: their clock is another.
#[allow(dead_code)]
pub fn tile_probe() -> Option<f64> {
    let unit = pairs::Unit::best().filter(|unit| unit.is_apart)?;
    Some(unit.probe())
}

/// Measurements for one number of threads that are under way.
pub struct Probes {
    threads: usize,
    fma_f32: Vec<f64>,
    fma_f64: Vec<f64>,
    unit: Option<pairs::Unit>,
    pairs: Vec<f64>,
    levels: Vec<(Level, bandwidth::Buffers, [Vec<f64>; Pattern::ALL.len()])>,
    exchanges: Vec<Exchange>,
}

impl Probes {
    /// Makes the buffers; nothing is measured yet.
    pub fn new(threads: usize) -> Self {
        let levels = caches::levels(threads).into_iter();
        let levels = levels.map(|level| {
            let buffers = bandwidth::Buffers::new(threads, level.working_set);
            (level, buffers, Default::default())
        });
        Self {
            threads,
            fma_f32: Vec::new(),
            fma_f64: Vec::new(),
            unit: pairs::Unit::best(),
            pairs: Vec::new(),
            levels: levels.collect(),
            exchanges: Vec::new(),
        }
    }

    /// Measures everything once more.
    pub fn round(&mut self) {
        self.fma_f32.push(peak::f32(self.threads));
        self.fma_f64.push(peak::f64(self.threads));
        if let Some(unit) = self.unit {
            self.pairs.push(unit.rate(self.threads));
        }
        for (_, buffers, samples) in &mut self.levels {
            for (pattern, samples) in Pattern::ALL.into_iter().zip(samples) {
                samples.push(buffers.measure(pattern));
            }
        }
        if self.threads > 1 {
            self.exchanges.push(exchange::measure());
        }
    }

    /// Medians of the rounds so far.
    ///
    /// # Panics
    /// Before the first round.
    pub fn roofline(&self) -> Roofline {
        let levels = self.levels.iter().map(|(level, _, samples)| LevelRates {
            level: level.clone(),
            rates: samples.each_ref().map(|samples| median(samples)),
        });
        Roofline {
            threads: self.threads,
            fma_f32: median(&self.fma_f32),
            fma_f64: median(&self.fma_f64),
            pairs: self.unit.map(|unit| (unit.name, median(&self.pairs))),
            levels: levels.collect(),
            exchange: Exchange::median(&self.exchanges),
        }
    }
}

/// The middle one of some numbers, or the mean of the two in the middle.
///
/// # Panics
/// If there is none.
pub fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len().is_multiple_of(2) {
        (sorted[half - 1] + sorted[half]) / 2.0
    } else {
        sorted[half]
    }
}
