//! Lists that keep only their latest entries.

/// Appends `entry`; when there are `most` already, the oldest goes.
pub(crate) fn push_latest<T>(entries: &mut Vec<T>, most: usize, entry: T) {
    if entries.len() >= most {
        entries.remove(0);
    }
    entries.push(entry);
}
