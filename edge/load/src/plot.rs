//! Plots numbers over time as text.
//!
//! Pure and without colour, so that a plot can be pasted into a ticket.

use std::fmt::Write as _;

/// One line of a plot.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// What the line shows, for the legend.
    pub label: &'a str,
    /// How it is drawn.
    pub ink: Ink,
    /// What lies between its points.
    pub between: Between,
    /// `(x, y)` in rising order of x; points that are not finite are passed over.
    pub points: &'a [(f64, f64)],
}

/// How a line is drawn, so that two lines are distinguishable without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ink {
    /// A continuous line of box-drawing characters.
    Solid,
    /// A dot in each column.
    Dots,
}

/// The value of a line in a column without a point, or with several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Between {
    /// The value of the last point: right for a state, such as a number of replicas. A column with several
    /// points shows the last of them.
    Hold,
    /// The mean of the points in a column, and the last column's where it has none: right for a rate.
    Mean,
}

/// The size of the plot, and the units of its axes.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Columns of the picture, with the labels of the y axis; at least 20 are used.
    pub width: usize,
    /// Rows of the picture, without the x axis and the legend; at least 2 are used.
    pub height: usize,
    /// The unit of x, such as `s`; put behind its labels.
    pub x_unit: &'a str,
    /// The unit of y, such as `req/s`; put above its axis when it is not empty.
    pub y_unit: &'a str,
}

/// The greatest width and height: more than any terminal has, and a bound of the memory (10⁶ characters).
const SIDE_MAX: usize = 1_000;

/// Draws lines over the same axes, later ones over earlier ones.
///
/// The y axis begins at zero, or below it at the lowest value. Nothing to draw gives empty axes. Each line of
/// the answer ends with a line feed and has no trailing blanks.
#[must_use]
pub fn lines(lines: &[Line<'_>], frame: Frame<'_>) -> String {
    let height = frame.height.clamp(2, SIDE_MAX);
    let drawable =
        || lines.iter().flat_map(|line| line.points.iter()).filter(|(x, y)| x.is_finite() && y.is_finite());
    let (x_min, x_max) = bounds(drawable().map(|point| point.0)).unwrap_or((0.0, 1.0));
    // An axis needs an extent, which a single point does not have.
    let x_max = if x_max - x_min >= 0.001 { x_max } else { x_min + 1.0 };
    let (lowest, highest) = bounds(drawable().map(|point| point.1)).unwrap_or((0.0, 1.0));
    let (y_min, y_max) =
        (lowest.min(0.0), if highest > lowest.min(0.0) { highest } else { lowest.min(0.0) + 1.0 });
    let labels = y_labels(y_min, y_max, height);
    let gutter = labels.iter().map(|label| label.chars().count()).max().unwrap_or(0);
    let columns = frame.width.clamp(20, SIDE_MAX).saturating_sub(gutter + 2).max(8);
    let mut canvas = vec![vec![' '; columns]; height];
    let row_of = |y: f64| {
        let share = ((y - y_min) / (y_max - y_min)).clamp(0.0, 1.0);
        (height - 1) - (share * (height - 1) as f64).round() as usize
    };
    for line in lines {
        let values = resample(line, x_min, x_max, columns);
        let rows: Vec<Option<usize>> = values.into_iter().map(|value| value.map(row_of)).collect();
        match line.ink {
            Ink::Solid => draw_solid(&mut canvas, &rows),
            Ink::Dots => draw_dots(&mut canvas, &rows),
        }
    }
    assemble(&canvas, &labels, gutter, (x_min, x_max), lines, frame)
}

fn bounds(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |so_far, value| match so_far {
        None => Some((value, value)),
        Some((low, high)) => Some((f64::min(low, value), f64::max(high, value))),
    })
}

/// Returns the value of a line in each column; `None` before its first point.
fn resample(line: &Line<'_>, x_min: f64, x_max: f64, columns: usize) -> Vec<Option<f64>> {
    let mut points = line.points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite()).peekable();
    let width = (x_max - x_min) / columns as f64;
    let mut held = None;
    let mut values = Vec::with_capacity(columns);
    for column in 0..columns {
        let is_last = column + 1 == columns;
        let until = x_min + width * (column + 1) as f64;
        let (mut sum, mut count) = (0.0, 0_u32);
        while let Some((_, y)) = points.next_if(|(x, _)| *x < until || is_last) {
            sum += y;
            count += 1;
            if line.between == Between::Hold {
                held = Some(y);
            }
        }
        if line.between == Between::Mean && count > 0 {
            held = Some(sum / f64::from(count));
        }
        values.push(held);
    }
    values
}

/// Joins the rows of neighbouring columns by corners and verticals.
fn draw_solid(canvas: &mut [Vec<char>], rows: &[Option<usize>]) {
    let mut before = None;
    for (column, row) in rows.iter().enumerate() {
        let Some(row) = *row else { continue };
        match before {
            None => canvas[row][column] = '─',
            Some(before) if before == row => canvas[row][column] = '─',
            Some(before) => {
                let (leaves, arrives) = if row < before { ('╯', '╭') } else { ('╮', '╰') };
                canvas[before][column] = leaves;
                canvas[row][column] = arrives;
                for between in canvas.iter_mut().take(before.max(row)).skip(before.min(row) + 1) {
                    between[column] = '│';
                }
            }
        }
        before = Some(row);
    }
}

fn draw_dots(canvas: &mut [Vec<char>], rows: &[Option<usize>]) {
    for (column, row) in rows.iter().enumerate() {
        if let Some(row) = *row {
            canvas[row][column] = '·';
        }
    }
}

/// Returns the label of each row: of the top, the middle and the bottom, and of all when they are few.
fn y_labels(y_min: f64, y_max: f64, height: usize) -> Vec<String> {
    let last = height - 1;
    let decimals = decimals_for(y_max - y_min);
    (0..height)
        .map(|row| {
            let is_labelled = row == 0 || row == last || (height >= 5 && row * 2 == last - last % 2);
            let value = y_max - (y_max - y_min) * row as f64 / last as f64;
            if is_labelled { format!("{value:.decimals$}") } else { String::new() }
        })
        .collect()
}

/// Returns how many decimals make values of a range distinguishable.
fn decimals_for(range: f64) -> usize {
    if range >= 10.0 {
        0
    } else if range >= 1.0 {
        1
    } else if range >= 0.01 {
        3
    } else {
        6
    }
}

fn assemble(
    canvas: &[Vec<char>],
    labels: &[String],
    gutter: usize,
    (x_min, x_max): (f64, f64),
    lines: &[Line<'_>],
    frame: Frame<'_>,
) -> String {
    let mut picture = String::new();
    let mut put = |text: &str| {
        picture.push_str(text.trim_end());
        picture.push('\n');
    };
    if !frame.y_unit.is_empty() {
        put(frame.y_unit);
    }
    for (row, label) in canvas.iter().zip(labels) {
        let axis = if label.is_empty() { '│' } else { '┤' };
        put(&format!("{label:>gutter$} {axis}{}", row.iter().collect::<String>()));
    }
    let columns = canvas.first().map_or(0, Vec::len);
    put(&format!("{:gutter$} └{}", "", "─".repeat(columns)));
    let decimals = decimals_for(x_max - x_min);
    let first = format!("{x_min:.decimals$}");
    let last = format!("{x_max:.decimals$} {}", frame.x_unit);
    let room = (columns + 1).saturating_sub(first.chars().count());
    put(&format!("{:gutter$} {first}{:>room$}", "", last.trim_end()));
    let mut legend = String::new();
    for line in lines.iter().filter(|line| !line.label.is_empty()) {
        let ink = match line.ink {
            Ink::Solid => '─',
            Ink::Dots => '·',
        };
        write!(legend, "  {ink}{ink} {}", line.label).expect("writing to a String does not fail");
    }
    if !legend.is_empty() {
        put(&format!("{:gutter$}{legend}", ""));
    }
    picture
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAME: Frame<'static> = Frame { width: 30, height: 5, x_unit: "s", y_unit: "replicas" };

    fn line<'a>(label: &'a str, points: &'a [(f64, f64)]) -> Line<'a> {
        Line { label, ink: Ink::Solid, between: Between::Hold, points }
    }

    #[test]
    fn replicas_over_time_are_steps() {
        let picture = lines(&[line("ready", &[(0.0, 2.0), (20.0, 4.0), (60.0, 2.0), (80.0, 2.0)])], FRAME);
        let expected = "\
replicas
4.0 ┤      ╭───────────╮
    │      │           │
2.0 ┤──────╯           ╰──────
    │
0.0 ┤
    └─────────────────────────
    0                     80 s
     ── ready
";
        assert_eq!(picture, expected, "\n{picture}");
    }

    #[test]
    fn a_second_line_is_distinguishable_without_colour() {
        let asked = Line { ink: Ink::Dots, ..line("asked", &[(0.0, 0.0), (10.0, 4.0)]) };
        let picture = lines(&[asked, line("ready", &[(0.0, 2.0), (10.0, 2.0)])], FRAME);
        assert!(picture.contains('·') && picture.contains("·· asked  ── ready"), "\n{picture}");
    }

    #[test]
    fn nothing_to_draw_gives_empty_axes() {
        let picture = lines(&[line("", &[])], FRAME);
        assert_eq!(picture.lines().count(), 1 + 5 + 2, "\n{picture}");
    }

    #[test]
    fn a_column_shows_the_mean_of_a_rate_and_the_last_value_of_a_state() {
        let points: Vec<(f64, f64)> = (0..=100).map(|n| (f64::from(n), f64::from(n % 2) * 10.0)).collect();
        let at = |between| resample(&Line { between, ..line("", &points) }, 0.0, 100.0, 10);
        assert_eq!(at(Between::Mean)[..9], [Some(5.0); 9]);
        assert_eq!(at(Between::Hold)[..9], [Some(10.0); 9]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(1), ..ProptestConfig::default() })]

        #[test]
        fn no_input_makes_it_panic_or_wider_than_asked(
            points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..40),
            width in 0_usize..120, height in 0_usize..30, dots: bool,
        ) {
            let mut points = points;
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            let ink = if dots { Ink::Dots } else { Ink::Solid };
            let drawn = Line { label: "l", ink, between: Between::Mean, points: &points };
            let picture = lines(&[drawn], Frame { width, height, x_unit: "s", y_unit: "" });
            prop_assert_eq!(picture.lines().count(), height.max(2) + 3);
            let is_moderate = points.iter().all(|(x, y)| x.abs() < 1e6 && y.abs() < 1e6);
            if is_moderate && width >= 20 {
                prop_assert!(picture.lines().all(|row| row.chars().count() <= width.max(20)), "\n{}", picture);
            }
        }
    }
}
