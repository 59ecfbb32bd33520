//! The form of `tests/random`: the first texts as modules that rustc compiles, and the numbers that they must give.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::answer::{Answers, answers};
use super::source;

/// Seeds of the texts that are compiled for real.
pub const COMPILED: std::ops::Range<u64> = 0..20;

/// How the files are written anew.
pub const COMMAND: &str = "cargo test -p tapeless_macros write_the_random_models -- --ignored";

const HEADER: &str = "\
//! Random models: the first texts that the compiler's own tests draw (`macros/src/oracle/source`). They are not edited by hand:
//! `cargo test -p tapeless_macros write_the_random_models -- --ignored` writes this file and the numbers in `expected`.
";

/// The folder of the files.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/random")
}

/// The file of numbers of a seed, in [`folder`].
pub fn expected_file(seed: u64) -> String {
    format!("expected/seed_{seed:02}.txt")
}

/// The text of `models.rs`, as rustfmt leaves it.
pub fn models() -> String {
    let mut text = HEADER.to_owned();
    for seed in COMPILED {
        let source = source(seed);
        let mut module = "use tapeless::prelude::*;\n".to_owned();
        for (name, value) in &source.constants {
            write!(module, "\nconst {name}: usize = {value};\n").expect("strings can be written to");
        }
        for item in &source.items {
            write!(module, "\n#[model]\n{item}").expect("strings can be written to");
        }
        let lines: String = module
            .lines()
            .map(|line| match line {
                "" => "\n".to_owned(),
                line => format!("    {line}\n"),
            })
            .collect();
        write!(text, "\npub mod seed_{seed:02} {{\n{lines}}}\n").expect("strings can be written to");
    }
    text
}

/// The answers of a seed, one a line: name, shape, elements with all digits that an f64 has.
pub fn expected(seed: u64) -> String {
    let answers = answers(&source(seed));
    let line = |(name, tensor): (&String, &crate::oracle::tensor::Tensor)| {
        let numbers: Vec<String> = tensor.numbers().iter().map(|v| format!("{v:?}")).collect();
        format!("{name} {:?}: {}\n", tensor.shape(), numbers.join(" "))
    };
    answers.iter().map(line).collect()
}

/// Why a file of numbers does not hold these answers, if it does not. Elementary functions differ in the last bits from one
/// platform's mathematical library to another's.
pub fn difference(file: &str, answers: &Answers) -> Option<String> {
    let mut lines = file.lines();
    for (name, want) in answers {
        let line = lines.next().unwrap_or_default();
        let Some((head, numbers)) = line.split_once(':') else {
            return Some(format!("nothing about `{name}`"));
        };
        if head != format!("{name} {:?}", want.shape()) {
            return Some(format!("`{head}` instead of `{name}`"));
        }
        let got: Result<Vec<f64>, _> = numbers.split_whitespace().map(str::parse).collect();
        let want = want.numbers();
        let is_near = got.is_ok_and(|got| {
            got.len() == want.len()
                && got
                    .iter()
                    .zip(&want)
                    .all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs()))
        });
        if !is_near {
            return Some(format!("other numbers of `{name}`"));
        }
    }
    lines.next().map(|line| format!("more than is computed: {line}"))
}
