//! The task that checks the logs of all replicas.

use std::sync::Arc;
use std::time::Duration;

use super::folder_of;
use super::reserve::reserve_space;
use super::rotate::rotate;
use crate::driver::Driver;

/// How often all logs are checked. A replica that prints 100 MB/s exceeds its limit by what it prints in between.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Keeps the logs of all replicas within their limits, in a task that ends with the driver.
pub(crate) fn keep_within_limits(driver: &Arc<Driver>) {
    let driver = driver.clone();
    let tasks = driver.tasks.clone();
    tasks.spawn(async move {
        loop {
            tokio::select! {
                () = tokio::time::sleep(CHECK_INTERVAL) => {}
                () = driver.closed.cancelled() => return,
            }
            let checked = driver.clone();
            // A panic is a bug, which the next check shows again.
            let _ = driver.tasks.spawn_blocking(move || check(&checked)).await;
        }
    });
}

fn check(driver: &Driver) {
    // Including replicas that have ended: they may have printed most at the end.
    for tracked in driver.tracked_lives() {
        let replica = tracked.record.replica();
        let folder = folder_of(&driver.settings.logs(), &replica);
        if let Err(error) = rotate(&folder, &driver.settings.log) {
            tracing::warn!(%replica, %error, "log_not_rotated");
        }
        if let Err(error) = reserve_space(&folder) {
            tracing::warn!(%replica, %error, "log_space_not_reserved");
        }
    }
}
