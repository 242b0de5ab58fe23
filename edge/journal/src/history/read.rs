//! Reads the history, the latest segment first.

use std::io;
use std::path::Path;

use model::identity::Epoch;
use model::name::ServiceName;
use model::time::{Now, Wall};

use super::segment::{Entry, entries, segments};
use crate::decision_record::DecisionRun;
use crate::numbered;

/// The runs of decisions on a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DecisionHistory {
    /// Oldest first.
    pub runs: Vec<DecisionRun>,
    /// Whether older ones were left out.
    pub is_truncated: bool,
}

/// The latest `limit` runs of decisions on `service` that touch the time from `since` to `until`, both included.
///
/// Holds one segment in memory at a time, and the result. Torn records are skipped.
pub fn read(
    folder: &Path,
    service: &ServiceName,
    (since, until): (Wall, Wall),
    limit: usize,
) -> io::Result<DecisionHistory> {
    let mut newest_first: Vec<DecisionRun> = Vec::new();
    for (_, path) in segments(&folder.join(service.as_str()))?.into_iter().rev() {
        let found = match entries(&path) {
            Ok(entries) => runs_of(entries),
            // It has expired and was removed in the meantime.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_before = found.last().is_some_and(|_| found.iter().all(|run| run.to.wall < since));
        newest_first
            .extend(found.into_iter().rev().filter(|run| run.to.wall >= since && run.from.wall <= until));
        if is_before || newest_first.len() > limit {
            break;
        }
    }
    let is_truncated = newest_first.len() > limit;
    newest_first.truncate(limit);
    newest_first.reverse();
    Ok(DecisionHistory { runs: newest_first, is_truncated })
}

/// The services that have a history.
pub fn recorded_services(folder: &Path) -> io::Result<Vec<ServiceName>> {
    let name = |path: &Path| ServiceName::parse(path.file_name()?.to_str()?).ok();
    let mut names: Vec<ServiceName> = numbered::paths(folder)?.iter().filter_map(|path| name(path)).collect();
    names.sort_unstable();
    Ok(names)
}

/// The runs of decisions in a segment, in the order in which they began.
pub(super) fn runs_of(entries: Vec<Entry>) -> Vec<DecisionRun> {
    let mut found: Vec<(u32, DecisionRun)> = Vec::new();
    for entry in entries {
        match entry {
            Entry::RunStarted { number, epoch, from, record } => {
                let from = Now::from(from);
                let ratios = record.metrics.iter().map(|it| it.ratio.map(|ratio| (ratio, ratio))).collect();
                let epoch = Epoch(epoch);
                found.push((number, DecisionRun { epoch, from, to: from, count: 1, ratios, record }));
            }
            Entry::RunExtended { number, to, count, ratios } => {
                // The latest of that number: numbers begin at 0 again in another segment.
                if let Some((_, run)) = found.iter_mut().rev().find(|(begun, _)| *begun == number) {
                    (run.to, run.count, run.ratios) = (to.into(), count, ratios);
                }
            }
        }
    }
    found.into_iter().map(|(_, run)| run).collect()
}
