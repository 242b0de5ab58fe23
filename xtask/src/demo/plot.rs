//! Plots a time series as columns of block characters.

/// One character for each eighth of a row.
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws `(time, value)` points as columns: at most `width` of them, `height` rows, the top row labelled with
/// the highest value.
///
/// A column shows the highest of its points, so that short peaks are visible; a column without points shows the value
/// of the one before. Points must be ordered by time; none, or only zeros, give empty rows. `until` is the time of the
/// right edge, so that plots can share an axis.
pub(super) fn columns(points: &[(f64, f64)], until: f64, width: usize, height: usize) -> Vec<String> {
    let mut heights = vec![None::<f64>; width];
    for (at, value) in points {
        let column = ((at / until.max(f64::MIN_POSITIVE)) * width as f64) as usize;
        let slot = &mut heights[column.min(width - 1)];
        *slot = Some(slot.map_or(*value, |known| known.max(*value)));
    }
    let mut known = 0.0;
    let filled: Vec<f64> = heights
        .into_iter()
        .map(|value| *value.as_ref().inspect(|value| known = **value).unwrap_or(&known))
        .collect();
    let top = filled.iter().copied().fold(0.0, f64::max);
    let eighths =
        |value: f64| if top > 0.0 { (value / top * (height * 8) as f64).round() as usize } else { 0 };
    let row = |from_below: usize| {
        let cell = |value: &f64| BARS[eighths(*value).saturating_sub(from_below * 8).min(8)];
        filled.iter().map(cell).collect::<String>()
    };
    (0..height)
        .rev()
        .map(|from_below| {
            let label = if from_below + 1 == height { format!("{top:.0}") } else { String::new() };
            format!("{label:>6} ┤{}", row(from_below).trim_end())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_value_fills_its_column_and_is_the_label() {
        let rows = columns(&[(0.0, 2.0), (1.0, 4.0), (2.0, 8.0), (3.0, 0.0)], 4.0, 4, 2);

        assert_eq!(rows, ["     8 ┤  █", "       ┤▄██"]);
    }

    #[test]
    fn a_column_without_points_shows_the_one_before_and_a_peak_is_never_lost() {
        let rows = columns(&[(0.0, 1.0), (0.1, 9.0), (0.2, 1.0), (3.9, 9.0)], 4.0, 4, 1);

        assert_eq!(rows, ["     9 ┤████"]);
    }

    #[test]
    fn nothing_to_draw_is_an_empty_plot() {
        assert_eq!(columns(&[], 0.0, 4, 1), ["     0 ┤"]);
    }
}
