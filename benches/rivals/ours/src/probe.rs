//! How fast the core is just now: the rate of fused multiply-adds over a millisecond, and that of tiles where there are any.

// The rest of the roofline is for the other benches.
#[allow(dead_code)]
#[path = "../../../roofline/mod.rs"]
mod roofline;

use serde_json::json;

use crate::Result;

/// Answers every line with the rates of the core on which this process runs.
pub fn serve() -> Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        let rates: Vec<f64> = [Some(roofline::fma_probe()), roofline::tile_probe()]
            .into_iter()
            .flatten()
            .map(|rate| 1e-9 * rate)
            .collect();
        println!("{}", json!({ "gflops": rates }));
    }
    Ok(())
}
