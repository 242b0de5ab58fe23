//! Stops lives.

use std::sync::Arc;
use std::time::Duration;

use model::action::{Outcome, Refusal};
use platform::{LifeState, StopRequest};
use tokio::time::Instant;

use crate::driver::Driver;
use crate::tracked_life::TrackedLife;

/// How long a killed process may take to end; one that waits for a dead disk takes longer.
const KILL_WAIT: Duration = Duration::from_secs(10);

/// Applies a stop, after a start of the same place that is in progress.
pub(crate) async fn stop(driver: &Arc<Driver>, request: StopRequest) -> Outcome {
    let attempt = format!("could not stop {}", request.replica);
    let admitting = Arc::clone(driver);
    let admitted = driver.tasks.spawn_blocking(move || admitting.fence.admit(request.action.epoch, &attempt));
    match admitted.await {
        Ok(Ok(())) => {}
        Ok(Err(refused)) => return refused,
        Err(_) => return Outcome::Unknown,
    }
    let Some(place) = driver.known_place(&request.replica) else { return Outcome::Applied };
    let guard = place.action_lock.lock().await;
    let last = place.last();
    drop(guard);
    match last {
        None => Outcome::Applied,
        Some(tracked) if tracked.record.incarnation() != request.incarnation => {
            Outcome::Refused(Refusal::OtherIncarnation)
        }
        Some(tracked) => end(driver, &tracked, request.grace).await,
    }
}

/// Sends the stop signal now, and kills everything of the life after `grace`. Returns when it has ended.
async fn end(driver: &Arc<Driver>, tracked: &Arc<TrackedLife>, grace: Duration) -> Outcome {
    if tracked.has_ended() {
        return Outcome::Applied;
    }
    let mut states = tracked.states();
    if tracked.set_kill_time(Instant::now() + grace) {
        if !grace.is_zero() {
            tracked.signal_stop();
        }
        driver.tasks.spawn(kill_in_time(driver.clone(), tracked.clone()));
    }
    let ended = states.wait_for(|state| matches!(state, LifeState::Exited(_)));
    match tokio::time::timeout(grace + KILL_WAIT, ended).await {
        Ok(Ok(_ended)) => Outcome::Applied,
        Ok(Err(_)) | Err(_) => Outcome::Unknown,
    }
}

/// Kills a life when its grace period is over, unless it ends before. Continues when the caller no longer waits for the stop.
async fn kill_in_time(driver: Arc<Driver>, tracked: Arc<TrackedLife>) {
    let (mut states, mut kill_times) = (tracked.states(), tracked.kill_times());
    loop {
        let Some(kill_at) = *kill_times.borrow_and_update() else { return };
        // All are cancel safe: each only waits for a value or a time.
        tokio::select! {
            _ended = states.wait_for(|state| matches!(state, LifeState::Exited(_))) => return,
            () = driver.closed.cancelled() => return,
            _sooner = kill_times.changed() => {}
            () = tokio::time::sleep_until(kill_at) => {
                tracked.kill_everything();
                return;
            }
        }
    }
}
