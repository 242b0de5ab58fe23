//! The horizontal pod autoscaler's algorithm, held against Kubernetes' own cases, against ours, and against an oracle.

mod cases;
mod scene;
mod vectors;
