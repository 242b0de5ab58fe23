//! Checks of a forecast: it can be computed, and there is an autoscaler that uses it.

use super::{ResourceProblem, Severity, error};
use crate::resource::{
    AutoscalerSpec, EventEffect, FORECAST_SHADOW, ForecastMode, Forecasting, KnownEvent, Resource,
    STEPS_AHEAD_MAX, Service, Span,
};

/// Shortest step: the proxy reports requests about that often.
const STEP_MIN: Span = Span::from_secs(1);

/// Longest step: with longer ones no daily pattern would be visible.
const STEP_MAX: Span = Span::from_secs(3600);

/// Most known events: a recurring event counts once, and a year has fewer sales than weeks.
const EVENTS_MAX: usize = 32;

/// Duration of an event: between the shortest step and a year.
const EVENT_MIN: Span = Span::from_secs(1);
const EVENT_MAX: Span = Span::from_secs(366 * 86_400);

/// The smallest quantile: with less the number of replicas would be too small more often than not.
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
            found.extend(invalid(i, forecast));
            if let Ok(own) = service.autoscaler() {
                let acting = own.as_ref().or(autoscalers.get(service.name().as_str()));
                found.extend(unusable((i, service), forecast, acting, dangling));
            }
        }
    }
    found
}

/// Settings with which no forecast can be computed.
fn invalid(i: usize, forecast: &Forecasting) -> Vec<ResourceProblem> {
    let Forecasting { mode: _, quantile, horizon, step, events } = forecast;
    let at = |field: &str| format!("spec.scale.forecast.{field}");
    let mut found = Vec::new();
    if quantile.probability() < PROBABILITY_MIN {
        let text = format!(
            "with {} the number of replicas would be too small more often than not; write a number from 0.5 to 0.999, such as 0.95",
            quantile.probability()
        );
        found.push(error(i, &at("quantile"), text));
    }
    if !(STEP_MIN..=STEP_MAX).contains(step) {
        found.push(error(i, &at("step"), format!("must be between {STEP_MIN} and {STEP_MAX}, not {step}")));
    } else if let Some(horizon) = horizon
        && (*horizon == Span::ZERO || forecast.steps_for(horizon.as_duration()) > STEPS_AHEAD_MAX)
    {
        let longest = Span::from_millis(step.as_millis() * (STEPS_AHEAD_MAX - 1));
        let text = format!(
            "with steps of {step} the horizon must be between 1ms and {longest}, not {horizon}; longer steps allow a longer horizon"
        );
        found.push(error(i, &at("horizon"), text));
    }
    found.extend(invalid_events(i, events));
    found
}

fn invalid_events(i: usize, events: &[KnownEvent]) -> Vec<ResourceProblem> {
    let mut found = Vec::new();
    if events.len() > EVENTS_MAX {
        let text = format!("a service has at most {EVENTS_MAX} events, not {}", events.len());
        found.push(error(i, "spec.scale.forecast.events", text));
    }
    for (nth, event) in events.iter().enumerate() {
        let at = |field: &str| format!("spec.scale.forecast.events[{nth}].{field}");
        if !(EVENT_MIN..=EVENT_MAX).contains(&event.duration) {
            let text = format!("must be between {EVENT_MIN} and {EVENT_MAX}, not {}", event.duration);
            found.push(error(i, &at("duration"), text));
        }
        if let EventEffect::Load(load) = event.effect
            && load.milli() <= 0
        {
            let text = "a load must be above 0; for less than the usual load write a factor below 1";
            found.push(error(i, &at("load"), text.to_owned()));
        }
        if events[..nth].iter().any(|other| other.name == event.name) {
            let text = format!("there is another event named {}; give each its own name", event.name);
            found.push(error(i, &at("name"), text));
        }
    }
    found
}

/// Why the forecast would have no effect.
fn unusable(
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
                "policy {policy} has no target by which a load could be converted into replicas; write hpa, unanimous, targetTracking, burst \
                 or slo, or remove the forecast"
            );
            found.push(error(i, at, text));
        }
        None if forecast.mode == ForecastMode::Shadow => {}
        None => {
            let text = "the service has no autoscaler that could use the forecast: add max and metrics, or a HorizontalPodAutoscaler";
            // The autoscaler may be declared in another file.
            found.push(ResourceProblem { severity: dangling, ..error(i, at, text.to_owned()) });
        }
    }
    let mut shadows = service.spec.scale.shadows.iter().enumerate();
    if forecast.mode == ForecastMode::Shadow
        && let Some((nth, _)) = shadows.find(|(_, shadow)| shadow.name.as_str() == FORECAST_SHADOW)
    {
        let text = "this name is used for the forecast in mode shadow; give the shadow another name";
        found.push(error(i, &format!("spec.scale.shadows[{nth}].name"), text.to_owned()));
    }
    found
}
