//! Retries: whether a failed request may be sent again.

use std::time::Duration;

#[cfg(test)]
mod tests;

/// The maximum number of attempts of one request.
///
/// During a rolling restart only a few endpoints are dead at once; when a request has failed on eight, the service itself is failing.
pub const TRIES_MAX: u8 = 8;

/// The maximum number of endpoints that receive a request and do not answer it.
///
/// A request whose replica is killed is unanswered once, seldom twice. A request that three endpoints in a row do not answer may be what
/// crashes them, and would crash further ones as well.
pub const UNANSWERED_MAX: u8 = 3;

/// The number of bytes of a request body that are kept for a retry.
///
/// 64 KiB × 16,384 connections is 1 GiB in the worst case; ordinary forms and JSON are far smaller.
pub const REPLAY_BYTES_MAX: usize = 64 * 1024;

/// Whether sending a request twice has the same effect as sending it once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeatability {
    /// The method is idempotent by definition.
    Idempotent,
    /// The method may have an effect each time.
    NotIdempotent,
}

impl Repeatability {
    /// The repeatability of an HTTP method; unknown methods are not idempotent. Source: RFC 9110, section 9.2.2.
    #[must_use]
    pub fn of_method(method: &str) -> Self {
        match method {
            "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE" | "TRACE" => Self::Idempotent,
            _ => Self::NotIdempotent,
        }
    }
}

/// How far an attempt had got when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No connection was made: the endpoint refused it or did not answer.
    Connecting,
    /// There was a connection, but no byte of the request was sent.
    Unsent,
    /// The endpoint refused the request without processing it.
    Refused,
    /// At least one byte of the request was sent, and none of the response was received.
    AwaitingResponse,
    /// The response had begun.
    Responding,
}

/// Whether the request's body can be sent again after the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// It can: there is none, it was not read, or all of it was kept.
    Whole,
    /// It cannot: some of it was not kept.
    Consumed,
}

/// A failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// The repeatability of the request's method.
    pub repeatability: Repeatability,
    /// How far the attempt got.
    pub phase: Phase,
    /// Whether the body can be sent again.
    pub body: Body,
    /// Attempts so far, this one included; at least 1.
    pub tries: u8,
    /// Endpoints that may have received the request and did not answer it, this one included.
    pub unanswered: u8,
}

/// Whether to retry a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Send it to another endpoint.
    Yes,
    /// Answer with the failure, for this reason.
    No(Refusal),
}

/// Why a request is not retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The response had begun.
    ResponseBegun,
    /// The endpoint may have processed the request, and the method is not idempotent.
    MayHaveActed,
    /// The body cannot be sent again.
    BodyConsumed,
    /// It was tried [`TRIES_MAX`] times.
    TooManyTries,
    /// [`UNANSWERED_MAX`] endpoints did not answer it.
    Unanswered,
    /// Retries have used up their share of the traffic.
    BudgetSpent,
}

/// Decides whether a failed request may be sent again, and takes the retry from the budget.
///
/// - If no byte was sent, any method is retried, without using the budget: the attempt put no load on the service, and a dead endpoint must not
///   fail requests that others could answer.
/// - If the endpoint refused the request unprocessed, any method is retried within the budget, because refusing is work for the service.
/// - If something was sent, only idempotent methods are retried, within the budget, and on no more than [`UNANSWERED_MAX`] endpoints.
///   Source: RFC 9110, section 9.2.2: a proxy must not repeat a non-idempotent request that may have arrived.
pub fn may_retry(failure: &Failure, budget: &mut RetryBudget, now: Duration) -> Retry {
    if failure.tries >= TRIES_MAX {
        return Retry::No(Refusal::TooManyTries);
    }
    let uses_budget = match (failure.phase, failure.repeatability) {
        (Phase::Responding, _) => return Retry::No(Refusal::ResponseBegun),
        (Phase::AwaitingResponse, Repeatability::NotIdempotent) => {
            return Retry::No(Refusal::MayHaveActed);
        }
        (Phase::AwaitingResponse, Repeatability::Idempotent) if failure.unanswered >= UNANSWERED_MAX => {
            return Retry::No(Refusal::Unanswered);
        }
        (Phase::AwaitingResponse, Repeatability::Idempotent) | (Phase::Refused, _) => true,
        (Phase::Connecting | Phase::Unsent, _) => false,
    };
    match failure.body {
        Body::Consumed => Retry::No(Refusal::BodyConsumed),
        Body::Whole if uses_budget && !budget.withdraw(now) => Retry::No(Refusal::BudgetSpent),
        Body::Whole => Retry::Yes,
    }
}

/// The share of traffic that retries may take.
///
/// Each request adds a fifth of a retry to the savings, which halve every [`RetryBudget::HALF_LIFE`]; besides, there is a reserve that refills in
/// the same time. So retries add at most 20 % to steady traffic and do not overload a service that fails under load, while the reserve covers
/// the death of one endpoint.
/// Source: Finagle's and Linkerd's retry budgets (20 % and a minimum rate).
#[derive(Debug, Clone)]
pub struct RetryBudget {
    saved: f64,
    reserve: f64,
    decayed_at: Duration,
}

impl RetryBudget {
    /// The retries that one request adds to the savings: 20 %.
    pub const PER_REQUEST: f64 = 0.2;
    /// The retries that are allowed at once without savings.
    ///
    /// 256 covers the death of one of four endpoints with 1,024 connections in flight.
    pub const RESERVE: f64 = 256.0;
    /// The half-life of the savings, and the time in which the reserve refills.
    pub const HALF_LIFE: Duration = Duration::from_secs(10);
    /// Time advances in steps of this size, so that [`deposit`](Self::deposit) is mostly one addition.
    const STEP: Duration = Duration::from_millis(100);

    /// A budget with a full reserve and no savings.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self { saved: 0.0, reserve: Self::RESERVE, decayed_at: now }
    }

    /// Records a request that is not a retry.
    pub fn deposit(&mut self, now: Duration) {
        self.advance(now);
        self.saved += Self::PER_REQUEST;
    }

    /// Takes one retry; returns `false` and takes nothing if there is none left.
    pub fn withdraw(&mut self, now: Duration) -> bool {
        self.advance(now);
        let source = if self.saved >= 1.0 { &mut self.saved } else { &mut self.reserve };
        let is_allowed = *source >= 1.0;
        if is_allowed {
            *source -= 1.0;
        }
        is_allowed
    }

    fn advance(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.decayed_at);
        if elapsed < Self::STEP {
            return;
        }
        self.decayed_at = now;
        let half_lives = elapsed.as_secs_f64() / Self::HALF_LIFE.as_secs_f64();
        // 1 ÷ (1 + x ln 2) is a first-order approximation of 2^−x that gives the same bits on every machine.
        self.saved /= 1.0 + half_lives * std::f64::consts::LN_2;
        self.reserve = (self.reserve + Self::RESERVE * half_lives).min(Self::RESERVE);
    }
}
