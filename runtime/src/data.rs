//! Data sets: files, arrays in memory, and the loader that turns them into batches.

mod bytes;
pub mod idx;
