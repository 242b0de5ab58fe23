//! The state at an earlier time, by replaying the journal until then.

use std::io;
use std::path::{Path, PathBuf};

use agent::ProbeNotes;
use axum::http::StatusCode;
use control::{ControlLoop, Outbox};
use journal::{ReadError, Segment, segments};
use model::event::EventKind;
use model::input::Input;
use model::name::ServiceName;
use model::settings::Settings;
use model::time::{Now, Wall};

use crate::failure::{Code, Failure, chain};
use crate::timestamps::rfc3339;
use crate::v1;
use crate::view::{self, ServiceView};

/// The number of latest changes of size in an explanation.
pub(crate) const CHANGES_MAX: usize = 10;

/// The state at a time cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReplayError {
    #[error("could not list the journal in {folder}")]
    List { folder: PathBuf, source: io::Error },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the journal holds no records of {}: it begins {begins}; earlier ones precede the first start, or were removed to free space", rfc3339(*.at))]
    Before { at: Wall, begins: String },
}

/// The state of `service` at `at`, and its latest changes of size before; `None` when it did not exist.
pub(crate) fn view_at(
    folder: &Path,
    service: &ServiceName,
    at: Wall,
) -> Result<Option<(ServiceView, Vec<v1::SizeChange>)>, Failure> {
    let segment =
        segment_of(folder, at).and_then(|path| Ok(Segment::open(&path)?)).map_err(|error| failure(&error))?;
    let mut control = ControlLoop::new(Settings::default());
    let (mut out, mut now) = (Outbox::default(), Now::default());
    let mut changes = Vec::new();
    for record in segment {
        let record = record.map_err(|error| failure(&error.into()))?;
        if record.now.wall > at {
            break;
        }
        now = record.now;
        control.step(now, &record.input, &mut out);
        let resized =
            out.events.iter().filter(|event| event.kind == EventKind::Scaled && event.service == *service);
        changes.extend(resized.map(size_change));
        out.clear();
    }
    let excess = changes.len().saturating_sub(CHANGES_MAX);
    changes.drain(..excess);
    // Waits end relative to `at`, not to the last input before it.
    Ok(view::view_of(&control, now, service, &ProbeNotes::new()).map(|view| (view, changes)))
}

/// The last segment that begins at `at` or before.
fn segment_of(folder: &Path, at: Wall) -> Result<PathBuf, ReplayError> {
    let list = |source| ReplayError::List { folder: folder.to_path_buf(), source };
    let mut begins = "with the next start".to_owned();
    for (_, path) in segments(folder).map_err(list)?.into_iter().rev() {
        // A segment without records was created but never written.
        let Some(first) = Segment::open(&path)?.next().transpose()? else { continue };
        debug_assert!(matches!(first.input, Input::Started(_)), "a segment begins with the start of a run");
        if first.now.wall <= at {
            return Ok(path);
        }
        begins = format!("at {}", rfc3339(first.now.wall));
    }
    Err(ReplayError::Before { at, begins })
}

/// A change of size for an explanation.
fn size_change(event: &model::event::Event) -> v1::SizeChange {
    v1::SizeChange { at: rfc3339(event.at.wall), message: event.reason.to_string() }
}

/// The response for an error.
pub(crate) fn failure(error: &ReplayError) -> Failure {
    match error {
        ReplayError::Before { .. } => {
            let sentence = format!("could not replay the journal: {error}");
            Failure::new(StatusCode::NOT_FOUND, Code::NothingDecided, sentence)
        }
        ReplayError::List { .. } | ReplayError::Read(_) => {
            let sentence = format!("could not replay the journal: {}", chain(error));
            Failure::new(StatusCode::INTERNAL_SERVER_ERROR, Code::Journal, sentence)
        }
    }
}
