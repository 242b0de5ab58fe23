//! Prints findings, as tables or JSON.

use comfy_table::{CellAlignment, Table, presets};

use crate::figure::{Figure, Findings};

/// One bench, for people.
pub(crate) fn table(findings: &Findings) {
    println!("\n{}", findings.bench);
    for sentence in &findings.setting {
        println!("  {sentence}");
    }
    if let Some(why) = &findings.skipped {
        println!("  not run: {why}");
    }
    for sheet in &findings.sheets {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(&sheet.header);
        table.add_rows(&sheet.rows);
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
    }
    if !findings.figures.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header(["figure", "measured", "target", ""]);
        table.add_rows(findings.figures.iter().map(row));
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
    }
    println!("  repeat with: {}", findings.repeat);
}

fn row(figure: &Figure) -> [String; 4] {
    let verdict = match figure.met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "",
    };
    let target = figure.target.map(|target| target.readable(figure.unit)).unwrap_or_default();
    [figure.name.clone(), figure.unit.of(figure.value), target, verdict.to_owned()]
}

/// All benches in one sentence, for people.
pub(crate) fn verdict(all: &[Findings]) {
    let targets =
        all.iter().flat_map(|findings| &findings.figures).filter(|figure| figure.met.is_some()).count();
    let missed: usize = all.iter().map(Findings::misses).sum();
    let skipped = all.iter().filter(|findings| findings.skipped.is_some()).count();
    println!("\n{} of {targets} targets met, {missed} missed; {skipped} benches not run", targets - missed);
}

/// All benches, for scripts: `{machine: {cores}, benches: [{bench, repeat, setting, figures: [{name, value, unit, target,
/// met}], skipped}]}`.
pub(crate) fn json(all: &[Findings]) {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    let document = serde_json::json!({"machine": {"cores": cores}, "benches": all});
    println!("{document:#}");
}
