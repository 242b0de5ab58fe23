//! Lists of the latest entries.

/// Appends `entry`, and drops the oldest entry when there are `max` already.
pub(crate) fn push_latest<T>(entries: &mut Vec<T>, max: usize, entry: T) {
    if entries.len() >= max {
        entries.remove(0);
    }
    entries.push(entry);
}
