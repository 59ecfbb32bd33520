//! How fast the core is just now: the rate of fused multiply-adds over a millisecond.

// The rest of the roofline is for the other benches.
#[allow(dead_code)]
#[path = "../../../roofline/mod.rs"]
mod roofline;

use serde_json::json;

use crate::Result;

/// Answers every line with the rate of the core on which this process runs.
pub fn serve() -> Result<()> {
    for line in std::io::stdin().lines() {
        line?;
        println!("{}", json!({ "gflops": 1e-9 * roofline::fma_probe() }));
    }
    Ok(())
}
