//! Hedging: a request that takes long is also sent to a second endpoint. The first answer counts, and the other attempt is cancelled.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use balance::{EndpointId, Phase, Tried, is_safe};
use tokio::time::{Instant, timeout};

use super::ForwardedRequest;
use super::attempt::{AttemptError, FailedAttempt};
use crate::answer::Answer;
use crate::exchange::Exchange;
use crate::headers::Upgrade;
use crate::timer::Stage;
use crate::upstream::{Upstream, UpstreamBody};

type Answered = (Answer<UpstreamBody>, Upstream);
type Attempted = Result<Answered, FailedAttempt>;

/// How a race between two attempts ended.
enum Race {
    First(Answered),
    Second(Answered),
    /// One timed out, and with it the other, unless that had failed before.
    Late(FailedAttempt, Option<Contender>),
    /// Both failed.
    Lost {
        first: FailedAttempt,
        second: FailedAttempt,
    },
}

enum Contender {
    First,
    Second,
}

impl ForwardedRequest {
    /// Sends the request to the endpoint of the exchange, and hedges it if the service declares that and the request may be sent twice.
    ///
    /// If the hedge has failed for good, its endpoint is added to `tried`; that of the exchange is left to the caller.
    pub(super) async fn attempt_or_hedge(&self, exchange: &mut Exchange, tried: &mut Tried) -> Attempted {
        let may_hedge = self.snapshot.hedge.is_some()
            && self.upload.is_none()
            && self.upgrade == Upgrade::None
            && is_safe(self.head.method.as_str());
        // Boxed, so that requests to other services do not pay for its size.
        if may_hedge {
            Box::pin(self.attempt_hedged(exchange, tried)).await
        } else {
            self.attempt(exchange).await
        }
    }

    async fn attempt_hedged(&self, exchange: &mut Exchange, tried: &mut Tried) -> Attempted {
        let begun = Instant::now();
        let attempted = match self.client.local.hedge_delay() {
            Some(delay) => self.attempt_twice(exchange, tried, delay).await,
            None => self.attempt(exchange).await,
        };
        if attempted.is_ok() {
            self.client.local.answered_in(begun.elapsed());
        }
        attempted
    }

    async fn attempt_twice(&self, exchange: &mut Exchange, tried: &mut Tried, delay: Duration) -> Attempted {
        let first_id = exchange.endpoint().id;
        // Boxed, so that it can be dropped before this function ends: it borrows the exchange.
        let mut first = Box::pin(self.attempt(exchange));
        if let Ok(attempted) = timeout(delay, first.as_mut()).await {
            return attempted;
        }
        let Some(mut second) = self.hedge(first_id, tried) else { return first.await };
        let race = {
            let second = pin!(self.attempt(&mut second));
            self.race(first.as_mut(), second).await
        };
        drop(first);
        match race {
            Race::First(answer) => {
                second.give_up();
                Ok(answer)
            }
            Race::Second(answer) => {
                self.client.shard().hedges_won.add(1);
                exchange.replace_attempt(second);
                Ok(answer)
            }
            Race::Late(failed, other) => {
                match other {
                    Some(Contender::First) => exchange.failed_to_answer(),
                    Some(Contender::Second) => second.failed_to_answer(),
                    None => {}
                }
                Err(failed)
            }
            Race::Lost { first, second: failed } => {
                if !failed.was_reused {
                    tried.add(second.endpoint().id);
                }
                Err(first)
            }
        }
    }

    /// Begins a second attempt at an endpoint other than the first, if there is one and hedges are left.
    fn hedge(&self, first: EndpointId, tried: &Tried) -> Option<Exchange> {
        let now = Instant::now();
        let mut tried = *tried;
        tried.add(first);
        let in_flight =
            self.client.local.hedge(&tried, self.port(), || self.key(), self.service().clock.at(now))?;
        let mut second = Exchange::hedge(&self.client, &self.snapshot, now);
        second.begin(in_flight, now).ok()?;
        self.client.shard().hedges.add(1);
        Some(second)
    }

    /// Waits until one of the two is answered or times out, or both have failed.
    async fn race<F, S>(&self, mut first: Pin<&mut F>, mut second: Pin<&mut S>) -> Race
    where
        F: Future<Output = Attempted>,
        S: Future<Output = Attempted>,
    {
        let (mut first_failure, mut second_failure) = (None, None);
        poll_fn(|cx| {
            if first_failure.is_none()
                && let Poll::Ready(attempted) = first.as_mut().poll(cx)
            {
                match attempted {
                    Ok(answer) => return Poll::Ready(Race::First(answer)),
                    Err(failed) if failed.error == AttemptError::TimedOut => {
                        let other = second_failure.is_none().then_some(Contender::Second);
                        return Poll::Ready(Race::Late(failed, other));
                    }
                    Err(failed) => first_failure = Some(failed),
                }
            }
            if second_failure.is_none()
                && let Poll::Ready(attempted) = second.as_mut().poll(cx)
            {
                // A server error of the second does not end the race: the first may still do better.
                let attempted = match attempted {
                    Ok((answer, _)) if first_failure.is_none() && answer.status.is_server_error() => {
                        Err(FailedAttempt {
                            error: AttemptError::Broken(Phase::Responding),
                            was_reused: false,
                        })
                    }
                    attempted => attempted,
                };
                match attempted {
                    Ok(answer) => return Poll::Ready(Race::Second(answer)),
                    Err(failed) if failed.error == AttemptError::TimedOut => {
                        let other = first_failure.is_none().then_some(Contender::First);
                        return Poll::Ready(Race::Late(failed, other));
                    }
                    Err(failed) => {
                        second_failure = Some(failed);
                        // Both share the client's timer, which a failed connect leaves disarmed.
                        self.client.timer.arm(Stage::Response, self.response_time());
                    }
                }
            }
            match (first_failure.take(), second_failure.take()) {
                (Some(first), Some(second)) => Poll::Ready(Race::Lost { first, second }),
                (one, other) => {
                    (first_failure, second_failure) = (one, other);
                    Poll::Pending
                }
            }
        })
        .await
    }
}
