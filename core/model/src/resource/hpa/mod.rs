//! HorizontalPodAutoscaler manifests in the four API versions that Kubernetes has had.
//!
//! Each version is kept as it was written, field by field, so that a round trip is lossless.
//! [`HorizontalPodAutoscaler::to_v2`] converts any of them to the newest version as Kubernetes itself does, and
//! [`HorizontalPodAutoscaler::autoscaler`] validates the result and fills in the defaults.
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

/// A HorizontalPodAutoscaler, in the API version in which it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HorizontalPodAutoscaler {
    /// `autoscaling/v1`
    V1(VersionedManifest<v1::HorizontalPodAutoscalerSpec>),
    /// `autoscaling/v2beta1`
    V2beta1(VersionedManifest<v2beta1::HorizontalPodAutoscalerSpec>),
    /// `autoscaling/v2beta2`
    V2beta2(VersionedManifest<v2beta2::HorizontalPodAutoscalerSpec>),
    /// `autoscaling/v2`
    V2(VersionedManifest<v2::HorizontalPodAutoscalerSpec>),
}

/// A HorizontalPodAutoscaler manifest of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[schemars(rename = "HorizontalPodAutoscaler")]
pub struct VersionedManifest<S> {
    /// Name, labels, annotations, and what an API server adds.
    pub metadata: ObjectMeta,
    /// The desired state.
    pub spec: S,
}

impl HorizontalPodAutoscaler {
    /// Its `apiVersion`.
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
            Self::V1(manifest) => &manifest.metadata,
            Self::V2beta1(manifest) => &manifest.metadata,
            Self::V2beta2(manifest) => &manifest.metadata,
            Self::V2(manifest) => &manifest.metadata,
        }
    }

    pub(super) const fn metadata_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::V1(manifest) => &mut manifest.metadata,
            Self::V2beta1(manifest) => &mut manifest.metadata,
            Self::V2beta2(manifest) => &mut manifest.metadata,
            Self::V2(manifest) => &mut manifest.metadata,
        }
    }

    /// The name of the autoscaler; not that of its target.
    pub const fn name(&self) -> &ObjectName {
        &self.metadata().name
    }

    /// What it scales, as it was written.
    pub const fn target(&self) -> &shapes::CrossVersionObjectReference {
        match self {
            Self::V1(manifest) => &manifest.spec.scale_target_ref,
            Self::V2beta1(manifest) => &manifest.spec.scale_target_ref,
            Self::V2beta2(manifest) => &manifest.spec.scale_target_ref,
            Self::V2(manifest) => &manifest.spec.scale_target_ref,
        }
    }

    /// The autoscaler converted to `autoscaling/v2`, without defaults.
    ///
    /// Fails when an annotation does not contain the JSON of its field.
    pub fn to_v2(&self) -> Result<v2::HorizontalPodAutoscalerSpec, Problems> {
        match self {
            Self::V1(manifest) => v1::to_v2(&manifest.spec, &manifest.metadata),
            Self::V2beta1(manifest) => v2beta1::to_v2(&manifest.spec, &manifest.metadata),
            Self::V2beta2(manifest) => Ok(manifest.spec.clone().into()),
            Self::V2(manifest) => Ok(manifest.spec.clone()),
        }
    }

    /// The validated autoscaler, with all defaults filled in.
    ///
    /// Fails with everything that Kubernetes would reject, and everything that Homeostat cannot measure. Paths are those of the version in
    /// which it was written.
    pub fn autoscaler(&self) -> Result<AutoscalerSpec, Problems> {
        normal::of_manifest(&self.to_v2()?)
            .map_err(|problems| problems.map_paths(|path| self.written_path(path)))
    }

    /// The path, in the version as written, of the field at `path` in `autoscaling/v2`.
    fn written_path(&self, path: &str) -> String {
        match self {
            Self::V1(manifest) => v1::written_path(path, &manifest.metadata),
            Self::V2beta1(_) => v2beta1::written_path(path),
            Self::V2beta2(_) | Self::V2(_) => path.to_owned(),
        }
    }
}
