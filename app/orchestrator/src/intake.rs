//! What people ask for: checked as a whole, kept as a whole, then told to the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::identity::Generation;
use model::input::Intent;
use model::name::ServiceName;
use model::resource::check::{ResourceProblem, Severity, check};
use model::resource::{Kind, Resource, Service};
use model::time::Time;
use store::Txn;

use crate::shelf::{self, Shelf, ShelfError, Stored, StoredHold};

/// What becomes of one resource that was applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// What changes.
    pub change: Change,
}

/// What changes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// It is new.
    Created,
    /// It is another than before.
    Configured,
    /// It is as before.
    Unchanged,
    /// It is gone.
    Deleted,
}

/// Nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The resources contradict themselves or each other.
    #[error("could not apply the resources: {}", sentences(.0))]
    Invalid(Vec<ResourceProblem>),
    /// There is no such resource.
    #[error("could not find {kind}/{name}; `homeostat get` lists what there is")]
    NotFound {
        /// The kind asked for.
        kind: Kind,
        /// The name asked for.
        name: String,
    },
    /// Something needs what was to be deleted.
    #[error("could not delete {kind}/{name}: {by} needs it; delete that first")]
    Needed {
        /// The kind.
        kind: Kind,
        /// The name.
        name: String,
        /// What needs it.
        by: String,
    },
    /// The store failed.
    #[error(transparent)]
    Shelf(#[from] ShelfError),
    /// The loop has ended.
    #[error(transparent)]
    Stopped(#[from] crate::Stopped),
}

/// Resources by kind and name.
type Kept = BTreeMap<(Kind, String), Stored>;

/// All that people asked for, as kept.
#[derive(Debug)]
pub(crate) struct Intake {
    shelf: Shelf,
    resources: Kept,
}

impl Intake {
    pub(crate) fn open(shelf: Shelf) -> Result<Self, ShelfError> {
        let resources = shelf.resources()?;
        Ok(Self { shelf, resources })
    }

    pub(crate) fn resources(&self) -> impl Iterator<Item = &Stored> {
        self.resources.values()
    }

    /// What the loop must be told of every service that is kept.
    pub(crate) fn intents(&self) -> Vec<Intent> {
        let services: Vec<ServiceName> = self
            .resources
            .values()
            .filter_map(|stored| match &stored.resource {
                Resource::Service(service) => Some(service.name().clone()),
                Resource::HorizontalPodAutoscaler(_) => None,
            })
            .collect();
        services.iter().filter_map(|name| self.declare(name)).collect()
    }

    /// Checks `given` together with all that is kept, and says what would change; keeps nothing.
    pub(crate) fn plan(&self, given: &[Resource]) -> Result<Vec<Applied>, ApplyError> {
        Ok(self.merge(given)?.1)
    }

    /// Checks `given` together with all that is kept, and keeps it, all or nothing. Returns what changed, and what the loop
    /// must be told.
    pub(crate) fn apply(&mut self, given: &[Resource]) -> Result<(Vec<Applied>, Vec<Intent>), ApplyError> {
        let (merged, applied) = self.merge(given)?;
        let mut touched = BTreeSet::new();
        let mut txn = Txn::new();
        let is_new = |(key, stored): &(&(Kind, String), &Stored)| self.resources.get(*key) != Some(*stored);
        for (_, stored) in merged.iter().filter(is_new) {
            txn = shelf::put_resource(txn, stored)?;
            touched.extend(service_of(&stored.resource));
        }
        if !touched.is_empty() {
            self.shelf.commit(txn)?;
        }
        self.resources = merged;
        Ok((applied, touched.iter().filter_map(|name| self.declare(name)).collect()))
    }

    /// Removes a resource, and with a service its hold. Returns what the loop must be told.
    pub(crate) fn delete(&mut self, kind: Kind, name: &str) -> Result<Vec<Intent>, ApplyError> {
        let key = (kind, name.to_owned());
        let not_found = || ApplyError::NotFound { kind, name: name.to_owned() };
        let service = service_of(&self.resources.get(&key).ok_or_else(not_found)?.resource);
        let service = service.ok_or_else(not_found)?;
        if let (Kind::Service, Some(by)) = (kind, self.who_needs(&service)) {
            return Err(ApplyError::Needed { kind, name: name.to_owned(), by });
        }
        let mut rest = self.resources.clone();
        rest.remove(&key);
        let mut txn = shelf::delete_resource(Txn::new(), kind, name);
        match kind {
            Kind::Service => txn = shelf::delete_hold(txn, &service),
            Kind::HorizontalPodAutoscaler => {
                if let Some(stored) = rest.get_mut(&(Kind::Service, service.to_string())) {
                    stored.revision = Generation(stored.revision.0 + 1);
                    txn = shelf::put_resource(txn, stored)?;
                }
            }
        }
        self.shelf.commit(txn)?;
        self.resources = rest;
        Ok(vec![self.declare(&service).unwrap_or(Intent::Withdraw(service))])
    }

    /// Holds a service at a size, until `until` or until released.
    pub(crate) fn hold(
        &self,
        service: &ServiceName,
        replicas: u32,
        until: Option<Time>,
    ) -> Result<Intent, ApplyError> {
        self.require(service)?;
        let hold = StoredHold::new(replicas, until);
        self.shelf.commit(shelf::put_hold(Txn::new(), service, hold)?)?;
        Ok(hold.intent(service.clone()))
    }

    /// Ends the hold on a service; there need not be one.
    pub(crate) fn release(&self, service: &ServiceName) -> Result<Intent, ApplyError> {
        self.require(service)?;
        self.shelf.commit(shelf::delete_hold(Txn::new(), service))?;
        Ok(Intent::Release(service.clone()))
    }

    fn require(&self, service: &ServiceName) -> Result<(), ApplyError> {
        let (kind, name) = (Kind::Service, service.to_string());
        if self.resources.contains_key(&(kind, name.clone())) {
            return Ok(());
        }
        Err(ApplyError::NotFound { kind, name })
    }

    fn who_needs(&self, service: &ServiceName) -> Option<String> {
        self.resources.values().find_map(|stored| {
            let needs = match &stored.resource {
                Resource::Service(other) => {
                    other.spec.depends_on.iter().any(|dependency| dependency.service == *service)
                }
                Resource::HorizontalPodAutoscaler(_) => {
                    service_of(&stored.resource).as_ref() == Some(service)
                }
            };
            needs.then(|| format!("{}/{}", stored.resource.kind(), stored.resource.name()))
        })
    }

    fn declare(&self, name: &ServiceName) -> Option<Intent> {
        let declared =
            shelf::declared(&self.resources, name).expect("what is kept was checked when it was applied")?;
        Some(Intent::Declare(Arc::new(declared)))
    }

    /// All that would be kept, and what changes by it.
    fn merge(&self, given: &[Resource]) -> Result<(Kept, Vec<Applied>), ApplyError> {
        let mut merged = self.resources.clone();
        let mut applied = Vec::new();
        for resource in given {
            let key = (resource.kind(), resource.name().to_owned());
            let before = merged.get(&key);
            let change = match before {
                None => Change::Created,
                Some(stored) if stored.resource == *resource => Change::Unchanged,
                Some(_) => Change::Configured,
            };
            applied.push(Applied { kind: key.0, name: key.1.clone(), change });
            if change != Change::Unchanged {
                let stored = renewed(before, resource);
                merged.insert(key, stored);
                bump_target(&mut merged, resource);
            }
        }
        let mut all: Vec<Resource> = merged.values().map(|stored| stored.resource.clone()).collect();
        // Two of one name in one call would hide each other in the map.
        all.extend(repeated(given));
        let mut problems = check(&all, Severity::Error);
        problems.retain(|problem| problem.severity == Severity::Error);
        if problems.is_empty() { Ok((merged, applied)) } else { Err(ApplyError::Invalid(problems)) }
    }
}

/// The resource as it is kept after a change.
fn renewed(before: Option<&Stored>, resource: &Resource) -> Stored {
    let revision = Generation(before.map_or(0, |stored| stored.revision.0) + 1);
    let generation = match (before.map(|stored| (&stored.resource, stored.generation)), resource) {
        (Some((Resource::Service(old), generation)), Resource::Service(new)) if runs_the_same(old, new) => {
            generation
        }
        _ => revision,
    };
    Stored { resource: resource.clone(), revision, generation }
}

/// Whether a replica of the one may go on as a replica of the other.
fn runs_the_same(old: &Service, new: &Service) -> bool {
    let what = |service: &Service| {
        let spec = service.spec.clone();
        (spec.run, spec.resources, spec.ports, spec.probes, spec.stop)
    };
    what(old) == what(new)
}

/// A changed autoscaler is a new revision of the service that it targets.
fn bump_target(merged: &mut BTreeMap<(Kind, String), Stored>, resource: &Resource) {
    let Resource::HorizontalPodAutoscaler(_) = resource else { return };
    let target = service_of(resource).and_then(|name| merged.get_mut(&(Kind::Service, name.to_string())));
    if let Some(stored) = target {
        stored.revision = Generation(stored.revision.0 + 1);
    }
}

fn repeated(given: &[Resource]) -> Vec<Resource> {
    let mut seen = BTreeSet::new();
    given
        .iter()
        .filter(|resource| !seen.insert((resource.kind(), resource.name().to_owned())))
        .cloned()
        .collect()
}

/// The service that a resource is, or is about; `None` for an autoscaler that cannot be read.
fn service_of(resource: &Resource) -> Option<ServiceName> {
    match resource {
        Resource::Service(service) => Some(service.name().clone()),
        Resource::HorizontalPodAutoscaler(hpa) => ServiceName::parse(&hpa.target().name).ok(),
    }
}

fn sentences(problems: &[ResourceProblem]) -> String {
    problems.iter().map(|problem| problem.problem.to_string()).collect::<Vec<_>>().join("; ")
}
