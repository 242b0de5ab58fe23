//! Execute: an admitted plan in, ordered actions out; follows their outcomes.
