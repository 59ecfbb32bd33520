//! The tasks of a job, shared out among the threads of a team.
//!
//! Every thread has a run of neighbouring tasks, the same one for every job of as many tasks, which it takes from the front; when it
//! has none left it takes others' from the back. So as long as kernels number their tasks along the rows of a batch, a thread finds in
//! its own cache what it wrote in the kernel before. Where cores share no cache (two dies of a processor, as virtual cores may be
//! without saying so) numbers from another core take twice as long to read; and where one core is slower, the others help it out.
//!
//! Invariant: from one [`share_out`](Shares::share_out) to the next, every task is given out at most once, and exactly once if threads
//! ask until there is none.

use std::sync::atomic::{AtomicU64, Ordering};

/// The tasks that each thread still has.
pub(super) struct Shares(Box<[Share]>);

/// Tasks `first..end` of one thread, as `first + end * 2^32`: `first` only grows, `end` only shrinks, so that no value comes twice
/// and a comparison of the whole is one of the state. A line of the cache for each, and the one that is fetched with it.
#[repr(align(128))]
struct Share(AtomicU64);

impl Share {
    fn split(share: u64) -> (u64, u64) {
        (share & u64::from(u32::MAX), share >> 32)
    }

    /// Takes a task, after which `rest` of what was there is left.
    fn take(&self, rest: impl Fn(u64, u64) -> (u64, u64)) -> Option<(u64, u64)> {
        // No more than the value itself is passed on here: what a task reads and writes is ordered by the gate.
        let update = |share| {
            let (first, end) = Self::split(share);
            (first < end)
                .then(|| rest(first, end))
                .map(|(first, end)| first | end << 32)
        };
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update);
        taken.ok().map(Self::split)
    }
}

impl Shares {
    /// The most tasks of a job.
    pub(super) const MAX_TASKS: usize = u32::MAX as usize;

    /// No tasks for so many threads.
    pub(super) fn new(threads: usize) -> Self {
        Self((0..threads).map(|_| Share(AtomicU64::new(0))).collect())
    }

    /// Shares out tasks `0..tasks`, at most [`MAX_TASKS`](Self::MAX_TASKS). Thread 0 gets a task if any thread does.
    pub(super) fn share_out(&self, tasks: usize) {
        let (tasks, threads) = (tasks as u64, self.0.len() as u64);
        let mut first = 0;
        for (thread, share) in (1..).zip(&self.0) {
            let end = (thread * tasks).div_ceil(threads);
            share.0.store(first | end << 32, Ordering::Relaxed);
            first = end;
        }
    }

    /// The next task for a thread.
    pub(super) fn next(&self, thread: usize) -> Option<usize> {
        let (others, own) = (&self.0[thread + 1..], &self.0[thread]);
        let own = own.take(|first, end| (first + 1, end)).map(|(first, _)| first);
        let task = own.or_else(|| {
            let mut others = others.iter().chain(&self.0[..thread]);
            others.find_map(|other| other.take(|first, end| (first, end - 1)).map(|(_, end)| end - 1))
        });
        task.map(|task| task as usize)
    }

    /// Gives up all tasks that were not given out.
    pub(super) fn give_up(&self) {
        for share in &self.0 {
            share.take(|_, end| (end, end));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(threads: usize, tasks: usize) -> Shares {
        let shares = Shares::new(threads);
        shares.share_out(tasks);
        shares
    }

    #[test]
    fn a_thread_takes_its_own_in_order_and_others_from_behind() {
        let shares = shared(2, 7);
        let taken: Vec<usize> = (0..5).map_while(|_| shares.next(0)).collect();
        assert_eq!(taken, [0, 1, 2, 3, 6]);
        let rest: Vec<usize> = (0..5).map_while(|_| shares.next(1)).collect();
        assert_eq!(rest, [4, 5]);
        assert_eq!(shares.next(0), None);
    }

    #[test]
    fn every_task_is_given_out_once_and_the_first_thread_is_never_left_out() {
        for threads in 1..6 {
            for tasks in 0..40 {
                let shares = shared(threads, tasks);
                let mut taken: Vec<usize> = (0..).map_while(|k| shares.next((k * k) % threads)).collect();
                assert_eq!(taken.first(), (tasks > 0).then_some(&0));
                taken.sort_unstable();
                assert_eq!(taken, (0..tasks).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_is_given_up_is_gone_until_tasks_are_shared_out_again() {
        let shares = shared(3, 10);
        shares.next(1);
        shares.give_up();
        assert_eq!((0..3).find_map(|thread| shares.next(thread)), None);
        shares.share_out(1);
        assert_eq!((shares.next(2), shares.next(0)), (Some(0), None));
    }

    #[test]
    fn the_most_tasks_are_shared_without_overlap() {
        let shares = shared(2, Shares::MAX_TASKS);
        assert_eq!(shares.next(0), Some(0));
        assert_eq!(shares.next(1), Some(Shares::MAX_TASKS.div_ceil(2)));
    }
}
