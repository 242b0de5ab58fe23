//! How many replicas of a service run: a fixed number, or what an autoscaler finds between two bounds.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::hpa::v2;
use super::{
    AutoscalerSpec, Bounds, Forecasting, Problems, ScalePolicy, Schedule, Shadow, Sizes, Slo, Span, Vertical,
};
use crate::measure::{MetricKey, Whose};
use crate::name::ServiceName;

/// Most replicas of one service: ten times the largest service of the benches, far below where sums of replicas overflow.
pub const REPLICAS_MAX: u32 = 1_000_000;

/// How many replicas of a service run, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "ScaleFields", into = "ScaleFields")]
pub struct Scale {
    /// How many.
    pub count: Count,
    /// How far its autoscaler is followed.
    pub mode: ScaleMode,
    /// Times at which other bounds hold.
    pub schedule: Vec<Schedule>,
    /// Whether it rests while nobody asks for anything.
    pub to_zero: Option<ToZero>,
    /// What is learned of the size of a replica; `None` learns nothing.
    pub vertical: Option<Vertical>,
    /// Autoscalers that are tried beside it.
    pub shadows: Vec<Shadow>,
    /// Which numbers of replicas it may have; `None` for any.
    pub sizes: Option<Sizes>,
    /// Who goes first when it shrinks.
    pub remove: Remove,
    /// The metric by which replicas say that they must stay when it shrinks; `None` for none.
    pub protect: Option<Arc<str>>,
    /// How often its number may turn around; `None` for any number of times.
    pub flaps: Option<Flaps>,
    /// What is forecast of its load; `None` for what is usual: nothing, unless it is sized by a promise.
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

/// Which of the replicas that serve goes first when a service shrinks.
///
/// Those that do not serve go before them in any case: empty places, those that fail, those that are starting, those that run an
/// older declaration. A protected one never goes.
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

    /// What has to be measured for it of a service that is called so; `None` for nothing.
    pub fn key(&self, service: &ServiceName) -> Option<MetricKey> {
        match self {
            Self::Cheapest(metric) => Some(at_replicas(metric, service)),
            Self::HighestNumber | Self::LeastBusy | Self::Oldest | Self::Newest => None,
        }
    }
}

/// A metric that is measured at each replica of a service that is called so.
fn at_replicas(metric: &Arc<str>, service: &ServiceName) -> MetricKey {
    MetricKey { metric: Arc::clone(metric), whose: Whose::Replicas(service.clone()) }
}

/// How far an autoscaler is followed. Bounds, schedules, rest and holds by hand are followed in every mode.
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
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    fn is_on(&self) -> bool {
        *self == Self::On
    }
}

/// How many replicas of a service run, times and rest left aside.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "each service has one, and those with an autoscaler are the usual ones"
)]
pub enum Count {
    /// Always this many, 0 to [`REPLICAS_MAX`], unless a HorizontalPodAutoscaler targets the service: then it starts with this many.
    Fixed(u32),
    /// As many as the metrics ask for, between two bounds.
    Auto(AutoScale),
}

impl Default for Scale {
    fn default() -> Self {
        Self::fixed(1)
    }
}

impl Scale {
    /// Always so many.
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

    /// What is promised, for the autoscaler or else for the first that is tried beside it; `None` for nothing.
    pub fn promise(&self) -> Option<&Slo> {
        let acting = match &self.count {
            Count::Fixed(_) => None,
            Count::Auto(auto) => auto.policy.slo(),
        };
        let tried = || self.shadows.iter().find_map(|shadow| shadow.policy.as_ref()?.slo());
        acting.or_else(tried)
    }

    /// What has to be measured of a service that is called so to know which of its replicas must stay; `None` for nothing.
    pub fn protect_key(&self, service: &ServiceName) -> Option<MetricKey> {
        self.protect.as_ref().map(|metric| at_replicas(metric, service))
    }

    /// The fewest and the most replicas, times and rest left aside.
    pub const fn bounds(&self) -> Bounds {
        match &self.count {
            Count::Fixed(replicas) => Bounds { min: *replicas, max: *replicas },
            Count::Auto(auto) => Bounds { min: auto.min, max: auto.max },
        }
    }
}

/// A service that rests while nobody asks for anything: it has no replicas then, and the next request starts some. That request waits.
///
/// Knative's scale to zero, with its activator in the proxy (knative.dev, "Configuring scale to zero"; there the stable window and
/// `scale-to-zero-pod-retention-period` are what is `after` here).
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

/// Bounds, metrics and behavior of a service that scales itself, in the words of `autoscaling/v2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AutoScale {
    /// Fewest replicas.
    pub min: u32,
    /// Most replicas.
    pub max: u32,
    /// What is measured. None means processor utilization at 80 %.
    pub metrics: Vec<v2::MetricSpec>,
    /// How the number of replicas follows from what is measured.
    pub policy: ScalePolicy,
    /// How fast the number may change.
    pub behavior: Option<v2::Behavior>,
}

impl AutoScale {
    /// The autoscaler of `service` that these fields describe.
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
    /// What the service promises its clients. It is sized to keep that at the lowest cost, without metrics or another policy. The
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

/// Why the fields of `scale` contradict each other.
#[derive(Debug, thiserror::Error)]
enum ScaleError {
    #[error(
        "a fixed number of replicas stands alone: give either replicas, or min and max with what to measure"
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
        let says_auto = min.is_some() || !metrics.is_empty() || !policy.is_hpa() || behavior.is_some();
        if let Some(replicas) = [replicas, min, max].into_iter().flatten().find(|n| *n > REPLICAS_MAX) {
            return Err(ScaleError::TooMany { replicas });
        }
        let count = match (replicas, max) {
            (Some(replicas), None) if !says_auto => Count::Fixed(replicas),
            (Some(_), Some(_) | None) => return Err(ScaleError::FixedAndAuto),
            (None, None) if says_auto => return Err(ScaleError::NoMax),
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
