//! How many replicas of a service run: a fixed number, or a number between two bounds that an autoscaler determines.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hpa::v2;
use super::{
    AutoscalerSpec, Bounds, Forecasting, Problems, ScalePolicy, Schedule, Shadow, Sizes, Slo, Span, Vertical,
};
use crate::measure::{MetricKey, MetricSubject};
use crate::name::ServiceName;

/// Most replicas of one service: ten times the largest service of the benches, and far below an overflow of sums.
pub const REPLICAS_MAX: u32 = 1_000_000;

/// How many replicas of a service run, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ScaleFields", into = "ScaleFields")]
pub struct Scale {
    /// The number, or the autoscaler that determines it.
    pub count: Count,
    /// How far the autoscaler's decisions are carried out.
    pub mode: ScaleMode,
    /// Times at which other bounds hold.
    pub schedule: Vec<Schedule>,
    /// Whether and when it is scaled to zero; `None` for never.
    pub to_zero: Option<ToZero>,
    /// Vertical scaling; `None` for none.
    pub vertical: Option<Vertical>,
    /// Shadow autoscalers.
    pub shadows: Vec<Shadow>,
    /// The allowed numbers of replicas; `None` for any.
    pub sizes: Option<Sizes>,
    /// Which replicas are removed first.
    pub remove: Remove,
    /// The metric by which replicas report that they must not be removed; `None` for none.
    pub protect: Option<Arc<str>>,
    /// The limit on changes of direction; `None` for none.
    pub flaps: Option<Flaps>,
    /// How its load is forecast; `None` for the default: not at all, unless it is sized by an SLO.
    pub forecast: Option<Forecasting>,
}

/// How often a number of replicas may change its direction before it is not lowered for a while. It may always rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flaps {
    /// How many changes of direction are allowed within `per`, 1 to 100.
    #[schemars(range(min = 1, max = 100))]
    pub most: u32,
    /// The time over which changes of direction are counted, 1s to 1d.
    pub per: Span,
}

/// Which of the serving replicas is removed first when a service scales in.
///
/// Replicas that do not serve are removed before them in any case: empty places, failing and starting replicas, and those of an older
/// declaration. A protected replica is never removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Remove {
    /// The one with the highest number, so that those left are numbered from 0.
    #[default]
    HighestNumber,
    /// The one with the fewest requests under way; among equals the one with the fewest requests a second, then the one that uses
    /// the least processor time.
    LeastBusy,
    /// The one that was started first.
    Oldest,
    /// The one that was started last.
    Newest,
    /// The one with the lowest value of this metric, which says what is lost with a replica, such as the sessions that it holds.
    /// A MetricSource from `replicas` measures it; a replica without a value goes last. It is what
    /// `controller.kubernetes.io/pod-deletion-cost` is in Kubernetes, but measured.
    Cheapest(Arc<str>),
}

impl Remove {
    /// Whether it is [`Self::HighestNumber`].
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The metric that it needs of `service`; `None` for none.
    pub fn key(&self, service: &ServiceName) -> Option<MetricKey> {
        match self {
            Self::Cheapest(metric) => Some(replica_metric(metric, service)),
            Self::HighestNumber | Self::LeastBusy | Self::Oldest | Self::Newest => None,
        }
    }
}

/// The key of a metric that is measured at each replica of `service`.
fn replica_metric(metric: &Arc<str>, service: &ServiceName) -> MetricKey {
    MetricKey { metric: Arc::clone(metric), subject: MetricSubject::Replicas(service.clone()) }
}

/// How far the decisions of an autoscaler are carried out. Bounds, schedules, scaling to zero and holds apply in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum ScaleMode {
    /// Its decisions are carried out.
    #[default]
    On,
    /// Replicas are added and never removed.
    UpOnly,
    /// Its decisions are recorded and not carried out: the number stays as it is.
    Shadow,
    /// It makes no decisions: the number stays as it is.
    Off,
}

impl ScaleMode {
    /// Whether it is [`Self::On`].
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "required by serde")]
    fn is_on(&self) -> bool {
        *self == Self::On
    }
}

/// How many replicas of a service run, apart from schedules and scaling to zero.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "each service has one, and those with an autoscaler are the usual ones"
)]
pub enum Count {
    /// Always this many, 0 to [`REPLICAS_MAX`], unless a HorizontalPodAutoscaler targets the service: then it starts with this many.
    Fixed(u32),
    /// As many as the autoscaler determines.
    Auto(AutoScale),
}

impl Default for Scale {
    fn default() -> Self {
        Self::fixed(1)
    }
}

impl Scale {
    /// A fixed number of replicas.
    pub const fn fixed(replicas: u32) -> Self {
        Self {
            count: Count::Fixed(replicas),
            mode: ScaleMode::On,
            schedule: Vec::new(),
            to_zero: None,
            sizes: None,
            remove: Remove::HighestNumber,
            protect: None,
            flaps: None,
            shadows: Vec::new(),
            vertical: None,
            forecast: None,
        }
    }

    /// The SLO of the autoscaler, or else of the first shadow that has one.
    pub fn slo(&self) -> Option<&Slo> {
        let acting = match &self.count {
            Count::Fixed(_) => None,
            Count::Auto(auto) => auto.policy.slo(),
        };
        let shadow = || self.shadows.iter().find_map(|shadow| shadow.policy.as_ref()?.slo());
        acting.or_else(shadow)
    }

    /// The metric of `service` by which replicas report that they must not be removed; `None` for none.
    pub fn protect_key(&self, service: &ServiceName) -> Option<MetricKey> {
        self.protect.as_ref().map(|metric| replica_metric(metric, service))
    }

    /// The bounds, apart from schedules and scaling to zero.
    pub const fn bounds(&self) -> Bounds {
        match &self.count {
            Count::Fixed(replicas) => Bounds { min: *replicas, max: *replicas },
            Count::Auto(auto) => Bounds { min: auto.min, max: auto.max },
        }
    }
}

/// Scaling to zero: while there are no requests, the service has no replicas. The next request starts some, and waits for them.
///
/// Source: Knative's scale to zero, with its activator in the proxy (knative.dev, "Configuring scale to zero"; `after` corresponds to the
/// stable window and `scale-to-zero-pod-retention-period`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ToZero {
    /// How long there must have been no request before the last replica is stopped, 1s to 24h.
    #[serde(default = "ToZero::after_default")]
    pub after: Span,
    /// How long a request waits for the first replica before it is answered 503, 1ms to 1h.
    #[serde(default = "ToZero::wait_default")]
    pub wait: Span,
}

impl ToZero {
    const fn after_default() -> Span {
        Span::from_secs(300)
    }

    const fn wait_default() -> Span {
        Span::from_secs(60)
    }
}

/// The autoscaler that a service declares, in the terms of `autoscaling/v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoScale {
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// The metrics; empty means CPU utilization at 80 %.
    pub metrics: Vec<v2::MetricSpec>,
    /// How the number of replicas follows from the metrics.
    pub policy: ScalePolicy,
    /// How fast the number may change.
    pub behavior: Option<v2::Behavior>,
}

impl AutoScale {
    /// The autoscaler of `service` in its normal form.
    pub fn to_spec(&self, service: &ServiceName) -> Result<AutoscalerSpec, Problems> {
        let bounds = (self.min, self.max);
        v2::normalize(service.clone(), bounds, &self.metrics, self.behavior.as_ref(), &self.policy)
    }
}

/// How many replicas run: `replicas` alone, or `min` and `max` with what to measure.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ScaleFields {
    /// A fixed number of replicas, 0 to 1000000; of these Homeostat runs at most 1000. Default: 1, when `max` is not given
    /// either.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000))]
    replicas: Option<u32>,
    /// Fewest replicas, up to `max`; 0 needs a metric of type Object or External. Default: 1, when `max` is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 1_000_000))]
    min: Option<u32>,
    /// Most replicas, 1 to 1000000; of these Homeostat runs at most 1000. It turns autoscaling on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    max: Option<u32>,
    /// What is measured, as in `autoscaling/v2`. Default: cpu utilization at 80 %.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    metrics: Vec<v2::MetricSpec>,
    /// How the number of replicas follows from what is measured. Default: hpa.
    #[serde(default, skip_serializing_if = "ScalePolicy::is_hpa")]
    policy: ScalePolicy,
    /// The service level objective (SLO): the service is sized to meet it at the lowest cost, without metrics or another policy. The
    /// same as `policy.slo`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slo: Option<Slo>,
    /// How fast the number may change, as in `autoscaling/v2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    behavior: Option<v2::Behavior>,
    /// How far the decisions of the autoscaler are followed, whether it is declared here or by a HorizontalPodAutoscaler.
    /// Default: on.
    #[serde(default, skip_serializing_if = "ScaleMode::is_on")]
    mode: ScaleMode,
    /// Times at which other bounds hold. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    schedule: Vec<Schedule>,
    /// Stops all replicas while there are no requests; the next request starts some and waits for them. Needs `expose`, or a
    /// Route that leads to the service. Default: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to_zero: Option<ToZero>,
    /// The numbers of replicas that are allowed: any other number, whoever asks for it, is rounded up to the next of them.
    /// Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sizes: Option<Sizes>,
    /// Which of the serving replicas goes first when the service shrinks. Default: highestNumber.
    #[serde(default, skip_serializing_if = "Remove::is_default")]
    remove: Remove,
    /// The metric that says which of the serving replicas must stay when the service shrinks: those with a value above 0, such as
    /// the leader of several, and those whose value is not known. A MetricSource from `replicas` measures it; of several series
    /// of one replica the sum counts. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    protect: Option<Arc<str>>,
    /// Limits how often the number may change its direction within a time. Past that it is not lowered for a while; it may always
    /// rise. Default: no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    flaps: Option<Flaps>,
    /// Autoscalers that decide beside the acting one, without effect: their decisions are recorded and compared, see `homeostat
    /// get scaling`. At most 8. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    shadows: Vec<Shadow>,
    /// Learns how much processor and memory a replica needs, and says what to do with it. Default: nothing is learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vertical: Option<Vertical>,
    /// Scales ahead of the load, by a forecast of it. Default: mode on with `slo`, else nothing is forecast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forecast: Option<Forecasting>,
}

/// Why the fields of `scale` are invalid.
#[derive(Debug, thiserror::Error)]
enum ScaleError {
    #[error(
        "a fixed number of replicas excludes autoscaling: give either replicas, or min and max with what to measure"
    )]
    FixedAndAuto,
    #[error("min, metrics, policy, slo and behavior need max, the most replicas that may run")]
    NoMax,
    #[error("slo is a policy of its own: give either slo or policy")]
    TwoPolicies,
    #[error("min ({min}) is above max ({max})")]
    Bounds { min: u32, max: u32 },
    #[error("at most {REPLICAS_MAX} replicas of a service can run, not {replicas}")]
    TooMany { replicas: u32 },
}

impl TryFrom<ScaleFields> for Scale {
    type Error = ScaleError;

    fn try_from(fields: ScaleFields) -> Result<Self, ScaleError> {
        let ScaleFields {
            replicas,
            min,
            max,
            metrics,
            policy,
            slo,
            behavior,
            mode,
            schedule,
            to_zero,
            sizes,
            remove,
            protect,
            flaps,
            shadows,
            vertical,
            forecast,
        } = fields;
        let policy = match slo {
            Some(_) if !policy.is_hpa() => return Err(ScaleError::TwoPolicies),
            Some(slo) => ScalePolicy::Slo(slo),
            None => policy,
        };
        let is_auto = min.is_some() || !metrics.is_empty() || !policy.is_hpa() || behavior.is_some();
        if let Some(replicas) = [replicas, min, max].into_iter().flatten().find(|n| *n > REPLICAS_MAX) {
            return Err(ScaleError::TooMany { replicas });
        }
        let count = match (replicas, max) {
            (Some(replicas), None) if !is_auto => Count::Fixed(replicas),
            (Some(_), Some(_) | None) => return Err(ScaleError::FixedAndAuto),
            (None, None) if is_auto => return Err(ScaleError::NoMax),
            (None, None) => Count::Fixed(1),
            (None, Some(max)) => {
                let min = min.unwrap_or(1);
                if min > max {
                    return Err(ScaleError::Bounds { min, max });
                }
                Count::Auto(AutoScale { min, max, metrics, policy, behavior })
            }
        };
        Ok(Self {
            count,
            mode,
            schedule,
            to_zero,
            sizes,
            remove,
            protect,
            flaps,
            shadows,
            vertical,
            forecast,
        })
    }
}

impl From<Scale> for ScaleFields {
    fn from(scale: Scale) -> Self {
        let Scale {
            count,
            mode,
            schedule,
            to_zero,
            sizes,
            remove,
            protect,
            flaps,
            shadows,
            vertical,
            forecast,
        } = scale;
        let nothing = Self {
            replicas: None,
            min: None,
            max: None,
            metrics: Vec::new(),
            policy: ScalePolicy::Hpa,
            slo: None,
            behavior: None,
            mode,
            schedule,
            to_zero,
            sizes,
            remove,
            protect,
            flaps,
            shadows,
            vertical,
            forecast,
        };
        match count {
            Count::Fixed(replicas) => Self { replicas: Some(replicas), ..nothing },
            Count::Auto(AutoScale { min, max, metrics, policy, behavior }) => {
                let (slo, policy) = match policy {
                    ScalePolicy::Slo(slo) => (Some(slo), ScalePolicy::Hpa),
                    other => (None, other),
                };
                Self { min: Some(min), max: Some(max), metrics, policy, slo, behavior, ..nothing }
            }
        }
    }
}
