//! Memory that tells whether it may have changed.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::arena::Storage;

/// Memory with a number that changes whenever somebody borrows it for writing. No two that may differ have the same number: a copy
/// shares it until one of the two is written to.
#[derive(Clone, Debug)]
pub(crate) struct Versioned {
    storage: Storage,
    version: u64,
}

impl Versioned {
    pub(crate) fn new(storage: Storage) -> Self {
        Self {
            storage,
            version: next(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn get(&self) -> &Storage {
        &self.storage
    }

    pub(crate) fn get_mut(&mut self) -> &mut Storage {
        self.version = next();
        &mut self.storage
    }
}

/// A number that was never given out before.
fn next() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
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
