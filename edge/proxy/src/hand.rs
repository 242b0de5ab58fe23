//! Deadlines of slow clients and endpoints: one for each connection, all checked by the tick of their worker.
//!
//! A timer for each request would cost more than routing it. Instead each connection has a hand, as of a clock: it notes there what it waits
//! for and until when, counted from the last tick, and the worker checks all hands ten times a second. So deadlines are late by at most
//! two ticks.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;

use tokio::time::Instant;

/// How often a worker looks at its connections.
///
/// 10,000 connections at about 5 ns each and 10 times a second are 0.05 % of a core.
pub(crate) const TICK: Duration = Duration::from_millis(100);

/// Ticks after which a connection on which nothing comes is said to rest: half a second. Who asks again sooner is likely to go on asking.
const REST_TICKS: u8 = 5;

/// How long a client that has closed its side of the connection may wait for the next piece of its answer until it is taken to have left: a second,
/// in which nearly all answers have come. If it has left, its endpoint works that long in vain (docs/decisions/0070).
const SILENT_MAX: Duration = Duration::from_secs(1);

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The client, to begin a request.
    Idle,
    /// The client, to finish the head of its request.
    Head,
    /// The client, for the next piece of its request's body.
    Upload,
    /// The endpoint, to answer.
    Response,
    /// Either side, for the next piece of a response's body or of a tunnel.
    Stream,
    /// Something that has a deadline of its own.
    Elsewhere,
}

/// The hands of all connections of a worker.
#[derive(Debug)]
pub(crate) struct Hands {
    hands: RefCell<BTreeMap<u64, Rc<Hand>>>,
    next: Cell<u64>,
    now: Rc<Cell<Instant>>,
}

/// What one connection waits for, and until when.
#[derive(Debug)]
pub(crate) struct Hand {
    key: u64,
    stage: Cell<Stage>,
    deadline: Cell<Option<Instant>>,
    is_expired: Cell<bool>,
    /// How long the head of a request may take that ends an idle time.
    head_timeout: Cell<Duration>,
    /// Whether bytes came from the client since it became idle.
    is_touched: Cell<bool>,
    /// Whether the system has not yet taken all that the client is to get.
    has_unsent: Cell<bool>,
    /// Since when the client is known to have closed its side, and nothing was sent to it.
    silent_since: Cell<Option<Instant>>,
    /// The numbers of the latest request, and of the latest that was read to its end.
    request: Cell<u32>,
    whole_request: Cell<u32>,
    /// Ticks since the connection became idle, as long as nothing came.
    ticks_at_rest: Cell<u8>,
    /// Whether the last request came before the connection had rested from the one before it.
    comes_back_soon: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    now: Rc<Cell<Instant>>,
}

impl Hands {
    pub(crate) fn new() -> Self {
        Self { hands: RefCell::default(), next: Cell::new(0), now: Rc::new(Cell::new(Instant::now())) }
    }

    /// Adds the hand of a new connection, which has to send the head of a request in time.
    pub(crate) fn add(&self, head_timeout: Duration) -> Rc<Hand> {
        if self.is_empty() {
            // No tick came while there was nothing to watch.
            self.now.set(Instant::now());
        }
        let key = self.next.replace(self.next.get() + 1);
        let hand = Rc::new(Hand {
            key,
            stage: Cell::new(Stage::Head),
            deadline: Cell::new(None),
            is_expired: Cell::new(false),
            head_timeout: Cell::new(head_timeout),
            is_touched: Cell::new(false),
            has_unsent: Cell::new(false),
            silent_since: Cell::new(None),
            request: Cell::new(0),
            whole_request: Cell::new(0),
            ticks_at_rest: Cell::new(0),
            comes_back_soon: Cell::new(false),
            waker: RefCell::new(None),
            now: Rc::clone(&self.now),
        });
        hand.arm(Stage::Head, head_timeout);
        self.hands.borrow_mut().insert(key, Rc::clone(&hand));
        hand
    }

    pub(crate) fn remove(&self, hand: &Hand) {
        self.hands.borrow_mut().remove(&hand.key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.hands.borrow().is_empty()
    }

    /// Wakes the connections whose time is over.
    pub(crate) fn tick(&self) {
        let now = Instant::now();
        self.now.set(now);
        self.hands.borrow().values().for_each(|hand| hand.check(now));
    }

    /// Wakes every connection, to look at what changed around it.
    pub(crate) fn wake_all(&self) {
        self.hands.borrow().values().for_each(|hand| hand.wake());
    }

    /// The time of the last tick.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }
}

impl Hand {
    /// Notes what the connection waits for from now on.
    pub(crate) fn arm(&self, stage: Stage, timeout: Duration) {
        self.stage.set(stage);
        self.is_expired.set(false);
        self.deadline.set(self.now.get().checked_add(timeout + TICK));
    }

    /// Notes that the connection waits for the client to begin a request, which then has `head_timeout`.
    pub(crate) fn arm_idle(&self, timeout: Duration, head_timeout: Duration) {
        self.head_timeout.set(head_timeout);
        self.is_touched.set(false);
        self.ticks_at_rest.set(0);
        self.arm(Stage::Idle, timeout);
    }

    /// Notes that the connection waits for something that has a deadline of its own.
    pub(crate) fn disarm(&self) {
        self.stage.set(Stage::Elsewhere);
        self.is_expired.set(false);
        self.deadline.set(None);
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Whether the deadline has passed; forgets it.
    pub(crate) fn take_expired(&self) -> bool {
        self.is_expired.replace(false)
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.is_expired.get()
    }

    /// Notes that bytes came from the client.
    pub(crate) fn touch(&self) {
        self.is_touched.set(true);
    }

    /// Notes whether there is something that the system has yet to take for the client.
    pub(crate) fn set_unsent(&self, has_unsent: bool) {
        self.has_unsent.set(has_unsent);
        if has_unsent {
            self.send();
        }
    }

    /// Notes that something is sent to the client; if it has left, that fails.
    pub(crate) fn send(&self) {
        self.silent_since.set(None);
    }

    /// Whether a client that has closed its side may still wait for its answer. One that has left looks the same until something is sent to it.
    pub(crate) fn may_wait(&self) -> bool {
        let since = self.silent_since.get().unwrap_or(self.now.get());
        self.silent_since.set(Some(since));
        let is_asked = !matches!(self.stage.get(), Stage::Idle | Stage::Head);
        self.has_unsent.get() || is_asked && !self.is_silent_for_long()
    }

    fn is_silent_for_long(&self) -> bool {
        self.silent_since.get().is_some_and(|since| self.now.get().duration_since(since) >= SILENT_MAX)
    }

    /// Notes that a request has begun, of which there may be more to read. What follows has deadlines of its own.
    pub(crate) fn begin_request(&self) {
        self.disarm();
        let is_first = self.request.get() == 0;
        self.comes_back_soon.set(!is_first && !self.has_rested());
        self.request.set(self.request.get().wrapping_add(1));
    }

    /// The number of the latest request.
    pub(crate) fn request(&self) -> u32 {
        self.request.get()
    }

    /// Notes that a request was read to its end.
    pub(crate) fn end_request(&self, request: u32) {
        self.whole_request.set(request);
    }

    /// Whether the client has sent its latest request whole, has its answer whole, and has not begun another request.
    ///
    /// After a request that was answered without being read to its end, the next one could not be told from its rest.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.stage.get() == Stage::Idle
            && self.whole_request == self.request
            && !self.has_unsent.get()
            && !self.is_touched.get()
    }

    /// Whether the connection has been [at rest](Self::is_at_rest) for [`REST_TICKS`].
    pub(crate) fn has_rested(&self) -> bool {
        self.ticks_at_rest.get() >= REST_TICKS
    }

    /// Whether the latest request came right after the one before it, so that the next one is likely to come soon.
    pub(crate) fn comes_back_soon(&self) -> bool {
        self.comes_back_soon.get()
    }

    /// Remembers the task to wake.
    pub(crate) fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match waker.as_mut() {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *waker = Some(cx.waker().clone()),
        }
    }

    fn check(&self, now: Instant) {
        if self.stage.get() == Stage::Idle {
            if self.is_touched.get() {
                self.arm(Stage::Head, self.head_timeout.get());
            } else if !self.has_rested() {
                self.ticks_at_rest.set(self.ticks_at_rest.get() + 1);
                if self.has_rested() {
                    self.wake();
                }
            }
        }
        if self.deadline.get().is_some_and(|deadline| deadline <= now) {
            self.deadline.set(None);
            self.is_expired.set(true);
            self.wake();
        }
        if self.is_silent_for_long() {
            self.wake();
        }
    }

    /// Wakes the connection, to look at what changed around it.
    pub(crate) fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn who_asks_before_a_rest_comes_back_soon_until_a_rest_is_taken() {
        let hands = Hands::new();
        let hand = hands.add(LONG);
        let ask_after = |ticks: u8| {
            (0..ticks).for_each(|_| hands.tick());
            hand.begin_request();
            hand.arm_idle(LONG, LONG);
            hand.comes_back_soon()
        };
        assert!(!ask_after(0), "a first request says nothing about a next one");
        assert!(ask_after(REST_TICKS - 1));
        assert!(!ask_after(REST_TICKS));
        assert!(ask_after(0));
    }
}
