//! What the integration tests share. A test takes what it needs with `mod common;`.

pub mod fixture;
pub mod reference;
