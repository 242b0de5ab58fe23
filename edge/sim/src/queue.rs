//! The queue of future events, in the order of time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::time::Time;

/// Future events, earliest first; events at the same time in the order in which they were added.
#[derive(Debug)]
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Reverse<Entry>>,
    /// The events themselves, outside of the heap: they are large, and the heap moves its entries.
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    added: u64,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    at: Time,
    order: u64,
    slot: usize,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), added: 0 }
    }

    pub(crate) fn put(&mut self, at: Time, item: T) {
        self.added += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(item);
        self.heap.push(Reverse(Entry { at, order: self.added, slot }));
    }

    /// When the next event happens.
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
    fn simultaneous_events_keep_the_order_in_which_they_were_added() {
        let mut queue = Queue::new();
        let at = Time::from_millis;
        for (ms, item) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            queue.put(at(ms), item);
        }
        let taken: String = std::iter::from_fn(|| queue.take()).map(|(_, item)| item).collect();
        assert_eq!(taken, "abcd");
    }
}
