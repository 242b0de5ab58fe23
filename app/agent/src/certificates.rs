//! The certificates that the proxy presents: those in files, and those issued by ACME.

use std::path::PathBuf;
use std::sync::Arc;

use acme::{IssuanceStatus, Proof, Renewer};
use model::resource::{self, Acme, Resource};
use proxy::{Challenge, Table, Tls, TlsError, TlsState};

use crate::shared::Shared;

/// The state of the certificates of a service, or of a listener that routes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// The certificates that are presented to clients.
    pub shown: TlsState,
    /// The certificates from ACME.
    pub issued: Vec<IssuedCertificate>,
}

/// A certificate from ACME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Its declaration.
    pub acme: Acme,
    /// The file of its key and chain, once issued.
    pub file: PathBuf,
    /// The state of its issuance.
    pub status: IssuanceStatus,
}

/// The certificates of a resource cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Certificates in files cannot be used.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// The root certificates for an ACME authority cannot be used.
    #[error(transparent)]
    Authority(#[from] acme::Failure),
}

/// The first of several resources whose certificates cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "could not apply {}/{}: {}: {error}",
    .resource.kind().as_str().to_ascii_lowercase(),
    .resource.name(),
    self.path()
)]
pub struct UnusableCertificates {
    /// The resource.
    pub resource: Resource,
    /// Why.
    pub error: CertificateError,
}

impl UnusableCertificates {
    /// The field that declares the certificates.
    pub fn path(&self) -> &'static str {
        match self.resource {
            Resource::Service(_) => "spec.expose.tls",
            Resource::Route(_) | Resource::HorizontalPodAutoscaler(_) | Resource::MetricSource(_) => {
                "spec.tls"
            }
        }
    }
}

/// Refuses resources whose certificates cannot be presented to clients, or requested, now.
pub fn check_certificates(resources: &[Resource]) -> Result<(), Box<UnusableCertificates>> {
    resources.iter().try_for_each(|resource| {
        check(resource).map_err(|error| Box::new(UnusableCertificates { resource: resource.clone(), error }))
    })
}

fn check(resource: &Resource) -> Result<(), CertificateError> {
    let declared = match resource {
        Resource::Service(service) => service.spec.expose.as_ref().and_then(|expose| expose.tls.as_ref()),
        Resource::Route(route) => route.spec.tls.as_ref(),
        Resource::HorizontalPodAutoscaler(_) | Resource::MetricSource(_) => None,
    };
    let Some(declared) = declared else { return Ok(()) };
    declared.acme.as_ref().map_or(Ok(()), acme::check)?;
    // Certificates from ACME need not exist yet.
    let in_files = Tls::declared([declared], |_| PathBuf::new());
    in_files.map_or(Ok(()), |tls| Ok(proxy::check_certificates(&tls)?))
}

/// The renewer of ACME certificates, none yet. The proxy responds to the challenges of the authorities.
pub(crate) fn renewer(folder: PathBuf, runtime: tokio::runtime::Handle, table: Table) -> Renewer {
    let set_challenge = move |host: &str, proof: Option<Proof>| {
        let challenge = proof.map(|proof| match proof {
            Proof::TlsAlpn { certificate, key } => Challenge::Tls { certificate, key },
            Proof::Http { token, answer } => Challenge::Http { token, answer },
        });
        if let Err(error) = table.set_challenge(host, challenge) {
            tracing::error!(host, %error, "challenge_not_set");
        }
    };
    Renewer::new(folder, runtime, Arc::new(set_challenge))
}

/// Requests the declared ACME certificates of a listener, and returns the certificates that the proxy presents there.
pub(crate) fn set(shared: &Shared, listener: &str, declared: &[&resource::Tls]) -> Option<Tls> {
    let wanted: Vec<Acme> = declared.iter().filter_map(|tls| tls.acme.clone()).collect();
    shared.certificates.set(listener, &wanted);
    Tls::declared(declared.iter().copied(), |acme| shared.certificates.file(acme))
}

/// The status of certificates; `None` when none are presented.
pub(crate) fn status<'a>(
    renewer: &Renewer,
    shown: Option<TlsState>,
    declared: impl IntoIterator<Item = &'a resource::Tls>,
) -> Option<CertificateStatus> {
    let wanted = declared.into_iter().filter_map(|tls| tls.acme.as_ref());
    let issued = wanted.filter_map(|acme| {
        let status = renewer.status(acme)?;
        Some(IssuedCertificate { acme: acme.clone(), file: renewer.file(acme), status })
    });
    Some(CertificateStatus { shown: shown?, issued: issued.collect() })
}
