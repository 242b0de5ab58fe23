//! Cuts the hours around its peak from a recorded load.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

/// Writes `rows_max` rows of `trace` around its highest value to a file in `folder`, and returns the file.
///
/// Three quarters of them are before the peak, so that the shop has to scale out. A shorter trace is used as a whole.
/// Fails when it cannot be read or has a row that is not `timestamp,value`.
pub(super) fn around_its_peak(trace: &Path, rows_max: usize, folder: &Path) -> anyhow::Result<PathBuf> {
    let text = std::fs::read_to_string(trace)
        .with_context(|| format!("could not read the trace {}", trace.display()))?;
    let (header, rows) = text.split_once('\n').unwrap_or_default();
    let rows: Vec<&str> = rows.lines().collect();
    let value = |row: &&str| row.rsplit_once(',').and_then(|(_, value)| value.trim().parse::<f64>().ok());
    let values: Vec<f64> = rows.iter().filter_map(value).collect();
    ensure!(
        !values.is_empty() && values.len() == rows.len(),
        "{} has rows that are not `timestamp,value`",
        trace.display()
    );
    let window = window_around_peak(&values, rows_max);
    let cut = folder.join("trace.csv");
    let text: String =
        std::iter::once(header).chain(rows[window].iter().copied()).flat_map(|row| [row, "\n"]).collect();
    std::fs::write(&cut, text).with_context(|| format!("could not write {}", cut.display()))?;
    Ok(cut)
}

/// `length` indices around that of the highest value, a quarter of them after it.
fn window_around_peak(values: &[f64], length: usize) -> std::ops::Range<usize> {
    let highest = values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(index, _)| index);
    let end = (highest + length / 4 + 1).max(length).min(values.len());
    end.saturating_sub(length)..end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extract_contains_the_peak_and_stays_within_the_trace() {
        assert_eq!(window_around_peak(&[1.0, 1.0, 1.0, 1.0, 9.0, 1.0, 1.0], 4), 2..6);
        assert_eq!(window_around_peak(&[9.0, 1.0, 1.0, 1.0, 1.0], 4), 0..4);
        assert_eq!(window_around_peak(&[1.0, 1.0, 1.0, 9.0], 4), 0..4);
        assert_eq!(window_around_peak(&[1.0, 9.0], 4), 0..2);
    }

    #[test]
    fn a_trace_with_an_invalid_number_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let trace = folder.path().join("t.csv");
        std::fs::write(&trace, "timestamp,value\n2026-01-01T00:00:00Z,many\n").expect("it can be written");

        assert!(around_its_peak(&trace, 4, folder.path()).is_err());
    }

    #[test]
    fn the_header_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let trace = folder.path().join("t.csv");
        std::fs::write(&trace, "timestamp,value\na,1\nb,2\nc,1\n").expect("it can be written");

        let cut = around_its_peak(&trace, 2, folder.path()).expect("it has rows");
        assert_eq!(std::fs::read_to_string(cut).expect("it was written"), "timestamp,value\na,1\nb,2\n");
    }
}
