//! Which cores a thread may run on.
//!
//! Only Linux is asked (`sched_getaffinity(2)`, `sched_setaffinity(2)`); elsewhere both functions are an error of kind
//! [`Unsupported`](std::io::ErrorKind::Unsupported).
//!
//! Not here: which thread gets which core ([`Team`](super::threads::Team) decides).

use std::io;

/// Numbers of the cores that this thread may run on, ascending.
///
/// # Errors
/// If the system does not tell.
pub fn allowed() -> io::Result<Vec<usize>> {
    system::allowed()
}

/// Binds this thread to one core from now on.
///
/// # Errors
/// If there is no such core, or this thread may not run on it.
pub fn bind(core: usize) -> io::Result<()> {
    system::bind(core)
}

#[cfg(target_os = "linux")]
mod system {
    use std::ffi::c_int;
    use std::io;

    const BITS: usize = u64::BITS as usize;

    /// A set of cores as the system takes it: bit `i % 64` of word `i / 64` stands for core `i`. As large as the C library's own.
    type Cores = [u64; 1024 / BITS];

    const NO_CORE: Cores = [0; 1024 / BITS];

    unsafe extern "C" {
        fn sched_getaffinity(thread: c_int, bytes: usize, cores: *mut Cores) -> c_int;
        fn sched_setaffinity(thread: c_int, bytes: usize, cores: *const Cores) -> c_int;
    }

    /// The thread that calls.
    const SELF: c_int = 0;

    pub(super) fn allowed() -> io::Result<Vec<usize>> {
        let mut cores = NO_CORE;
        // SAFETY: the function of the C library writes at most as many bytes as it is told, all of which are `cores`; any bits are
        // a valid value.
        match unsafe { sched_getaffinity(SELF, size_of::<Cores>(), &mut cores) } {
            0 => Ok((0..BITS * cores.len())
                .filter(|core| cores[core / BITS] >> (core % BITS) & 1 == 1)
                .collect()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    pub(super) fn bind(core: usize) -> io::Result<()> {
        let mut cores = NO_CORE;
        let word = cores
            .get_mut(core / BITS)
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        *word = 1 << (core % BITS);
        // SAFETY: the function of the C library reads as many bytes as it is told, all of which are `cores`.
        match unsafe { sched_setaffinity(SELF, size_of::<Cores>(), &cores) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::io;

    fn unsupported<T>() -> io::Result<T> {
        let message = "threads can be bound to cores on Linux only";
        Err(io::Error::new(io::ErrorKind::Unsupported, message))
    }

    pub(super) fn allowed() -> io::Result<Vec<usize>> {
        unsupported()
    }

    pub(super) fn bind(_core: usize) -> io::Result<()> {
        unsupported()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// In a thread of its own, for the thread of a test harness may be used again.
    #[test]
    fn a_bound_thread_may_run_on_that_core_alone() {
        let cores = allowed().unwrap();
        let last = *cores.last().unwrap();
        let inside = std::thread::spawn(move || {
            bind(last).unwrap();
            allowed().unwrap()
        });
        assert_eq!(inside.join().unwrap(), [last]);
        assert_eq!(allowed().unwrap(), cores);
    }

    #[test]
    fn a_core_that_is_not_there_is_an_error() {
        assert!(bind(1023).is_err());
        assert!(bind(1 << 20).is_err());
    }
}
