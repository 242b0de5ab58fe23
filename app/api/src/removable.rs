//! The condition `Removable` of services whose replicas report whether they may be removed (`spec.scale.protect`).

use knowledge::{Knowledge, ServiceState};
use model::time::Time;

use crate::v1::Condition;

/// Whether scale-in can remove replicas; `None` without `spec.scale.protect`.
pub(crate) fn removable(now: Time, knowledge: &Knowledge, service: &ServiceState) -> Option<Condition> {
    let condition = |is_true: bool, reason: &str, message: String| {
        Some(Condition::of_bool("Removable", is_true, reason, message))
    };
    let scale = &service.declared.as_ref()?.spec.scale;
    let (metric, key) = (scale.protect.as_ref()?, scale.protect_key(&service.name)?);
    let Some(measured) = knowledge.values_by_place(now, service, &key) else {
        let message = format!(
            "nothing measures {key}, so no serving replica is removed: declare a MetricSource for it, or \
             remove spec.scale.protect"
        );
        return condition(false, "NoSource", message);
    };
    let serving = || service.counting().filter(|(_, place)| place.is_serving());
    let unknown = serving().filter(|(ordinal, _)| !measured.contains_key(ordinal)).count();
    let total = serving().count();
    if unknown > 0 {
        let message = format!(
            "{metric} is unknown for {unknown} of {total} serving replicas, so these are not removed"
        );
        return condition(false, "NotMeasured", message);
    }
    let staying = serving().filter(|(ordinal, _)| measured.get(ordinal).is_some_and(|it| it.0 > 0)).count();
    condition(
        true,
        "Measured",
        format!("{metric} is above 0 for {staying} of {total} serving replicas, so these are not removed"),
    )
}
