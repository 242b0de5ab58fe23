//! Load shedding: how many requests of a service await the head of an answer, and how many may.
//!
//! A request counts from when it is sent to an endpoint until the head of the answer is received. What follows, such as a long download, a slow
//! reader or a tunnel, says nothing about how busy the service is.

use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use balance::{AdaptiveLimit, AdaptivePolicy};
use tokio::time::Instant;

use crate::admission::Rejection;
use crate::body::Upload;
use crate::service::Service;
use crate::traffic::AdaptiveState;

/// The adaptive limit of one service, if it has one; shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Shedder {
    /// 0 for none: without a limit a request costs one atomic load.
    limit: AtomicU32,
    awaiting: AtomicU32,
    controller: Mutex<Option<AdaptiveLimit>>,
}

/// The permit of a request that awaits the head of its answer. Dropping it records a failure, unless it was [answered](Self::answered).
#[derive(Debug)]
pub(crate) struct ShedPermit {
    service: Arc<Service>,
    started: Instant,
    upload: Option<Rc<Upload>>,
    is_answered: bool,
}

impl Shedder {
    /// Sets the policy. The limit found so far is kept if that has not changed.
    pub(crate) fn set_policy(&self, policy: Option<AdaptivePolicy>, now: Duration) {
        let mut controller = self.controller();
        if controller.as_ref().map(AdaptiveLimit::policy) != policy {
            *controller = policy.map(|policy| AdaptiveLimit::new(policy, now));
            self.limit.store(controller.as_ref().map_or(0, AdaptiveLimit::get), Ordering::Relaxed);
        }
    }

    /// The limit and the requests it applies to, as of now; `None` without a limit.
    pub(crate) fn adaptive(&self) -> Option<AdaptiveState> {
        let awaiting = self.awaiting.load(Ordering::Relaxed);
        let controller = self.controller();
        controller.as_ref().map(|controller| AdaptiveState {
            limit: controller.get(),
            awaiting,
            best: controller.best(),
        })
    }

    fn observe(&self, observe: impl FnOnce(&mut AdaptiveLimit)) {
        // A sample is skipped when another worker holds the lock: the median tolerates that, and no worker waits.
        let Ok(mut controller) = self.controller.try_lock() else { return };
        if let Some(controller) = controller.as_mut() {
            observe(controller);
            self.limit.store(controller.get(), Ordering::Relaxed);
        }
    }

    /// A poisoned lock has lost at most a sample.
    fn controller(&self) -> MutexGuard<'_, Option<AdaptiveLimit>> {
        self.controller.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShedPermit {
    /// Admits a request unless as many as allowed await an answer. `None` without a limit.
    pub(crate) fn take(
        service: &Arc<Service>,
        started: Instant,
        upload: Option<&Rc<Upload>>,
    ) -> Result<Option<Box<Self>>, Rejection> {
        let shedder = &service.shedder;
        let limit = shedder.limit.load(Ordering::Relaxed);
        if limit == 0 {
            return Ok(None);
        }
        let may_await = |awaiting: u32| (awaiting < limit).then_some(awaiting + 1);
        let Ok(_) = shedder.awaiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, may_await) else {
            return Err(Rejection::Saturated);
        };
        let service = Arc::clone(service);
        // Boxed, so that requests to services without a limit do not pay for its size.
        Ok(Some(Box::new(Self { service, started, upload: upload.cloned(), is_answered: false })))
    }

    /// Records that the head of a good answer was received.
    pub(crate) fn answered(mut self) {
        self.is_answered = true;
    }

    /// When the service had the complete request; `None` before. The time that a client takes to send it does not count.
    fn sent(&self) -> Option<Instant> {
        match &self.upload {
            None => Some(self.started),
            Some(upload) => upload.sent().map(|sent| sent.max(self.started)),
        }
    }
}

impl Drop for ShedPermit {
    fn drop(&mut self) {
        let shedder = &self.service.shedder;
        let awaiting = shedder.awaiting.fetch_sub(1, Ordering::Relaxed);
        debug_assert!(awaiting > 0, "more requests ended than began");
        if let Some(sent) = self.sent() {
            let now = Instant::now();
            let (at, latency) = (self.service.clock.at(now), now.saturating_duration_since(sent));
            shedder.observe(|controller| match self.is_answered {
                true => controller.observe(at, latency, awaiting),
                false => controller.observe_failure(at, latency, awaiting),
            });
        }
    }
}
