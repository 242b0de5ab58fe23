//! What must hold of resources beyond the form of each field: ranges, references, and that they agree with each other.
//!
//! Pure functions over whole resources. They find everything that is wrong, not only the first problem.

mod access_log;
mod elsewhere;
mod external;
mod guarded;
mod metric_source;
mod route;
mod service;
mod set;
mod sizes;
mod tls;

#[cfg(test)]
mod tests;

use super::{Problem, Resource};

/// How grave a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is applied.
    Error,
    /// It is applied, and the user is told.
    Warning,
}

/// One thing that is wrong with one of several resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceProblem {
    /// Which of the resources that were checked, counted from 0.
    pub resource: usize,
    /// Whether it keeps them from being applied.
    pub severity: Severity,
    /// What is wrong, and where in the resource.
    pub problem: Problem,
}

/// All that is wrong with `resources`, each for itself and with each other, in the order of the resources.
///
/// `resources` is the whole set as it would be: what is applied with what is there already. `dangling` is how grave it
/// is that a resource names a service that is not in the set: an error for a server, which knows all there is, and a
/// warning for a file that is looked at alone.
pub fn check(resources: &[Resource], dangling: Severity) -> Vec<ResourceProblem> {
    let mut found: Vec<ResourceProblem> = Vec::new();
    for (resource, checked) in resources.iter().enumerate() {
        let own = match checked {
            Resource::Service(service) => service::problems(service),
            Resource::Route(route) => route::problems(route),
            Resource::MetricSource(source) => metric_source::problems(source),
            Resource::HorizontalPodAutoscaler(hpa) => match hpa.autoscaler() {
                Ok(spec) => {
                    let mut found = Vec::new();
                    guarded::of_autoscaler(&spec, &mut found);
                    found
                }
                Err(problems) => {
                    problems.into_vec().into_iter().map(|problem| (Severity::Error, problem)).collect()
                }
            },
        };
        found.extend(own.into_iter().map(|(severity, problem)| ResourceProblem {
            resource,
            severity,
            problem,
        }));
    }
    found.extend(set::problems(resources, dangling));
    found.extend(sizes::problems(resources));
    found.sort_by_key(|problem| problem.resource);
    found
}
