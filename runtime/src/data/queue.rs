//! A blocking queue between two threads that allocates only when it is made.
//!
//! The channels of the standard library allocate when a thread blocks on them for the first time, which can
//! be in the middle of training; a mutex and a condition variable never do.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue of at most as many items as it was made for, which ends when one side closes it.
#[derive(Debug)]
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    /// An empty queue with room for `capacity` items; pushing more is correct but allocates.
    pub(super) fn with_capacity(capacity: usize) -> Self {
        let items = VecDeque::with_capacity(capacity);
        Self {
            state: Mutex::new(State { items, closed: false }),
            changed: Condvar::new(),
        }
    }

    /// Appends an item, without waiting.
    pub(super) fn push(&self, item: T) {
        self.lock().items.push_back(item);
        self.changed.notify_one();
    }

    /// Takes the oldest item; waits for one until the queue is closed, and then returns `None`.
    pub(super) fn pop(&self) -> Option<T> {
        let waiting = |state: &mut State<T>| state.items.is_empty() && !state.closed;
        let state = self.changed.wait_while(self.lock(), waiting);
        state.unwrap_or_else(PoisonError::into_inner).items.pop_front()
    }

    /// Takes all items, without waiting.
    pub(super) fn drain(&self) -> VecDeque<T> {
        std::mem::take(&mut self.lock().items)
    }

    /// Closes the queue when the result is dropped, so that a panic on one side cannot leave the other
    /// waiting.
    pub(super) fn close_on_drop(&self) -> CloseOnDrop<'_, T> {
        CloseOnDrop(self)
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while it holds the lock, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See [`Queue::close_on_drop`].
pub(super) struct CloseOnDrop<'a, T>(&'a Queue<T>);

impl<T> Drop for CloseOnDrop<'_, T> {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn items_come_in_order_and_before_the_end() {
        let queue = Queue::with_capacity(3);
        (0..3).for_each(|i| queue.push(i));
        drop(queue.close_on_drop());
        assert_eq!(
            [queue.pop(), queue.pop(), queue.pop(), queue.pop()],
            [Some(0), Some(1), Some(2), None]
        );
    }

    #[test]
    fn closing_wakes_the_other_side_even_in_a_panic() {
        let queue = Queue::<u8>::with_capacity(1);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| queue.pop());
            let panicking = scope.spawn(|| {
                let _close = queue.close_on_drop();
                panic!("on purpose");
            });
            assert!(panicking.join().is_err());
            assert_eq!(waiting.join().unwrap(), None);
        });
    }

    #[test]
    fn two_threads_exchange_every_item() {
        let (there, back) = (Queue::with_capacity(4), Queue::with_capacity(4));
        thread::scope(|scope| {
            scope.spawn(|| {
                let _close = back.close_on_drop();
                while let Some(item) = there.pop() {
                    back.push(2 * item);
                }
            });
            let close = there.close_on_drop();
            for i in 0..1000_u32 {
                there.push(i);
                assert_eq!(back.pop(), Some(2 * i));
            }
            drop(close);
            assert_eq!(back.pop(), None);
            assert!(there.drain().is_empty());
        });
    }
}
