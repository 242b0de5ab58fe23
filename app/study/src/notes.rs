//! Sentences that several results share.

use fluid::ticks::GridRepairs;

/// A percentage with two decimals; values above zero are never shown as 0.
pub(crate) fn share(percent: f64) -> String {
    if percent == 0.0 {
        "none of them".to_owned()
    } else if percent < 0.01 {
        "less than 0.01 %".to_owned()
    } else {
        format!("{percent:.2} %")
    }
}

/// The repairs of a recording, each as a sentence.
pub(crate) fn repair_notes(repairs: GridRepairs) -> Vec<String> {
    let mut notes = Vec::new();
    if repairs.gaps > 0 {
        let gaps = if repairs.gaps == 1 { "1 gap".to_owned() } else { format!("{} gaps", repairs.gaps) };
        let rows = match repairs.filled {
            1 => "1 row is".to_owned(),
            rows => format!("{rows} rows are"),
        };
        notes.push(format!("{rows} missing from the trace, in {gaps}; straight lines stand in for them"));
    }
    if repairs.merged > 0 {
        let rows = if repairs.merged == 1 { "1 row".to_owned() } else { format!("{} rows", repairs.merged) };
        notes.push(format!(
            "{rows} fell into the interval of the row before; each such interval has the mean of its rows"
        ));
    }
    notes
}
