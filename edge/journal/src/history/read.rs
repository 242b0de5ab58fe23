//! Reading the history, the latest segment first.

use std::io;
use std::path::Path;

use model::identity::Epoch;
use model::name::ServiceName;
use model::time::{Now, Wall};

use super::segment::{Entry, entries, segments};
use crate::kept::Kept;
use crate::numbered;

/// What was found for a service.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Oldest first.
    pub kept: Vec<Kept>,
    /// Whether there are older ones that were left out.
    pub is_cut: bool,
}

/// The latest `limit` runs of decisions on `service` that touch the time from `since` to `until`, both included.
///
/// Holds one segment in memory at a time, and the answer. What a crash left torn is passed over.
pub fn read(
    folder: &Path,
    service: &ServiceName,
    (since, until): (Wall, Wall),
    limit: usize,
) -> io::Result<Past> {
    let mut newest_first: Vec<Kept> = Vec::new();
    for (_, path) in segments(&folder.join(service.as_str()))?.into_iter().rev() {
        let found = match entries(&path) {
            Ok(entries) => folded(entries),
            // It was too old, and was removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let is_before = found.last().is_some_and(|_| found.iter().all(|kept| kept.to.wall < since));
        newest_first
            .extend(found.into_iter().rev().filter(|kept| kept.to.wall >= since && kept.from.wall <= until));
        if is_before || newest_first.len() > limit {
            break;
        }
    }
    let is_cut = newest_first.len() > limit;
    newest_first.truncate(limit);
    newest_first.reverse();
    Ok(Past { kept: newest_first, is_cut })
}

/// The services for which anything is kept.
pub fn kept_services(folder: &Path) -> io::Result<Vec<ServiceName>> {
    let name = |path: &Path| ServiceName::parse(path.file_name()?.to_str()?).ok();
    let mut names: Vec<ServiceName> = numbered::paths(folder)?.iter().filter_map(|path| name(path)).collect();
    names.sort_unstable();
    Ok(names)
}

/// The runs of decisions in a segment, in the order in which they began.
pub(super) fn folded(entries: Vec<Entry>) -> Vec<Kept> {
    let mut found: Vec<(u32, Kept)> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Begun { number, epoch, from, record } => {
                let from = Now::from(from);
                let ratios = record.metrics.iter().map(|it| it.ratio.map(|ratio| (ratio, ratio))).collect();
                let epoch = Epoch(epoch);
                found.push((number, Kept { epoch, from, to: from, count: 1, ratios, record }));
            }
            Entry::Went { number, to, count, ratios } => {
                // The latest of that number: a later run of the program begins to count anew, in another segment.
                if let Some((_, kept)) = found.iter_mut().rev().find(|(begun, _)| *begun == number) {
                    (kept.to, kept.count, kept.ratios) = (to.into(), count, ratios);
                }
            }
        }
    }
    found.into_iter().map(|(_, kept)| kept).collect()
}
