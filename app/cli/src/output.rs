//! Prints results to standard output: tables for people, JSON and YAML for scripts.

use std::fmt;
use std::io::{self, Write};

use anyhow::Context;
use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, Table, Width, presets};
use serde::Serialize;

use crate::failure::Failure;
use crate::paint::{Paint, Tone, printable};

/// The output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A table for people; may change between versions
    #[default]
    Table,
    /// JSON with the fields of the API, for scripts
    Json,
    /// The same fields as YAML
    Yaml,
}

/// The argument for the output format.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// The output format
    #[arg(short, long = "output", value_name = "FORMAT", default_value = "table", value_enum)]
    pub(crate) output: Format,
}

/// Prints to standard output.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    pub(crate) paint: Paint,
}

impl Printer {
    /// Prints `value` in `format`: as JSON, as YAML, or as the text that `for_people` returns.
    pub(crate) fn print<T: Serialize>(
        self,
        format: Format,
        value: &T,
        for_people: impl FnOnce(&T) -> String,
    ) -> Result<(), Failure> {
        match format {
            Format::Table => self.text(&for_people(value)),
            Format::Json => self.json(value),
            Format::Yaml => self.yaml(value),
        }
    }

    /// Prints JSON over several lines.
    pub(crate) fn json<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        self.line(&serde_json::to_string_pretty(value).context("could not format the result as JSON")?)
    }

    /// Prints YAML.
    pub(crate) fn yaml<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        self.text(&serde_saphyr::to_string(value).context("could not format the result as YAML")?)
    }

    /// Prints one line.
    pub(crate) fn line(self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Prints text unchanged and flushes it.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes unchanged and flushes them.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        Ok(written.context("could not write to standard output")?)
    }

    /// A table with a header and without rules, like those of `ps` and `kubectl`.
    pub(crate) fn table(self, header: &[&str]) -> Grid {
        let mut table = self.plain_table();
        table.set_header(header);
        Grid { table }
    }

    fn plain_table(self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if self.paint.is_on {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table
    }

    /// A table whose header was printed before.
    pub(crate) fn table_without_header(self) -> Grid {
        Grid { table: self.plain_table() }
    }
}

/// A table being filled.
#[derive(Debug)]
pub(crate) struct Grid {
    table: Table,
}

/// A cell: its text, and the meaning of its colour.
#[derive(Debug)]
pub(crate) struct Field {
    text: String,
    tone: Option<Tone>,
    is_number: bool,
}

impl Field {
    pub(crate) fn text(text: impl AsRef<str>) -> Self {
        Self { text: printable(text.as_ref()), tone: None, is_number: false }
    }

    /// A cell that is aligned to the right.
    pub(crate) fn number(text: impl fmt::Display) -> Self {
        Self { text: format!("{text}"), tone: None, is_number: true }
    }

    /// The text and the meaning of its colour, for callers that draw cells themselves.
    pub(crate) fn parts(&self) -> (&str, Option<Tone>) {
        (&self.text, self.tone)
    }

    /// Whether it is aligned to the right.
    pub(crate) fn is_number(&self) -> bool {
        self.is_number
    }

    pub(crate) fn toned(self, tone: Tone) -> Self {
        Self { tone: Some(tone), ..self }
    }
}

impl Grid {
    pub(crate) fn row(&mut self, fields: impl IntoIterator<Item = Field>) {
        let cell = |field: Field| {
            let cell = Cell::new(field.text);
            let cell = if field.is_number { cell.set_alignment(CellAlignment::Right) } else { cell };
            match field.tone {
                Some(tone) => cell.fg(tone.colour()),
                None => cell,
            }
        };
        self.table.add_row(fields.into_iter().map(cell));
    }

    /// The text of the table, without trailing blanks in its lines.
    pub(crate) fn finish(self) -> String {
        self.finish_with(&mut Widths::default())
    }

    /// Like [`Self::finish`], but no column is narrower than in earlier tables with the same `widths`.
    pub(crate) fn finish_with(mut self, widths: &mut Widths) -> String {
        let own = self.table.column_max_content_widths();
        widths.0.resize(own.len().max(widths.0.len()), 0);
        for (column, (width, own)) in self.table.column_iter_mut().zip(widths.0.iter_mut().zip(own)) {
            *width = own.max(*width);
            column.set_padding((0, COLUMN_GAP));
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(*width + COLUMN_GAP)));
        }
        self.table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
    }
}

/// Blanks between two columns.
const COLUMN_GAP: u16 = 2;

/// The widths of the columns of a table that is printed in several parts.
#[derive(Debug, Default)]
pub(crate) struct Widths(Vec<u16>);

/// Shown in place of a value that is not known, which is not zero.
pub(crate) const UNKNOWN: &str = "-";

/// Why `write!` to a `String` cannot fail.
pub(crate) const STRING: &str = "writing to a string cannot fail";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_lines_up_and_keeps_control_characters_out() {
        let printer = Printer { paint: Paint { is_on: false } };
        let mut grid = printer.table(&["NAME", "READY"]);
        grid.row([Field::text("shop"), Field::number(10)]);
        grid.row([Field::text("a\x1bb"), Field::number(2).toned(Tone::Bad)]);
        assert_eq!(grid.finish(), "NAME  READY\nshop     10\na\u{fffd}b       2\n");
    }
}
