//! External balancers, in the words of `/v1`.

use external::BalancerFile;
use model::time::Wall;

use crate::timestamps::rfc3339;
use crate::v1;

/// How the balancers of a service stand.
pub(crate) fn external(kept: &[BalancerFile]) -> Vec<v1::External> {
    kept.iter().map(one).collect()
}

fn one(kept: &BalancerFile) -> v1::External {
    let state = &kept.state;
    v1::External {
        format: kept.external.format.to_string(),
        file: kept.external.file.clone(),
        serving_replicas: u64::try_from(state.serving).unwrap_or(u64::MAX),
        written_at: state.written_at.map(rfc3339),
        reloaded_at: state.reloaded_at.map(rfc3339),
        reloads: state.reloads,
        failures: state.failures,
        problem: state.problem.as_ref().map(|problem| problem.sentence.to_string()),
    }
}

/// Whether they have what they should; `None` for a service that has none.
pub(crate) fn condition(kept: &[BalancerFile]) -> Option<v1::Condition> {
    let claim = |status: &str, reason: &str, message: String, since: Option<Wall>| {
        v1::Condition::new("External", status, reason, message).since(since.map(rfc3339))
    };
    let first = kept.first()?;
    let problems = kept.iter().filter_map(|kept| kept.state.problem.as_ref());
    if let Some(since) = problems.clone().map(|problem| problem.since).min() {
        let sentences: Vec<&str> = problems.map(|problem| &*problem.sentence).collect();
        return Some(claim("False", "NotTaken", sentences.join("; "), Some(since)));
    }
    if let Some(waiting) = kept.iter().find(|kept| !kept.is_current) {
        let message = format!("{} has not been told yet", waiting.external.format);
        return Some(claim("Unknown", "Telling", message, None));
    }
    let said: Vec<String> = kept.iter().map(taken).collect();
    let since = kept.iter().filter_map(|kept| kept.state.reloaded_at).max().or(first.state.reloaded_at);
    Some(claim("True", "Taken", said.join("; "), since))
}

/// When a file was written, and what is in it.
fn taken(kept: &BalancerFile) -> String {
    let (format, file) = (kept.external.format, &kept.external.file);
    let serving = kept.state.serving;
    match kept.state.written_at {
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

    fn said(kept: &[BalancerFile]) -> (String, String, String) {
        let v1::Condition { status, reason, message, .. } = condition(kept).unwrap();
        (status, reason, message)
    }

    #[test]
    fn what_is_wrong_comes_before_what_is_well() {
        let at = Wall::from_millis(0);
        let well = || {
            file("nginx", |state| {
                (state.written_at, state.reloaded_at, state.serving) = (Some(at), Some(at), 2);
            })
        };
        let found = said(&[well()]);
        assert_eq!((found.0.as_str(), found.1.as_str()), ("True", "Taken"));
        assert_eq!(found.2, "nginx has /run/nginx of 1970-01-01T00:00:00.000Z, serving replicas: 2");
        assert_eq!(said(&[well(), file("haproxy", |_| {})]).2, "HAProxy has not been told yet");
        let bad = file("haproxy", |state| state.problem = Some(Problem { since: at, sentence: "no".into() }));
        assert_eq!(said(&[well(), bad]), ("False".into(), "NotTaken".into(), "no".into()));
        assert_eq!(condition(&[]), None);
    }
}
