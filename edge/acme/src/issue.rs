//! Issues one certificate, from the order to the PEM. Source: RFC 8555, section 7.1, and RFC 8737 for the challenge over TLS.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Error, Identifier, KeyAuthorization, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use model::resource::{Acme, AcmeChallenge};
use model::time::Wall;
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::time::Time;

use crate::account;
use crate::failure::{Failure, directory_failure, problem_text};
use crate::http_client::HttpsClient;
use crate::schedule::Validity;

/// How long an authority may take from the order to the certificate: it connects to each host from several places, and may wait in between.
const ISSUE_MAX: Duration = Duration::from_secs(180);

/// The type of the problem that an authority does not know the account. Source: RFC 8555, section 6.7.
const NO_ACCOUNT: &str = "urn:ietf:params:acme:error:accountDoesNotExist";

/// The proof of control over a host, to be published where the authority validates it.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// For TLS clients that offer only the protocol `acme-tls/1` and ask for the host (RFC 8737, section 3).
    TlsAlpn {
        /// A certificate, in DER.
        certificate: Vec<u8>,
        /// Its key, in DER by PKCS #8.
        key: Vec<u8>,
    },
    /// For requests of `/.well-known/acme-challenge/TOKEN` (RFC 8555, section 8.3).
    Http {
        /// The last part of the path.
        token: String,
        /// The body of the answer.
        answer: String,
    },
}

impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TlsAlpn { .. } => "Proof::TlsAlpn",
            Self::Http { .. } => "Proof::Http",
        })
    }
}

/// Publishes a proof for a host, or withdraws it with `None`. Called in a task; must not block.
pub type PublishProof = Arc<dyn Fn(&str, Option<Proof>) + Send + Sync>;

/// Orders a certificate; returns its key and its chain, in PEM. All proofs are withdrawn afterwards, whatever the result.
pub(crate) async fn issue(folder: &Path, acme: &Acme, publish: &PublishProof) -> Result<String, Failure> {
    let ordered = tokio::time::timeout(ISSUE_MAX, order(folder, acme, publish)).await;
    ordered.unwrap_or_else(|_| {
        Err(Failure::TimedOut { directory: acme.directory.to_string(), seconds: ISSUE_MAX.as_secs() })
    })
}

async fn order(folder: &Path, acme: &Acme, publish: &PublishProof) -> Result<String, Failure> {
    let identifiers: Vec<_> = acme.hosts.iter().map(|host| Identifier::Dns(host.to_string())).collect();
    let account = account::open(folder, acme, HttpsClient::new(acme)?).await?;
    let order = match new_order(&account, &identifiers).await {
        // The authority has lost its accounts, or was reinstalled.
        Err(Error::Api(problem)) if problem.r#type.as_deref() == Some(NO_ACCOUNT) => {
            account::forget(folder, acme);
            let account = account::open(folder, acme, HttpsClient::new(acme)?).await?;
            new_order(&account, &identifiers).await
        }
        ordered => ordered,
    };
    let mut order = order.map_err(|error| directory_failure(acme, error))?;
    let published = prove(acme, &mut order, publish).await?;
    let ready = order.poll_ready(&polling()).await;
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        return Err(unproven(acme, &mut order, ready.err()).await);
    }
    drop(published);
    let key = order.finalize().await.map_err(|error| directory_failure(acme, error))?;
    let chain = order.poll_certificate(&polling()).await.map_err(|error| directory_failure(acme, error))?;
    validity(chain.as_bytes())
        .map_err(|why| Failure::Unusable { directory: acme.directory.to_string(), why })?;
    Ok(format!("{key}{chain}"))
}

async fn new_order(account: &Account, identifiers: &[Identifier]) -> Result<Order, Error> {
    account.new_order(&NewOrder::new(identifiers)).await
}

/// How often an order is polled: after a quarter of a second, then with backoff. [`issue`] limits the total time.
fn polling() -> RetryPolicy {
    RetryPolicy::new().initial_delay(Duration::from_millis(250)).backoff(1.5).timeout(ISSUE_MAX)
}

/// Proofs that are published until this is dropped.
struct PublishedProofs<'a> {
    hosts: Vec<String>,
    publish: &'a PublishProof,
}

impl Drop for PublishedProofs<'_> {
    fn drop(&mut self) {
        self.hosts.iter().for_each(|host| (self.publish)(host, None));
    }
}

/// Publishes a proof for each host that is not authorized yet, and lets the authority validate it.
async fn prove<'a>(
    acme: &Acme,
    order: &mut Order,
    publish: &'a PublishProof,
) -> Result<PublishedProofs<'a>, Failure> {
    let wanted = match acme.challenge {
        AcmeChallenge::TlsAlpn => ChallengeType::TlsAlpn01,
        AcmeChallenge::Http => ChallengeType::Http01,
    };
    let mut published = PublishedProofs { hosts: Vec::new(), publish };
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| directory_failure(acme, error))?;
        // Authorities remember an authorization for a while.
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let host = authorization.identifier().to_string();
        let Some(mut challenge) = authorization.challenge(wanted.clone()) else {
            let directory = acme.directory.to_string();
            return Err(Failure::NotOffered { directory, host, challenge: acme.challenge });
        };
        let proof = proof(acme, &host, challenge.token.clone(), &challenge.key_authorization())?;
        published.hosts.push(host.clone());
        publish(&host, Some(proof));
        challenge.set_ready().await.map_err(|error| directory_failure(acme, error))?;
    }
    Ok(published)
}

fn proof(acme: &Acme, host: &str, token: String, answer: &KeyAuthorization) -> Result<Proof, Failure> {
    match acme.challenge {
        AcmeChallenge::Http => Ok(Proof::Http { token, answer: answer.as_str().to_owned() }),
        AcmeChallenge::TlsAlpn => {
            let unusable = |error: rcgen::Error| Failure::Unusable {
                directory: acme.directory.to_string(),
                why: format!("could not make a certificate for the challenge of {host}: {error}"),
            };
            let key = KeyPair::generate().map_err(unusable)?;
            let mut params = CertificateParams::new(vec![host.to_owned()]).map_err(unusable)?;
            params.custom_extensions = vec![CustomExtension::new_acme_identifier(answer.digest().as_ref())];
            let certificate = params.self_signed(&key).map_err(unusable)?;
            Ok(Proof::TlsAlpn { certificate: certificate.der().to_vec(), key: key.serialize_der() })
        }
    }
}

/// Why an order did not become ready: what the authority found at a host, if it reports that.
async fn unproven(acme: &Acme, order: &mut Order, error: Option<Error>) -> Failure {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let host = authorization.identifier().to_string();
        let Ok(state) = authorization.refresh().await else { continue };
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            let (directory, why) = (acme.directory.to_string(), problem_text(problem));
            return Failure::Unproven { directory, host, why, challenge: acme.challenge };
        }
    }
    directory_failure(acme, error.unwrap_or(Error::Str("the order is invalid, and no reason is given")))
}

/// The validity of the first certificate in a PEM, or what is wrong with it.
pub(crate) fn validity(pem: &[u8]) -> Result<Validity, String> {
    let first = CertificateDer::pem_slice_iter(pem).next().ok_or("it holds no certificate")?;
    let first = first.map_err(|error| error.to_string())?;
    let parsed = Certificate::from_der(&first).map_err(|error| error.to_string())?;
    let validity = parsed.tbs_certificate().validity();
    let wall = |time: Time| {
        let since = time.to_unix_duration().as_millis();
        Wall::from_millis(u64::try_from(since).unwrap_or(u64::MAX))
    };
    Ok(Validity { from: wall(validity.not_before), until: wall(validity.not_after) })
}
