//! Changing the resources of a running life: its control groups get new limits.

use std::sync::Arc;

use model::action::{FailureKind, Outcome, Refusal};
use model::quantity::Bytes;
use model::resource::Resources;
use platform::{AllotRequest, LifeState};

use crate::driver::Driver;
use crate::failure::Cause;
use crate::starting::limits;
use crate::tracked_life::TrackedLife;

/// Changes the resources of a life; the caller holds the lock of the place. Blocks for a moment.
pub(crate) fn allot(driver: &Driver, last: Option<&Arc<TrackedLife>>, request: &AllotRequest) -> Outcome {
    let attempt = format!("could not change the resources of {}", request.replica);
    if let Err(refused) = driver.fence.admit(request.action.epoch, &attempt) {
        return refused;
    }
    let same_life = last.filter(|tracked| tracked.record.incarnation() == request.incarnation);
    let Some(tracked) = same_life.filter(|tracked| tracked.state() == LifeState::Running) else {
        return Outcome::Refused(Refusal::OtherIncarnation);
    };
    let mut allotted = tracked.allotted();
    if allotted.is_over {
        return Outcome::Refused(Refusal::OtherIncarnation);
    }
    if request.action <= allotted.by {
        return Outcome::Applied;
    }
    if let Err(cause) = apply_limits(driver, tracked, &request.resources) {
        return Outcome::Failed(cause.failure(&attempt));
    }
    let known = allotted.resources.unwrap_or_default();
    let Resources { cpu, memory } = request.resources;
    let resources = Some(Resources { cpu: cpu.or(known.cpu), memory: memory.or(known.memory) });
    (allotted.by, allotted.resources) = (request.action, resources);
    if let Err(error) = driver.records.keep(&tracked.record.with(resources)) {
        // The next run finds the previous limits in the record, and changes them again.
        tracing::warn!(replica = %request.replica, error = %error.source, "limits_not_recorded");
    }
    Outcome::Applied
}

/// Applies new limits to a life; after an error the previous ones stay in force.
fn apply_limits(driver: &Driver, tracked: &TrackedLife, resources: &Resources) -> Result<(), Cause> {
    if !driver.cgroups.are_used() {
        return Ok(());
    }
    let Some(cell) = &tracked.record.cell else {
        let why = "it was started without a control group, and a running replica cannot get one";
        return Err(Cause::new(FailureKind::Unsupported, why));
    };
    let limits = limits(resources, driver);
    let uses = tracked.usage().map(|reading| reading.memory);
    if let (Some(Bytes(limit)), Some(Bytes(uses))) = (limits.memory, uses)
        && limit < uses
    {
        let why = format!("it uses {uses} bytes of memory, more than the new limit of {limit}");
        return Err(Cause::new(FailureKind::Other, why));
    }
    cell.limit(&limits)
        .map_err(|error| Cause::of(&error, format!("its control group does not accept the limits ({error})")))
}
