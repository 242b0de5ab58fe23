//! The endpoints that were tried for one plain TCP connection or UDP session.
//!
//! As long as no byte was forwarded, another endpoint can be tried without loss when one refuses.

use std::cell::Cell;

use balance::{Body, Failure, Phase, PickError, Repeatability, Retry, Tried};

use crate::endpoint::{Endpoint, InFlight};
use crate::local::LocalService;

/// Which endpoints have refused so far.
#[derive(Debug)]
pub(crate) struct EndpointAttempts<'a> {
    local: &'a LocalService,
    pub(crate) tried: Tried,
    count: u8,
}

impl<'a> EndpointAttempts<'a> {
    /// Nothing was tried yet.
    pub(crate) fn new(local: &'a LocalService) -> Self {
        Self { local, tried: Tried::NONE, count: 0 }
    }

    /// Chooses an endpoint that has not refused yet. `key` is for consistent hashing; `was_attempted` says whether an endpoint was chosen before.
    pub(crate) fn next(
        &mut self,
        key: impl Fn() -> u64,
        was_attempted: &Cell<bool>,
    ) -> Result<InFlight, PickError> {
        let in_flight = self.local.choose(&self.tried, None, key, self.local.service.clock.now())?;
        self.count += 1;
        self.local.count_elsewhere(in_flight.endpoint(), was_attempted);
        Ok(in_flight)
    }

    /// Counts that an endpoint has refused; returns whether another one may be tried.
    pub(crate) fn may_try_another(&mut self, endpoint: &Endpoint) -> bool {
        let shards = self.local.shards_of(endpoint);
        shards.iter().for_each(|shard| shard.connect_failures.add(1));
        let failure = Failure {
            repeatability: Repeatability::NotIdempotent,
            phase: Phase::Connecting,
            body: Body::Whole,
            tries: self.count,
            unanswered: 0,
        };
        match self.local.may_retry(&failure, self.local.service.clock.now()) {
            Retry::Yes => {
                shards.iter().for_each(|shard| shard.retries.add(1));
                self.tried.add(endpoint.id);
                true
            }
            Retry::No(_) => false,
        }
    }
}
