//! Checks beyond the form of single fields: ranges, references, and conflicts between resources.
//!
//! Pure functions over whole resources. They report every problem, not only the first one.

mod access_log;
mod elsewhere;
mod external;
mod fields;
mod guard_limit;
mod metric_source;
mod route;
mod service;
mod set;
mod sizes;
mod tls;

#[cfg(test)]
mod tests;

use super::{Problem, Resource};

/// The severity of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The resources are not applied.
    Error,
    /// The resources are applied, and the user is warned.
    Warning,
}

/// One thing that is wrong with one of several resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceProblem {
    /// The index of the resource in the checked list.
    pub resource: usize,
    /// Whether it prevents that the resources are applied.
    pub severity: Severity,
    /// What is wrong, and where in the resource.
    pub problem: Problem,
    /// What it is about where its text names other resources as well, e.g. a resource that does not exist; `None` where the text says it.
    pub subject: Option<String>,
}

impl ResourceProblem {
    /// What is wrong, without hints: these name other resources, so that they change with the set that was checked.
    pub fn cause(&self) -> &str {
        self.subject.as_deref().unwrap_or(&self.problem.text)
    }
}

/// All problems of `resources`, of each by itself and between them, in the order of the resources.
///
/// `resources` is the complete resulting set: the resources to be applied together with the existing ones. `dangling` is the severity
/// of a reference to a service that is not in the set: an error for a server, which knows all services, and a warning for a file
/// that is checked alone.
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
                    guard_limit::of_autoscaler(&spec, &mut found);
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
            subject: None,
        }));
    }
    found.extend(set::problems(resources, dangling));
    found.extend(sizes::problems(resources));
    found.sort_by_key(|problem| problem.resource);
    found
}
