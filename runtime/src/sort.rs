//! The one sort of what runs rarely.
//!
//! The standard library's sort is compiled anew for every type and every order, each time some twenty functions. Here numbers are
//! sorted by an order that is called through a pointer, which is compiled once; what they are numbers of stays where it is.

use std::cmp::Ordering;

/// The numbers below `n` in an order, equal ones ascending.
pub(crate) fn sorted(n: usize, compare: &dyn Fn(usize, usize) -> Ordering) -> Vec<usize> {
    let mut numbers: Vec<usize> = (0..n).collect();
    numbers.sort_by(|a, b| compare(*a, *b));
    numbers
}
