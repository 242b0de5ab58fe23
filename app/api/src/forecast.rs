//! The load forecast of a service, in the form of `/v1`.

use forecast::{Forecast, Horizon, Model, Quantile, Report};
use knowledge::{Lift, LoadForecast, ServiceState, UpcomingEvent};
use model::memory::LoadSource;
use model::name::ServiceName;
use model::resource::{EventEffect, ForecastMode};
use model::time::Now;
use orchestrator::Handle;

use crate::failure::{Code, Failure};
use crate::timestamps::{rfc3339, wall_of};
use crate::v1;

/// The maximum number of past steps in a response.
pub(crate) const PAST_MAX: usize = 1000;

/// The forecast of the service `name`, with the `past` latest steps of its load.
pub(crate) fn forecast(handle: &Handle, name: &ServiceName, past: usize) -> Result<v1::Forecast, Failure> {
    let service_name = name.clone();
    let (is_known, forecast) = handle.query(move |control, now| {
        let service = control.knowledge().service(&service_name).filter(|service| service.declared.is_some());
        (service.is_some(), service.and_then(|service| describe(now, service, past.min(PAST_MAX))))
    })?;
    match forecast {
        Some(forecast) => Ok(forecast),
        None if is_known => Err(Failure::new(
            axum::http::StatusCode::NOT_FOUND,
            Code::NotFound,
            format!(
                "could not show a forecast of service/{name}: its load is not forecast; declare `spec.scale.forecast: {{mode: shadow}}` to \
                 forecast it without effect"
            ),
        )),
        None => Err(Failure::not_found("service", name.as_str())),
    }
}

fn describe(now: Now, service: &ServiceState, past: usize) -> Option<v1::Forecast> {
    let load_forecast = service.load_forecast.as_ref()?;
    let rule = load_forecast.rule();
    let step = load_forecast.step().as_secs_f64();
    let expected = load_forecast.peak().ok();
    Some(v1::Forecast {
        target: format!("service/{}", service.name),
        at: rfc3339(now.wall),
        mode: match rule.mode {
            ForecastMode::Off => "off",
            ForecastMode::Shadow => "shadow",
            ForecastMode::On => "on",
        }
        .into(),
        unit: match load_forecast.source() {
            LoadSource::Requests => "requests/s",
            LoadSource::Replicas => "replicas",
        }
        .into(),
        step_seconds: step,
        steps: load_forecast.steps(),
        quantile: rule.quantile.probability(),
        reach_seconds: load_forecast.horizon().as_secs_f64(),
        start_seconds: knowledge::start_time(&service.starts).map(|start| start.as_secs_f64()),
        seasons: load_forecast
            .seasons()
            .into_iter()
            .map(|season| v1::Season { seconds: season.steps as f64 * step, strength: season.strength })
            .collect(),
        message: message(service),
        replicas_needed: expected.and_then(|expected| load_forecast.replicas_for(expected.load)),
        events: load_forecast.upcoming().iter().map(known_event).collect(),
        under_way: load_forecast.current_step_load(),
        forecasts: ahead(load_forecast),
        past: load_forecast
            .past(past)
            .map(|(at, load)| v1::PastLoad { at: rfc3339(wall_of(now, at)), load })
            .collect(),
    })
}

/// The effect of the forecast on the latest decision.
fn message(service: &ServiceState) -> String {
    let decision = service.decision.as_ref().map(|explanation| explanation.decision());
    let Some(decision) = decision else { return "there is no decision yet".to_owned() };
    match decision.limits.iter().find(|limit| limit.name == "Forecast") {
        Some(limit) if limit.from < limit.to => {
            format!("{}: raised from {} to {} replicas", limit.note, limit.from, limit.to)
        }
        Some(limit) => limit.note.to_string(),
        None => {
            format!("the autoscaler does not decide, so the forecast changes nothing: {}", decision.summary)
        }
    }
}

fn known_event(event: &UpcomingEvent) -> v1::KnownEvent {
    let (factor, load) = match event.effect {
        EventEffect::Factor(factor) => (Some(factor.into()), None),
        EventEffect::Load(load) => (None, Some(load.milli() as f64 / 1000.0)),
    };
    v1::KnownEvent {
        name: event.name.to_string(),
        from: rfc3339(event.window.from),
        until: rfc3339(event.window.until),
        factor,
        load,
    }
}

fn ahead(load_forecast: &LoadForecast) -> Vec<v1::Ahead> {
    let quantile = load_forecast.rule().quantile.probability();
    let reports = load_forecast.reports();
    let loads = |forecast: &Forecast, lift: Lift| {
        let load = |it: &Quantile| v1::LoadQuantile { probability: it.level, load: lift.of(it.load) };
        forecast.quantiles.iter().map(load).collect()
    };
    let at_horizon = |(forecast, lift): (Forecast, Lift)| {
        let is_same = |report: &&Report| report.horizon == forecast.horizon && report.level == quantile;
        let report = reports.iter().find(is_same)?;
        let acted_on = forecast.quantiles.iter().find(|it| it.level == quantile)?;
        let loss = |model| report.scores.iter().find(|it| it.model == model).map(|it| it.loss);
        let ratio = loss(Model::Blend).zip(loss(Model::Persistence)).map(|(blend, last)| blend / last);
        Some(v1::Ahead {
            is_peak: matches!(forecast.horizon, Horizon::PeakWithin(_)),
            seconds: forecast.horizon.steps() as f64 * load_forecast.step().as_secs_f64(),
            quantiles: loads(&forecast, lift),
            usual: if lift == Lift::NONE { Vec::new() } else { loads(&forecast, Lift::NONE) },
            by: acted_on.by.to_string(),
            loss_ratio: ratio.filter(|ratio| report.scored > 0 && ratio.is_finite()),
            coverage: report.coverage,
            scored: report.scored,
            models: report
                .scores
                .iter()
                .map(|it| v1::ModelStanding { model: it.model.to_string(), loss: it.loss, weight: it.weight })
                .collect(),
        })
    };
    load_forecast.forecasts().into_iter().filter_map(at_horizon).collect()
}
