//! What must hold of a forecast: it can be made, and there is an autoscaler that it can raise.

use super::{ResourceProblem, Severity, error};
use crate::resource::{
    AutoscalerSpec, Brings, FORECAST_SHADOW, ForecastMode, Forecasting, KnownEvent, Resource,
    STEPS_AHEAD_MAX, Service, Span,
};

/// Shortest step: what is asked of the proxy is told about that often.
const STEP_MIN: Span = Span::from_secs(1);

/// Longest step: with more of them no day would show.
const STEP_MAX: Span = Span::from_secs(3600);

/// Most known events: what comes again and again is one of them, and a year has fewer sales than weeks.
const EVENTS_MAX: usize = 32;

/// How long an event lasts: a step at the shortest, a year at the longest.
const EVENT_MIN: Span = Span::from_secs(1);
const EVENT_MAX: Span = Span::from_secs(366 * 86_400);

/// The least probability: with less the number would be too small more often than not.
const PROBABILITY_MIN: f64 = 0.5;

pub(super) fn problems(resources: &[Resource], dangling: Severity) -> Vec<ResourceProblem> {
    let forecasts =
        |resource: &Resource| matches!(resource, Resource::Service(it) if it.spec.scale.forecast.is_some());
    if !resources.iter().any(forecasts) {
        return Vec::new();
    }
    let autoscalers = super::autoscalers(resources);
    let mut found = Vec::new();
    for (i, resource) in resources.iter().enumerate() {
        if let Resource::Service(service) = resource
            && let Some(forecast) = &service.spec.scale.forecast
        {
            found.extend(unmade(i, forecast));
            if let Ok(own) = service.autoscaler() {
                let acting = own.as_ref().or(autoscalers.get(service.name().as_str()));
                found.extend(without_use((i, service), forecast, acting, dangling));
            }
        }
    }
    found
}

/// Why such a forecast cannot be made.
fn unmade(i: usize, forecast: &Forecasting) -> Vec<ResourceProblem> {
    let Forecasting { mode: _, quantile, horizon, step, events } = forecast;
    let at = |field: &str| format!("spec.scale.forecast.{field}");
    let mut found = Vec::new();
    if quantile.probability() < PROBABILITY_MIN {
        let text = format!(
            "with {} the number would be too small more often than not; write one of 0.5 to 0.999, such as 0.95",
            quantile.probability()
        );
        found.push(error(i, &at("quantile"), text));
    }
    if !(STEP_MIN..=STEP_MAX).contains(step) {
        found.push(error(i, &at("step"), format!("{step} is not between {STEP_MIN} and {STEP_MAX}")));
    } else if let Some(horizon) = horizon
        && (*horizon == Span::ZERO || forecast.steps_for(horizon.as_duration()) > STEPS_AHEAD_MAX)
    {
        let longest = Span::from_millis(step.as_millis() * (STEPS_AHEAD_MAX - 1));
        let text = format!(
            "{horizon} ahead cannot be forecast in steps of {step}, but 1ms to {longest}; longer steps look further"
        );
        found.push(error(i, &at("horizon"), text));
    }
    found.extend(unexpected(i, events));
    found
}

/// Why such events cannot be expected.
fn unexpected(i: usize, events: &[KnownEvent]) -> Vec<ResourceProblem> {
    let mut found = Vec::new();
    if events.len() > EVENTS_MAX {
        let text = format!("at most {EVENTS_MAX} events of a service can be known, not {}", events.len());
        found.push(error(i, "spec.scale.forecast.events", text));
    }
    for (nth, event) in events.iter().enumerate() {
        let at = |field: &str| format!("spec.scale.forecast.events[{nth}].{field}");
        if !(EVENT_MIN..=EVENT_MAX).contains(&event.duration) {
            let text = format!("{} is not between {EVENT_MIN} and {EVENT_MAX}", event.duration);
            found.push(error(i, &at("duration"), text));
        }
        if let Brings::Load(load) = event.brings
            && load.milli() <= 0
        {
            let text = "a load is above 0; for less than what is usual write a factor below 1";
            found.push(error(i, &at("load"), text.to_owned()));
        }
        if events[..nth].iter().any(|other| other.name == event.name) {
            let text = format!("another event is called {} as well; give each its own name", event.name);
            found.push(error(i, &at("name"), text));
        }
    }
    found
}

/// Why such a forecast would have no effect.
fn without_use(
    (i, service): (usize, &Service),
    forecast: &Forecasting,
    acting: Option<&AutoscalerSpec>,
    dangling: Severity,
) -> Vec<ResourceProblem> {
    let at = "spec.scale.forecast";
    let mut found = Vec::new();
    match acting {
        _ if forecast.mode == ForecastMode::Off => {}
        Some(acting) if acting.has_targets() => {}
        Some(acting) => {
            let policy = acting.policy.name();
            let text = format!(
                "policy {policy} has no target by which a load is so many replicas; write hpa, unanimous, targetTracking, burst or slo, \
                 or leave the forecast out"
            );
            found.push(error(i, at, text));
        }
        None if forecast.mode == ForecastMode::Shadow => {}
        None => {
            let text = "nothing scales this service, so that no number follows from its forecast: add max and metrics, or a \
                        HorizontalPodAutoscaler";
            // The autoscaler may be in another file.
            found.push(ResourceProblem { severity: dangling, ..error(i, at, text.to_owned()) });
        }
    }
    let mut shadows = service.spec.scale.shadows.iter().enumerate();
    if forecast.mode == ForecastMode::Shadow
        && let Some((nth, _)) = shadows.find(|(_, shadow)| shadow.name.as_str() == FORECAST_SHADOW)
    {
        let text = "a forecast in mode shadow is compared under this name; give the shadow another";
        found.push(error(i, &format!("spec.scale.shadows[{nth}].name"), text.to_owned()));
    }
    found
}
