//! Memory that tells whether it may have changed.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::Storage;

/// Memory with a number that changes whenever somebody borrows it for writing. No two that may differ have the same number: a copy
/// shares it until one of the two is written to.
///
/// The number is drawn when it is asked for: steps of training write much and never ask, and drawing takes as long as a small kernel.
#[derive(Debug)]
pub(crate) struct Versioned {
    storage: Storage,
    /// [`UNKNOWN`] since the last borrow for writing, until somebody asks.
    version: AtomicU64,
}

/// No number was drawn yet.
const UNKNOWN: u64 = 0;

impl Versioned {
    pub(crate) fn new(storage: Storage) -> Self {
        Self {
            storage,
            version: AtomicU64::new(UNKNOWN),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        let version = self.version.load(Ordering::Relaxed);
        if version != UNKNOWN {
            return version;
        }
        let drawn = next();
        let kept = self
            .version
            .compare_exchange(UNKNOWN, drawn, Ordering::Relaxed, Ordering::Relaxed);
        // Whoever was first has named it.
        kept.err().unwrap_or(drawn)
    }

    #[inline]
    pub(crate) fn get(&self) -> &Storage {
        &self.storage
    }

    #[inline]
    pub(crate) fn get_mut(&mut self) -> &mut Storage {
        *self.version.get_mut() = UNKNOWN;
        &mut self.storage
    }
}

impl Clone for Versioned {
    fn clone(&self) -> Self {
        Self {
            storage: self.storage.clone(),
            version: AtomicU64::new(self.version()),
        }
    }
}

/// A number that was never given out before.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(UNKNOWN + 1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_shared_by_what_is_equal_alone() {
        let mut a = Versioned::new(Storage::zeroed(64));
        let mut b = a.clone();
        assert_eq!(a.version(), b.version());
        assert_ne!(a.version(), Versioned::new(Storage::zeroed(64)).version());
        let _ = b.get_mut();
        assert_ne!(a.version(), b.version());
        let of_b = b.version();
        let _ = a.get_mut();
        assert_ne!(a.version(), of_b);
    }
}
