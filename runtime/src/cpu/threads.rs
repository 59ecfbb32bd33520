//! The threads of a CPU device: [`Team`], which runs numbered tasks in parallel.
//!
//! A training step is a few hundred kernel calls of some microseconds each, so that handing out work must
//! cost no allocation and, while work keeps coming, no system call: idle workers spin for a moment before
//! they sleep.
//!
//! Invariants:
//!
//! - [`Team::run`] calls its closure exactly once for each task number (unless a task panics) and returns
//!   only when no call is running any more; the memory safety of this file rests on it.
//! - Which thread runs a task is left to chance (`shares.rs` says how chance is helped), and nothing else is.
//!   Kernels make their results independent of the number of threads by cutting their work into tasks by
//!   shape alone.
//! - No allocation after [`Team::new`].
//!
//! Not here: choosing chunk sizes (kernels do), reductions over chunks, work that waits for other tasks (it
//! may never start: a team of one runs tasks one after the other).
//!
//! # The protocol
//!
//! One word, the gate, says which job is offered (`epoch`), whether it still may be joined (`OPEN`) and how
//! many workers have joined. The caller writes the job while the gate is shut and empty, opens it, takes part
//! itself until no task is left, shuts it, and waits for those inside to leave. A worker that
//! comes late finds the gate shut and never looks at the job, so the caller never waits for a worker that the
//! system has not woken yet.

mod chunks;
mod shares;

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::fmt::{self, Debug, Formatter};
use std::io;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::affinity;
use shares::Shares;

/// A fixed set of threads that run numbered tasks together with whoever calls [`run`](Team::run).
///
/// Dropping the team ends its threads.
///
/// ```
/// use std::num::NonZeroUsize;
/// use tapeless_runtime::cpu::threads::Team;
///
/// let team = Team::new(NonZeroUsize::new(4).unwrap())?;
/// let mut squares = [0; 10];
/// team.chunks_mut(&mut squares, 3, |i, chunk| {
///     for (j, x) in chunk.iter_mut().enumerate() {
///         *x = (3 * i + j) * (3 * i + j);
///     }
/// });
/// assert_eq!(squares, [0, 1, 4, 9, 16, 25, 36, 49, 64, 81]);
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Team {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
}

/// What the caller and the workers have in common.
struct Shared {
    /// `epoch * EPOCH + joined * JOINED + (0 or OPEN)`.
    gate: AtomicU64,
    /// The job on offer: written only by the holder of `turn`, while the gate is shut and nobody inside.
    job: UnsafeCell<Job>,
    /// The tasks that have not been handed out.
    shares: Shares,
    /// Taken by the thread whose job this is.
    turn: AtomicBool,
    /// The first panic of a task of the present job.
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// How many workers sleep on `wake`, or are about to.
    sleepers: AtomicUsize,
    /// Guards nothing but the decisions to sleep, on `wake` and on `done`.
    bed: Mutex<()>,
    wake: Condvar,
    /// Whether the caller sleeps on `done`, or is about to.
    caller_sleeps: AtomicBool,
    done: Condvar,
    shutdown: AtomicBool,
}

/// A closure whose lifetime has been erased.
#[derive(Clone, Copy)]
struct Job(&'static (dyn Fn(usize) + Sync));

impl Job {
    const NONE: Job = Job(&|_| ());
}

/// Number of the thread whose job it is; those of workers follow.
const CALLER: usize = 0;

// SAFETY: the only field that is not `Sync` by itself is `job`. It is written by the holder of `turn` while
// the gate is shut and empty, and read only by a thread that has joined through the open gate (whose
// exchange synchronises with the opening store) or by the holder of `turn` itself; so no write is
// concurrent with any other access. `Job` is `Copy` and holds a `Sync` reference.
unsafe impl Sync for Shared {}

const OPEN: u64 = 1;
const JOINED: u64 = 2;
const JOINED_MASK: u64 = 0xfffe;
const EPOCH: u64 = 0x1_0000;
/// The most workers that the gate can count.
const MAX_WORKERS: usize = (JOINED_MASK / JOINED) as usize;

/// How long an idle thread looks for work before it sleeps: longer than the pause between two kernels of a
/// training step, shorter than anybody would notice in an idle process.
const PATIENCE: Duration = Duration::from_micros(50);

/// Bytes of a worker's stack. Kernels keep what they pack there, up to 1 MiB in f64, so that a step allocates nothing; the calling
/// thread, which takes tasks as well, needs as much.
const STACK: usize = 4 << 20;

thread_local! {
    /// Whether this thread is running a task of some team, so that a nested job must run where it is.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

impl Team {
    /// A team of `threads` threads: the one that calls [`run`](Team::run), and `threads - 1` workers.
    ///
    /// Returns when all workers run: a thread allocates while it starts, and no later call may.
    ///
    /// # Errors
    ///
    /// If the system refuses a thread, or if more than 32,768 are asked for.
    pub fn new(threads: NonZeroUsize) -> io::Result<Team> {
        Self::start(threads.get() - 1, |_| None)
    }

    /// As [`new`](Self::new), with every worker bound to a core of its own. The first of the cores that the calling thread may run on
    /// is left to whoever calls, who stays free to run on any.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new), and if there are fewer cores than threads or the system binds no threads.
    pub fn bound(threads: NonZeroUsize) -> io::Result<Team> {
        let cores = affinity::allowed()?;
        if cores.len() < threads.get() {
            let message = format!(
                "{threads} threads cannot be bound to {} core(s), one to each",
                cores.len()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Self::start(threads.get() - 1, |i| Some(cores[i + 1]))
    }

    /// A team with so many workers, each on the core that is named for its number, if one is.
    fn start(n_workers: usize, core: impl Fn(usize) -> Option<usize>) -> io::Result<Team> {
        if n_workers > MAX_WORKERS {
            let (most, asked) = (MAX_WORKERS + 1, n_workers + 1);
            let message = format!("a team has at most {most} threads, not {asked}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let mut team = Team {
            shared: Arc::new(Shared::new(n_workers + 1)),
            workers: Vec::with_capacity(n_workers),
        };
        let (started, starts) = mpsc::channel();
        for i in 0..n_workers {
            let core = core(i);
            let (shared, started) = (Arc::clone(&team.shared), started.clone());
            let name = format!("tapeless-{}", i + 1);
            // On an error `team` is dropped, which ends the workers that did start.
            team.workers.push(
                std::thread::Builder::new()
                    .name(name)
                    .stack_size(STACK)
                    .spawn(move || {
                        let ready = core.map_or(Ok(()), affinity::bind);
                        // Nobody listens if the system refused a later thread.
                        let _ = started.send(ready);
                        drop(started);
                        shared.work(i + 1);
                    })?,
            );
        }
        for _ in 0..n_workers {
            starts.recv().expect("every worker says that it runs")?;
        }
        Ok(team)
    }

    /// A team of the caller alone: it runs every task inline.
    pub fn serial() -> Team {
        Team {
            shared: Arc::new(Shared::new(1)),
            workers: Vec::new(),
        }
    }

    /// The number of threads, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `body(i)` once for each `i` in `0..tasks`, in any order and on any thread, and returns when all
    /// calls have returned.
    ///
    /// Runs on the caller's thread alone if there is one task or one thread, if the caller is itself inside a
    /// task, or if another thread is using the team at the moment. If a task panics, tasks that have not
    /// started are given up and the (first) panic continues on the caller's thread.
    pub fn run(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) {
        let alone = tasks <= 1 || tasks > Shares::MAX_TASKS || self.workers.is_empty() || INSIDE.get();
        if alone || self.shared.turn.swap(true, Ordering::Acquire) {
            return (0..tasks).for_each(body);
        }
        let outcome = self.shared.run(tasks, body);
        self.shared.turn.store(false, Ordering::Release);
        if let Some(panic) = outcome {
            resume_unwind(panic);
        }
    }
}

impl Debug for Team {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Team")
            .field("threads", &self.threads())
            .finish_non_exhaustive()
    }
}

impl Drop for Team {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::SeqCst);
        drop(self.shared.lock_bed());
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // Workers catch the panics of tasks, so that there is nothing to hear from them here.
            let _ = worker.join();
        }
    }
}

impl Shared {
    fn new(threads: usize) -> Shared {
        Shared {
            gate: AtomicU64::new(0),
            job: UnsafeCell::new(Job::NONE),
            shares: Shares::new(threads),
            turn: AtomicBool::new(false),
            panic: Mutex::new(None),
            sleepers: AtomicUsize::new(0),
            bed: Mutex::new(()),
            wake: Condvar::new(),
            caller_sleeps: AtomicBool::new(false),
            done: Condvar::new(),
            shutdown: AtomicBool::new(false),
        }
    }

    /// Runs a job to its end, as the holder of `turn`; gives the first panic of its tasks.
    fn run(&self, tasks: usize, body: &(dyn Fn(usize) + Sync)) -> Option<Box<dyn Any + Send>> {
        // SAFETY: only the lifetime changes. The reference is used by this function and by workers that
        // joined the gate, and `leave_none_inside` below returns only after the gate is shut and the last of
        // them has left; nothing on the way there can unwind (`take_tasks` catches panics of tasks), so
        // `body` outlives every use.
        let body: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(body) };
        let job = Job(body);
        // SAFETY: this is the holder of `turn`, and the gate is shut and empty: it starts so, and each holder
        // leaves it so.
        unsafe { self.set_job(job) };
        self.shares.share_out(tasks);
        let epoch = self.gate.load(Ordering::Relaxed) & !(JOINED_MASK | OPEN);
        self.gate
            .store(epoch.wrapping_add(EPOCH) | OPEN, Ordering::SeqCst);
        self.wake_workers(tasks - 1);
        self.take_tasks(job, CALLER);
        self.leave_none_inside();
        // SAFETY: as above. No reference to what the caller may now free is left behind.
        unsafe { self.set_job(Job::NONE) };
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Replaces the job on offer.
    ///
    /// # Safety
    ///
    /// The caller holds `turn`, and the gate is shut and empty.
    unsafe fn set_job(&self, job: Job) {
        // SAFETY: by contract nobody else reads or writes now; see `unsafe impl Sync for Shared`.
        unsafe { *self.job.get() = job };
    }

    /// Wakes as many sleeping workers as there are tasks for.
    fn wake_workers(&self, tasks: usize) {
        // Both sides are sequentially consistent: either a worker that counts itself a sleeper sees the new
        // epoch and stays awake, or this load sees the worker; and taking `bed` waits until it really sleeps.
        let sleepers = self.sleepers.load(Ordering::SeqCst);
        if sleepers > 0 {
            drop(self.lock_bed());
            for _ in 0..sleepers.min(tasks) {
                self.wake.notify_one();
            }
        }
    }

    /// Runs tasks until none is left, as the thread of this number. Never unwinds.
    fn take_tasks(&self, job: Job, thread: usize) {
        INSIDE.set(true);
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            while let Some(task) = self.shares.next(thread) {
                (job.0)(task);
            }
        }));
        INSIDE.set(false);
        if let Err(panic) = outcome {
            // What has not started never will.
            self.shares.give_up();
            let mut first = self.panic.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_none() {
                *first = Some(panic);
            } else {
                // Dropping the payload could panic in its turn, and this function must not.
                std::mem::forget(panic);
            }
        }
    }

    /// Shuts the gate and waits until every worker that joined has left.
    fn leave_none_inside(&self) {
        // Acquire: what the workers wrote before they left is visible from here on.
        let mut gate = self.gate.fetch_and(!OPEN, Ordering::AcqRel) & !OPEN;
        let mut start = None;
        while gate & JOINED_MASK != 0 {
            if start.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
                std::hint::spin_loop();
            } else {
                self.sleep_until_empty();
            }
            gate = self.gate.load(Ordering::Acquire);
        }
    }

    /// Sleeps until the gate is empty; the last worker to leave wakes the caller.
    fn sleep_until_empty(&self) {
        let mut bed = self.lock_bed();
        self.caller_sleeps.store(true, Ordering::SeqCst);
        while self.gate.load(Ordering::SeqCst) & JOINED_MASK != 0 {
            bed = self.done.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        self.caller_sleeps.store(false, Ordering::Relaxed);
    }

    /// The life of a worker with this number.
    fn work(&self, thread: usize) {
        let mut seen = 0;
        while let Some(gate) = self.wait_for_new_epoch(seen) {
            seen = gate & !(JOINED_MASK | OPEN);
            if self.join(gate) {
                // SAFETY: this thread has joined, so that the holder of `turn` does not write until it has
                // left; the exchange in `join` synchronises with the store that opened the gate.
                let job = unsafe { *self.job.get() };
                self.take_tasks(job, thread);
                self.leave();
            }
        }
    }

    /// Tries to join the job that is on offer at `gate`; fails once it has been shut.
    fn join(&self, mut gate: u64) -> bool {
        let epoch = gate & !(JOINED_MASK | OPEN);
        while gate & OPEN != 0 && gate & !(JOINED_MASK | OPEN) == epoch {
            match self
                .gate
                .compare_exchange_weak(gate, gate + JOINED, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => gate = now,
            }
        }
        false
    }

    /// Leaves the job, and wakes the caller if it sleeps and nobody else is inside.
    fn leave(&self) {
        let before = self.gate.fetch_sub(JOINED, Ordering::SeqCst);
        let empty = before & JOINED_MASK == JOINED;
        if empty && before & OPEN == 0 && self.caller_sleeps.load(Ordering::SeqCst) {
            drop(self.lock_bed());
            self.done.notify_one();
        }
    }

    /// Waits until the gate shows an epoch other than `seen`, and returns it; `None` at the team's end.
    fn wait_for_new_epoch(&self, seen: u64) -> Option<u64> {
        let start = Instant::now();
        let news = || {
            let gate = self.gate.load(Ordering::SeqCst);
            (gate & !(JOINED_MASK | OPEN) != seen).then_some(gate)
        };
        while start.elapsed() < PATIENCE {
            if let Some(gate) = news() {
                return Some(gate);
            }
            std::hint::spin_loop();
        }
        let mut bed = self.lock_bed();
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let woken = loop {
            if self.shutdown.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(gate) = news() {
                break Some(gate);
            }
            bed = self.wake.wait(bed).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        woken
    }

    fn lock_bed(&self) -> MutexGuard<'_, ()> {
        self.bed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
