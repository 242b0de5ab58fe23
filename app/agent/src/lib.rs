//! Runs replicas for the orchestrator on one node: starts and stops them, probes them, routes traffic to them, asks the sources of
//! metrics, and reports what it sees.
//!
//! It does not decide how many replicas there are or which of them go. It obeys orders in the order in which they come, and
//! reports the whole state as it is, again and again. By itself it does only what cannot wait: a replica that has ended or fails
//! its probes gets no traffic from that moment on.

mod balancers;
mod certificates;
mod elsewhere;
mod known;
mod latency;
mod measuring;
mod obey;
mod probing;
mod rates;
mod report;
mod routes;
mod routing;
mod traffic;

mod agent;
pub use acme::Standing;
pub use agent::{Agent, ReplicaDetail, StoppedReplicas, StopScope};
pub use certificates::{CertificateError, Certificates, Issued, Unusable, check_certificates};
pub use measuring::SourceDetail;
pub use routes::RouteDetail;
