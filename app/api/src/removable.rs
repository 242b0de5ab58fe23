//! Whether replicas can be taken away of a service whose replicas say themselves who must stay.

use knowledge::{Knowledge, ServiceState};
use model::time::Time;

use crate::v1::Condition;

/// Whether it is so; `None` where replicas do not say.
pub(crate) fn removable(now: Time, knowledge: &Knowledge, service: &ServiceState) -> Option<Condition> {
    let claim = |holds: bool, reason: &str, message: String| {
        Some(Condition::claim("Removable", holds, reason, message))
    };
    let scale = &service.declared.as_ref()?.spec.scale;
    let (metric, key) = (scale.protect.as_ref()?, scale.protect_key(&service.name)?);
    let Some(said) = knowledge.values_by_place(now, service, &key) else {
        let message = format!(
            "nothing measures {key}, so no serving replica is removed: declare a MetricSource for it, or take \
             spec.scale.protect out"
        );
        return claim(false, "NoSource", message);
    };
    let serving = || service.counting().filter(|(_, place)| place.is_serving());
    let silent = serving().filter(|(ordinal, _)| !said.contains_key(ordinal)).count();
    let of = serving().count();
    if silent > 0 {
        let message =
            format!("{metric} is unknown for {silent} of {of} serving replicas, so these are not removed");
        return claim(false, "NotMeasured", message);
    }
    let staying = serving().filter(|(ordinal, _)| said.get(ordinal).is_some_and(|it| it.0 > 0)).count();
    claim(
        true,
        "Measured",
        format!("{metric} is above 0 for {staying} of {of} serving replicas, so these are not removed"),
    )
}
