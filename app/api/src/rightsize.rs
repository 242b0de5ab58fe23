//! The recommended resources of a replica, in the form of `/v1`.

use control::vertical::{self, INITIAL_SAMPLES, Recommendation};
use knowledge::{Place, Range, ResourceChange, ServiceState};
use model::decision::Explanation;
use model::quantity::{Bytes, MilliCpu};
use model::resource::{Quantity, Resources, VerticalMode};
use model::time::Time;

use crate::v1;

/// The recommended resources of the replicas of `service` at `now`; `None` when resource usage is not learned.
pub(crate) fn recommended(now: Time, service: &ServiceState) -> Option<v1::Recommendation> {
    let unmet = service.decision.as_deref().and_then(Explanation::unmet);
    let found = vertical::recommendation(now, service, unmet)?;
    let declared = service.declared.as_ref()?;
    let mode = declared.spec.scale.vertical.as_ref()?.mode;
    let declared = declared.spec.resources;
    Some(v1::Recommendation {
        mode: match mode {
            VerticalMode::Off => "off",
            VerticalMode::Recommend => "recommend",
            VerticalMode::Initial => "initial",
            VerticalMode::Auto => "auto",
        }
        .into(),
        cpu_millicores: found.cpu.map(|range| v1::RecommendedAmount {
            declared: declared.cpu.map(milli),
            given: service.allotment.cpu.map(|cpu| cpu.0),
            running: span(service, |resources| resources.cpu.map(milli)),
            ..of(range, |MilliCpu(milli)| milli)
        }),
        memory_bytes: found.memory.map(|range| v1::RecommendedAmount {
            declared: declared.memory.map(units),
            given: service.allotment.memory.map(|memory| memory.0),
            running: span(service, |resources| resources.memory.map(units)),
            ..of(range, |Bytes(bytes)| bytes)
        }),
        samples: service.usage.samples,
        confidence_days: found.confidence,
        message: message(mode, service, &found),
    })
}

fn milli(amount: Quantity) -> u64 {
    u64::try_from(amount.milli()).unwrap_or(0)
}

fn units(amount: Quantity) -> u64 {
    u64::try_from(amount.units_ceil()).unwrap_or(0)
}

/// The lowest and the highest limit of the running replicas.
fn span(service: &ServiceState, amount: impl Fn(Resources) -> Option<u64>) -> Option<v1::AmountSpan> {
    let amounts = running(service).filter_map(|place| amount(place.resources?));
    let spans = amounts.map(|amount| v1::AmountSpan { least: amount, most: amount });
    spans.reduce(|a, b| v1::AmountSpan { least: a.least.min(b.least), most: a.most.max(b.most) })
}

fn running(service: &ServiceState) -> impl Iterator<Item = &Place> {
    service.places.values().filter(|place| place.health().is_some())
}

fn of<T>(range: Range<T>, number: impl Fn(T) -> u64) -> v1::RecommendedAmount {
    let Range { lower, target, upper } = range;
    v1::RecommendedAmount {
        declared: None,
        lower: number(lower),
        target: number(target),
        // Without confidence there is no bound.
        upper: Some(number(upper)).filter(|upper| *upper < u64::MAX),
        given: None,
        running: None,
    }
}

fn message(mode: VerticalMode, service: &ServiceState, found: &Recommendation) -> String {
    let exceptions = match (found.cpu_is_horizontal, found.memory_is_horizontal) {
        (false, false) => "",
        (true, false) => "; cpu stays as declared, because the number of replicas follows it",
        (false, true) => "; memory stays as declared, because the number of replicas follows it",
        (true, true) => "; both stay as declared, because the number of replicas follows them",
    };
    let samples = service.usage.samples;
    let too_few_samples = || {
        format!(
            "replicas start as declared until {INITIAL_SAMPLES} minutes of a replica have been measured ({samples} so far)"
        )
    };
    match mode {
        VerticalMode::Off => "nothing is learned".into(),
        VerticalMode::Recommend => "the target is shown and has no effect".into(),
        VerticalMode::Initial if samples < INITIAL_SAMPLES => too_few_samples(),
        VerticalMode::Initial => format!("new replicas get the target{exceptions}"),
        VerticalMode::Auto => match found.growth {
            Some(growth) => format!("{}{}", growth_reason(&growth), resize_manner(service)),
            None if samples < INITIAL_SAMPLES => too_few_samples(),
            None => format!("every replica gets the target{exceptions}{}", resize_manner(service)),
        },
    }
}

/// Why the size of replicas grows, and not their number.
fn growth_reason(growth: &vertical::Growth) -> String {
    let vertical::Growth { unmet, cpu, memory } = growth;
    let cpu = cpu.map(|cpu| format!("cpu {cpu}"));
    let memory = memory.map(|memory| format!("memory {memory}"));
    let amounts: Vec<String> = cpu.into_iter().chain(memory).collect();
    let amounts = if amounts.is_empty() { "no more than they have".to_owned() } else { amounts.join(", ") };
    format!(
        "the metrics ask for {} replicas, but only {} may run, so each gets {amounts} until that changes",
        unmet.requested, unmet.allowed
    )
}

/// How the size of running replicas is changed.
fn resize_manner(service: &ServiceState) -> String {
    let fixed = running(service).find_map(|place| match &place.resource_change {
        ResourceChange::Unsupported { message } => Some(message),
        ResourceChange::Settled { .. } | ResourceChange::InProgress { .. } | ResourceChange::Failed(_) => {
            None
        }
    });
    match fixed {
        Some(message) => format!("; running replicas are replaced one at a time, because {message}"),
        None => "; running replicas are changed in place".to_owned(),
    }
}
