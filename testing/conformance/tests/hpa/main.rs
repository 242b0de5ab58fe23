//! The algorithm of the horizontal pod autoscaler, compared with Kubernetes' test cases, cases of this project, and an oracle.

mod cases;
mod fixture;
mod oracle;
mod random;
mod vectors;
