//! The `spec` and the annotations of an autoscaler in any API version: read, converted and checked without a panic; the conversion of an
//! older version to the newest one has the same meaning.
//!
//! The first line of the input is the behavior annotation, the second the metrics annotation, the rest the YAML of `spec`.
//! `cargo xtask fuzz hpa`

#![no_main]

use libfuzzer_sys::fuzz_target;
use model::resource::hpa::{VersionedManifest, HorizontalPodAutoscaler};
use model::resource::{ObjectMeta, Resource};

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(3, '\n');
    let (behavior, metrics) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let spec: String = lines.next().unwrap_or_default().lines().map(|line| format!("  {line}\n")).collect();
    let quoted = |text: &str| serde_json::to_string(text).expect("a text is JSON");
    let annotations = format!(
        "{{autoscaling.alpha.kubernetes.io/behavior: {}, autoscaling.alpha.kubernetes.io/metrics: {}}}",
        quoted(behavior),
        quoted(metrics)
    );
    for version in ["v1", "v2beta1", "v2beta2", "v2"] {
        let head = format!("apiVersion: autoscaling/{version}\nkind: HorizontalPodAutoscaler\n");
        let manifest = format!("{head}metadata:\n  name: a\n  annotations: {annotations}\nspec:\n{spec}");
        for document in manifest::parse("fuzz", &manifest).documents {
            let Resource::HorizontalPodAutoscaler(hpa) = document.resource else { continue };
            let (Ok(spec), autoscaler) = (hpa.to_v2(), hpa.autoscaler()) else { continue };
            let form = VersionedManifest { metadata: ObjectMeta::named(hpa.name().clone()), spec };
            // The paths in errors differ by version; the meaning, and whether it is refused, is the same.
            assert_eq!(HorizontalPodAutoscaler::V2(form).autoscaler().ok(), autoscaler.ok());
        }
    }
});
