//! The Store contract: revisioned keys, compare-and-set, watch, lease.
