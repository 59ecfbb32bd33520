//! The loader: which samples make up which batch, and having the next batch ready in time.
//!
//! The order of an epoch is a pure function of (seed, epoch, number of samples), so a run resumes in the
//! middle of an epoch by its number and the step alone. Batches are a fixed set that goes round between a
//! background thread, which fills them, and the consumer. A batch is lent, not given: the consumer has
//! one at a time, so it cannot starve the thread, and nothing is allocated once the first epoch runs.
//!
//! ```text
//!            free batches                      filled batches
//!   consumer ------------> background thread ----------------> consumer
//! ```
//!
//! Both queues have room for the whole set, so neither side ever waits to push: the thread waits
//! only for a free batch, the consumer only for a filled one. Either side that leaves, by a panic too, closes
//! the queue that it feeds, which wakes the other.

use std::slice::Chunks;
use std::thread;

use super::dataset::Dataset;
use super::order::shuffle_epoch;
use super::queue::Queue;
use crate::error::{Error, ErrorKind, Result};

/// What happens to the samples that do not fill a batch at the end of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LastBatch {
    Keep,
    Drop,
}

/// Iterates a data set in batches, epoch after epoch.
///
/// Without further options, the samples come in the order of the data set, the last batch of an epoch
/// may be short, and two batches are prepared ahead by a background thread.
///
/// ```
/// use ndarray::Array1;
/// use tapeless_runtime::data::{Arrays, Batch, Loader};
///
/// let data = Arrays::new((Array1::from_iter(0..10),))?;
/// let mut loader = Loader::new(&data, 4)?.shuffle(42);
/// let mut sum = 0;
/// loader.epoch(0, |batches| {
///     while let Some(batch) = batches.next()? {
///         let (numbers,) = batch.views();
///         sum += numbers.sum();
///     }
///     Ok(())
/// })?;
/// assert_eq!((loader.n_batches(), sum), (3, 45));
/// # Ok::<(), tapeless_runtime::Error>(())
/// ```
#[derive(Debug)]
pub struct Loader<D: Dataset> {
    data: D,
    batch_size: usize,
    last: LastBatch,
    shuffle_seed: Option<u64>,
    n_prefetch: usize,
    /// The order of the epoch, kept for its memory.
    order: Vec<usize>,
    /// The batches, between epochs.
    pool: Vec<D::Batch>,
}

impl<D: Dataset> Loader<D> {
    /// A loader of batches of `batch_size` samples.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the batch size is 0.
    pub fn new(data: D, batch_size: usize) -> Result<Self> {
        if batch_size == 0 {
            return Err(Error::config("the batch size is 0, expected at least 1"));
        }
        Ok(Self {
            data,
            batch_size,
            last: LastBatch::Keep,
            shuffle_seed: None,
            n_prefetch: 2,
            order: Vec::new(),
            pool: Vec::new(),
        })
    }

    /// Visits the samples of each epoch in an order of its own, given by (seed, epoch).
    #[must_use]
    pub fn shuffle(mut self, seed: u64) -> Self {
        self.shuffle_seed = Some(seed);
        self
    }

    /// Leaves out the samples at the end of an epoch that do not fill a batch.
    #[must_use]
    pub fn drop_last(mut self) -> Self {
        self.last = LastBatch::Drop;
        self
    }

    /// Prepares this many batches ahead on a background thread; with 0, each batch is filled when it is
    /// asked for, without a thread. The batches are the same.
    #[must_use]
    pub fn prefetch(mut self, n_batches: usize) -> Self {
        self.n_prefetch = n_batches;
        self.pool.clear();
        self
    }

    /// The data set.
    pub fn dataset(&self) -> &D {
        &self.data
    }

    /// The number of samples in every batch but perhaps the last.
    pub fn batch_size(&self) -> usize {
        self.batch_size
    }

    /// The number of batches in an epoch.
    pub fn n_batches(&self) -> usize {
        match self.last {
            LastBatch::Keep => self.data.len().div_ceil(self.batch_size),
            LastBatch::Drop => self.data.len() / self.batch_size,
        }
    }

    /// Runs `consume` with the batches of an epoch.
    ///
    /// # Errors
    ///
    /// What `consume` returns; errors of the data set reach it through [`Batches::next`]. Also those of
    /// [`epoch_from`](Self::epoch_from).
    pub fn epoch<R>(
        &mut self,
        epoch: u64,
        consume: impl FnOnce(&mut Batches<'_, D>) -> Result<R>,
    ) -> Result<R> {
        self.epoch_from(epoch, 0, consume)
    }

    /// Runs `consume` with the batches of an epoch from number `first` on, as a resumed run does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Index`] if there are fewer than `first` batches in an epoch; [`ErrorKind::Io`] if the
    /// background thread cannot be started; what [`Dataset::empty_batch`] returns; and what `consume`
    /// returns.
    pub fn epoch_from<R>(
        &mut self,
        epoch: u64,
        first: usize,
        consume: impl FnOnce(&mut Batches<'_, D>) -> Result<R>,
    ) -> Result<R> {
        let n_batches = self.n_batches();
        if first > n_batches {
            let message = format!("cannot start an epoch of {n_batches} batches at batch {first}");
            return Err(Error::new(ErrorKind::Index, message)
                .hint("resume with the data set and the batch size of the interrupted run"));
        }
        self.set_order(epoch);
        self.fill_pool(n_batches - first)?;
        let end = n_batches.saturating_mul(self.batch_size).min(self.order.len());
        // `first * batch_size` cannot exceed `end` except for a last, short batch that is already done.
        let start = first.saturating_mul(self.batch_size).min(end);
        let chunks = self.order[start..end].chunks(self.batch_size);
        match self.n_prefetch {
            0 => direct(&self.data, chunks, first, &mut self.pool, consume),
            _ => prefetched(&self.data, chunks, first, &mut self.pool, consume),
        }
    }

    fn set_order(&mut self, epoch: u64) {
        let n_samples = self.data.len();
        match self.shuffle_seed {
            Some(seed) => shuffle_epoch(n_samples, seed, epoch, &mut self.order),
            None => {
                self.order.clear();
                self.order.extend(0..n_samples);
            }
        }
    }

    /// Makes the batches that go round: those ahead and the one in the consumer's hands.
    fn fill_pool(&mut self, n_left: usize) -> Result<()> {
        let n_wanted = self.n_prefetch.saturating_add(1).min(n_left);
        while self.pool.len() < n_wanted {
            self.pool
                .push(self.data.empty_batch(self.batch_size.min(self.data.len()))?);
        }
        Ok(())
    }
}

/// The batches of an epoch, lent one at a time.
///
/// Not an [`Iterator`]: that would let a caller keep several batches, of which there is a fixed number.
#[derive(Debug)]
pub struct Batches<'a, D: Dataset> {
    source: Source<'a, D>,
    current: Option<D::Batch>,
    n_done: usize,
    n_left: usize,
}

#[derive(Debug)]
enum Source<'a, D: Dataset> {
    /// Filled on demand.
    Direct { data: &'a D, chunks: Chunks<'a, usize> },
    /// Filled by a background thread.
    Prefetched {
        filled: &'a Queue<Result<D::Batch>>,
        free: &'a Queue<D::Batch>,
    },
}

impl<D: Dataset> Batches<'_, D> {
    /// The next batch, or `None` at the end of the epoch. The one before it is taken back.
    ///
    /// # Errors
    ///
    /// What [`Dataset::batch`] returned for this batch; the epoch ends with it.
    #[expect(
        clippy::should_implement_trait,
        reason = "a lending iterator cannot implement `Iterator`"
    )]
    pub fn next(&mut self) -> Result<Option<&D::Batch>> {
        if self.n_left == 0 {
            return Ok(None);
        }
        let filled = match &mut self.source {
            Source::Direct { data, chunks } => fill(*data, chunks.next(), self.current.take()),
            Source::Prefetched { filled, free } => {
                if let Some(done) = self.current.take() {
                    free.push(done);
                }
                filled
                    .pop()
                    .unwrap_or_else(|| Err(Error::internal("the thread that reads data has died")))
            }
        };
        match filled {
            Ok(batch) => {
                self.n_left -= 1;
                self.n_done += 1;
                Ok(Some(self.current.insert(batch)))
            }
            Err(error) => {
                self.n_left = 0;
                Err(error.context(format!("batch {}", self.n_done)))
            }
        }
    }

    /// The number of batches of the epoch that were handed out, those before the start included.
    pub fn n_done(&self) -> usize {
        self.n_done
    }

    /// The number of batches to come.
    pub fn n_left(&self) -> usize {
        self.n_left
    }
}

/// Fills a batch with a chunk of the order.
fn fill<D: Dataset>(data: &D, indices: Option<&[usize]>, batch: Option<D::Batch>) -> Result<D::Batch> {
    match (indices, batch) {
        (Some(indices), Some(mut batch)) => data.batch(indices, &mut batch).map(|()| batch),
        _ => Err(Error::internal("the loader has lost a batch")),
    }
}

fn direct<D: Dataset, R>(
    data: &D,
    chunks: Chunks<'_, usize>,
    n_done: usize,
    pool: &mut Vec<D::Batch>,
    consume: impl FnOnce(&mut Batches<'_, D>) -> Result<R>,
) -> Result<R> {
    let n_left = chunks.len();
    let mut batches = Batches {
        source: Source::Direct { data, chunks },
        current: pool.pop(),
        n_done,
        n_left,
    };
    let result = consume(&mut batches);
    pool.extend(batches.current);
    result
}

fn prefetched<D: Dataset, R>(
    data: &D,
    chunks: Chunks<'_, usize>,
    n_done: usize,
    pool: &mut Vec<D::Batch>,
    consume: impl FnOnce(&mut Batches<'_, D>) -> Result<R>,
) -> Result<R> {
    let n_left = chunks.len();
    let (free, filled) = (Queue::with_capacity(pool.len()), Queue::with_capacity(pool.len()));
    pool.drain(..).for_each(|batch| free.push(batch));
    let result = thread::scope(|scope| {
        let stop = free.close_on_drop();
        let thread = thread::Builder::new()
            .name("tapeless-data".into())
            .spawn_scoped(scope, || fill_all(data, chunks, &free, &filled))
            .map_err(|error| Error::from(error).context("cannot start the thread that reads data"))?;
        let source = Source::Prefetched {
            filled: &filled,
            free: &free,
        };
        let mut batches = Batches {
            source,
            current: None,
            n_done,
            n_left,
        };
        let result = consume(&mut batches);
        pool.extend(batches.current);
        // Without free batches and the prospect of more, the thread finishes the one in its hands.
        pool.extend(free.drain());
        drop(stop);
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        result
    });
    pool.extend(free.drain());
    pool.extend(filled.drain().into_iter().flatten());
    result
}

/// The background thread: fills free batches until the order or the consumer ends, or a batch fails.
fn fill_all<D: Dataset>(
    data: &D,
    chunks: Chunks<'_, usize>,
    free: &Queue<D::Batch>,
    filled: &Queue<Result<D::Batch>>,
) {
    let _end = filled.close_on_drop();
    for indices in chunks {
        let Some(batch) = free.pop() else { break };
        let result = fill(data, Some(indices), Some(batch));
        let failed = result.is_err();
        filled.push(result);
        if failed {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::batch::{Batch, BatchArray};
    use super::super::dataset::Arrays;
    use super::*;
    use ndarray::{Array1, Ix1};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn numbers(n: usize) -> Arrays<(Array1<usize>,)> {
        Arrays::new((Array1::from_iter(0..n),)).unwrap()
    }

    type Numbers = (BatchArray<usize, Ix1>,);

    fn collect<D: Dataset<Batch = Numbers>>(
        loader: &mut Loader<D>,
        epoch: u64,
        first: usize,
    ) -> Vec<Vec<usize>> {
        let mut all = Vec::new();
        loader
            .epoch_from(epoch, first, |batches| {
                while let Some(batch) = batches.next()? {
                    all.push(batch.views().0.to_vec());
                    assert_eq!(batches.n_done(), first + all.len());
                }
                assert_eq!(batches.n_left(), 0);
                assert!(batches.next()?.is_none());
                Ok(())
            })
            .unwrap();
        all
    }

    #[test]
    fn keeps_or_drops_the_short_last_batch() {
        for prefetch in [0, 1, 2, 7] {
            let mut keep = Loader::new(numbers(10), 4).unwrap().prefetch(prefetch);
            assert_eq!(
                collect(&mut keep, 0, 0),
                [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]
            );
            let mut drop = Loader::new(numbers(10), 4)
                .unwrap()
                .drop_last()
                .prefetch(prefetch);
            assert_eq!(collect(&mut drop, 0, 0), [[0, 1, 2, 3], [4, 5, 6, 7]]);
            assert_eq!((keep.n_batches(), drop.n_batches()), (3, 2));
        }
    }

    #[test]
    fn order_depends_on_seed_and_epoch_alone() {
        let loader = |seed, prefetch| {
            Loader::new(numbers(100), 7)
                .unwrap()
                .shuffle(seed)
                .prefetch(prefetch)
        };
        let first = collect(&mut loader(1, 2), 3, 0);
        assert_eq!(collect(&mut loader(1, 0), 3, 0), first);
        assert_ne!(collect(&mut loader(2, 2), 3, 0), first);
        let mut used = loader(1, 2);
        assert_ne!(collect(&mut used, 4, 0), first);
        assert_eq!(collect(&mut used, 3, 0), first);
        let mut all = first.concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..100));
    }

    #[test]
    fn resumes_at_any_batch() {
        for prefetch in [0, 2] {
            let mut loader = Loader::new(numbers(23), 5).unwrap().shuffle(9).prefetch(prefetch);
            let whole = collect(&mut loader, 1, 0);
            for first in 0..=5 {
                assert_eq!(collect(&mut loader, 1, first), whole[first..]);
            }
            let error = loader.epoch_from(1, 6, |_| Ok(())).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Index);
        }
    }

    #[test]
    fn the_same_batches_go_round() {
        let mut loader = Loader::new(numbers(50), 4).unwrap().prefetch(2);
        let mut places = std::collections::BTreeSet::new();
        for epoch in 0..5 {
            loader
                .epoch(epoch, |batches| {
                    while let Some(batch) = batches.next()? {
                        places.insert(batch.0.as_slice().as_ptr() as usize);
                        if batches.n_done() == 7 && epoch == 2 {
                            break;
                        }
                    }
                    Ok(())
                })
                .unwrap();
            assert_eq!(loader.pool.len(), 3);
        }
        assert!(places.len() <= 3, "{} different batches", places.len());
    }

    #[test]
    fn leaving_midway_never_hangs() {
        for prefetch in 0..4 {
            let mut loader = Loader::new(numbers(1000), 1).unwrap().prefetch(prefetch);
            for n_taken in 0..6 {
                let taken = loader.epoch(0, |batches| {
                    for _ in 0..n_taken {
                        batches.next()?;
                    }
                    Ok(batches.n_done())
                });
                assert_eq!(taken.unwrap(), n_taken);
            }
            let stopped = loader.epoch(0, |_| -> Result<()> {
                Err(Error::new(ErrorKind::Callback, "stop"))
            });
            assert_eq!(stopped.unwrap_err().to_string(), "stop");
        }
    }

    #[test]
    fn errors_of_the_data_set_end_the_epoch() {
        let failing = |(x,): &mut Numbers| match x.as_slice().contains(&5) {
            true => Err(Error::format("five is missing")),
            false => Ok(()),
        };
        for prefetch in [0, 1, 3] {
            let mut loader = Loader::new(numbers(20).map_in_place(failing), 2)
                .unwrap()
                .prefetch(prefetch);
            let mut n_read = 0;
            for _ in 0..2 {
                let result = loader.epoch(0, |batches| {
                    while batches.next()?.is_some() {
                        n_read += 1;
                    }
                    Ok(())
                });
                assert_eq!(result.unwrap_err().to_string(), "batch 2: five is missing");
            }
            assert_eq!(n_read, 4);
            let after = loader.epoch(0, |batches| {
                while batches.next().is_ok() {}
                batches.next().map(|batch| batch.is_none())
            });
            assert!(after.unwrap());
        }
    }

    #[test]
    fn a_panic_of_the_data_set_reaches_the_caller() {
        let panicking = |(x,): &mut Numbers| -> Result<()> {
            assert!(!x.as_slice().contains(&5), "five");
            Ok(())
        };
        let mut loader = Loader::new(numbers(20).map_in_place(panicking), 2).unwrap();
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| collect(&mut loader, 0, 0)));
        assert!(caught.is_err());
    }

    #[test]
    fn works_ahead_but_not_further_than_asked() {
        let n_filled = AtomicUsize::new(0);
        let counted = numbers(100).map_in_place(|_| {
            n_filled.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        let mut loader = Loader::new(counted, 1).unwrap().prefetch(3);
        loader
            .epoch(0, |batches| {
                batches.next()?;
                // One is in our hands, three are ahead: wait for the thread to get there, and no further.
                while n_filled.load(Ordering::SeqCst) < 4 {
                    thread::yield_now();
                }
                thread::sleep(std::time::Duration::from_millis(20));
                assert_eq!(n_filled.load(Ordering::SeqCst), 4);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn odd_sizes() {
        assert_eq!(Loader::new(numbers(3), 0).unwrap_err().kind(), ErrorKind::Config);
        let mut huge = Loader::new(numbers(3), usize::MAX).unwrap();
        assert_eq!(collect(&mut huge, 0, 0), [[0, 1, 2]]);
        assert_eq!(collect(&mut huge.drop_last(), 0, 0), Vec::<Vec<usize>>::new());
        let mut empty = Loader::new(numbers(0), 4).unwrap().shuffle(1);
        assert_eq!(collect(&mut empty, 0, 0), Vec::<Vec<usize>>::new());
    }
}
