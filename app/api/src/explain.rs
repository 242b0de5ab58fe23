//! Explanations of the latest decision on a service, now or in the past, and the full description of a service.

use std::sync::Arc;

use axum::http::StatusCode;
use model::decision::AlternativeSize;
use model::event::EventKind;
use model::name::ServiceName;
use model::resource::Resource;
use model::time::Wall;
use orchestrator::{EventRecord, Handle};

use crate::failure::{Code, Failure};
use crate::history;
use crate::replay::{self, CHANGES_MAX};
use crate::resources;
use crate::state::State;
use crate::timestamps::rfc3339;
use crate::v1;
use crate::view::{self, ServiceView};

/// The number of events in a description: a screen.
const EVENTS_SHOWN: usize = 20;

/// The number of latest events that are searched for changes of size.
const EVENTS_SEARCHED: usize = 1000;

/// The latest decision and its reasons.
pub(crate) async fn present(
    state: &State,
    service: ServiceName,
    asked: Option<AlternativeSize>,
) -> Result<v1::Explanation, Failure> {
    let agent = state.agent.clone();
    state
        .query(move |handle| {
            resources::require_service(handle, &service)?;
            let notes = agent.probe_notes();
            let view = view::services_with_notes(handle, Some(vec![service.clone()]), notes)?.pop();
            let changes = recent_changes(handle, &service);
            view.and_then(|view| view::explanation(&view, changes, asked))
                .ok_or_else(|| no_decision(&service, None))
        })
        .await
}

/// The latest decision as of `at` and its reasons: from the journal, or from the history if the journal does not reach back that far.
pub(crate) async fn past(
    state: &State,
    service: ServiceName,
    at: Wall,
    asked: Option<AlternativeSize>,
) -> Result<v1::Explanation, Failure> {
    let permit = state.open_replay()?;
    state
        .query(move |handle| {
            let view = replay::view_at(handle.journal_folder(), &service, at);
            drop(permit);
            let replayed =
                view.map(|view| view.and_then(|(view, changes)| view::explanation(&view, changes, asked)));
            match replayed {
                Ok(Some(explanation)) => Ok(explanation),
                // The journal is complete but short; the history reaches further back.
                Ok(None) => {
                    history::at(handle, &service, at, asked)?.ok_or_else(|| no_decision(&service, Some(at)))
                }
                Err(failure) if failure.is(Code::NothingDecided) => {
                    history::at(handle, &service, at, asked)?.ok_or(failure)
                }
                Err(failure) => Err(failure),
            }
        })
        .await
}

/// The failure for a time in the future.
pub(crate) fn not_decided_yet(service: &ServiceName, at: Wall) -> Failure {
    let sentence = format!(
        "could not explain service/{service} as of {}: that time is in the future; leave it out for the latest decision",
        rfc3339(at)
    );
    Failure::bad_request(sentence)
}

fn no_decision(service: &ServiceName, at: Option<Wall>) -> Failure {
    let when = at.map_or_else(|| "yet".to_owned(), |at| format!("by {}", rfc3339(at)));
    let sentence = format!("could not explain service/{service}: there is no decision on its size {when}");
    Failure::new(StatusCode::NOT_FOUND, Code::NothingDecided, sentence)
}

fn recent_changes(handle: &Handle, service: &ServiceName) -> Vec<v1::SizeChange> {
    let events = handle.events().recent_events(Some(service), EVENTS_SEARCHED);
    let resized = events.iter().filter(|event| event.kind == EventKind::Scaled.name());
    let mut changes: Vec<v1::SizeChange> = resized
        .map(|event| v1::SizeChange { at: rfc3339(event.at), message: event.message.clone() })
        .collect();
    let excess = changes.len().saturating_sub(CHANGES_MAX);
    changes.drain(..excess);
    changes
}

/// The events of a service. Fails for one that does not exist and has no events.
pub(crate) fn events_of(
    handle: &Handle,
    service: &ServiceName,
    events: &[Arc<EventRecord>],
) -> Result<v1::List<v1::Event>, Failure> {
    if handle.events().recent_events(Some(service), 1).is_empty() {
        resources::require_service(handle, service)?;
    }
    Ok(v1::List { items: events.iter().map(|event| view::event(event)).collect() })
}

/// Everything about one service.
pub(crate) async fn describe(state: &State, service: ServiceName) -> Result<v1::Description, Failure> {
    let agent = state.agent.clone();
    state
        .query(move |handle| {
            let declared = resources::services(handle, &agent, Some(service.as_str()))?.pop();
            let notes = agent.probe_notes();
            let view = view::services_with_notes(handle, Some(vec![service.clone()]), notes)?.pop();
            let (Some(declared), Some(view)) = (declared, view) else {
                return Err(no_decision(&service, None));
            };
            let ServiceView { places, .. } = view.clone();
            let events = handle.events().recent_events(Some(&service), EVENTS_SHOWN);
            Ok(v1::Description {
                service: declared,
                autoscaler: autoscaler_of(handle, &service)?,
                replicas: resources::with_details(handle, places, &agent),
                explanation: view::explanation(&view, recent_changes(handle, &service), None),
                events: events.iter().map(|event| view::event(event)).collect(),
            })
        })
        .await
}

fn autoscaler_of(handle: &Handle, service: &ServiceName) -> Result<Option<v1::Autoscaler>, Failure> {
    let targets = |resource: &Resource| match resource {
        Resource::HorizontalPodAutoscaler(it) => resources::target_of(it).as_ref() == Some(service),
        Resource::Service(_) | Resource::Route(_) | Resource::MetricSource(_) => false,
    };
    let found = handle.resources().into_iter().find(|stored| targets(&stored.resource));
    match found {
        Some(stored) => Ok(resources::autoscalers(handle, Some(stored.resource.name()))?.pop()),
        None => Ok(None),
    }
}
