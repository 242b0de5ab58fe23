use proptest::prelude::*;

use super::*;

fn failed(method: &str, phase: Phase) -> Failure {
    Failure {
        repeatability: Repeatability::of_method(method),
        phase,
        body: Body::Whole,
        tries: 1,
        unanswered: 1,
    }
}

fn decide(failure: &Failure) -> Retry {
    may_retry(failure, &mut RetryBudget::new(Duration::ZERO), Duration::ZERO)
}

#[test]
fn a_post_is_retried_only_if_nothing_was_sent() {
    assert_eq!(decide(&failed("POST", Phase::Connecting)), Retry::Yes);
    assert_eq!(decide(&failed("POST", Phase::Unsent)), Retry::Yes);
    assert_eq!(decide(&failed("POST", Phase::AwaitingResponse)), Retry::No(Refusal::MayHaveActed));
}

#[test]
fn a_refused_request_is_retried_within_the_budget() {
    assert_eq!(decide(&failed("POST", Phase::Refused)), Retry::Yes);
    let mut budget = RetryBudget::new(Duration::ZERO);
    while budget.withdraw(Duration::ZERO) {}
    let decided = may_retry(&failed("POST", Phase::Refused), &mut budget, Duration::ZERO);
    assert_eq!(decided, Retry::No(Refusal::BudgetSpent));
}

#[test]
fn a_get_is_retried_until_the_response_begins() {
    assert_eq!(decide(&failed("GET", Phase::AwaitingResponse)), Retry::Yes);
    assert_eq!(decide(&failed("GET", Phase::Responding)), Retry::No(Refusal::ResponseBegun));
}

#[test]
fn no_request_is_retried_without_its_body() {
    for phase in [Phase::Connecting, Phase::Unsent, Phase::AwaitingResponse] {
        let failure = Failure { body: Body::Consumed, ..failed("PUT", phase) };
        assert_eq!(decide(&failure), Retry::No(Refusal::BodyConsumed));
    }
}

#[test]
fn unknown_methods_and_patch_are_not_idempotent() {
    for method in ["PATCH", "PURGE", "get", ""] {
        assert_eq!(Repeatability::of_method(method), Repeatability::NotIdempotent);
    }
}

#[test]
fn a_dead_endpoint_costs_no_budget() {
    let mut budget = RetryBudget::new(Duration::ZERO);
    while budget.withdraw(Duration::ZERO) {}
    let now = Duration::ZERO;
    assert_eq!(may_retry(&failed("GET", Phase::Connecting), &mut budget, now), Retry::Yes);
    assert_eq!(
        may_retry(&failed("GET", Phase::AwaitingResponse), &mut budget, now),
        Retry::No(Refusal::BudgetSpent)
    );
}

#[test]
fn the_number_of_tries_is_bounded() {
    let failure = Failure { tries: TRIES_MAX, ..failed("GET", Phase::Connecting) };
    assert_eq!(decide(&failure), Retry::No(Refusal::TooManyTries));
}

#[test]
fn a_request_that_several_endpoints_did_not_answer_is_not_retried() {
    let failure = |unanswered| Failure { unanswered, ..failed("GET", Phase::AwaitingResponse) };
    assert_eq!(decide(&failure(UNANSWERED_MAX - 1)), Retry::Yes);
    assert_eq!(decide(&failure(UNANSWERED_MAX)), Retry::No(Refusal::Unanswered));
    let unsent = Failure { unanswered: UNANSWERED_MAX, ..failed("GET", Phase::Connecting) };
    assert_eq!(decide(&unsent), Retry::Yes, "an endpoint that was not reached is not to blame");
}

#[test]
fn the_reserve_refills() {
    let mut budget = RetryBudget::new(Duration::ZERO);
    while budget.withdraw(Duration::ZERO) {}
    let later = RetryBudget::HALF_LIFE;
    let refilled = (0..1_000).filter(|_| budget.withdraw(later)).count();
    assert_eq!(refilled as f64, RetryBudget::RESERVE);
}

proptest! {
    #[test]
    fn retries_never_exceed_a_fifth_of_traffic_and_the_reserve(
        steps in prop::collection::vec((0u64..50, 0u32..20), 0..300),
    ) {
        let mut budget = RetryBudget::new(Duration::ZERO);
        let (mut now, mut requests, mut retries) = (Duration::ZERO, 0.0, 0.0);
        for (millis, attempts) in steps {
            now += Duration::from_millis(millis);
            budget.deposit(now);
            requests += 1.0;
            retries += (0..attempts).filter(|_| budget.withdraw(now)).count() as f64;
            let refill = RetryBudget::RESERVE * now.as_secs_f64() / RetryBudget::HALF_LIFE.as_secs_f64();
            prop_assert!(retries <= requests * RetryBudget::PER_REQUEST + RetryBudget::RESERVE + refill + 1e-6);
        }
    }
}
