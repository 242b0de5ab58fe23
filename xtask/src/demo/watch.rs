//! The parts of Homeostat's JSON output that the demo reads.

use serde::Deserialize;

/// `homeostat get service/shop -o json`.
#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) status: ServiceStatus,
}

/// The numbers of replicas, and their usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceStatus {
    pub(super) desired_replicas: u32,
    pub(super) replicas: u32,
    pub(super) ready_replicas: u32,
    #[serde(default)]
    pub(super) usage: Usage,
}

/// The usage of all replicas of a service together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Usage {
    /// Thousandths of a core, averaged over the last seconds; `null` while unknown.
    pub(super) cpu_millicores: Option<u32>,
}

/// `homeostat get replicas -o json`.
#[derive(Debug, Deserialize)]
pub(super) struct Replicas {
    pub(super) items: Vec<Replica>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Replica {
    pub(super) metadata: Metadata,
    pub(super) status: ReplicaStatus,
}

#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReplicaStatus {
    pub(super) service: String,
    /// `null` before it runs and after it has exited.
    pub(super) pid: Option<i32>,
    pub(super) ready: bool,
}

/// `homeostat explain service/shop -o json`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Decision {
    /// RFC 3339.
    pub(super) at: String,
    pub(super) desired: u32,
    pub(super) previous: u32,
    #[serde(default)]
    pub(super) reasons: Vec<serde_json::Value>,
    pub(super) summary: String,
}

impl Decision {
    /// The message of each reason.
    pub(super) fn reason_messages(&self) -> Vec<String> {
        let message = |reason: &serde_json::Value| match reason {
            serde_json::Value::String(text) => text.clone(),
            other => other
                .get("message")
                .and_then(serde_json::Value::as_str)
                .map_or_else(|| other.to_string(), str::to_owned),
        };
        self.reasons.iter().map(message).collect()
    }
}

/// `homeostat load -o json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LoadReport {
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// Requests that were due but not sent, because every connection was busy.
    #[serde(default)]
    pub(super) skipped: u64,
    pub(super) duration_seconds: f64,
    pub(super) achieved_rate: f64,
    pub(super) latency_seconds: Quantiles,
    #[serde(default)]
    pub(super) series: Vec<Point>,
}

/// In seconds; `null` without responses.
#[derive(Debug, Deserialize)]
pub(super) struct Quantiles {
    pub(super) p50: Option<f64>,
    pub(super) p99: Option<f64>,
}

/// An interval of the load.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Point {
    pub(super) at_seconds: f64,
    pub(super) seconds: f64,
    pub(super) sent: u64,
}

/// `homeostat rehearse -o json`.
#[derive(Debug, Deserialize)]
pub(super) struct Rehearsal {
    pub(super) services: Vec<RehearsedService>,
}

#[derive(Debug, Deserialize)]
pub(super) struct RehearsedService {
    pub(super) samples: Vec<RehearsedSample>,
}

/// A sample of a rehearsal.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RehearsedSample {
    pub(super) at_seconds: f64,
    pub(super) running: u32,
    pub(super) ready: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_read_as_text_or_as_objects_with_a_message() {
        let text = r#"{"at": "2026-01-01T00:00:00Z", "target": "service/shop", "desired": 4, "previous": 2, "summary": "s",
            "reasons": ["cpu at 93 % of 50 %", {"code": "Bounds", "message": "max is 10"}, {"code": "X"}]}"#;
        let decision: Decision = serde_json::from_str(text).expect("it is valid");

        assert_eq!(decision.reason_messages(), ["cpu at 93 % of 50 %", "max is 10", r#"{"code":"X"}"#]);
    }

    #[test]
    fn a_load_report_without_responses_is_read() {
        let text = r#"{"requests": 1, "failed": 1, "durationSeconds": 1.5, "achievedRate": 0.7,
            "latencySeconds": {"p50": null, "p90": null, "p99": null, "max": null}}"#;
        let report: LoadReport = serde_json::from_str(text).expect("it is valid");

        assert_eq!((report.failed, report.latency_seconds.p99), (1, None));
    }
}
