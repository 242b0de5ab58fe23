//! Plots as wide as the terminal.

use load::plot::{self, Frame, Line};
use ratatui::crossterm::terminal;

/// Columns of a plot where no terminal tells.
const WIDTH_DEFAULT: u16 = 80;

/// Columns of a plot at most: wider says nothing more.
const WIDTH_MAX: u16 = 120;

/// Draws lines over the same axes in so many rows; the units of both axes are put to them.
pub(crate) fn of(lines: &[Line<'_>], height: usize, x_unit: &str, y_unit: &str) -> String {
    let width = terminal::size().map_or(WIDTH_DEFAULT, |(columns, _)| columns).min(WIDTH_MAX);
    plot::lines(lines, Frame { width: width.into(), height, x_unit, y_unit })
}
