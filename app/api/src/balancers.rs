//! External balancers, in the form of `/v1`.

use external::BalancerFile;
use model::time::Wall;

use crate::timestamps::rfc3339;
use crate::v1;

/// The state of the external balancers of a service.
pub(crate) fn external(files: &[BalancerFile]) -> Vec<v1::External> {
    files.iter().map(balancer).collect()
}

fn balancer(file: &BalancerFile) -> v1::External {
    let state = &file.state;
    v1::External {
        format: file.external.format.to_string(),
        file: file.external.file.clone(),
        serving_replicas: u64::try_from(state.serving).unwrap_or(u64::MAX),
        written_at: state.written_at.map(rfc3339),
        reloaded_at: state.reloaded_at.map(rfc3339),
        reloads: state.reloads,
        failures: state.failures,
        problem: state.problem.as_ref().map(|problem| problem.sentence.to_string()),
    }
}

/// Whether all external balancers of a service are up to date; `None` for a service without any.
pub(crate) fn condition(files: &[BalancerFile]) -> Option<v1::Condition> {
    let condition = |status: &str, reason: &str, message: String, since: Option<Wall>| {
        v1::Condition::new("External", status, reason, message).since(since.map(rfc3339))
    };
    let first = files.first()?;
    let problems = files.iter().filter_map(|file| file.state.problem.as_ref());
    if let Some(since) = problems.clone().map(|problem| problem.since).min() {
        let sentences: Vec<&str> = problems.map(|problem| &*problem.sentence).collect();
        return Some(condition("False", "NotTaken", sentences.join("; "), Some(since)));
    }
    if let Some(waiting) = files.iter().find(|file| !file.is_current) {
        let message = format!("{} has not been updated yet", waiting.external.format);
        return Some(condition("Unknown", "Telling", message, None));
    }
    let sentences: Vec<String> = files.iter().map(configuration).collect();
    let since = files.iter().filter_map(|file| file.state.reloaded_at).max().or(first.state.reloaded_at);
    Some(condition("True", "Taken", sentences.join("; "), since))
}

/// The configuration that a balancer has: when it was written, and its number of serving replicas.
fn configuration(balancer: &BalancerFile) -> String {
    let (format, file) = (balancer.external.format, &balancer.external.file);
    let serving = balancer.state.serving;
    match balancer.state.written_at {
        Some(at) => format!("{format} has {file} of {}, serving replicas: {serving}", rfc3339(at)),
        None => format!("{format} has {file} of an earlier run, serving replicas: {serving}"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use external::{FileState, Problem};
    use model::resource::External;

    use super::*;

    fn file(format: &str, change: impl FnOnce(&mut FileState)) -> BalancerFile {
        let declared = format!(
            r#"{{"format": "{format}", "file": "/run/{format}", "check": ["true"], "reload": ["true"]}}"#
        );
        let external: External = serde_json::from_str(&declared).unwrap();
        let mut state = FileState::default();
        change(&mut state);
        let is_current = state.reloaded_at.is_some();
        BalancerFile { external: Arc::new(external), state, is_current }
    }

    fn verdict(files: &[BalancerFile]) -> (String, String, String) {
        let v1::Condition { status, reason, message, .. } = condition(files).unwrap();
        (status, reason, message)
    }

    #[test]
    fn a_problem_of_one_balancer_decides_the_condition() {
        let at = Wall::from_millis(0);
        let current = || {
            file("nginx", |state| {
                (state.written_at, state.reloaded_at, state.serving) = (Some(at), Some(at), 2);
            })
        };
        let found = verdict(&[current()]);
        assert_eq!((found.0.as_str(), found.1.as_str()), ("True", "Taken"));
        assert_eq!(found.2, "nginx has /run/nginx of 1970-01-01T00:00:00.000Z, serving replicas: 2");
        assert_eq!(verdict(&[current(), file("haproxy", |_| {})]).2, "HAProxy has not been updated yet");
        let bad = file("haproxy", |state| state.problem = Some(Problem { since: at, sentence: "no".into() }));
        assert_eq!(verdict(&[current(), bad]), ("False".into(), "NotTaken".into(), "no".into()));
        assert_eq!(condition(&[]), None);
    }
}
