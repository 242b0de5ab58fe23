//! Decides whether a declaration is a new version of a service or an earlier one.

use std::sync::Arc;

use model::identity::Generation;
use model::resource::{Resource, ResourceVersion, Service};
use serde::Serialize;
use xxhash_rust::xxh3::xxh3_64;

use crate::replica_access::ReplicaAccess;
use crate::state_store::{StoredResource, Version};

/// Most earlier versions of a service that are recognised when they are declared again; Kubernetes' Deployments keep as many.
const EARLIER_MAX: usize = 10;

/// The stored resource after a change.
pub(crate) fn next_version(before: Option<&StoredResource>, resource: &Resource) -> StoredResource {
    let revision = Generation(before.map_or(0, |stored| stored.revision.0) + 1);
    let (generation, earlier) = match (before, resource) {
        (
            Some(StoredResource { resource: Resource::Service(old), generation, earlier, .. }),
            Resource::Service(new),
        ) => {
            if replica_spec(old) == replica_spec(new) {
                (*generation, earlier.clone())
            } else {
                next_generation(earlier, (old, *generation), (new, revision))
            }
        }
        _ => (revision, Vec::new()),
    };
    // Set when the resource is written.
    let created = before.map_or(0, |stored| stored.created);
    let version = before.map_or(ResourceVersion(0), |stored| stored.version);
    StoredResource { resource: resource.clone(), revision, generation, earlier, created, version }
}

/// The generation of `new`, and the versions before it.
///
/// A rollback gets its old generation, which replicas may still run.
fn next_generation(
    earlier: &[Version],
    (old, known): (&Service, Generation),
    (new, revision): (&Service, Generation),
) -> (Generation, Vec<Version>) {
    let new_digest = digest(new);
    let found = earlier.iter().find(|version| version.digest == new_digest);
    let generation = found.map_or(revision, |version| Generation(version.generation));
    let mut versions: Vec<Version> =
        earlier.iter().filter(|version| version.digest != new_digest).cloned().collect();
    let access = Some(Arc::new(ReplicaAccess::of(&old.spec)));
    versions.push(Version { digest: digest(old), generation: known.0, access });
    let excess = versions.len().saturating_sub(EARLIER_MAX);
    versions.drain(..excess);
    (generation, versions)
}

/// The part of a declaration that replicas run: a replica with the same part need not be replaced.
fn replica_spec(service: &Service) -> impl Serialize + PartialEq {
    let spec = service.spec.clone();
    (spec.run, spec.resources, spec.ports, spec.probes, spec.stop)
}

fn digest(service: &Service) -> u64 {
    xxh3_64(&serde_json::to_vec(&replica_spec(service)).expect("a declaration can be serialized"))
}

#[cfg(test)]
mod tests {
    use model::resource::{PortName, Protocol};

    use super::*;

    fn service(command: &str, replicas: u32) -> Resource {
        let text = format!(
            "{{apiVersion: homeostat/v1, kind: Service, metadata: {{name: shop}}, spec: {{run: {{command: [{command}]}}, scale: {{replicas: {replicas}}}}}}}"
        );
        manifest::parse("test", &text).documents.remove(0).resource
    }

    fn generations(declared: &[Resource]) -> Vec<u64> {
        let mut stored: Option<StoredResource> = None;
        let mut all = Vec::new();
        for resource in declared {
            let next = next_version(stored.as_ref(), resource);
            all.push(next.generation.0);
            stored = Some(next);
        }
        all
    }

    #[test]
    fn a_new_size_keeps_the_generation_and_a_new_command_does_not() {
        assert_eq!(generations(&[service("a", 1), service("a", 2), service("b", 2)]), [1, 1, 3]);
    }

    #[test]
    fn a_rollback_gets_the_generation_of_the_earlier_version() {
        let [a, b, c] = ["a", "b", "c"].map(|command| service(command, 1));
        assert_eq!(generations(&[a.clone(), b.clone(), a.clone(), b.clone(), c, a]), [1, 2, 1, 2, 5, 1]);
    }

    #[test]
    fn a_forgotten_version_is_new() {
        let mut declared: Vec<Resource> = (0..=EARLIER_MAX).map(|n| service(&format!("v{n}"), 1)).collect();
        let latest = declared.len() as u64;
        declared.push(service("v0", 1));
        declared.push(service("v0x", 1));
        assert_eq!(generations(&declared)[EARLIER_MAX + 1..], [1, latest + 2], "the oldest is still known");

        declared.push(service("v1", 1));
        assert_eq!(
            generations(&declared).last(),
            Some(&(latest + 3)),
            "each new version replaces the oldest"
        );
    }

    #[test]
    fn an_earlier_version_is_recorded_with_its_latest_access() {
        let declared = |ports: &str, exposed: &str| {
            let text = format!(
                "{{apiVersion: homeostat/v1, kind: Service, metadata: {{name: shop}}, spec: {{run: {{command: [a]}}, ports: {ports}, \
                 expose: {{listen: '127.0.0.1:1', port: {exposed}}}}}}}"
            );
            manifest::parse("test", &text).documents.remove(0).resource
        };
        let ports = "[{name: http}, {name: admin, protocol: http2}]";
        let first = next_version(None, &declared(ports, "http"));
        let again = next_version(Some(&first), &declared(ports, "admin"));
        let renamed = next_version(Some(&again), &declared("[{name: web, protocol: tcp}]", "web"));
        let access = renamed.earlier[0].access.as_ref().expect("it is recorded");
        assert_eq!(renamed.earlier[0].generation, first.generation.0);
        assert_eq!(access.exposed_port.as_ref().map(PortName::as_str), Some("admin"));
        assert_eq!(access.protocol(access.exposed_port.as_ref().unwrap()), Some(Protocol::Http2));

        let text = serde_json::to_string(&renamed.earlier[0]).unwrap();
        assert_eq!(serde_json::from_str::<Version>(&text).unwrap(), renamed.earlier[0]);
        let of_old: Version = serde_json::from_str("{\"digest\": 1, \"generation\": 1}").unwrap();
        assert_eq!(of_old.access, None);
    }
}
