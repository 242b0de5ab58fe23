//! Runs replicas for the orchestrator on one node: starts and stops them, probes them, routes traffic to them, polls the sources of
//! metrics, and reports what it observes.
//!
//! It does not decide how many replicas there are or which of them go. It carries out orders in the order in which they arrive, and
//! reports the whole state periodically. By itself it does only what cannot wait: a replica that has ended or fails its probes gets no
//! traffic from that moment on.

mod balancers;
mod certificates;
mod external_endpoints;
mod known;
mod latency;
mod metric_sources;
mod orders;
mod probing;
mod rates;
mod report;
mod routes;
mod routing;
mod traffic;

mod agent;
pub use acme::IssuanceStatus;
pub use agent::{Agent, ReplicaDetail, StopScope, StoppedReplicas};
pub use certificates::{
    CertificateError, CertificateStatus, IssuedCertificate, UnusableCertificates, check_certificates,
};
pub use metric_sources::SourceDetail;
pub use routes::RouteDetail;
