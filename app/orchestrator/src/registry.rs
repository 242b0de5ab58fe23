//! The declared resources: checked and stored as a whole, and then sent to the loop as intents.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::identity::{Generation, Incarnation, ReplicaId};
use model::input::{Declared, Intent};
use model::name::ServiceName;
use model::resource::check::{ResourceProblem, Severity, check};
use model::resource::{Kind, Problem, Resource, ResourceVersion, Sizes};
use model::time::Time;
use store::Txn;

use crate::metric_sources::MetricSources;
use crate::replica_access::{ReplicaAccess, Versions};
use crate::routing::{RouteEntry, Routing};
use crate::state_store::{self, StateStore, StateStoreError, StoredHold, StoredPause, StoredResource};
use crate::versions::next_version;

/// Most protected replicas of a service; the guard allows no more replicas.
const PROTECTIONS_MAX: usize = 1000;

/// The result of applying one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What changes.
    pub change: Change,
    /// Problems that do not prevent it from being applied; for a deleted resource, new problems of other resources.
    pub warnings: Vec<Problem>,
}

/// The kind of change of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It was created.
    Created,
    /// It differs from before.
    Configured,
    /// It equals what is declared.
    Unchanged,
    /// It was deleted.
    Deleted,
}

/// Why a change was refused; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The resources contradict themselves or each other.
    #[error("could not apply the resources: {}", sentences(.0))]
    Invalid(Vec<ResourceProblem>),
    /// There is no such resource.
    #[error("could not find {kind}/{name}; `homeostat get` lists what there is")]
    NotFound {
        /// The requested kind.
        kind: Kind,
        /// The requested name.
        name: String,
    },
    /// Another resource needs the one to delete.
    #[error("could not delete {kind}/{name}: {by} needs it; delete that first")]
    Needed {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
        /// The resource that needs it.
        by: String,
    },
    /// The resource has been changed, or deleted, since the version that the change was made from.
    #[error(
        "could not change {kind}/{name}: {}; get it again and repeat the change, or leave out the version to carry it out anyway",
        match .found {
            Some(found) => format!("it has been changed since {from}, and is at {found} now"),
            None => format!("it has been deleted since {from}"),
        }
    )]
    Changed {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
        /// The version that the change was made from.
        from: ResourceVersion,
        /// The version now; `None` when it is not declared.
        found: Option<ResourceVersion>,
    },
    /// `spec.scale.sizes` does not allow this number of replicas.
    #[error(
        "could not hold service/{service} at {replicas} replicas: only {sizes} are allowed (spec.scale.sizes); choose one of those"
    )]
    Size {
        /// The service.
        service: ServiceName,
        /// The requested number of replicas.
        replicas: u32,
        /// The allowed numbers of replicas.
        sizes: Sizes,
    },
    /// The service has no autoscaler to pause.
    #[error(
        "could not pause service/{0}: it has no autoscaler; `homeostat scale` holds it at another number of replicas"
    )]
    NothingToPause(ServiceName),
    /// No such replica runs.
    #[error(
        "could not protect replica/{0}: no such replica runs, or it is being removed; `homeostat get replicas` lists them"
    )]
    NoSuchReplica(ReplicaId),
    /// The service has too many protected replicas already.
    #[error(
        "could not protect replica/{0}: {PROTECTIONS_MAX} replicas of its service are protected already; unprotect one of them"
    )]
    Protections(ReplicaId),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StateStoreError),
    /// The loop has ended.
    #[error(transparent)]
    Stopped(#[from] crate::Stopped),
}

/// Resources by kind and name.
type Resources = BTreeMap<(Kind, String), StoredResource>;

/// All declared resources, as stored.
#[derive(Debug)]
pub(crate) struct Registry {
    state_store: StateStore,
    resources: Resources,
}

impl Registry {
    pub(crate) fn open(state_store: StateStore) -> Result<Self, StateStoreError> {
        let resources = state_store.resources()?;
        Ok(Self { state_store, resources })
    }

    pub(crate) fn resources(&self) -> impl Iterator<Item = &StoredResource> {
        self.resources.values()
    }

    /// The resources of `given` that are not declared exactly like that.
    pub(crate) fn changed(&self, given: &[Resource]) -> Vec<Resource> {
        let is_declared = |resource: &Resource| {
            let stored = self.resources.get(&(resource.kind(), resource.name().to_owned()));
            stored.is_some_and(|stored| stored.resource == without_version(resource).0)
        };
        given.iter().filter(|resource| !is_declared(resource)).cloned().collect()
    }

    /// The intents of all declared services.
    pub(crate) fn intents(&self) -> Vec<Intent> {
        let services: Vec<ServiceName> = self
            .resources
            .values()
            .filter_map(|stored| match &stored.resource {
                Resource::Service(service) => Some(service.name().clone()),
                Resource::HorizontalPodAutoscaler(_) | Resource::Route(_) | Resource::MetricSource(_) => None,
            })
            .collect();
        services.iter().filter_map(|name| self.declare(name)).collect()
    }

    /// The versions of all declared services, for the agent.
    pub(crate) fn versions(&self) -> Versions {
        let versions_of = |stored: &StoredResource| {
            let Resource::Service(service) = &stored.resource else { return None };
            let earlier = stored.earlier.iter();
            let mut versions: BTreeMap<Generation, Arc<ReplicaAccess>> =
                earlier.filter_map(|it| Some((Generation(it.generation), it.access.clone()?))).collect();
            versions.insert(stored.generation, Arc::new(ReplicaAccess::of(&service.spec)));
            Some((service.name().clone(), versions))
        };
        Versions { services: self.resources.values().filter_map(versions_of).collect() }
    }

    /// All declared routes, for the proxy.
    pub(crate) fn routing(&self) -> Routing {
        let mut routing = Routing::default();
        for stored in self.resources.values() {
            let Resource::Route(route) = &stored.resource else { continue };
            for name in route.spec.services() {
                let key = (Kind::Service, name.to_string());
                if let Some(Resource::Service(service)) = self.resources.get(&key).map(|it| &it.resource) {
                    routing.services.entry(name.clone()).or_insert_with(|| Arc::new(service.spec.clone()));
                }
            }
            routing.routes.push(RouteEntry {
                name: route.name().clone(),
                created: stored.created,
                spec: Arc::new(route.spec.clone()),
            });
        }
        routing
    }

    /// All declared metric sources, for the agent.
    pub(crate) fn metric_sources(&self) -> MetricSources {
        let sources = self.resources.values().filter_map(|stored| match &stored.resource {
            Resource::MetricSource(source) => Some((source.name().clone(), Arc::new(source.spec.clone()))),
            Resource::Service(_) | Resource::HorizontalPodAutoscaler(_) | Resource::Route(_) => None,
        });
        MetricSources { sources: sources.collect() }
    }

    /// Checks `given` together with all declared resources, and returns what would change; stores nothing.
    pub(crate) fn plan(&self, given: &[Resource]) -> Result<Vec<Applied>, ApplyError> {
        Ok(self.merge(given)?.1)
    }

    /// Checks `given` together with all declared resources. Returns the declarations of all services that would change; stores nothing.
    pub(crate) fn declarations(&self, given: &[Resource]) -> Result<Vec<Arc<Declared>>, ApplyError> {
        let merged = self.merge(given)?.0;
        let is_new = |key: &(Kind, String), stored: &StoredResource| self.resources.get(key) != Some(stored);
        let changed = merged.iter().filter(|(key, stored)| is_new(key, stored));
        let touched: BTreeSet<ServiceName> =
            changed.filter_map(|(_, stored)| service_of(&stored.resource)).collect();
        let declared = |name| state_store::declared(&merged, name).ok().flatten().map(Arc::new);
        Ok(touched.iter().filter_map(declared).collect())
    }

    /// Checks `given` together with all declared resources, and stores it, all or nothing. Returns what changed, and the intents for the
    /// loop.
    pub(crate) fn apply(&mut self, given: &[Resource]) -> Result<(Vec<Applied>, Vec<Intent>), ApplyError> {
        let (mut merged, applied) = self.merge(given)?;
        let is_new = |key: &(Kind, String), stored: &StoredResource| self.resources.get(key) != Some(stored);
        let changed: Vec<_> =
            merged.iter().filter(|(key, stored)| is_new(key, stored)).map(|(key, _)| key.clone()).collect();
        let mut touched = BTreeSet::new();
        let mut txn = Txn::new();
        for stored in changed.iter().filter_map(|key| merged.get(key)) {
            txn = state_store::put_resource(txn, stored)?;
            touched.extend(service_of(&stored.resource));
        }
        if !changed.is_empty() {
            let revision = self.state_store.commit(txn)?;
            for key in &changed {
                let is_new = !self.resources.contains_key(key);
                if let Some(stored) = merged.get_mut(key) {
                    stored.version = ResourceVersion(revision.0);
                    stored.created = if is_new { revision.0 } else { stored.created };
                }
            }
        }
        self.resources = merged;
        Ok((applied, touched.iter().filter_map(|name| self.declare(name)).collect()))
    }

    /// Removes a resource, and with a service its hold, pause and protections. Returns what changed, and the intents for the loop.
    /// It must still be at version `from`, if that is given.
    pub(crate) fn delete(
        &mut self,
        kind: Kind,
        name: &str,
        from: Option<ResourceVersion>,
    ) -> Result<(Applied, Vec<Intent>), ApplyError> {
        self.check_version((kind, name), from)?;
        let key = (kind, name.to_owned());
        let not_found = || ApplyError::NotFound { kind, name: name.to_owned() };
        let service = service_of(&self.resources.get(&key).ok_or_else(not_found)?.resource);
        let before = warnings(&self.resources);
        let intents = self.remove(&key, service)?;
        let mut after = warnings(&self.resources);
        after.retain(|warning, _| !before.contains_key(warning));
        let warnings = after.into_values().collect();
        Ok((Applied { kind, name: key.1, change: Change::Deleted, warnings }, intents))
    }

    fn remove(
        &mut self,
        key: &(Kind, String),
        service: Option<ServiceName>,
    ) -> Result<Vec<Intent>, ApplyError> {
        let (kind, name) = (key.0, &*key.1);
        let Some(service) = service else {
            self.state_store.commit(state_store::delete_resource(Txn::new(), kind, name))?;
            self.resources.remove(key);
            return Ok(Vec::new());
        };
        if let (Kind::Service, Some(by)) = (kind, self.dependent_of(&service)) {
            return Err(ApplyError::Needed { kind, name: name.to_owned(), by });
        }
        let target = (Kind::Service, service.to_string());
        let mut rest = self.resources.clone();
        rest.remove(key);
        let mut txn = state_store::delete_resource(Txn::new(), kind, name);
        match kind {
            Kind::Service => {
                txn = state_store::delete_hold(txn, &service);
                txn = state_store::delete_pause(txn, &service);
                txn = state_store::delete_protections(txn, &service);
            }
            Kind::HorizontalPodAutoscaler => {
                if let Some(stored) = rest.get_mut(&target) {
                    stored.revision = Generation(stored.revision.0 + 1);
                    txn = state_store::put_resource(txn, stored)?;
                }
            }
            Kind::Route | Kind::MetricSource => {
                unreachable!("routes and metric sources do not belong to a single service")
            }
        }
        let revision = self.state_store.commit(txn)?;
        if let Some(stored) = rest.get_mut(&target) {
            stored.version = ResourceVersion(revision.0);
        }
        self.resources = rest;
        Ok(vec![self.declare(&service).unwrap_or(Intent::Withdraw(service))])
    }

    /// Holds a service at an allowed number of replicas, until `until` or until released.
    pub(crate) fn hold(
        &self,
        service: &ServiceName,
        replicas: u32,
        until: Option<Time>,
        from: Option<ResourceVersion>,
    ) -> Result<Intent, ApplyError> {
        self.check_version((Kind::Service, service.as_str()), from)?;
        self.require_service(service)?;
        if let Some(sizes) = self.sizes_of(service).filter(|sizes| !sizes.allows(replicas)) {
            let (service, sizes) = (service.clone(), sizes.clone());
            return Err(ApplyError::Size { service, replicas, sizes });
        }
        let hold = StoredHold::new(replicas, until);
        self.state_store.commit(state_store::put_hold(Txn::new(), service, hold)?)?;
        Ok(hold.intent(service.clone()))
    }

    /// Ends the hold on a service; there need not be one.
    pub(crate) fn release(
        &self,
        service: &ServiceName,
        from: Option<ResourceVersion>,
    ) -> Result<Intent, ApplyError> {
        self.check_version((Kind::Service, service.as_str()), from)?;
        self.require_service(service)?;
        self.state_store.commit(state_store::delete_hold(Txn::new(), service))?;
        Ok(Intent::Release(service.clone()))
    }

    /// Pauses the autoscaler of a service, until `until` or until resumed.
    pub(crate) fn pause(&self, service: &ServiceName, until: Option<Time>) -> Result<Intent, ApplyError> {
        self.require_service(service)?;
        let declared = state_store::declared(&self.resources, service);
        if declared.is_ok_and(|declared| declared.is_some_and(|declared| declared.autoscaler.is_none())) {
            return Err(ApplyError::NothingToPause(service.clone()));
        }
        let pause = StoredPause::new(until);
        self.state_store.commit(state_store::put_pause(Txn::new(), service, pause)?)?;
        Ok(pause.intent(service.clone()))
    }

    /// Ends the pause of an autoscaler; there need not be one.
    pub(crate) fn resume(&self, service: &ServiceName) -> Result<Intent, ApplyError> {
        self.require_service(service)?;
        self.state_store.commit(state_store::delete_pause(Txn::new(), service))?;
        Ok(Intent::Resume(service.clone()))
    }

    /// Protects the incarnation of a replica from being removed, until `until`.
    pub(crate) fn protect(
        &self,
        replica: &ReplicaId,
        incarnation: Incarnation,
        (now, until): (Time, Time),
    ) -> Result<Intent, ApplyError> {
        self.require_service(&replica.service)?;
        let mut protections = self.state_store.protections(&replica.service)?;
        protections.remove_expired(now);
        protections.add(replica.ordinal, incarnation, until);
        if protections.len() > PROTECTIONS_MAX {
            return Err(ApplyError::Protections(replica.clone()));
        }
        self.state_store.commit(state_store::put_protections(Txn::new(), &replica.service, &protections)?)?;
        Ok(Intent::Protect { replica: replica.clone(), incarnation, until })
    }

    /// Ends the protection of a replica; there need not be one.
    pub(crate) fn unprotect(&self, replica: &ReplicaId, now: Time) -> Result<Intent, ApplyError> {
        self.require_service(&replica.service)?;
        let mut protections = self.state_store.protections(&replica.service)?;
        protections.remove_expired(now);
        protections.remove(replica.ordinal);
        self.state_store.commit(state_store::put_protections(Txn::new(), &replica.service, &protections)?)?;
        Ok(Intent::Unprotect(replica.clone()))
    }

    /// Checks that a resource has not been changed since the version that a change was made from, if that is known.
    fn check_version(
        &self,
        (kind, name): (Kind, &str),
        from: Option<ResourceVersion>,
    ) -> Result<(), ApplyError> {
        let found = self.resources.get(&(kind, name.to_owned())).map(|stored| stored.version);
        match from {
            Some(from) if found != Some(from) => {
                Err(ApplyError::Changed { kind, name: name.to_owned(), from, found })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn require_service(&self, service: &ServiceName) -> Result<(), ApplyError> {
        let (kind, name) = (Kind::Service, service.to_string());
        if self.resources.contains_key(&(kind, name.clone())) {
            return Ok(());
        }
        Err(ApplyError::NotFound { kind, name })
    }

    fn sizes_of(&self, service: &ServiceName) -> Option<&Sizes> {
        match &self.resources.get(&(Kind::Service, service.to_string()))?.resource {
            Resource::Service(service) => service.spec.scale.sizes.as_ref(),
            Resource::HorizontalPodAutoscaler(_) | Resource::Route(_) | Resource::MetricSource(_) => None,
        }
    }

    fn dependent_of(&self, service: &ServiceName) -> Option<String> {
        self.resources.values().find_map(|stored| {
            let is_dependent = match &stored.resource {
                Resource::Service(other) => {
                    other.spec.depends_on.iter().any(|dependency| dependency.service == *service)
                }
                Resource::HorizontalPodAutoscaler(_) => {
                    service_of(&stored.resource).as_ref() == Some(service)
                }
                Resource::MetricSource(source) => {
                    source.spec.from.replicas().is_some_and(|origin| origin.service == *service)
                }
                // Requests to the route are answered with 500 until the service is declared again.
                Resource::Route(_) => false,
            };
            is_dependent.then(|| format!("{}/{}", stored.resource.kind(), stored.resource.name()))
        })
    }

    fn declare(&self, name: &ServiceName) -> Option<Intent> {
        let declared = state_store::declared(&self.resources, name)
            .expect("resources are checked before they are stored")?;
        Some(Intent::Declare(Arc::new(declared)))
    }

    /// All resources with `given` applied, and the changes. Fails when one would change that is not at the version of its manifest.
    fn merge(&self, given: &[Resource]) -> Result<(Resources, Vec<Applied>), ApplyError> {
        let mut merged = self.resources.clone();
        let mut applied = Vec::new();
        for manifest in given {
            let (resource, from) = without_version(manifest);
            let key = (resource.kind(), resource.name().to_owned());
            let before = merged.get(&key);
            let change = match before {
                None => Change::Created,
                Some(stored) if stored.resource == resource => Change::Unchanged,
                Some(_) => Change::Configured,
            };
            // What is declared already overwrites nothing, so that an apply can be repeated.
            if change != Change::Unchanged {
                self.check_version((key.0, &key.1), from)?;
            }
            applied.push(Applied { kind: key.0, name: key.1.clone(), change, warnings: Vec::new() });
            if change != Change::Unchanged {
                let stored = next_version(before, &resource);
                merged.insert(key, stored);
                increment_target_revision(&mut merged, &resource);
            }
        }
        let mut all: Vec<Resource> = merged.values().map(|stored| stored.resource.clone()).collect();
        // Two resources of the same name in one call replace each other in the map; checking both reports the conflict.
        all.extend(repeated(given));
        let (problems, warnings): (Vec<_>, Vec<_>) =
            check(&all, Severity::Error).into_iter().partition(|problem| problem.severity == Severity::Error);
        for warning in warnings {
            let about = &all[warning.resource];
            let is_subject = |it: &&mut Applied| it.kind == about.kind() && it.name == about.name();
            if let Some(applied) = applied.iter_mut().find(is_subject) {
                applied.warnings.push(warning.problem);
            }
        }
        if problems.is_empty() { Ok((merged, applied)) } else { Err(ApplyError::Invalid(problems)) }
    }
}

/// Increments the revision of the service that a changed autoscaler targets.
fn increment_target_revision(merged: &mut BTreeMap<(Kind, String), StoredResource>, resource: &Resource) {
    let Resource::HorizontalPodAutoscaler(_) = resource else { return };
    let target = service_of(resource).and_then(|name| merged.get_mut(&(Kind::Service, name.to_string())));
    if let Some(stored) = target {
        stored.revision = Generation(stored.revision.0 + 1);
    }
}

/// The declaration in a manifest, and the version that it was made from.
fn without_version(manifest: &Resource) -> (Resource, Option<ResourceVersion>) {
    let mut resource = manifest.clone();
    let from = resource.take_version();
    (resource, from)
}

fn repeated(given: &[Resource]) -> Vec<Resource> {
    let mut seen = BTreeSet::new();
    given
        .iter()
        .filter(|resource| !seen.insert((resource.kind(), resource.name().to_owned())))
        .cloned()
        .collect()
}

/// The service that a resource declares or scales. `None` for routes and metric sources, and for an autoscaler without a valid target.
fn service_of(resource: &Resource) -> Option<ServiceName> {
    match resource {
        Resource::Service(service) => Some(service.name().clone()),
        Resource::HorizontalPodAutoscaler(hpa) => ServiceName::parse(&hpa.target().name).ok(),
        Resource::Route(_) | Resource::MetricSource(_) => None,
    }
}

/// The warnings about all resources, each with the name of its resource, by their path and cause.
fn warnings(resources: &Resources) -> BTreeMap<(String, String), Problem> {
    let all: Vec<Resource> = resources.values().map(|stored| stored.resource.clone()).collect();
    let warnings = check(&all, Severity::Error).into_iter();
    let named = warnings.filter(|it| it.severity == Severity::Warning).map(|it| {
        let about = &all[it.resource];
        let path = format!("{}/{} {}", about.kind(), about.name(), it.problem.path);
        ((path.clone(), it.cause().to_owned()), Problem::at(path, it.problem.text))
    });
    named.collect()
}

fn sentences(problems: &[ResourceProblem]) -> String {
    problems.iter().map(|problem| problem.problem.to_string()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use store::memory::MemoryStore;

    use super::*;

    fn resources(text: &str) -> Vec<Resource> {
        manifest::parse("test", text).documents.into_iter().map(|document| document.resource).collect()
    }

    fn service(name: &str, more: &str) -> String {
        format!(
            "---\n{{apiVersion: homeostat/v1, kind: Service, metadata: {{name: {name}}}, spec: {{run: {{command: [x]}}{more}}}}}\n"
        )
    }

    fn route(name: &str, to: &[&str]) -> String {
        let to: Vec<String> = to.iter().map(|name| format!("{{name: {name}}}")).collect();
        format!(
            "---\n{{apiVersion: homeostat/v1, kind: Route, metadata: {{name: {name}}}, spec: {{listen: \"127.0.0.1:1\", rules: [{{backendRefs: [{}]}}]}}}}\n",
            to.join(", ")
        )
    }

    /// The warnings of deleting a service from these resources, as text.
    fn warnings_of_deleting(name: &str, from: &str) -> Vec<String> {
        let mut registry = Registry::open(StateStore::new(Arc::new(MemoryStore::default()))).unwrap();
        registry.apply(&resources(from)).unwrap();
        let (deleted, _) = registry.delete(Kind::Service, name, None).unwrap();
        deleted.warnings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_deletion_does_not_warn_of_references_that_were_dangling_before() {
        let ports = ", ports: [{name: http}]";
        let declared = service("shop", ports) + &service("other", "") + &route("front", &["shop", "gone"]);
        assert_eq!(warnings_of_deleting("other", &declared), Vec::<String>::new());
        let missing = "there is no service shop; known are other; its requests are answered 500";
        let expected = format!("Route/front spec.rules[0].backendRefs[0].name: {missing}");
        assert_eq!(warnings_of_deleting("shop", &declared), [expected]);
    }

    #[test]
    fn a_deletion_does_not_warn_again_of_a_route_beside_others_with_tls() {
        let secure = |name: &str| {
            route(name, &["shop"]).replace("rules:", "tls: {certificate: /a.pem, key: /a.key}, rules:")
        };
        let ports = ", ports: [{name: http}]";
        let mut registry = Registry::open(StateStore::new(Arc::new(MemoryStore::default()))).unwrap();
        let declared = service("shop", ports) + &secure("a") + &secure("b") + &route("c", &["shop"]);
        registry.apply(&resources(&declared)).unwrap();
        let (deleted, _) = registry.delete(Kind::Route, "a", None).unwrap();
        assert_eq!(
            deleted.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_deletion_that_makes_a_problem_worse_warns() {
        // Without a port it could get no requests; now it does not exist.
        let declared = service("shop", "") + &route("front", &["shop"]);
        let missing = "there is no service shop; its requests are answered 500";
        let expected = format!("Route/front spec.rules[0].backendRefs[0].name: {missing}");
        assert_eq!(warnings_of_deleting("shop", &declared), [expected]);
    }

    fn autoscaler(version: &str) -> String {
        format!(
            "---\n{{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {{name: shop, resourceVersion: '{version}'}}, \
             spec: {{scaleTargetRef: {{kind: Service, name: shop}}, maxReplicas: 5}}}}\n"
        )
    }

    #[test]
    fn the_version_of_a_kubernetes_api_server_is_not_compared() {
        let mut registry = Registry::open(StateStore::new(Arc::new(MemoryStore::default()))).unwrap();
        registry.apply(&resources(&service("shop", ""))).unwrap();
        registry.apply(&resources(&autoscaler("12345"))).unwrap();
        let (applied, _) = registry.apply(&resources(&autoscaler("67890"))).unwrap();
        assert_eq!(applied[0].change, Change::Unchanged, "it is not stored either");
    }

    #[test]
    fn a_version_grows_with_each_change_and_survives_a_restart() {
        let store = Arc::new(MemoryStore::default());
        let mut registry = Registry::open(StateStore::new(store.clone())).unwrap();
        let version_of = |registry: &Registry, name: &str| {
            registry.resources().find(|stored| stored.resource.name() == name).unwrap().version
        };
        registry.apply(&resources(&(service("shop", "") + &service("other", "")))).unwrap();
        let (first, other) = (version_of(&registry, "shop"), version_of(&registry, "other"));
        registry.apply(&resources(&service("shop", ", scale: {replicas: 2}"))).unwrap();
        let second = version_of(&registry, "shop");
        assert!(second > first);
        assert_eq!(version_of(&registry, "other"), other, "a change of another resource does not count");
        let reopened = Registry::open(StateStore::new(store)).unwrap();
        assert_eq!(version_of(&reopened, "shop"), second);
    }
}
