//! Timeouts of slow clients and endpoints: one timer for each connection, all checked by the tick of their worker.
//!
//! A timer of the runtime for each request would cost more than routing it. Instead each connection has a [`Timer`] of its own, in which it
//! notes what it waits for and until when, counted from the last tick. The worker checks all timers ten times a second, so that deadlines are
//! late by at most two ticks.

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

/// Ticks for which an idle connection stays set up: half a second. A client that sends its next request sooner is likely to send more.
const IDLE_TICKS: u8 = 5;

/// How long a half-closed connection may wait for the next piece of its answer before its client counts as gone: a second, in which nearly
/// all answers arrive. If the client is gone, its endpoint works in vain for that long (docs/decisions/0070).
const HALF_CLOSED_MAX: Duration = Duration::from_secs(1);

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
    Disarmed,
}

/// The timers of all connections of a worker.
#[derive(Debug)]
pub(crate) struct Timers {
    timers: RefCell<BTreeMap<u64, Rc<Timer>>>,
    next: Cell<u64>,
    now: Rc<Cell<Instant>>,
}

/// What one connection waits for, and until when.
#[derive(Debug)]
pub(crate) struct Timer {
    key: u64,
    stage: Cell<Stage>,
    deadline: Cell<Option<Instant>>,
    is_expired: Cell<bool>,
    /// How long the head of a request may take that ends an idle time.
    head_timeout: Cell<Duration>,
    /// Whether bytes came from the client since it became idle.
    has_received: Cell<bool>,
    /// Whether there are bytes for the client that the system has not accepted yet.
    has_unsent: Cell<bool>,
    /// Since when the client is known to have closed its side without anything having been sent to it.
    half_closed_since: Cell<Option<Instant>>,
    /// The numbers of the latest request, and of the latest one that was read to its end.
    request: Cell<u32>,
    complete_request: Cell<u32>,
    /// Ticks since the connection became idle, while nothing was received.
    idle_ticks: Cell<u8>,
    /// Whether the last request came within [`IDLE_TICKS`] after the one before it.
    comes_back_soon: Cell<bool>,
    waker: RefCell<Option<Waker>>,
    now: Rc<Cell<Instant>>,
}

impl Timers {
    pub(crate) fn new() -> Self {
        Self { timers: RefCell::default(), next: Cell::new(0), now: Rc::new(Cell::new(Instant::now())) }
    }

    /// Adds the timer of a new connection, which has to send the head of a request in time.
    pub(crate) fn add(&self, head_timeout: Duration) -> Rc<Timer> {
        if self.is_empty() {
            // There are no ticks while there are no timers.
            self.now.set(Instant::now());
        }
        let key = self.next.replace(self.next.get() + 1);
        let timer = Rc::new(Timer {
            key,
            stage: Cell::new(Stage::Head),
            deadline: Cell::new(None),
            is_expired: Cell::new(false),
            head_timeout: Cell::new(head_timeout),
            has_received: Cell::new(false),
            has_unsent: Cell::new(false),
            half_closed_since: Cell::new(None),
            request: Cell::new(0),
            complete_request: Cell::new(0),
            idle_ticks: Cell::new(0),
            comes_back_soon: Cell::new(false),
            waker: RefCell::new(None),
            now: Rc::clone(&self.now),
        });
        timer.arm(Stage::Head, head_timeout);
        self.timers.borrow_mut().insert(key, Rc::clone(&timer));
        timer
    }

    pub(crate) fn remove(&self, timer: &Timer) {
        self.timers.borrow_mut().remove(&timer.key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.timers.borrow().is_empty()
    }

    /// Wakes the connections whose deadline has passed.
    pub(crate) fn tick(&self) {
        let now = Instant::now();
        self.now.set(now);
        self.timers.borrow().values().for_each(|timer| timer.check(now));
    }

    /// Wakes every connection, so that it notices what has changed.
    pub(crate) fn wake_all(&self) {
        self.timers.borrow().values().for_each(|timer| timer.wake());
    }

    /// The time of the last tick.
    pub(crate) fn now(&self) -> Instant {
        self.now.get()
    }
}

impl Timer {
    /// Starts the timeout of what the connection waits for from now on.
    pub(crate) fn arm(&self, stage: Stage, timeout: Duration) {
        self.stage.set(stage);
        self.is_expired.set(false);
        self.deadline.set(self.now.get().checked_add(timeout + TICK));
    }

    /// Starts the timeout of an idle connection. Once a request begins, its head has `head_timeout`.
    pub(crate) fn arm_idle(&self, timeout: Duration, head_timeout: Duration) {
        self.head_timeout.set(head_timeout);
        self.has_received.set(false);
        self.idle_ticks.set(0);
        self.arm(Stage::Idle, timeout);
    }

    /// Stops the timeout: the connection waits for something that has a deadline of its own.
    pub(crate) fn disarm(&self) {
        self.stage.set(Stage::Disarmed);
        self.is_expired.set(false);
        self.deadline.set(None);
    }

    pub(crate) fn stage(&self) -> Stage {
        self.stage.get()
    }

    /// Whether the deadline has passed; resets that.
    pub(crate) fn take_expired(&self) -> bool {
        self.is_expired.replace(false)
    }

    pub(crate) fn is_expired(&self) -> bool {
        self.is_expired.get()
    }

    /// Notes that bytes came from the client.
    pub(crate) fn note_received(&self) {
        self.has_received.set(true);
    }

    /// Notes whether there are bytes for the client that the system has not taken yet.
    pub(crate) fn set_unsent(&self, has_unsent: bool) {
        self.has_unsent.set(has_unsent);
        if has_unsent {
            self.note_sent();
        }
    }

    /// Notes that something is sent to the client, which fails if it is gone.
    pub(crate) fn note_sent(&self) {
        self.half_closed_since.set(None);
    }

    /// Whether a client that has closed its side may still wait for its answer. One that is gone looks the same until something is sent to it.
    pub(crate) fn tolerates_half_close(&self) -> bool {
        let since = self.half_closed_since.get().unwrap_or(self.now.get());
        self.half_closed_since.set(Some(since));
        let has_request = !matches!(self.stage.get(), Stage::Idle | Stage::Head);
        self.has_unsent.get() || has_request && !self.is_half_closed_too_long()
    }

    fn is_half_closed_too_long(&self) -> bool {
        self.half_closed_since
            .get()
            .is_some_and(|since| self.now.get().duration_since(since) >= HALF_CLOSED_MAX)
    }

    /// Notes that a request has begun, of which there may be more to read. What follows has timeouts of its own.
    pub(crate) fn begin_request(&self) {
        self.disarm();
        let is_first = self.request.get() == 0;
        self.comes_back_soon.set(!is_first && !self.has_idled());
        self.request.set(self.request.get().wrapping_add(1));
    }

    /// The number of the latest request.
    pub(crate) fn request(&self) -> u32 {
        self.request.get()
    }

    /// Notes that a request was read to its end.
    pub(crate) fn end_request(&self, request: u32) {
        self.complete_request.set(request);
    }

    /// Whether the latest request was not read to its end.
    pub(crate) fn is_in_request(&self) -> bool {
        self.complete_request != self.request
    }

    /// Whether the client has sent its latest request completely, has its complete answer, and has not begun another request.
    ///
    /// Never true after a request that was answered before it was read to its end: its rest could not be distinguished from the next request.
    pub(crate) fn is_idle(&self) -> bool {
        self.stage.get() == Stage::Idle
            && !self.is_in_request()
            && !self.has_unsent.get()
            && !self.has_received.get()
    }

    /// Whether the connection has been [idle](Self::is_idle) for [`IDLE_TICKS`].
    pub(crate) fn has_idled(&self) -> bool {
        self.idle_ticks.get() >= IDLE_TICKS
    }

    /// Whether the latest request came soon after the one before it, so that the next one is likely to do so, too.
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
            if self.has_received.get() {
                self.arm(Stage::Head, self.head_timeout.get());
            } else if !self.has_idled() {
                self.idle_ticks.set(self.idle_ticks.get() + 1);
                if self.has_idled() {
                    self.wake();
                }
            }
        }
        if self.deadline.get().is_some_and(|deadline| deadline <= now) {
            self.deadline.set(None);
            self.is_expired.set(true);
            self.wake();
        }
        if self.is_half_closed_too_long() {
            self.wake();
        }
    }

    /// Wakes the connection, so that it notices what has changed.
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
    fn a_client_is_expected_back_soon_if_its_last_two_requests_were_close() {
        let timers = Timers::new();
        let timer = timers.add(LONG);
        let request_after = |ticks: u8| {
            (0..ticks).for_each(|_| timers.tick());
            timer.begin_request();
            timer.arm_idle(LONG, LONG);
            timer.comes_back_soon()
        };
        assert!(!request_after(0), "a first request does not predict the next one");
        assert!(request_after(IDLE_TICKS - 1));
        assert!(!request_after(IDLE_TICKS));
        assert!(request_after(0));
    }
}
