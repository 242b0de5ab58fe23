//! Clocks, entropy, signals and files: the only place that reads the time.
