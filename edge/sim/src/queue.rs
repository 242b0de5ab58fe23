//! The queue of future events, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::time::Time;

/// Future events, earliest first; events at the same time in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry>>,
    /// What the entries stand for: those are moved about in the heap, and what happens is large.
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    put_in: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Time,
    order: u64,
    slot: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), put_in: 0 }
    }

    pub(crate) fn put(&mut self, at: Time, what: T) {
        self.put_in += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(what);
        self.heap.push(Reverse(Entry { at, order: self.put_in, slot }));
    }

    /// When the next thing happens.
    pub(crate) fn next_at(&self) -> Option<Time> {
        self.heap.peek().map(|Reverse(entry)| entry.at)
    }

    pub(crate) fn take(&mut self) -> Option<(Time, T)> {
        let Reverse(Entry { at, slot, .. }) = self.heap.pop()?;
        self.free.push(slot);
        Some((at, self.slots[slot].take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_of_one_moment_happen_in_the_order_in_which_they_were_put_in() {
        let mut queue = Queue::new();
        let at = Time::from_millis;
        for (ms, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            queue.put(at(ms), what);
        }
        let taken: String = std::iter::from_fn(|| queue.take()).map(|(_, what)| what).collect();
        assert_eq!(taken, "abcd");
    }
}
