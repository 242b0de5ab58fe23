//! How large a replica should be by what was learned, in the words of `/v1`.

use control::vertical::{self, INITIAL_SAMPLES, Recommendation};
use knowledge::{Range, ServiceState};
use model::quantity::{Bytes, MilliCpu};
use model::resource::VerticalMode;
use model::time::Time;

use crate::v1;

/// What is recommended for the replicas of `service` at `now`; `None` where nothing is learned.
pub(crate) fn recommended(now: Time, service: &ServiceState) -> Option<v1::Recommendation> {
    let found = vertical::recommendation(now, service)?;
    let declared = service.declared.as_ref()?;
    let mode = declared.spec.scale.vertical.as_ref()?.mode;
    let declared = declared.spec.resources;
    let whole = |amount: i64| u64::try_from(amount).unwrap_or(0);
    Some(v1::Recommendation {
        mode: match mode {
            VerticalMode::Off => "off",
            VerticalMode::Recommend => "recommend",
            VerticalMode::Initial => "initial",
        }
        .into(),
        cpu_millicores: found.cpu.map(|range| v1::RecommendedAmount {
            declared: declared.cpu.map(|cpu| whole(cpu.milli())),
            given: service.allotment.cpu.map(|cpu| cpu.0),
            ..of(range, |MilliCpu(milli)| milli)
        }),
        memory_bytes: found.memory.map(|range| v1::RecommendedAmount {
            declared: declared.memory.map(|memory| whole(memory.units_ceil())),
            given: service.allotment.memory.map(|memory| memory.0),
            ..of(range, |Bytes(bytes)| bytes)
        }),
        samples: service.usage.samples,
        confidence_days: found.confidence,
        message: message(mode, service, &found),
    })
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
    }
}

fn message(mode: VerticalMode, service: &ServiceState, found: &Recommendation) -> String {
    let followed = match (found.cpu_is_horizontal, found.memory_is_horizontal) {
        (false, false) => "",
        (true, false) => "; cpu stays as declared, because the number of replicas follows it",
        (false, true) => "; memory stays as declared, because the number of replicas follows it",
        (true, true) => "; both stay as declared, because the number of replicas follows them",
    };
    let samples = service.usage.samples;
    match mode {
        VerticalMode::Off => "nothing is learned".into(),
        VerticalMode::Recommend => "shown, without effect".into(),
        VerticalMode::Initial if samples < INITIAL_SAMPLES => format!(
            "replicas start as declared until an hour of one replica was measured ({samples} of {INITIAL_SAMPLES} minutes)"
        ),
        VerticalMode::Initial => format!("replicas that are started get the target{followed}"),
    }
}
