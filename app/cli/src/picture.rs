//! Plots as wide as the terminal.

use load::plot::{self, Frame, Line};
use ratatui::crossterm::terminal;

/// The width of a plot without a terminal, in columns.
const WIDTH_DEFAULT: u16 = 80;

/// The maximum width of a plot, in columns: more would not show more.
const WIDTH_MAX: u16 = 120;

/// Draws lines over common axes, `height` rows high and labelled with the units.
pub(crate) fn of(lines: &[Line<'_>], height: usize, x_unit: &str, y_unit: &str) -> String {
    let width = terminal::size().map_or(WIDTH_DEFAULT, |(columns, _)| columns).min(WIDTH_MAX);
    plot::lines(lines, Frame { width: width.into(), height, x_unit, y_unit })
}
