//! Requests that wait for an endpoint to become ready: how long, and how many.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use balance::Tried;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::local::LocalService;

/// The first pause before endpoints that refused are tried again. Each further one is twice as long, up to [`PAUSE_MAX`]. A process that was
/// just started listens after about this time.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(160);

/// How long a request may still wait for an endpoint.
#[derive(Debug)]
pub(crate) struct EndpointWait {
    deadline: Instant,
    pause: Duration,
}

/// What to do when a pause is over and nothing has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PauseEnd {
    TryAgain,
    GiveUp,
}

/// Why a request does not wait any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitError {
    TooLong,
    TooMany,
    Closing,
}

impl EndpointWait {
    pub(crate) fn new(whole: Duration) -> Self {
        let now = Instant::now();
        Self { deadline: now.checked_add(whole).unwrap_or(now), pause: PAUSE_MIN }
    }

    /// Waits until there may be an endpoint with the `port` to try: after a change, or after a pause if some have refused. Notifies `awaited` first.
    pub(crate) async fn wait(
        &mut self,
        local: &LocalService,
        port: Option<&str>,
        awaited: &Notify,
        tried: &Tried,
    ) -> Result<(), WaitError> {
        let service = &local.service;
        let _place = Place::take(&service.waiting, local.snapshot().waiting_max)?;
        awaited.notify_one();
        let changed = service.changed.notified();
        tokio::pin!(changed);
        // Registered before the endpoints are checked again, so that no change in between is missed.
        changed.as_mut().enable();
        if service.is_closing() {
            return Err(WaitError::Closing);
        }
        if tried.is_empty() && local.has_endpoint(port) {
            return Ok(());
        }
        let (pause, end) = self.next_pause(tried)?;
        match (tokio::time::timeout(pause, changed).await, end) {
            (Ok(()), _) | (Err(_), PauseEnd::TryAgain) => Ok(()),
            (Err(_), PauseEnd::GiveUp) => Err(WaitError::TooLong),
        }
    }

    /// How long to wait now. Endpoints that refused are tried again after a short pause; without any, only a change helps.
    fn next_pause(&mut self, tried: &Tried) -> Result<(Duration, PauseEnd), WaitError> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(WaitError::TooLong);
        }
        if tried.is_empty() || left <= self.pause {
            return Ok((left, PauseEnd::GiveUp));
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(PAUSE_MAX);
        Ok((pause, PauseEnd::TryAgain))
    }
}

impl WaitError {
    /// The message for the client.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::TooLong => "No endpoint of the service became ready in time; try again.",
            Self::TooMany => {
                "No endpoint of the service is ready and too many requests wait for one; try again."
            }
            Self::Closing => "The service was removed.",
        }
    }
}

/// The permit of a waiting request, which is released on drop.
#[derive(Debug)]
struct Place<'a>(&'a AtomicU32);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicU32, max: u32) -> Result<Self, WaitError> {
        let place = Self(waiting);
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        if before >= max { Err(WaitError::TooMany) } else { Ok(place) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
