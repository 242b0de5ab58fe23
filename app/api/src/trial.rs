//! The decisions under changed declarations: now, and over the last hour by replaying the journal.

use std::path::Path;
use std::sync::Arc;

use control::{ControlLoop, Outbox, Trial};
use journal::{Segment, segments};
use model::input::Declared;
use model::name::ServiceName;
use model::settings::Settings;
use model::time::{Now, Wall};
use orchestrator::Handle;

use crate::apply;
use crate::failure::Failure;
use crate::origin::Media;
use crate::replay::{self, ReplayError};
use crate::state::State;
use crate::timestamps::rfc3339;
use crate::v1;

/// The period of a trial, in milliseconds.
const HOUR_MS: u64 = 3_600_000;

/// Services per trial; the decisions on each are kept for the whole period.
const SERVICES_MAX: usize = 20;

/// The maximum number of points per service in a response; of more, an even selection is returned.
const POINTS_MAX: usize = 600;

/// The decisions on one service under the current and the changed declaration.
struct Comparison {
    declared: Arc<Declared>,
    trial: Option<Trial>,
    /// The time, and the number of replicas under the current and the changed declaration.
    points: Vec<(Wall, u32, u32)>,
}

/// Evaluates the declarations in `body` without storing them.
pub(crate) async fn trial(state: &State, media: Media, body: &str) -> Result<v1::Trials, Failure> {
    let resources = apply::read(state, media, body).await?;
    let permit = state.open_replay()?;
    state
        .query(move |handle| {
            let declared = handle.declarations(&resources)?;
            if declared.len() > SERVICES_MAX {
                let sentence = format!(
                    "could not try the changes of {} services: a trial takes at most {SERVICES_MAX}; send them in parts",
                    declared.len()
                );
                return Err(Failure::bad_request(sentence));
            }
            let now = handle.now().wall;
            let since = Wall::from_millis(now.as_millis().saturating_sub(HOUR_MS));
            let mut items = Vec::new();
            for declared in &declared {
                items.extend(decide_now(handle, declared)?);
            }
            let known = |name: &ServiceName| items.iter().any(|it: &v1::Trial| it.target == target(name));
            let mut comparisons: Vec<Comparison> = declared
                .iter()
                .filter(|declared| known(&declared.name))
                .map(|declared| Comparison { declared: declared.clone(), trial: None, points: Vec::new() })
                .collect();
            let result = replay_since(handle.journal_folder(), since, &mut comparisons);
            drop(permit);
            result.map_err(|error| replay::failure(&error))?;
            for (item, comparison) in items.iter_mut().zip(&comparisons) {
                item.hour = summary(comparison);
            }
            Ok(v1::Trials { items })
        })
        .await
}

fn target(name: &ServiceName) -> String {
    format!("service/{name}")
}

/// The decision under the changed declaration on the current state; `None` for a new service.
fn decide_now(handle: &Handle, declared: &Arc<Declared>) -> Result<Option<v1::Trial>, Failure> {
    let declared = Arc::clone(declared);
    let explanation = handle.query(move |control, now| {
        let service = control.knowledge().service(&declared.name).filter(|it| it.declared.is_some())?;
        let mut trial = Trial::new(Arc::clone(&declared), service);
        let wanted = service.desired.unwrap_or(0);
        Some((wanted, {
            let findings = control.findings(now.time, service);
            trial.decide(control.plan_context(now, service, &findings))
        }))
    })?;
    Ok(explanation.map(|(wanted, explanation)| {
        let decision = explanation.decision();
        v1::Trial {
            target: target(&decision.service),
            wanted,
            desired: decision.desired,
            summary: decision.summary.to_string(),
            hour: None,
        }
    }))
}

/// Replays the journal from `since` on, and repeats each decision of the loop under the changed declaration of its service.
fn replay_since(folder: &Path, since: Wall, comparisons: &mut [Comparison]) -> Result<(), ReplayError> {
    let list = |source| ReplayError::List { folder: folder.to_path_buf(), source };
    let all = segments(folder).map_err(list)?;
    let mut paths = Vec::new();
    for (_, path) in all.into_iter().rev() {
        let mut segment = Segment::open(&path)?;
        let first = segment.next().transpose()?;
        paths.push(path);
        if first.is_some_and(|first| first.now.wall <= since) {
            break;
        }
    }
    for path in paths.into_iter().rev() {
        let mut control = ControlLoop::new(Settings::default());
        let mut out = Outbox::default();
        for record in Segment::open(&path)? {
            let record = record?;
            control.step(record.now, &record.input, &mut out);
            for decided in out.decisions.iter().filter(|decided| decided.at.wall >= since) {
                let of_service = |it: &&mut Comparison| it.declared.name == decided.service;
                for comparison in comparisons.iter_mut().filter(of_service) {
                    comparison.record(&control, decided.at, decided.explanation.desired());
                }
            }
            out.clear();
        }
    }
    Ok(())
}

impl Comparison {
    /// Decides under the changed declaration, beside `current` replicas under the current one.
    fn record(&mut self, control: &ControlLoop, at: Now, current: u32) {
        let Some(service) = control.knowledge().service(&self.declared.name) else { return };
        let trial = self.trial.get_or_insert_with(|| Trial::new(Arc::clone(&self.declared), service));
        let findings = control.findings(at.time, service);
        let tried = trial.decide(control.plan_context(at, service, &findings)).desired();
        self.points.push((at.wall, current, tried));
    }
}

/// A summary of the decisions; `None` without any.
fn summary(comparison: &Comparison) -> Option<v1::TrialHour> {
    let points = &comparison.points;
    let ((first, ..), (last, ..)) = (points.first()?, points.last()?);
    let side = |of: fn(&(Wall, u32, u32)) -> u32| {
        let sizes = points.iter().map(of);
        let changes = points.windows(2).filter(|pair| of(&pair[0]) != of(&pair[1])).count();
        v1::TrialSide {
            least: sizes.clone().min().unwrap_or(0),
            most: sizes.clone().max().unwrap_or(0),
            mean: sizes.map(f64::from).sum::<f64>() / points.len() as f64,
            changes: u32::try_from(changes).unwrap_or(u32::MAX),
        }
    };
    let stride = points.len().div_ceil(POINTS_MAX);
    let point = |(at, holds, tried): &(Wall, u32, u32)| v1::TrialPoint {
        at: rfc3339(*at),
        holds: *holds,
        tried: *tried,
    };
    Some(v1::TrialHour {
        since: rfc3339(*first),
        until: rfc3339(*last),
        decisions: points.len() as u64,
        holds: side(|point| point.1),
        tried: side(|point| point.2),
        points: points.iter().step_by(stride).map(point).collect(),
    })
}
