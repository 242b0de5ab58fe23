//! Changes: apply, delete, hold at a size, pause, protect, and the reverse of each.

use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use manifest::{DIAGNOSTICS_MAX, Diagnostic, Manifests};
use model::identity::ReplicaId;
use model::name::ServiceName;
use model::resource::check::Severity;
use model::resource::{Kind, Resource, ResourceVersion, Span};
use model::settings::REPLICAS_RUN_MAX;
use model::time::Wall;
use orchestrator::{Applied, Change};
use serde_json::Value;

use crate::certificates;
use crate::failure::{Code, Failure, short_name};
use crate::origin::Media;
use crate::state::State;
use crate::timestamps::{parse_rfc3339, rfc3339};
use crate::v1;

/// What to do with the resources of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Store them.
    Keep,
    /// Only return what would change.
    DryRun,
}

/// Checks and stores the resources in `body`, all or nothing.
///
/// `if_match` is the version that the only resource in `body` must have.
pub(crate) async fn apply(
    state: &State,
    (media, body): (Media, &str),
    if_match: Option<ResourceVersion>,
    mode: Mode,
) -> Result<v1::Applied, Failure> {
    let mut resources = read(state, media, body).await?;
    if let Some(version) = if_match {
        resources = vec![at_version(resources, version)?];
    }
    let applied = state
        .query(move |handle| {
            certificates::check(&handle.changed(&resources))?;
            Ok(match mode {
                Mode::Keep => handle.apply(&resources)?,
                Mode::DryRun => handle.plan(&resources)?,
            })
        })
        .await;
    let applied = if if_match.is_some() { applied.map_err(Failure::of_if_match)? } else { applied? };
    Ok(v1::Applied { dry_run: mode == Mode::DryRun, items: applied.iter().map(item).collect() })
}

/// The only resource of a request with `If-Match`, which names its version.
fn at_version(mut resources: Vec<Resource>, version: ResourceVersion) -> Result<Resource, Failure> {
    match (resources.pop(), resources.is_empty()) {
        (Some(mut resource), true) => match resource.take_version() {
            Some(other) if other != version => Err(Failure::bad_request(format!(
                "could not apply {}/{}: its metadata.resourceVersion is {other}, but If-Match is {version}; give one of them",
                resource.kind(),
                resource.name()
            ))),
            Some(_) | None => Ok(resource.with_version(version)),
        },
        _ => Err(Failure::bad_request(
            "could not apply several resources with one If-Match; give each its metadata.resourceVersion instead",
        )),
    }
}

/// Deletes a resource; if a version is given, only at that version.
pub(crate) async fn delete(
    state: &State,
    (kind, name): (Kind, String),
    if_match: Option<ResourceVersion>,
) -> Result<v1::Applied, Failure> {
    let deleted = state.query(move |handle| Ok(handle.delete(kind, &name, if_match)?)).await;
    let applied = deleted.map_err(Failure::of_if_match)?;
    Ok(v1::Applied { dry_run: false, items: vec![item(&applied)] })
}

fn item(applied: &Applied) -> v1::AppliedItem {
    let change = match applied.change {
        Change::Created => "created",
        Change::Configured => "configured",
        Change::Unchanged => "unchanged",
        Change::Deleted => "deleted",
    };
    v1::AppliedItem {
        kind: short_name(applied.kind).into(),
        name: applied.name.clone(),
        change: change.into(),
        warnings: applied.warnings.iter().map(ToString::to_string).collect(),
    }
}

/// The resources in a body: YAML documents, one JSON resource, or a JSON list of them, bare or under `items`.
///
/// They are parsed on a blocking thread: a body of the longest size takes long enough to delay other requests.
pub(crate) async fn read(state: &State, media: Media, body: &str) -> Result<Vec<Resource>, Failure> {
    let (folder, body) = (state.folder().to_owned(), body.to_owned());
    state.query(move |_| parse(&folder, media, &body)).await
}

fn parse(folder: &Path, media: Media, body: &str) -> Result<Vec<Resource>, Failure> {
    let items = match media {
        Media::Yaml => None,
        Media::Json => items_of(
            serde_json::from_str(body)
                .map_err(|error| Failure::bad_request(format!("could not read the body as JSON: {error}")))?,
        ),
    };
    let parts: Box<dyn Iterator<Item = Manifests>> = match &items {
        Some(items) => Box::new(items.iter().enumerate().map(parse_item)),
        None => Box::new(std::iter::once_with(|| manifest::parse("the request", body))),
    };
    let mut problems = Vec::new();
    let mut resources = Vec::new();
    for mut part in parts {
        if let Err(error) = part.resolve_paths(folder) {
            return Err(Failure::bad_request(error.to_string()));
        }
        let wrong = part.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        problems.extend(wrong.map(problem));
        resources.extend(part.resources().cloned());
        if problems.len() >= DIAGNOSTICS_MAX {
            problems.truncate(DIAGNOSTICS_MAX);
            break;
        }
    }
    match (problems.first(), resources.is_empty()) {
        (Some(first), _) => {
            let sentence = format!("could not apply the resources: {}", sentence_of(first));
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            Err(Failure::new(status, Code::Invalid, sentence).with_problems(problems))
        }
        (None, true) => Err(Failure::bad_request("could not apply anything: the body holds no resource")),
        (None, false) => Ok(resources),
    }
}

/// The items of a JSON list, bare or under `items`; `None` for a single resource.
fn items_of(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        Value::Object(mut object) if !object.contains_key("kind") => match object.remove("items") {
            Some(Value::Array(items)) => Some(items),
            Some(_) | None => None,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => None,
    }
}

fn parse_item((index, item): (usize, &Value)) -> Manifests {
    manifest::parse(&format!("items[{index}]"), &item.to_string())
}

fn problem(found: &Diagnostic) -> v1::Problem {
    let position = found.position();
    v1::Problem {
        path: found.path.clone(),
        message: found.text.clone(),
        line: position.map(|(line, _)| line),
        column: position.map(|(_, column)| column),
    }
}

fn sentence_of(problem: &v1::Problem) -> String {
    if problem.path.is_empty() {
        problem.message.clone()
    } else {
        format!("{}: {}", problem.path, problem.message)
    }
}

/// Holds a service at a size.
pub(crate) async fn hold(
    state: &State,
    service: ServiceName,
    request: v1::ScaleRequest,
    (now, if_match): (Wall, Option<ResourceVersion>),
) -> Result<v1::Scaled, Failure> {
    let replicas = request.replicas;
    if replicas > REPLICAS_RUN_MAX {
        let sentence = format!(
            "could not hold service/{service} at {replicas} replicas: the guard lets at most {REPLICAS_RUN_MAX} of one service run; ask for \
             fewer, or share the work among several services"
        );
        return Err(Failure::bad_request(sentence));
    }
    let lasting = lasting("hold", (request.lasting.as_deref(), request.until.as_deref()), now)?;
    let target = format!("service/{service}");
    let held = state.query(move |handle| Ok(handle.hold(&service, replicas, lasting, if_match)?)).await;
    held.map_err(Failure::of_if_match)?;
    let until = lasting.map(|span| rfc3339(later(now, span)));
    Ok(v1::Scaled { target, hold: Some(v1::Hold { replicas, until }) })
}

/// The duration that a request asks for, from `now`; `None` without an end.
fn lasting(
    verb: &str,
    (span, until): (Option<&str>, Option<&str>),
    now: Wall,
) -> Result<Option<Duration>, Failure> {
    match (span, until) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => {
            Err(Failure::bad_request(format!("could not {verb} it: give either for or until, not both")))
        }
        (Some(text), None) => match Span::parse(text).map(Span::as_duration) {
            Ok(Duration::ZERO) => Err(Failure::bad_request(format!(
                "could not {verb} it for {text}: the duration is zero; give a longer one, such as 10m"
            ))),
            Ok(span) => Ok(Some(span)),
            Err(error) => Err(Failure::bad_request(format!("could not {verb} it for {text:?}: {error}"))),
        },
        (None, Some(until)) => parse_rfc3339(until)
            .filter(|until| *until > now)
            .map(|until| Some(Duration::from_millis(until.as_millis() - now.as_millis())))
            .ok_or_else(|| {
                Failure::bad_request(format!(
                    "could not {verb} it until {until:?}: give a time in the future, such as 2026-01-31T18:00:00Z"
                ))
            }),
    }
}

fn later(now: Wall, span: Duration) -> Wall {
    let ms = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    Wall::from_millis(now.as_millis().saturating_add(ms))
}

/// Releases the hold of a service.
pub(crate) async fn release(
    state: &State,
    service: ServiceName,
    if_match: Option<ResourceVersion>,
) -> Result<v1::Scaled, Failure> {
    let target = format!("service/{service}");
    let released = state.query(move |handle| Ok(handle.release(&service, if_match)?)).await;
    released.map_err(Failure::of_if_match)?;
    Ok(v1::Scaled { target, hold: None })
}

/// Pauses the autoscaler of a service.
pub(crate) async fn pause(
    state: &State,
    service: ServiceName,
    request: v1::DurationRequest,
    now: Wall,
) -> Result<v1::Paused, Failure> {
    let lasting = lasting("pause", (request.lasting.as_deref(), request.until.as_deref()), now)?;
    let target = format!("service/{service}");
    state.query(move |handle| Ok(handle.pause(&service, lasting)?)).await?;
    let until = lasting.map(|span| rfc3339(later(now, span)));
    Ok(v1::Paused { target, pause: Some(v1::Pause { until }) })
}

/// Resumes the autoscaler of a service.
pub(crate) async fn resume(state: &State, service: ServiceName) -> Result<v1::Paused, Failure> {
    let target = format!("service/{service}");
    state.query(move |handle| Ok(handle.resume(&service)?)).await?;
    Ok(v1::Paused { target, pause: None })
}

/// The longest protection: a protection that was forgotten keeps a replica for at most a month.
const PROTECTION_MAX: Duration = Duration::from_hours(30 * 24);

/// Protects a replica from being removed when its service scales in.
pub(crate) async fn protect(
    state: &State,
    replica: ReplicaId,
    request: v1::DurationRequest,
    now: Wall,
) -> Result<v1::Protected, Failure> {
    let limits = (request.lasting.as_deref(), request.until.as_deref());
    let lasting = lasting("protect", limits, now)?.filter(|span| *span <= PROTECTION_MAX).ok_or_else(|| {
        let sentence = format!(
            "could not protect replica/{replica}: a protection ends after at most 30 days; give a duration, such as 2h"
        );
        Failure::bad_request(sentence)
    })?;
    let target = format!("replica/{replica}");
    state.query(move |handle| Ok(handle.protect(&replica, lasting)?)).await?;
    Ok(v1::Protected { target, protected_until: Some(rfc3339(later(now, lasting))) })
}

/// Removes the protection of a replica.
pub(crate) async fn unprotect(state: &State, replica: ReplicaId) -> Result<v1::Protected, Failure> {
    let target = format!("replica/{replica}");
    state.query(move |handle| Ok(handle.unprotect(&replica)?)).await?;
    Ok(v1::Protected { target, protected_until: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lasts(span: Option<&str>, until: Option<&str>) -> Result<Option<Duration>, Failure> {
        lasting("hold", (span, until), NOW)
    }

    const NOW: Wall = Wall::from_millis(1_700_000_000_000);

    #[test]
    fn a_hold_lasts_for_a_span_or_until_a_time_or_until_released() {
        assert_eq!(lasts(None, None).unwrap(), None);
        assert_eq!(lasts(Some("10m"), None).unwrap(), Some(Duration::from_mins(10)));
        let until = lasts(None, Some("2023-11-14T22:14:20Z")).unwrap();
        assert_eq!(until, Some(Duration::from_mins(1)));
    }

    #[test]
    fn a_hold_into_the_past_or_with_both_limits_is_refused() {
        for wrong in [
            (Some("10m"), Some("2123-11-14T22:14:20Z")),
            (Some("10"), None),
            (None, Some("2023-11-14T22:13:20Z")),
            (None, Some("tomorrow")),
        ] {
            assert!(lasts(wrong.0, wrong.1).is_err(), "{wrong:?}");
        }
    }
}
