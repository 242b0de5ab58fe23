//! What goes to standard output: tables for people, JSON and YAML for scripts.

use std::fmt;
use std::io::{self, Write};

use anyhow::Context;
use clap::{Args, ValueEnum};
use comfy_table::{Cell, CellAlignment, ColumnConstraint, Table, Width, presets};
use serde::Serialize;

use crate::failure::Failure;
use crate::paint::{Paint, Tone, printable};

/// In which form to print.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; may change from version to version
    #[default]
    Table,
    /// For scripts: the fields of the API
    Json,
    /// The same as YAML
    Yaml,
}

/// The arguments that say how to print.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Output {
    /// How to print: for people, or for scripts
    #[arg(short, long = "output", value_name = "FORMAT", default_value = "table", value_enum)]
    pub(crate) output: Format,
}

/// Where a command prints to, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer {
    pub(crate) paint: Paint,
}

impl Printer {
    /// Prints `value` as asked: as JSON or YAML, or the text that `for_people` makes of it.
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
        self.line(&serde_json::to_string_pretty(value).context("could not write the answer as JSON")?)
    }

    /// Prints YAML.
    pub(crate) fn yaml<T: Serialize>(self, value: &T) -> Result<(), Failure> {
        self.text(&serde_saphyr::to_string(value).context("could not write the answer as YAML")?)
    }

    /// Prints one line.
    pub(crate) fn line(self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Prints text as it is, at once.
    pub(crate) fn text(self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Prints bytes as they are, at once.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        Ok(written.context("could not write to standard output")?)
    }

    /// A table with a header and no lines, as `ps` and `kubectl` print it.
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

/// Writes a line beside the answer to standard error; a closed standard error is no failure.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// A table being filled.
#[derive(Debug)]
pub(crate) struct Grid {
    table: Table,
}

/// One cell: its text, and what its colour says.
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

    /// Aligned to the right, as numbers are compared.
    pub(crate) fn number(text: impl fmt::Display) -> Self {
        Self { text: format!("{text}"), tone: None, is_number: true }
    }

    /// The text and its colour, for those who draw by themselves.
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

    /// The lines, each with its line feed and without trailing blanks.
    pub(crate) fn finish(self) -> String {
        self.finish_with(&mut Widths::default())
    }

    /// As [`Self::finish`]; no column is narrower than in the tables that were printed with the same `widths` before.
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

/// How wide the columns of a table were that goes on.
#[derive(Debug, Default)]
pub(crate) struct Widths(Vec<u16>);

/// What stands for a value that is not known: never a zero.
pub(crate) const UNKNOWN: &str = "-";

/// Why `write!` to a `String` may be expected to succeed.
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
