//! The horizontal pod autoscaler's algorithm, compared with Kubernetes' own cases, with ours, and with an oracle.

mod cases;
mod fixture;
mod oracle;
mod random;
mod vectors;
