//! The certificates that the proxy shows: those in files, and those that are issued by ACME.

use std::path::PathBuf;
use std::sync::Arc;

use acme::{Keeper, Proof, Standing};
use model::resource::{self, Acme, Resource};
use proxy::{Challenge, Table, Tls, TlsError, TlsState};

use crate::agent::Inner;

/// The state of the certificates of a service, or of a listener that routes share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// What clients are shown.
    pub shown: TlsState,
    /// The certificates that are issued by ACME.
    pub issued: Vec<Issued>,
}

/// A certificate that is issued by ACME.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// As it was declared.
    pub acme: Acme,
    /// Where its key and its chain are, once they are there.
    pub file: PathBuf,
    /// The state of its issue.
    pub standing: Standing,
}

/// Certificates of a resource cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// Those in files.
    #[error(transparent)]
    Files(#[from] TlsError),
    /// Those by which an ACME authority is trusted.
    #[error(transparent)]
    Authority(#[from] acme::Failure),
}

/// Of several resources, the first whose certificates could not be shown to clients now.
#[derive(Debug, thiserror::Error)]
#[error("could not apply {}/{}: {error}", .resource.kind().as_str().to_ascii_lowercase(), .resource.name())]
pub struct Unusable {
    /// The resource.
    pub resource: Resource,
    /// Why.
    pub error: CertificateError,
}

/// Refuses resources whose certificates could not be shown to clients, or asked for, now.
pub fn check_certificates(resources: &[Resource]) -> Result<(), Box<Unusable>> {
    resources.iter().try_for_each(|resource| {
        check(resource).map_err(|error| Box::new(Unusable { resource: resource.clone(), error }))
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
    // Those that are issued need not be there.
    let in_files = Tls::declared([declared], |_| PathBuf::new());
    in_files.map_or(Ok(()), |tls| Ok(proxy::check_certificates(&tls)?))
}

/// A keeper without certificates. The proxy shows the proofs that authorities ask for.
pub(crate) fn keeper(folder: PathBuf, runtime: tokio::runtime::Handle, table: Table) -> Keeper {
    let show = move |host: &str, proof: Option<Proof>| {
        let challenge = proof.map(|proof| match proof {
            Proof::TlsAlpn { certificate, key } => Challenge::Tls { certificate, key },
            Proof::Http { token, answer } => Challenge::Http { token, answer },
        });
        if let Err(error) = table.set_challenge(host, challenge) {
            tracing::error!(host, %error, "challenge_not_shown");
        }
    };
    Keeper::new(folder, runtime, Arc::new(show))
}

/// Has the declared certificates of a listener issued, and returns what the proxy is to show there.
pub(crate) fn follow(inner: &Inner, listener: &str, declared: &[&resource::Tls]) -> Option<Tls> {
    let wanted: Vec<Acme> = declared.iter().filter_map(|tls| tls.acme.clone()).collect();
    inner.certificates.set(listener, &wanted);
    Tls::declared(declared.iter().copied(), |acme| inner.certificates.file(acme))
}

/// The state of certificates; `None` when none are shown.
pub(crate) fn standing<'a>(
    keeper: &Keeper,
    shown: Option<TlsState>,
    declared: impl IntoIterator<Item = &'a resource::Tls>,
) -> Option<Certificates> {
    let wanted = declared.into_iter().filter_map(|tls| tls.acme.as_ref());
    let issued = wanted.filter_map(|acme| {
        let standing = keeper.standing(acme)?;
        Some(Issued { acme: acme.clone(), file: keeper.file(acme), standing })
    });
    Some(Certificates { shown: shown?, issued: issued.collect() })
}
