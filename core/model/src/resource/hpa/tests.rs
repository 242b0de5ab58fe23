use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::resource::{
    Behavior, Fallback, MeteredResource, MetricSpec, Percent, PolicyChange, Quantity, Resource,
    ResourceTarget, ScalingPolicy, SelectPolicy, TotalTarget,
};

fn read(version: &str, annotations: &Value, spec: &Value) -> HorizontalPodAutoscaler {
    let mut whole = json!({"scaleTargetRef": {"kind": "Deployment", "name": "shop", "apiVersion": "apps/v1"}, "maxReplicas": 10});
    for (key, value) in spec.as_object().expect("an object") {
        whole[key] = value.clone();
    }
    let written = json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shop", "annotations": annotations}, "spec": whole});
    match serde_json::from_value(written).expect("a manifest of this form") {
        Resource::HorizontalPodAutoscaler(hpa) => hpa,
        Resource::Service(_) | Resource::Route(_) | Resource::MetricSource(_) => {
            unreachable!("the kind says otherwise")
        }
    }
}

fn normal(version: &str, spec: &Value) -> AutoscalerSpec {
    read(version, &json!({}), spec).autoscaler().expect("a valid autoscaler")
}

fn cpu(percent: u32) -> MetricSpec {
    let target = ResourceTarget::Utilization(Percent(percent));
    MetricSpec::Resource { resource: MeteredResource::Cpu, target }
}

fn quantity(text: &str) -> Quantity {
    Quantity::parse(text).expect("a quantity")
}

#[test]
fn the_same_cpu_target_in_all_versions_has_the_same_normal_form() {
    let older = json!({"minReplicas": 2, "metrics": [{"type": "Resource",
        "resource": {"name": "cpu", "targetAverageUtilization": 50}}]});
    let newer = json!({"minReplicas": 2, "metrics": [{"type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]});
    let first = normal("v1", &json!({"minReplicas": 2, "targetCPUUtilizationPercentage": 50}));
    assert_eq!((first.min, first.max, &first.metrics), (2, 10, &vec![cpu(50)]));
    assert_eq!(first.service.as_str(), "shop");
    assert_eq!(first, normal("v2beta1", &older));
    assert_eq!(first, normal("v2beta2", &newer));
    assert_eq!(first, normal("v2", &newer));
}

#[test]
fn omitted_fields_get_the_defaults_of_kubernetes() {
    for version in ["v1", "v2beta1", "v2beta2", "v2"] {
        let spec = normal(version, &json!({}));
        assert_eq!((spec.min, spec.metrics, spec.behavior), (1, vec![cpu(80)], None), "{version}");
    }
}

#[test]
fn a_partial_behavior_gets_the_defaults() {
    let spec = normal("v2", &json!({"behavior": {"scaleDown": {"stabilizationWindowSeconds": 60}}}));
    let Some(Behavior { scale_up, scale_down }) = spec.behavior else { panic!("a behavior was given") };
    let secs = Duration::from_secs;
    let all = ScalingPolicy { change: PolicyChange::Percent(Percent(100)), period: secs(15) };
    let four = ScalingPolicy { change: PolicyChange::Pods(4), period: secs(15) };
    assert_eq!(
        (scale_up.stabilization, scale_up.select, scale_up.policies),
        (secs(0), SelectPolicy::Max, vec![four, all])
    );
    assert_eq!((scale_down.stabilization, scale_down.policies), (secs(60), vec![all]));
    let spec = normal("v2", &json!({"behavior": {}}));
    assert_eq!(spec.behavior.map(|b| b.scale_down.stabilization), Some(secs(300)));
}

#[test]
fn given_policies_replace_the_defaults() {
    let policies = json!([{"type": "Percent", "value": 10, "periodSeconds": 60}]);
    let spec =
        normal("v2beta2", &json!({"behavior": {"scaleUp": {"selectPolicy": "Min", "policies": policies}}}));
    let up = spec.behavior.expect("a behavior was given").scale_up;
    let ten = ScalingPolicy { change: PolicyChange::Percent(Percent(10)), period: Duration::from_secs(60) };
    assert_eq!((up.select, up.policies), (SelectPolicy::Min, vec![ten]));
}

#[test]
fn every_older_metric_is_converted() {
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "memory", "targetAverageValue": "64Mi"}},
        {"type": "ContainerResource", "containerResource": {"name": "cpu", "container": "app", "targetAverageUtilization": 60}},
        {"type": "Pods", "pods": {"metricName": "http_requests_per_second", "targetAverageValue": "1k"}},
        {"type": "Object", "object": {"target": {"kind": "Ingress", "name": "main"}, "metricName": "rps", "targetValue": 2}},
        {"type": "Object", "object": {"target": {"kind": "Ingress", "name": "main"}, "metricName": "rps", "targetValue": 2, "averageValue": 1}},
        {"type": "External", "external": {"metricName": "queue", "targetValue": "30"}},
        {"type": "External", "external": {"metricName": "queue", "targetAverageValue": "3"}},
    ]);
    let spec = normal("v2beta1", &json!({"metrics": metrics}));
    let target = |metric: &MetricSpec| match metric {
        MetricSpec::Resource { target, .. } | MetricSpec::ContainerResource { target, .. } => {
            format!("{target:?}")
        }
        MetricSpec::Pods { average, .. } => average.to_string(),
        MetricSpec::Object { target, .. } | MetricSpec::External { target, .. } => match target {
            TotalTarget::Value(value) => format!("value {value}"),
            TotalTarget::Average(value) => format!("average {value}"),
        },
    };
    let targets: Vec<String> = spec.metrics.iter().skip(2).map(target).collect();
    assert_eq!(targets, ["1k", "value 2", "average 1", "value 30", "average 3"]);
    let memory = ResourceTarget::Average(quantity("64Mi"));
    assert_eq!(spec.metrics[0], MetricSpec::Resource { resource: MeteredResource::Memory, target: memory });
}

#[test]
fn annotations_of_v1_may_have_go_or_json_keys() {
    let metrics =
        r#"[{"type":"Pods","pods":{"metricName":"rps","targetAverageValue":"10","selector":null}}]"#;
    let go = r#"{"ScaleUp":{"StabilizationWindowSeconds":7,"SelectPolicy":"Min","Policies":[{"Type":"Pods","Value":2,"PeriodSeconds":30}]},"ScaleDown":null}"#;
    let json = r#"{"scaleUp":{"stabilizationWindowSeconds":7,"selectPolicy":"Min","policies":[{"type":"Pods","value":2,"periodSeconds":30}]}}"#;
    let annotated = |behavior: &str| {
        let annotations = json!({annotations::METRICS: metrics, annotations::BEHAVIOR: behavior});
        let hpa = read("v1", &annotations, &json!({"targetCPUUtilizationPercentage": 70}));
        hpa.autoscaler().expect("a valid autoscaler")
    };
    let spec = annotated(go);
    assert_eq!(spec, annotated(json));
    assert_eq!(spec.metrics.len(), 2);
    assert_eq!(spec.metrics[1], cpu(70));
    let up = spec.behavior.expect("the annotation is a behavior").scale_up;
    assert_eq!((up.stabilization, up.select), (Duration::from_secs(7), SelectPolicy::Min));
}

#[test]
fn v2beta1_keeps_its_behavior_in_an_annotation() {
    let annotations = json!({annotations::BEHAVIOR: r#"{"ScaleDown":{"SelectPolicy":"Disabled"}}"#});
    let spec = read("v2beta1", &annotations, &json!({})).autoscaler().expect("a valid autoscaler");
    assert_eq!(spec.behavior.map(|b| b.scale_down.select), Some(SelectPolicy::Disabled));
}

#[test]
fn a_fallback_waits_for_at_least_three_minutes() {
    let external = |fallback: Value| {
        json!({"metrics": [{"type": "External", "external": {
            "metric": {"name": "queue"}, "target": {"type": "Value", "value": 30}, "fallback": fallback}}]})
    };
    for (written, after) in [
        (json!({"replicas": 4}), 180),
        (json!({"replicas": 4, "failureDurationSeconds": 180}), 180),
        (json!({"replicas": 4, "failureDurationSeconds": 3600}), 3600),
    ] {
        let spec = normal("v2", &external(written));
        let fallback = Fallback { after: Duration::from_secs(after), replicas: 4 };
        assert_eq!(spec.metrics[0].fallback(), Some(fallback));
    }
    for (written, field) in [
        (json!({"replicas": 4, "failureDurationSeconds": 179}), "failureDurationSeconds"),
        (json!({"replicas": 0}), "replicas"),
        (json!({"replicas": -1}), "replicas"),
    ] {
        let problems = read("v2", &json!({}), &external(written.clone())).autoscaler();
        let problems = problems.expect_err("it is out of range").into_vec();
        assert_eq!(problems.len(), 1, "{written}: {problems:?}");
        assert_eq!(problems[0].path, format!("spec.metrics[0].external.fallback.{field}"));
    }
}

#[test]
fn an_invalid_annotation_is_an_error_with_its_path() {
    for text in ["{", r#"{"ScaleSideways":{}}"#, "[1]"] {
        let problems =
            read("v1", &json!({annotations::BEHAVIOR: text}), &json!({})).autoscaler().expect_err(text);
        let path = "metadata.annotations.autoscaling.alpha.kubernetes.io/behavior";
        assert_eq!(problems.as_slice()[0].path, path, "{text}");
    }
}

#[test]
fn fields_of_an_api_server_are_kept_except_the_status() {
    let mut written = json!({"apiVersion": "autoscaling/v2beta1", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "shop.web", "namespace": "prod", "uid": "1", "resourceVersion": "2", "generation": 3,
            "managedFields": [{"manager": "kubectl"}], "labels": {"a": "b"}},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "shop"}, "maxReplicas": 10},
        "status": {"currentReplicas": 2, "conditions": []}});
    let resource: Resource = serde_json::from_value(written.clone()).expect("a manifest of this form");
    written.as_object_mut().expect("it is an object").remove("status");
    assert_eq!(serde_json::to_value(&resource).expect("a resource is JSON"), written);
}

#[test]
fn a_field_of_another_version_is_refused() {
    let written = json!({"apiVersion": "autoscaling/v2beta2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "a"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a"}, "maxReplicas": 1,
            "behavior": {"scaleUp": {"tolerance": "0.1"}}}});
    let error = serde_json::from_value::<Resource>(written).expect_err("v2beta2 has no tolerance");
    assert!(error.to_string().contains("tolerance"), "{error}");
}

#[test]
fn a_problem_has_the_path_of_the_version_as_written() {
    let paths = |version: &str, annotations: &Value, spec: &Value| -> Vec<String> {
        let problems = read(version, annotations, spec).autoscaler().expect_err("something is wrong");
        problems.into_vec().into_iter().map(|problem| problem.path).collect()
    };
    let metrics = json!([
        {"type": "Resource", "resource": {"name": "cpu", "targetAverageUtilization": 0}},
        {"type": "Resource", "resource": {"name": "cpu"}},
        {"type": "Pods", "pods": {"metricName": "", "targetAverageValue": 0}},
        {"type": "Object", "object": {"target": {"kind": "a", "name": "b"}, "metricName": "c", "averageValue": 0}},
        {"type": "External", "external": {"metricName": "c", "targetValue": 0}},
    ]);
    assert_eq!(
        paths("v2beta1", &json!({}), &json!({"metrics": metrics})),
        [
            "spec.metrics[0].resource.targetAverageUtilization",
            "spec.metrics[1].resource",
            "spec.metrics[2].pods.metricName",
            "spec.metrics[2].pods.targetAverageValue",
            "spec.metrics[3].object.averageValue",
            "spec.metrics[4].external.targetValue",
        ]
    );
    let behavior = json!({annotations::BEHAVIOR: r#"{"ScaleUp":{"Policies":[]}}"#});
    let path = "metadata.annotations.autoscaling.alpha.kubernetes.io/behavior";
    assert_eq!(paths("v1", &behavior, &json!({})), [path]);
    assert_eq!(paths("v2beta1", &behavior, &json!({})), [path]);
    let cpu = json!({"targetCPUUtilizationPercentage": 0});
    assert_eq!(paths("v1", &json!({}), &cpu), ["spec.targetCPUUtilizationPercentage"]);
    let metrics = json!({annotations::METRICS: r#"[{"type":"Pods"}]"#});
    assert_eq!(
        paths("v1", &metrics, &json!({})),
        ["metadata.annotations.autoscaling.alpha.kubernetes.io/metrics"]
    );
}
