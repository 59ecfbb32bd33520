//! Where a model computes: a [`Device`] holds the threads and the instruction set.
//!
//! A device is cheap to clone; its clones share one team of threads, which starts with the first model that is
//! made on it. Results never depend on the number of threads, only (in the last bits) on the instruction set.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use crate::cpu::isa::Isa;
use crate::cpu::threads::Team;
use crate::error::{Error, ErrorKind, Result};

/// The processor that a model computes on.
///
/// ```
/// use tapeless_runtime::Device;
/// use tapeless_runtime::cpu::isa::Isa;
///
/// let device = Device::cpu().threads(2).path(Isa::Portable);
/// assert_eq!(device.to_string(), "cpu (2 threads, portable)");
/// ```
#[derive(Clone)]
pub struct Device {
    /// How many threads were asked for; as many as the system runs at once where none were.
    n_threads: Option<usize>,
    isa: Isa,
    binding: Binding,
    team: Arc<OnceLock<Arc<Team>>>,
}

/// Where the system may run the threads of a device.
#[derive(Copy, Clone, PartialEq, Eq)]
enum Binding {
    /// Wherever it likes.
    Free,
    /// Each but the caller's on a core of its own.
    Bound,
}

impl Device {
    /// The CPU, with as many threads as the system lets this process run at once and the most capable
    /// instruction set.
    pub fn cpu() -> Self {
        Self {
            n_threads: None,
            isa: Isa::best(),
            binding: Binding::Free,
            team: Arc::default(),
        }
    }

    /// The same device with `n` threads, the caller's included. The same bits come out for every number.
    ///
    /// A number that the system refuses (0, or too many) is an error of the first model that is made on it.
    #[must_use]
    pub fn threads(self, n: usize) -> Self {
        Self {
            n_threads: Some(n),
            team: Arc::default(),
            ..self
        }
    }

    /// The same device with each of its threads but the caller's bound to a core of its own, of those that the process may use; the
    /// first of them is left to the caller, whose thread is not bound. For machines that do nothing else: where another program runs
    /// as well, a thread that may not move waits for its core. Linux only.
    ///
    /// Fewer cores than threads, or a system that binds no threads, is an error of the first model that is made on it.
    ///
    /// ```no_run
    /// use tapeless_runtime::Device;
    ///
    /// let device = Device::cpu().threads(8).bound();
    /// assert_eq!(device.to_string(), "cpu (8 threads, bound, avx512)");
    /// ```
    #[must_use]
    pub fn bound(self) -> Self {
        Self {
            binding: Binding::Bound,
            team: Arc::default(),
            ..self
        }
    }

    /// The same device with another instruction set, to reproduce results of a smaller processor.
    #[must_use]
    pub fn path(self, isa: Isa) -> Self {
        Self { isa, ..self }
    }

    /// The number of threads, the caller's included.
    pub fn n_threads(&self) -> usize {
        let started = self.team.get().map(|team| team.threads());
        // Asking the system reads files: only where the answer matters.
        let system = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        started.or(self.n_threads).unwrap_or_else(system)
    }

    /// The instruction set.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// The threads, started now if they were not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] for 0 threads, [`ErrorKind::Device`] if the system refuses them.
    pub(crate) fn team(&self) -> Result<Arc<Team>> {
        if let Some(team) = self.team.get() {
            return Ok(Arc::clone(team));
        }
        let n_threads = NonZeroUsize::new(self.n_threads())
            .ok_or_else(|| Error::config("a device with 0 threads cannot compute, expected at least 1"))?;
        let started = match self.binding {
            Binding::Free => Team::new(n_threads),
            Binding::Bound => Team::bound(n_threads),
        };
        let team = started.map_err(|error| {
            let message = format!("{n_threads} threads could not be started: {error}");
            Error::new(ErrorKind::Device, message).with_source(error)
        })?;
        Ok(Arc::clone(self.team.get_or_init(|| Arc::new(team))))
    }
}

impl Default for Device {
    fn default() -> Self {
        Self::cpu()
    }
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_threads = self.n_threads();
        let plural = if n_threads == 1 { "" } else { "s" };
        let bound = match self.binding {
            Binding::Free => "",
            Binding::Bound => ", bound",
        };
        write!(f, "cpu ({n_threads} thread{plural}{bound}, {})", self.isa)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device::{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_threads_and_other_numbers_do_not() {
        let device = Device::cpu().threads(2);
        let (team, again) = (device.team().unwrap(), device.clone().team().unwrap());
        assert!(Arc::ptr_eq(&team, &again));
        assert_eq!(team.threads(), 2);
        let other = device.threads(3).team().unwrap();
        assert_eq!(other.threads(), 3);
    }

    #[test]
    fn more_bound_threads_than_cores_is_an_error() {
        let device = Device::cpu().threads(5000).bound();
        let error = device.team().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert!(error.to_string().contains("bound"), "{error}");
        assert!(device.to_string().starts_with("cpu (5000 threads, bound, "));
    }

    #[test]
    fn no_threads_is_an_error() {
        let error = Device::cpu().threads(0).team().err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("expected at least 1"));
    }
}
