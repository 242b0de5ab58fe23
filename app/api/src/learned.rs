//! What is learned from observing a service, in the form of `/v1`.

use std::time::Duration;

use knowledge::{LoadForecast, ServiceState};
use model::memory::LoadSource;
use model::name::ServiceName;
use model::time::Now;
use orchestrator::Handle;

use crate::failure::Failure;
use crate::timestamps::{rfc3339, wall_of};
use crate::{capacity, v1};

/// What is learned of the service `name`.
pub(crate) fn learned(handle: &Handle, name: &ServiceName) -> Result<v1::Learned, Failure> {
    let service_name = name.clone();
    let learned = handle.query(move |control, now| {
        let service =
            control.knowledge().service(&service_name).filter(|service| service.declared.is_some())?;
        Some(describe(now, service))
    })?;
    learned.ok_or_else(|| Failure::not_found("service", name.as_str()))
}

fn describe(now: Now, service: &ServiceState) -> v1::Learned {
    let seconds = |times: &[Duration]| times.iter().map(Duration::as_secs_f64).collect();
    v1::Learned {
        target: format!("service/{}", service.name),
        at: rfc3339(now.wall),
        capacity: capacity::capacity(service).and_then(|capacity| capacity.acting),
        starts_seconds: seconds(&service.starts.took),
        start_seconds: knowledge::start_time(&service.starts).map(|time| time.as_secs_f64()),
        warmups_seconds: seconds(&service.starts.warmups),
        warmup_seconds: knowledge::warmup(&service.starts).map(|time| time.as_secs_f64()),
        load: service.load_forecast.as_deref().map(|load_forecast| recorded(now, load_forecast)),
    }
}

fn recorded(now: Now, load_forecast: &LoadForecast) -> v1::RecordedLoad {
    let mut steps = load_forecast.past(usize::MAX).peekable();
    let from = steps.peek().map_or(now.wall, |(begin, _)| wall_of(now, *begin));
    v1::RecordedLoad {
        unit: match load_forecast.source() {
            LoadSource::Requests => "requests/s",
            LoadSource::Replicas => "replicas",
        }
        .into(),
        from: rfc3339(from),
        step_seconds: load_forecast.step().as_secs_f64(),
        loads: steps.map(|(_, load)| load).collect(),
    }
}
