//! The horizontal pod autoscaler's algorithm, held against Kubernetes' own cases, against ours, and against an oracle.

mod cases;
mod oracle;
mod random;
mod scene;
mod vectors;
