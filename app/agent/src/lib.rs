//! Runs replicas for the orchestrator on one node: starts and stops them, probes them, routes traffic to them, polls metric sources, and
//! reports what it observes.
//!
//! It does not decide how many replicas there are, or which of them are removed. It carries out orders in the order in which they arrive,
//! and reports the whole state periodically. The only thing that it does on its own is what cannot wait: it stops routing requests to a
//! replica that has ended or fails its probes.

mod known;
mod known_sources;
mod rates;
mod shared;

mod balancers;
mod certificates;
mod ejections;
mod external_endpoints;
mod latency;
mod metric_sources;
mod orders;
mod probing;
mod reports;
mod routes;
mod routing;
mod traffic;

mod agent;
pub use acme::IssuanceStatus;
pub use agent::{Agent, ProbeNotes, ReplicaDetail, StopScope, StoppedReplicas};
pub use certificates::{
    CertificateError, CertificateStatus, IssuedCertificate, UnusableCertificates, check_certificates,
};
pub use known_sources::SourceDetail;
pub use routes::RouteDetail;
