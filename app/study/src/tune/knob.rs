//! The knobs of a service that scales: fields of its manifest, each with the values to evaluate.

use fluid::Capacity;
use model::resource::{Quantity, Resource, Span};
use serde_json::{Map, Value, json};

/// A field of a manifest and its possible values, from low to high.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Knob {
    /// The path below `spec`; a number is an index into a list.
    path: Vec<String>,
    /// `None` leaves the field out, so that its default applies.
    values: Vec<Option<Value>>,
    /// The index of the present value.
    present: usize,
}

/// The factors of a present amount that are evaluated.
const FACTORS: [f64; 12] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.15, 1.25, 1.4, 1.6];

/// The minimum numbers of replicas that are evaluated.
const MINIMUMS: [u32; 20] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200];

/// The number of replicas below which a failed one has no substitute: a service that declares at least this many keeps them.
const SAFE_MINIMUM: u32 = 2;

/// The stabilization windows for scale-in that are evaluated, in seconds.
///
/// At least a minute: production decides each second, and sees more fluctuation than the ticks of the model.
const WINDOWS: [u64; 8] = [60, 120, 180, 300, 600, 900, 1800, 3600];

/// The tolerances that are evaluated; smaller ones would change the size with each decision.
const TOLERANCES: [&str; 4] = ["0.05", "0.1", "0.15", "0.2"];

/// The delays, cooldowns and windows that are evaluated, in seconds.
const SPANS: [u64; 13] = [0, 3, 6, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800];

/// The highest utilization that a target may imply, unless a higher one is declared.
///
/// In the model, nothing waits below full utilization. In a real service, queues are long before: at 85 %, a random arrival waits nearly six
/// times its service time (M/M/1).
const UTILIZATION_MAX: f64 = 0.85;

/// The fields of a manifest that configure scaling.
struct Fields<'a> {
    spec: &'a Value,
    /// The capacity of a replica, in requests per second.
    capacity: f64,
    /// The path from `spec` to the fields of the autoscaler.
    prefix: &'static [&'static str],
    /// The names of the fields for the bounds.
    min: &'static str,
    max: &'static str,
}

/// The knobs of `resource`, whose replicas have this capacity; none for one that does not scale.
pub(crate) fn knobs_of(resource: &Resource, capacity: Capacity) -> Vec<Knob> {
    let manifest = manifest_of(resource);
    let fields = match resource {
        Resource::Service(_) => Fields {
            spec: &manifest["spec"],
            capacity: capacity.rate(),
            prefix: &["scale"],
            min: "min",
            max: "max",
        },
        Resource::HorizontalPodAutoscaler(_) => Fields {
            spec: &manifest["spec"],
            capacity: capacity.rate(),
            prefix: &[],
            min: "minReplicas",
            max: "maxReplicas",
        },
        Resource::Route(_) | Resource::MetricSource(_) => return Vec::new(),
    };
    if fields.at(&[fields.max]).is_none() {
        return Vec::new();
    }
    [fields.minimum(), fields.targets(), fields.behavior(), fields.policy(), fields.schedule()].concat()
}

/// The manifest of `resource`.
pub(crate) fn manifest_of(resource: &Resource) -> Value {
    serde_json::to_value(resource).expect("a resource has only string keys, so it is valid JSON")
}

impl Knob {
    /// The number of values.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The index of the present value.
    pub(crate) fn present(&self) -> usize {
        self.present
    }

    /// Writes the value with this index into a manifest that has the present one.
    pub(crate) fn set(&self, manifest: &mut Value, index: usize) {
        let Some(value) = self.values.get(index).filter(|_| index != self.present) else { return };
        let mut at = manifest;
        let (last, before) = self.path.split_last().expect("a path has a last key");
        for key in std::iter::once("spec").chain(before.iter().map(String::as_str)) {
            at = match at {
                Value::Array(items) => match key.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                    Some(item) => item,
                    None => return,
                },
                other => {
                    if !other.is_object() {
                        *other = Value::Object(Map::new());
                    }
                    let fields = other.as_object_mut().expect("it was made one");
                    fields.entry(key.to_owned()).or_insert(Value::Null)
                }
            };
        }
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        let fields = at.as_object_mut().expect("it was made one");
        match value {
            Some(value) => fields.insert(last.clone(), value.clone()),
            None => fields.remove(last),
        };
    }
}

impl Fields<'_> {
    fn at(&self, path: &[&str]) -> Option<&Value> {
        self.prefix.iter().chain(path).try_fold(self.spec, |value, key| match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            other => other.get(key),
        })
    }

    /// The knob of the field at `path`. `grid` has the values besides the present one, each with its sort key. `None` without a choice.
    fn knob(
        &self,
        path: &[&str],
        present: f64,
        grid: impl IntoIterator<Item = (f64, Value)>,
    ) -> Option<Knob> {
        let present_value = self.at(path).cloned();
        let mut values: Vec<(f64, Option<Value>)> = grid
            .into_iter()
            .map(|(key, value)| (key, Some(value)))
            .filter(|(key, _)| *key != present)
            .collect();
        values.push((present, present_value));
        values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        values.dedup_by(|(a, _), (b, _)| a == b);
        let index = values.iter().position(|(key, _)| *key == present)?;
        let path = self.prefix.iter().chain(path).map(|key| (*key).to_owned()).collect();
        let values: Vec<_> = values.into_iter().map(|(_, value)| value).collect();
        (values.len() > 1).then_some(Knob { path, values, present: index })
    }

    fn minimum(&self) -> Vec<Knob> {
        let number =
            |name: &str| self.at(&[name]).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let (min, max) = (number(self.min).unwrap_or(1), number(self.max).unwrap_or(1));
        let lowest = min.min(SAFE_MINIMUM);
        let grid =
            MINIMUMS.into_iter().filter(|n| (lowest..=max).contains(n)).map(|n| (f64::from(n), json!(n)));
        self.knob(&[self.min], f64::from(min), grid).into_iter().collect()
    }

    /// The target of each metric. Some policies do not use them.
    fn targets(&self) -> Vec<Knob> {
        let uses_targets = match self.at(&["policy"]) {
            None | Some(Value::String(_)) => true,
            Some(policy) => ["targetTracking", "burst"].iter().any(|name| policy.get(name).is_some()),
        };
        let Some(metrics) = self.at(&["metrics"]).and_then(Value::as_array).filter(|_| uses_targets) else {
            return if uses_targets { self.default_target().into_iter().collect() } else { Vec::new() };
        };
        let mut knobs = Vec::new();
        for index in 0..metrics.len() {
            for source in ["resource", "containerResource", "pods", "object", "external"] {
                let index = index.to_string();
                let share = ["metrics", &index, source, "target", "averageUtilization"];
                if let Some(percent) = self.at(&share).and_then(Value::as_f64) {
                    knobs.extend(self.knob(
                        &share,
                        percent,
                        shares(percent).map(|it| (it, json!(it as u32))),
                    ));
                }
                let is_of_requests = matches!(source, "pods" | "external");
                let amount_max = if is_of_requests { UTILIZATION_MAX * self.capacity } else { f64::INFINITY };
                knobs.extend(self.amount(&["metrics", &index, source, "target", "averageValue"], amount_max));
                knobs.extend(self.amount(&["metrics", &index, source, "target", "value"], f64::INFINITY));
            }
        }
        knobs
    }

    /// The default without metrics: 80 % CPU utilization.
    fn default_target(&self) -> Option<Knob> {
        let metrics = |percent: f64| {
            let target = json!({"type": "Utilization", "averageUtilization": percent as u32});
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
        };
        self.knob(&["metrics"], 80.0, shares(80.0).map(|it| (it, metrics(it))))
    }

    /// The knob of an amount, with multiples of it in three digits, up to `units_max`.
    fn amount(&self, path: &[&str], units_max: f64) -> Option<Knob> {
        let present = Quantity::parse(self.at(path)?.as_str()?).ok()?.milli();
        let is_sound = |milli: &i64| *milli > 0 && *milli as f64 <= 1000.0 * units_max;
        let values = FACTORS.into_iter().map(|factor| multiple_of(present, factor)).filter(is_sound);
        self.knob(
            path,
            present as f64,
            values.map(|milli| (milli as f64, json!(Quantity::from_milli(milli)))),
        )
    }

    fn behavior(&self) -> Vec<Knob> {
        let number = |path: &[&str], default: f64| self.at(path).and_then(Value::as_f64).unwrap_or(default);
        let window = ["behavior", "scaleDown", "stabilizationWindowSeconds"];
        let windows = WINDOWS.into_iter().map(|seconds| (seconds as f64, json!(seconds)));
        let mut knobs: Vec<Knob> = self.knob(&window, number(&window, 300.0), windows).into_iter().collect();
        for direction in ["scaleUp", "scaleDown"] {
            let path = ["behavior", direction, "tolerance"];
            let milli = |text: &str| Quantity::parse(text).map_or(0.0, |it| it.milli() as f64);
            let present = self.at(&path).and_then(Value::as_str).map_or(100.0, milli);
            knobs.extend(self.knob(&path, present, TOLERANCES.map(|text| (milli(text), json!(text)))));
        }
        // The default allows 4 replicas or twice the number to be added in 15 seconds.
        if self.at(&["behavior", "scaleUp", "policies"]).is_none() {
            let policies = |pods: u32| json!([{"type": "Pods", "value": pods, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
            let values = [1, 2, 8, 16, 32].map(|pods| (f64::from(pods), policies(pods)));
            knobs.extend(self.knob(&["behavior", "scaleUp", "policies"], 4.0, values));
        }
        knobs
    }

    fn policy(&self) -> Vec<Knob> {
        let spans: [&[&str]; 10] = [
            &["policy", "step", "evaluation", "every"],
            &["policy", "step", "cooldown", "out"],
            &["policy", "step", "cooldown", "in"],
            &["policy", "watermarks", "outAfter"],
            &["policy", "watermarks", "inAfter"],
            &["policy", "targetTracking", "warmup"],
            &["policy", "targetTracking", "outAfter"],
            &["policy", "targetTracking", "inAfter"],
            &["policy", "burst", "stableWindow"],
            &["policy", "burst", "panicWindow"],
        ];
        let mut knobs: Vec<Knob> = spans.into_iter().filter_map(|path| self.span(path)).collect();
        let integers: [(&[&str], &[u32]); 2] = [
            (&["policy", "step", "evaluation", "breaches"], &[1, 2, 3, 4, 5]),
            (&["policy", "burst", "panicThresholdPercent"], &[110, 125, 150, 175, 200, 250, 300, 400]),
        ];
        for (path, values) in integers {
            let present = self.at(path).and_then(Value::as_f64);
            let values = values.iter().map(|it| (f64::from(*it), json!(it)));
            knobs.extend(present.and_then(|present| self.knob(path, present, values)));
        }
        for path in [["policy", "watermarks", "high"], ["policy", "watermarks", "low"]] {
            knobs.extend(self.amount(&path, f64::INFINITY));
        }
        for side in ["above", "below"] {
            knobs.extend(self.thresholds(side));
        }
        knobs
    }

    fn span(&self, path: &[&str]) -> Option<Knob> {
        let present = Span::parse(self.at(path)?.as_str()?).ok()?;
        let values = SPANS.map(|seconds| (seconds as f64, json!(Span::from_secs(seconds))));
        self.knob(path, present.as_duration().as_secs_f64(), values)
    }

    /// All thresholds of one side of the steps, scaled together.
    fn thresholds(&self, side: &str) -> Option<Knob> {
        let path = ["policy", "step", side];
        let steps = self.at(&path)?.as_array()?;
        let scaled = |factor: f64| {
            let mut steps = steps.clone();
            for step in steps.iter_mut().filter_map(Value::as_object_mut) {
                for end in ["from", "to"] {
                    let present =
                        step.get(end).and_then(Value::as_str).and_then(|text| Quantity::parse(text).ok());
                    if let Some(present) = present {
                        step.insert(
                            end.to_owned(),
                            json!(Quantity::from_milli(multiple_of(present.milli(), factor))),
                        );
                    }
                }
            }
            (factor, Value::Array(steps))
        };
        self.knob(&path, 1.0, FACTORS.map(scaled))
    }

    /// The minimums of the schedule.
    fn schedule(&self) -> Vec<Knob> {
        let minimum = |index: usize| {
            let index = index.to_string();
            let path = ["schedule", index.as_str(), "min"];
            let present = self.at(&path)?.as_f64()?;
            let values = FACTORS.map(|factor| (present * factor).round()).into_iter().filter(|it| *it >= 1.0);
            self.knob(&path, present, values.map(|it| (it, json!(it as u32))))
        };
        let windows = self.at(&["schedule"]).and_then(Value::as_array).map_or(0, Vec::len);
        (0..windows).filter_map(minimum).collect()
    }
}

/// Multiples of a share, in whole per cent.
fn shares(percent: f64) -> impl Iterator<Item = f64> {
    FACTORS
        .into_iter()
        .map(move |factor| (percent * factor).round())
        .filter(|it| (1.0..=100.0 * UTILIZATION_MAX).contains(it))
}

/// A multiple of an amount in thousandths, rounded to three digits.
fn multiple_of(milli: i64, factor: f64) -> i64 {
    let exact = milli as f64 * factor;
    let unit = 10_f64.powi((exact.abs().max(1.0).log10().floor() as i32 - 2).max(0));
    ((exact / unit).round() * unit) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(scale: &Value) -> Resource {
        serde_json::from_value(json!({
            "apiVersion": "homeostat/v1", "kind": "Service", "metadata": {"name": "shop"},
            "spec": {"run": {"command": ["shop"]}, "resources": {"cpu": "1"}, "scale": scale},
        }))
        .expect("it is a service")
    }

    fn knobs(service: &Resource) -> Vec<Knob> {
        knobs_of(service, Capacity::per_second(20.0).unwrap())
    }

    fn paths(scale: &Value) -> Vec<String> {
        knobs(&resource(scale)).iter().map(|knob| knob.path.join(".")).collect()
    }

    #[test]
    fn every_value_of_every_knob_gives_a_valid_manifest_and_the_present_value_an_equal_one() {
        let metric = json!({"type": "Pods", "pods": {"metric": {"name": "http_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "14"}}});
        let policies = [
            json!("hpa"),
            json!("unanimous"),
            json!({"targetTracking": {}}),
            json!({"burst": {}}),
            json!({"watermarks": {"high": "20", "low": "10"}}),
            json!({"step": {"above": [{"from": "20", "to": "30", "replicas": 1}, {"from": "30", "replicas": 3}], "below": [{"to": "8", "replicas": 1}]}}),
        ];
        let window = json!({"cron": "50 19 * * *", "timezone": "UTC", "duration": "1h", "min": 20});
        for policy in policies {
            for metrics in [json!([metric]), json!([])] {
                let scale =
                    json!({"min": 3, "max": 60, "metrics": metrics, "policy": policy, "schedule": [window]});
                let service = resource(&scale);
                let knobs = knobs(&service);
                assert!(knobs.len() >= 5, "{policy}: {knobs:?}");
                for knob in &knobs {
                    for index in 0..knob.len() {
                        let mut manifest = manifest_of(&service);
                        knob.set(&mut manifest, index);
                        let changed: Result<Resource, _> = serde_json::from_value(manifest);
                        let changed = changed.unwrap_or_else(|error| panic!("{knob:?} at {index}: {error}"));
                        assert_eq!(changed == service, index == knob.present(), "{knob:?} at {index}");
                    }
                }
            }
        }
    }

    #[test]
    fn fields_that_a_policy_does_not_use_have_no_knob() {
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
        let step = json!({"max": 9, "metrics": [metric], "policy": {"step": {"above": [{"from": "80", "replicas": 1}]}}});
        assert!(!paths(&step).iter().any(|path| path.contains("target")), "{:?}", paths(&step));
        assert!(
            paths(&json!({"max": 9, "metrics": [metric]}))
                .iter()
                .any(|path| path.ends_with("averageUtilization"))
        );
        assert!(paths(&json!({"replicas": 3})).is_empty(), "a fixed number has no knobs");
    }

    #[test]
    fn a_service_keeps_two_replicas_if_it_declares_them() {
        let fewest = |min: u32| {
            let knobs = knobs(&resource(&json!({"min": min, "max": 9})));
            let knob = knobs.into_iter().find(|knob| knob.path == ["scale", "min"]).expect("there is one");
            knob.values
                .into_iter()
                .map(|value| value.map(|value| value.as_u64().unwrap()))
                .collect::<Vec<_>>()
        };
        assert_eq!(fewest(3), [2, 3, 4, 5, 6, 8].map(Some));
        assert_eq!(fewest(1)[0], Some(1));
    }

    #[test]
    fn targets_are_limited_to_a_safe_utilization() {
        let most = |metric: Value| {
            let knobs = knobs(&resource(&json!({"max": 9, "metrics": [metric]})));
            let target = |knob: &&Knob| knob.path.iter().any(|key| key == "target");
            let values = knobs.iter().find(target).expect("it has a target").values.clone();
            values.last().cloned().flatten().expect("it has a value")
        };
        let requests = json!({"metric": {"name": "http_requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "14"}});
        assert_eq!(most(json!({"type": "Pods", "pods": requests})), "16100m", "17 would be 85 %");
        let cpu = json!({"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}});
        assert_eq!(most(json!({"type": "Resource", "resource": cpu})), 84);
    }

    #[test]
    fn multiples_have_three_digits() {
        assert_eq!(
            (multiple_of(14_000, 1.05), multiple_of(14_000, 0.9), multiple_of(7, 0.5)),
            (14_700, 12_600, 4)
        );
        assert_eq!(multiple_of(1_234_567, 1.0), 1_230_000);
    }
}
