//! Products of matrices by ours and three other crates, for `products.py`.
//!
//! ```text
//! product_rivals work --library ours --threads 1      ours, gemm, faer or matrixmultiply; takes orders
//! ```
//!
//! An order is a line, the answer a line of JSON: `product M N K LAYOUT SECONDS` multiplies for so long, at least once, and tells
//! how many milliseconds each product took (`ms`); `sum` gives the sum of the last result, by which everybody's are compared. A
//! layout is two letters, `n` for a factor that lies row by row and `t` for one that lies column by column.

mod libraries;

use std::io::Write;
use std::time::Instant;

use libraries::{Layout, Library, Operands};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

fn main() -> Result<()> {
    let mut library = String::from("ours");
    let mut threads = 1;
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("work") => {}
        other => return Err(format!("expected the command `work`, found {other:?}").into()),
    }
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{option} has no value"))?;
        match option.as_str() {
            "--library" => library = value,
            "--threads" => threads = value.parse()?,
            _ => return Err(format!("there is no option {option}").into()),
        }
    }
    serve(&Library::new(&library, threads)?)
}

/// Answers orders until the input ends.
fn serve(library: &Library) -> Result<()> {
    say(&json!({ "rival": library.name() }))?;
    let mut operands = Operands::default();
    for line in std::io::stdin().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["product", m, n, k, layout, seconds] => {
                operands.prepare([m.parse()?, n.parse()?, k.parse()?], Layout::read(layout)?);
                let ms = timed(seconds.parse()?, || library.multiply(&mut operands));
                say(&json!({ "ms": ms }))?;
            }
            ["sum"] => say(&json!({ "sum": operands.sum() }))?,
            _ => return Err(format!("not an order: {line}").into()),
        }
    }
    Ok(())
}

fn say(answer: &Value) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

/// Milliseconds of each call in so many seconds, of one at least. Products that are short are taken in packs, so that reading the clock
/// does not count.
fn timed(seconds: f64, mut call: impl FnMut()) -> Vec<f64> {
    let began = Instant::now();
    call();
    let once = began.elapsed().as_secs_f64();
    let pack = (2e-5 / once).clamp(1.0, 1e4) as usize;
    let (began, mut times) = (Instant::now(), Vec::new());
    while times.is_empty() || began.elapsed().as_secs_f64() < seconds {
        let start = Instant::now();
        (0..pack).for_each(|_| call());
        times.push(1e3 * start.elapsed().as_secs_f64() / pack as f64);
    }
    times
}
