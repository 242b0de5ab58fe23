//! One suite for every Store, every Platform, and the HPA algorithm.
