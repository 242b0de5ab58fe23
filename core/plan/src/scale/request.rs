//! The request and the usage of a pod for a resource: sums over its containers.
//!
//! Source: Kubernetes `pkg/controller/podautoscaler/replica_calculator.go`, `calculateRequests`, with sidecars (1.29) and
//! requests of the pod as a whole (1.32).

use super::reading::{Gap, Milli, RequestFault};

/// The requests of one pod for one resource.
#[derive(Clone, Debug)]
pub struct PodRequests<'a> {
    /// Its name, for messages.
    pub pod: &'a str,
    /// The resource, for messages.
    pub resource: &'a str,
    /// The request of the pod as a whole; `None` without one, or where the platform does not support it.
    pub whole: Option<Milli>,
    /// Its containers, and then its init containers.
    pub containers: &'a [ContainerRequest<'a>],
}

/// The request of one container.
#[derive(Clone, Copy, Debug)]
pub struct ContainerRequest<'a> {
    /// Its name.
    pub name: &'a str,
    /// How long it runs.
    pub role: ContainerRole,
    /// The request; `None` without one.
    pub request: Option<Milli>,
}

/// How long a container runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContainerRole {
    /// As long as its pod.
    Main,
    /// As long as its pod, started before the others: a restartable init container.
    Sidecar,
    /// Before the others, to its end; its request is not in use when the pod is measured.
    Init,
}

impl PodRequests<'_> {
    /// The request of the pod: its own, otherwise the sum over the containers that run as long as it does.
    pub fn total(&self) -> Result<Milli, RequestFault> {
        if let Some(whole) = self.whole {
            return Ok(whole);
        }
        self.containers
            .iter()
            .filter(|container| container.role.runs_on())
            .try_fold(Milli(0), |sum, container| Ok(sum.plus(self.request_of(container)?)))
    }

    /// The request of the container of this name; that of the pod as a whole does not apply to it.
    pub fn of_container(&self, name: &str) -> Result<Milli, RequestFault> {
        match self.containers.iter().find(|container| container.name == name && container.role.runs_on()) {
            Some(container) => self.request_of(container),
            None => Err(RequestFault::NoContainer { container: name.to_owned(), pod: self.pod.to_owned() }),
        }
    }

    fn request_of(&self, container: &ContainerRequest<'_>) -> Result<Milli, RequestFault> {
        container.request.ok_or_else(|| RequestFault::Missing {
            resource: self.resource.to_owned(),
            container: container.name.to_owned(),
            pod: self.pod.to_owned(),
        })
    }
}

/// The usage of a pod.
pub fn usage_total<'a>(containers: impl IntoIterator<Item = (&'a str, Milli)>) -> Milli {
    containers.into_iter().fold(Milli(0), |sum, (_, used)| sum.plus(used))
}

/// The usage of the container of this name; a pod without a sample of it is missing, as in Kubernetes from 1.32 on.
pub fn usage_of_container<'a>(
    containers: impl IntoIterator<Item = (&'a str, Milli)>,
    name: &str,
) -> Result<Milli, Gap> {
    containers.into_iter().find(|(container, _)| *container == name).map(|(_, used)| used).ok_or(Gap::Absent)
}

impl ContainerRole {
    fn runs_on(self) -> bool {
        match self {
            Self::Main | Self::Sidecar => true,
            Self::Init => false,
        }
    }
}
