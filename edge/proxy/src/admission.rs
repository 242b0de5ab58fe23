//! Admission of requests: how many a service has in flight, and may have.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::service::{Service, Snapshot};

/// Counts the requests in flight of a service, but only if they are limited: a counter that all workers write has a cost.
#[derive(Debug, Default)]
pub(crate) struct InFlightCounter {
    count: AtomicU32,
}

/// Why a request is answered 503 instead of being sent to an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// As many requests as allowed are in flight.
    Full,
    /// More requests awaiting an answer would slow down all of them.
    Saturated,
}

/// The permit of an admitted request, which is released on drop.
#[derive(Debug)]
pub(crate) struct InFlightPermit {
    limited: Option<Arc<Service>>,
}

impl InFlightPermit {
    pub(crate) fn take(service: &Arc<Service>, snapshot: &Snapshot) -> Result<Self, Rejection> {
        let Some(max) = snapshot.limits.in_flight else {
            return Ok(Self { limited: None });
        };
        let before = service.requests_in_flight.count.fetch_add(1, Ordering::Relaxed);
        let permit = Self { limited: Some(Arc::clone(service)) };
        if before < max.get() { Ok(permit) } else { Err(Rejection::Full) }
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        if let Some(service) = &self.limited {
            service.requests_in_flight.count.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Rejection {
    /// The message for the client.
    pub(crate) fn message(self) -> &'static str {
        match self {
            Self::Full => "The service has as many requests in flight as it may have; try again.",
            Self::Saturated => "The service has more requests than it can answer in good time; try again.",
        }
    }
}
