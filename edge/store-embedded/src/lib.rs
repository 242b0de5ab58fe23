//! The embedded store: one crash-safe file.
