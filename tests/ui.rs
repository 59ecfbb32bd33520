//! Compile errors: every case of `tests/ui/<class>/` fails with exactly the message beside it.
//!
//! A `.stderr` file is only ever written by `TRYBUILD=overwrite cargo test --test ui`, then read.

#[test]
fn mistakes_are_explained() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*/*.rs");
}
