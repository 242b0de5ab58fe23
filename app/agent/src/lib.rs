//! Runs replicas for the orchestrator on one node: starts and stops them, asks them for their health, routes traffic to them, asks
//! the sources of metrics, and reports what it sees.
//!
//! It decides nothing about how many replicas there are or which of them go: it obeys orders in the order in which they come, and
//! what it reports is the state as it is, whole, again and again. What it does by itself is only what cannot wait: a replica that
//! has ended or fails its probes gets no traffic from that moment on.

mod balancers;
mod certificates;
mod desk;
mod elsewhere;
mod latency;
mod measuring;
mod obey;
mod rates;
mod report;
mod routes;
mod routing;

mod agent;
pub use acme::Standing;
pub use agent::{Agent, ReplicaDetail, StoppedReplicas, Whom};
pub use certificates::{CertificateError, Certificates, Issued, Unusable, check_certificates};
pub use measuring::SourceDetail;
pub use routes::RouteDetail;
