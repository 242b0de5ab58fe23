//! The stored form of a version of a service.

use model::identity::Generation;
use model::input::Declared;
use model::name::ServiceName;
use model::resource::ServiceSpec;
use serde::{Deserialize, Serialize};

/// A version of a service as it was last declared, without its autoscaler; also the form in which the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub struct StoredVersion {
    name: ServiceName,
    revision: u64,
    generation: u64,
    spec: ServiceSpec,
}

impl From<&Declared> for StoredVersion {
    fn from(declared: &Declared) -> Self {
        Self {
            name: declared.name.clone(),
            revision: declared.revision.0,
            generation: declared.generation.0,
            spec: declared.spec.clone(),
        }
    }
}

impl From<StoredVersion> for Declared {
    fn from(stored: StoredVersion) -> Self {
        let StoredVersion { name, revision, generation, spec } = stored;
        let (revision, generation) = (Generation(revision), Generation(generation));
        Self { name, revision, generation, spec, autoscaler: None }
    }
}
