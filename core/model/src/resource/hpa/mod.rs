//! HorizontalPodAutoscaler manifests in the four forms that Kubernetes has had.
//!
//! Each form is kept as it was written, field by field, so that nothing is lost on the way back.
//! [`HorizontalPodAutoscaler::to_v2`] translates any of them to the newest form as Kubernetes' own conversion does, and
//! [`HorizontalPodAutoscaler::autoscaler`] checks that and fills in the defaults.
//!
//! Source: `k8s.io/api/autoscaling/{v1,v2beta1,v2beta2,v2}`, `pkg/apis/autoscaling/*/{conversion,defaults}.go`.

mod annotations;
mod normal;
pub mod shapes;
pub mod v1;
pub mod v2;
pub mod v2beta1;
pub mod v2beta2;

#[cfg(test)]
mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::metadata::ObjectMeta;
use super::{AutoscalerSpec, ObjectName, Problems};

/// A HorizontalPodAutoscaler, in the form in which it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HorizontalPodAutoscaler {
    /// `autoscaling/v1`
    V1(Form<v1::HorizontalPodAutoscalerSpec>),
    /// `autoscaling/v2beta1`
    V2beta1(Form<v2beta1::HorizontalPodAutoscalerSpec>),
    /// `autoscaling/v2beta2`
    V2beta2(Form<v2beta2::HorizontalPodAutoscalerSpec>),
    /// `autoscaling/v2`
    V2(Form<v2::HorizontalPodAutoscalerSpec>),
}

/// A HorizontalPodAutoscaler manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "HorizontalPodAutoscaler")]
pub struct Form<S> {
    /// Name, labels, annotations, and what an API server adds.
    pub metadata: ObjectMeta,
    /// What is asked for.
    pub spec: S,
}

impl HorizontalPodAutoscaler {
    /// The `apiVersion` that this form is written under.
    pub const fn api_version(&self) -> &'static str {
        match self {
            Self::V1(_) => "autoscaling/v1",
            Self::V2beta1(_) => "autoscaling/v2beta1",
            Self::V2beta2(_) => "autoscaling/v2beta2",
            Self::V2(_) => "autoscaling/v2",
        }
    }

    /// Name, labels, annotations, and what an API server adds.
    pub const fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::V1(form) => &form.metadata,
            Self::V2beta1(form) => &form.metadata,
            Self::V2beta2(form) => &form.metadata,
            Self::V2(form) => &form.metadata,
        }
    }

    /// The name of the autoscaler; not that of its target.
    pub const fn name(&self) -> &ObjectName {
        &self.metadata().name
    }

    /// What it scales, as it was written.
    pub const fn target(&self) -> &shapes::CrossVersionObjectReference {
        match self {
            Self::V1(form) => &form.spec.scale_target_ref,
            Self::V2beta1(form) => &form.spec.scale_target_ref,
            Self::V2beta2(form) => &form.spec.scale_target_ref,
            Self::V2(form) => &form.spec.scale_target_ref,
        }
    }

    /// The same autoscaler in the words of `autoscaling/v2`, without defaults.
    ///
    /// Fails when an annotation that stands for a field holds something else than that field's JSON.
    pub fn to_v2(&self) -> Result<v2::HorizontalPodAutoscalerSpec, Problems> {
        match self {
            Self::V1(form) => v1::to_v2(&form.spec, &form.metadata),
            Self::V2beta1(form) => v2beta1::to_v2(&form.spec, &form.metadata),
            Self::V2beta2(form) => Ok(form.spec.clone().into()),
            Self::V2(form) => Ok(form.spec.clone()),
        }
    }

    /// The same autoscaler checked, with all defaults filled in.
    ///
    /// Fails with all that Kubernetes would refuse, and with what Homeostat cannot meter. Paths are those of the
    /// form in which it was written.
    pub fn autoscaler(&self) -> Result<AutoscalerSpec, Problems> {
        normal::of_manifest(&self.to_v2()?)
            .map_err(|problems| problems.map_paths(|path| self.written_path(path)))
    }

    /// The path in the form as written of what stands at `path` in `autoscaling/v2`.
    fn written_path(&self, path: &str) -> String {
        match self {
            Self::V1(form) => v1::written_path(path, &form.metadata),
            Self::V2beta1(_) => v2beta1::written_path(path),
            Self::V2beta2(_) | Self::V2(_) => path.to_owned(),
        }
    }
}
