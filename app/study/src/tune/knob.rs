//! What can be turned of a service that scales: fields of its manifest, each with the values that are tried.

use fluid::Capacity;
use model::resource::{Quantity, Resource, Span};
use serde_json::{Map, Value, json};

/// A field of a manifest and the values that are tried for it, from low to high.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Knob {
    /// Keys from `spec` on; what is a number is a place in a list.
    path: Vec<String>,
    /// `None` leaves the field out, so that its default holds.
    values: Vec<Option<Value>>,
    /// Which of them holds.
    present: usize,
}

/// Parts of a present amount that are tried beside it.
const PARTS: [f64; 12] = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.05, 1.1, 1.15, 1.25, 1.4, 1.6];

/// Numbers of replicas that are tried as the fewest.
const FEWEST: [u32; 20] = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100, 150, 200];

/// Below so many replicas nobody stands in for one that fails, so that a service which has them keeps them.
const FEWEST_SAFE: u32 = 2;

/// Windows that are tried before replicas are removed, in seconds.
///
/// From a minute on: production decides each second and sees more ups and downs than the ticks of a model.
const WINDOWS: [u64; 8] = [60, 120, 180, 300, 600, 900, 1800, 3600];

/// Tolerances that are tried, none so small that each decision were another.
const TOLERANCES: [&str; 4] = ["0.05", "0.1", "0.15", "0.2"];

/// Delays, cool-downs and windows that are tried, in seconds.
const SPANS: [u64; 13] = [0, 3, 6, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1800];

/// The part of a replica that no target asks for more of than is declared.
///
/// In the model nothing waits below full use. In a real service the queue is long before: at 85 % a random arrival waits nearly six times as long as
/// it is served (M/M/1).
const USED_MAX: f64 = 0.85;

/// Where a manifest says how its service scales.
struct Place<'a> {
    spec: &'a Value,
    /// What a replica carries, in requests a second.
    capacity: f64,
    /// Keys before those of the autoscaler.
    before: &'static [&'static str],
    /// What the fewest replicas are called.
    fewest: &'static str,
    most: &'static str,
}

/// What can be turned of `resource`, whose replicas carry `capacity`; nothing of one that does not scale.
pub(crate) fn knobs_of(resource: &Resource, capacity: Capacity) -> Vec<Knob> {
    let written = written(resource);
    let place = match resource {
        Resource::Service(_) => Place {
            spec: &written["spec"],
            capacity: capacity.rate(),
            before: &["scale"],
            fewest: "min",
            most: "max",
        },
        Resource::HorizontalPodAutoscaler(_) => Place {
            spec: &written["spec"],
            capacity: capacity.rate(),
            before: &[],
            fewest: "minReplicas",
            most: "maxReplicas",
        },
        Resource::Route(_) | Resource::MetricSource(_) => return Vec::new(),
    };
    if place.at(&[place.most]).is_none() {
        return Vec::new();
    }
    [place.fewest(), place.targets(), place.behavior(), place.policy(), place.schedule()].concat()
}

/// The manifest of `resource`.
pub(crate) fn written(resource: &Resource) -> Value {
    serde_json::to_value(resource).expect("the keys of every resource are texts, so that it is JSON")
}

impl Knob {
    /// Values that are tried.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Which of them holds.
    pub(crate) fn present(&self) -> usize {
        self.present
    }

    /// Writes its value at `place` into a manifest that has the present one.
    pub(crate) fn turn(&self, manifest: &mut Value, place: usize) {
        let Some(value) = self.values.get(place).filter(|_| place != self.present) else { return };
        let mut at = manifest;
        let (last, before) = self.path.split_last().expect("a path has a last key");
        for key in std::iter::once("spec").chain(before.iter().map(String::as_str)) {
            at = match at {
                Value::Array(items) => match key.parse().ok().and_then(|place: usize| items.get_mut(place)) {
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

impl Place<'_> {
    fn at(&self, path: &[&str]) -> Option<&Value> {
        self.before.iter().chain(path).try_fold(self.spec, |value, key| match value {
            Value::Array(items) => items.get(key.parse::<usize>().ok()?),
            other => other.get(key),
        })
    }

    /// The knob of the field at `path`. `grid` has the values beside the present one, each with the number that it is sorted by. `None` where there
    /// is nothing to choose.
    fn knob(
        &self,
        path: &[&str],
        present: f64,
        grid: impl IntoIterator<Item = (f64, Value)>,
    ) -> Option<Knob> {
        let written = self.at(path).cloned();
        let mut values: Vec<(f64, Option<Value>)> =
            grid.into_iter().map(|(at, value)| (at, Some(value))).filter(|(at, _)| *at != present).collect();
        values.push((present, written));
        values.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        values.dedup_by(|(a, _), (b, _)| a == b);
        let place = values.iter().position(|(at, _)| *at == present)?;
        let path = self.before.iter().chain(path).map(|key| (*key).to_owned()).collect();
        let values: Vec<_> = values.into_iter().map(|(_, value)| value).collect();
        (values.len() > 1).then_some(Knob { path, values, present: place })
    }

    fn fewest(&self) -> Vec<Knob> {
        let number =
            |name: &str| self.at(&[name]).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let (fewest, most) = (number(self.fewest).unwrap_or(1), number(self.most).unwrap_or(1));
        let least = fewest.min(FEWEST_SAFE);
        let grid =
            FEWEST.into_iter().filter(|n| (least..=most).contains(n)).map(|n| (f64::from(n), json!(n)));
        self.knob(&[self.fewest], f64::from(fewest), grid).into_iter().collect()
    }

    /// What each metric aims at. Some policies do not look at it.
    fn targets(&self) -> Vec<Knob> {
        let is_aimed_at = match self.at(&["policy"]) {
            None | Some(Value::String(_)) => true,
            Some(policy) => ["targetTracking", "burst"].iter().any(|name| policy.get(name).is_some()),
        };
        let Some(metrics) = self.at(&["metrics"]).and_then(Value::as_array).filter(|_| is_aimed_at) else {
            return if is_aimed_at { self.target_unwritten().into_iter().collect() } else { Vec::new() };
        };
        let mut knobs = Vec::new();
        for place in 0..metrics.len() {
            for source in ["resource", "containerResource", "pods", "object", "external"] {
                let place = place.to_string();
                let share = ["metrics", &place, source, "target", "averageUtilization"];
                if let Some(percent) = self.at(&share).and_then(Value::as_f64) {
                    knobs.extend(self.knob(
                        &share,
                        percent,
                        shares(percent).map(|it| (it, json!(it as u32))),
                    ));
                }
                let is_of_requests = matches!(source, "pods" | "external");
                let most = if is_of_requests { USED_MAX * self.capacity } else { f64::INFINITY };
                knobs.extend(self.amount(&["metrics", &place, source, "target", "averageValue"], most));
                knobs.extend(self.amount(&["metrics", &place, source, "target", "value"], f64::INFINITY));
            }
        }
        knobs
    }

    /// Without metrics the processor is to be used by 80 %.
    fn target_unwritten(&self) -> Option<Knob> {
        let metrics = |percent: f64| {
            let target = json!({"type": "Utilization", "averageUtilization": percent as u32});
            json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}])
        };
        self.knob(&["metrics"], 80.0, shares(80.0).map(|it| (it, metrics(it))))
    }

    /// An amount, and parts of it to three digits, up to `most` units.
    fn amount(&self, path: &[&str], most: f64) -> Option<Knob> {
        let present = Quantity::parse(self.at(path)?.as_str()?).ok()?.milli();
        let is_sound = |milli: &i64| *milli > 0 && *milli as f64 <= 1000.0 * most;
        let tried = PARTS.into_iter().map(|part| part_of(present, part)).filter(is_sound);
        self.knob(path, present as f64, tried.map(|milli| (milli as f64, json!(Quantity::from_milli(milli)))))
    }

    fn behavior(&self) -> Vec<Knob> {
        let number = |path: &[&str], default: f64| self.at(path).and_then(Value::as_f64).unwrap_or(default);
        let window = ["behavior", "scaleDown", "stabilizationWindowSeconds"];
        let windows = WINDOWS.into_iter().map(|seconds| (seconds as f64, json!(seconds)));
        let mut knobs: Vec<Knob> = self.knob(&window, number(&window, 300.0), windows).into_iter().collect();
        for way in ["scaleUp", "scaleDown"] {
            let path = ["behavior", way, "tolerance"];
            let milli = |text: &str| Quantity::parse(text).map_or(0.0, |it| it.milli() as f64);
            let present = self.at(&path).and_then(Value::as_str).map_or(100.0, milli);
            knobs.extend(self.knob(&path, present, TOLERANCES.map(|text| (milli(text), json!(text)))));
        }
        // What is there by itself lets 4 replicas or the double be added in 15 seconds.
        if self.at(&["behavior", "scaleUp", "policies"]).is_none() {
            let policies = |pods: u32| json!([{"type": "Pods", "value": pods, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]);
            let tried = [1, 2, 8, 16, 32].map(|pods| (f64::from(pods), policies(pods)));
            knobs.extend(self.knob(&["behavior", "scaleUp", "policies"], 4.0, tried));
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
        let whole: [(&[&str], &[u32]); 2] = [
            (&["policy", "step", "evaluation", "breaches"], &[1, 2, 3, 4, 5]),
            (&["policy", "burst", "panicThresholdPercent"], &[110, 125, 150, 175, 200, 250, 300, 400]),
        ];
        for (path, tried) in whole {
            let present = self.at(path).and_then(Value::as_f64);
            let tried = tried.iter().map(|it| (f64::from(*it), json!(it)));
            knobs.extend(present.and_then(|present| self.knob(path, present, tried)));
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
        let tried = SPANS.map(|seconds| (seconds as f64, json!(Span::from_secs(seconds))));
        self.knob(path, present.as_duration().as_secs_f64(), tried)
    }

    /// All thresholds of one side of the steps, moved together.
    fn thresholds(&self, side: &str) -> Option<Knob> {
        let path = ["policy", "step", side];
        let steps = self.at(&path)?.as_array()?;
        let moved = |part: f64| {
            let mut steps = steps.clone();
            for step in steps.iter_mut().filter_map(Value::as_object_mut) {
                for end in ["from", "to"] {
                    let present =
                        step.get(end).and_then(Value::as_str).and_then(|text| Quantity::parse(text).ok());
                    if let Some(present) = present {
                        step.insert(
                            end.to_owned(),
                            json!(Quantity::from_milli(part_of(present.milli(), part))),
                        );
                    }
                }
            }
            (part, Value::Array(steps))
        };
        self.knob(&path, 1.0, PARTS.map(moved))
    }

    /// The floors of the schedule.
    fn schedule(&self) -> Vec<Knob> {
        let floor = |place: usize| {
            let place = place.to_string();
            let path = ["schedule", place.as_str(), "min"];
            let present = self.at(&path)?.as_f64()?;
            let tried = PARTS.map(|part| (present * part).round()).into_iter().filter(|it| *it >= 1.0);
            self.knob(&path, present, tried.map(|it| (it, json!(it as u32))))
        };
        let windows = self.at(&["schedule"]).and_then(Value::as_array).map_or(0, Vec::len);
        (0..windows).filter_map(floor).collect()
    }
}

/// Parts of a share in per cent, as whole per cents.
fn shares(percent: f64) -> impl Iterator<Item = f64> {
    PARTS
        .into_iter()
        .map(move |part| (percent * part).round())
        .filter(|it| (1.0..=100.0 * USED_MAX).contains(it))
}

/// A part of an amount in thousandths, to three digits.
fn part_of(milli: i64, part: f64) -> i64 {
    let exact = milli as f64 * part;
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
    fn every_value_of_every_knob_makes_a_manifest_and_the_present_one_the_same() {
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
                    for place in 0..knob.len() {
                        let mut manifest = written(&service);
                        knob.turn(&mut manifest, place);
                        let turned: Result<Resource, _> = serde_json::from_value(manifest);
                        let turned = turned.unwrap_or_else(|error| panic!("{knob:?} at {place}: {error}"));
                        assert_eq!(turned == service, place == knob.present(), "{knob:?} at {place}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_a_policy_does_not_look_at_is_left_alone() {
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}});
        let step = json!({"max": 9, "metrics": [metric], "policy": {"step": {"above": [{"from": "80", "replicas": 1}]}}});
        assert!(!paths(&step).iter().any(|path| path.contains("target")), "{:?}", paths(&step));
        assert!(
            paths(&json!({"max": 9, "metrics": [metric]}))
                .iter()
                .any(|path| path.ends_with("averageUtilization"))
        );
        assert!(paths(&json!({"replicas": 3})).is_empty(), "a fixed number has nothing to turn");
    }

    #[test]
    fn a_service_keeps_a_replica_that_stands_in_for_another() {
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
    fn no_target_is_raised_above_what_a_real_replica_bears() {
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
    fn parts_have_three_digits() {
        assert_eq!((part_of(14_000, 1.05), part_of(14_000, 0.9), part_of(7, 0.5)), (14_700, 12_600, 4));
        assert_eq!(part_of(1_234_567, 1.0), 1_230_000);
    }
}
