//! Recorded loads as the input of benches.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use load::trace::Trace;

/// A recorded load with values at equal intervals.
pub(crate) struct Recorded {
    pub(crate) name: String,
    /// The interval between its values.
    pub(crate) interval: Duration,
    pub(crate) values: Vec<f64>,
}

/// Reads every trace in the folder `traces` of `data`, by name; of traces with the same values, only the last.
///
/// # Errors
///
/// When there is none, or one cannot be read.
pub(crate) fn all(data: Option<&Path>) -> anyhow::Result<Vec<Recorded>> {
    let data = data.context(
        "the folder of recorded loads is not set; set --data or HOMEOSTAT_DATA to a folder with traces/*.csv",
    )?;
    let folder = data.join("traces");
    let entries =
        std::fs::read_dir(&folder).with_context(|| format!("could not list {}", folder.display()))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.with_context(|| format!("could not list {}", folder.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    ensure!(
        !paths.is_empty(),
        "there is no recorded load in {}; set --data or HOMEOSTAT_DATA to a folder with traces/*.csv",
        folder.display()
    );
    let mut loads = paths.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<Recorded>>>()?;
    // The same load under two names would count twice in every median.
    for index in (0..loads.len()).rev() {
        if loads[index + 1..].iter().any(|other| other.values == loads[index].values) {
            loads.remove(index);
        }
    }
    Ok(loads)
}

fn read(path: &Path) -> anyhow::Result<Recorded> {
    let trace = Trace::open(path)?;
    let interval = trace.interval().with_context(|| format!("{} has a single row", path.display()))?;
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Recorded { name, interval, values: trace.rows().iter().map(|row| row.value).collect() })
}

impl Recorded {
    /// The means over steps of `step`, which should be a multiple of the interval; the values themselves if the interval is longer.
    pub(crate) fn averaged(&self, step: Duration) -> (Duration, Vec<f64>) {
        let rows = (step.as_secs_f64() / self.interval.as_secs_f64()).floor().max(1.0);
        let mean = |chunk: &[f64]| chunk.iter().sum::<f64>() / chunk.len() as f64;
        (self.interval.mul_f64(rows), self.values.chunks(rows as usize).map(mean).collect())
    }
}

/// The median of `values`; NaN without values.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => values[count / 2],
        count => f64::midpoint(values[count / 2 - 1], values[count / 2]),
    }
}
