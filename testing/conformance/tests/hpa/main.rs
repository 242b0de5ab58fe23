//! The horizontal pod autoscaler's algorithm, held against Kubernetes' own cases and against ours.

mod vectors;
