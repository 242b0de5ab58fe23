//! The parts of a decision, in the form of `/v1`.

use model::decision::{
    AlternativeSize, Decision, Evidence, EvidenceKind, Explanation, MetricVerdict, Prospect,
};

use crate::timestamps::rfc3339;
use crate::v1;

/// The evaluation of each metric.
pub(crate) fn metrics(decision: &Decision) -> Vec<v1::Metric> {
    let metric = |verdict: &MetricVerdict| v1::Metric {
        name: verdict.name.to_string(),
        current: verdict.current.to_string(),
        target: verdict.target.to_string(),
        ratio: verdict.ratio,
        proposal: verdict.proposal,
        samples: verdict.samples.map(|count| v1::SampleCount {
            used: count.used,
            unready: count.unready,
            missing: count.missing,
            ignored: count.ignored,
        }),
        note: verdict.note.to_string(),
    };
    decision.metrics.iter().map(metric).collect()
}

pub(crate) fn limits(decision: &Decision) -> Vec<v1::Limit> {
    let limit = |limit: &model::decision::Limit| v1::Limit {
        name: limit.name.into(),
        from: limit.from,
        to: limit.to,
        note: limit.note.to_string(),
    };
    decision.limits.iter().map(limit).collect()
}

pub(crate) fn tolerance(decision: &Decision) -> Option<v1::Tolerance> {
    decision.tolerance.map(|band| v1::Tolerance { up: band.up, down: band.down })
}

pub(crate) fn evidence(decision: &Decision) -> Vec<v1::Evidence> {
    let evidence = |Evidence { at, kind }: &Evidence| {
        let (kind, replicas) = match *kind {
            EvidenceKind::Recommended(replicas) => ("recommended", replicas),
            EvidenceKind::Added(replicas) => ("added", replicas),
            EvidenceKind::Removed(replicas) => ("removed", replicas),
        };
        v1::Evidence { at: rfc3339(*at), kind: kind.into(), replicas }
    };
    decision.evidence.iter().map(evidence).collect()
}

pub(crate) fn prospects(prospects: &[Prospect]) -> Vec<v1::Prospect> {
    let prospect = |it: &Prospect| v1::Prospect {
        desired: it.desired,
        need: it.requires.name().into(),
        levels: it
            .levels
            .iter()
            .map(|level| v1::MetricLevel { name: level.name.to_string(), level: level.level.to_string() })
            .collect(),
        at: it.at.map(rfc3339),
        message: it.note.to_string(),
    };
    prospects.iter().map(prospect).collect()
}

pub(crate) fn why_not(explanation: &dyn Explanation, asked: AlternativeSize) -> v1::WhyNot {
    let why = explanation.why_not(asked);
    v1::WhyNot {
        asked: asked_text(asked),
        because: why.reasons.iter().map(ToString::to_string).collect(),
        prospects: prospects(&why.prospects),
    }
}

/// `out`, `in` or a number of replicas.
pub(crate) fn asked_text(asked: AlternativeSize) -> String {
    match asked {
        AlternativeSize::Larger => "out".to_owned(),
        AlternativeSize::Smaller => "in".to_owned(),
        AlternativeSize::Exactly(replicas) => replicas.to_string(),
    }
}

/// Reads `out`, `in` or a number of replicas.
pub(crate) fn parse_asked(text: &str) -> Option<AlternativeSize> {
    match text {
        "out" => Some(AlternativeSize::Larger),
        "in" => Some(AlternativeSize::Smaller),
        number => number.parse().ok().map(AlternativeSize::Exactly),
    }
}
