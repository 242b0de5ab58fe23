//! The listener of a service: the proxy is to listen as declared.

use knowledge::Exposure;
use model::plan::{Change, Initiator};
use model::reason::Reason;

use crate::context::PlanContext;
use crate::draft::Draft;

/// Adds the step that has the proxy begin to listen, change its listener, or stop listening.
pub(crate) fn expose(context: PlanContext<'_>, draft: &mut Draft) {
    let (now, service) = (context.now.time, context.service);
    let wanted = service.declared.as_ref().filter(|declared| declared.spec.expose.is_some());
    match (wanted, &service.exposure) {
        (Some(_), Exposure::None) => draft.step(Initiator::Operator, Change::Expose, Reason::Declared),
        (Some(declared), Exposure::Opening { revision, .. } | Exposure::Open { revision, .. })
            if *revision < declared.revision =>
        {
            draft.step(Initiator::Operator, Change::Expose, Reason::Declared);
        }
        (Some(declared), Exposure::Failed { revision, message, retry, .. }) => {
            if now >= *retry || *revision < declared.revision {
                draft.step(Initiator::Operator, Change::Expose, Reason::Declared);
            } else {
                draft.again_at(*retry);
                draft.wait(None, Reason::ActionFailed(message.clone()));
            }
        }
        // While the proxy stops listening, no new listener is requested; the plan after that requests it.
        (Some(_), Exposure::Opening { .. } | Exposure::Open { .. } | Exposure::Closing { .. })
        | (None, Exposure::None | Exposure::Closing { .. }) => {}
        (None, Exposure::Opening { .. } | Exposure::Open { .. } | Exposure::Failed { .. }) => {
            draft.step(Initiator::Operator, Change::Conceal, Reason::Withdrawn);
        }
    }
}
