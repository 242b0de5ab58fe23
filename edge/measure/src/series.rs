//! Measured values as amounts that can be summed.

use model::measure::{Labels, Series};
use model::quantity::Milli;
use model::resource::SERIES_MAX;

use crate::failure::Failure;

/// The values as amounts. Fails when one of them is not an amount: a sum without it would be wrong without notice.
pub(crate) fn amounts(
    metric: &str,
    values: impl IntoIterator<Item = (Labels, f64)>,
) -> Result<Vec<Series>, Failure> {
    let mut series = Vec::new();
    for (labels, value) in values {
        if series.len() == SERIES_MAX {
            return Err(Failure::TooManySeries);
        }
        let value = Milli::nearest(value)
            .map_err(|why| Failure::Value { series: format!("{metric}{}", label_set(&labels)), why })?;
        series.push(Series { labels, value });
    }
    Ok(series)
}

/// Such as `{queue="mail"}`; empty without labels.
fn label_set(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
}
