//! Why there is no certificate.

use std::path::PathBuf;

use instant_acme::{Error, Problem};
use model::resource::route::Hostname;
use model::resource::{Acme, AcmeChallenge};

/// The most characters of an authority's reasons: they come from outside, and are shown in one line.
const REASON_LEN_MAX: usize = 400;

/// Why no certificate was issued that can be used for long. An earlier one stays in use.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A file of certificates cannot be used.
    #[error("could not read {}: {why}; correct `caFile`, or let the user that runs Homeostat read it", .file.display())]
    Trust {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system trusts no authority.
    #[error("could not load the system's root certificates: {why}; install ca-certificates, or set `caFile`")]
    Authorities {
        /// What was found instead.
        why: String,
    },
    /// A file could not be written.
    #[error("could not write {}: {why}; free some disk space, or let the user that runs Homeostat write there", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// The error of the system.
        why: String,
    },
    /// A request to the directory failed, or its answer is not ACME.
    #[error("the request to {directory} failed: {why}")]
    Directory {
        /// Its URL.
        directory: String,
        /// What went wrong.
        why: String,
    },
    /// The authority refused.
    #[error("{directory} refused the order: {why}")]
    Refused {
        /// Its URL.
        directory: String,
        /// Its reason.
        why: String,
    },
    /// The authority did not find the proof of control over a host.
    #[error("{directory} could not validate control over {host}: {why}; {}", hint(*.challenge))]
    Unproven {
        /// Its URL.
        directory: String,
        /// The host.
        host: String,
        /// The authority's description of what it found there.
        why: String,
        /// Which challenge was tried.
        challenge: AcmeChallenge,
    },
    /// The authority does not offer the challenge.
    #[error("{directory} does not offer the challenge `{}` for {host}; set `challenge` to the other one", name(*.challenge))]
    NotOffered {
        /// Its URL.
        directory: String,
        /// The host.
        host: String,
        /// The requested challenge.
        challenge: AcmeChallenge,
    },
    /// What the authority sent cannot be used.
    #[error("the certificate from {directory} cannot be used: {why}")]
    Unusable {
        /// Its URL.
        directory: String,
        /// What is wrong with it.
        why: String,
    },
    /// A certificate was issued and is in use, but is due for renewal already.
    #[error(
        "the certificate that {directory} has just issued is already due for renewal; check the clock of this machine, and for how \
         long the authority issues certificates"
    )]
    DueAtOnce {
        /// Its URL.
        directory: String,
    },
    /// The whole order took too long.
    #[error("{directory} did not issue the certificate within {seconds} s")]
    TimedOut {
        /// Its URL.
        directory: String,
        /// The limit.
        seconds: u64,
    },
}

/// The failure of a request to an authority.
pub(crate) fn directory_failure(acme: &Acme, error: Error) -> Failure {
    let directory = acme.directory.to_string();
    match error {
        Error::Api(problem) => Failure::Refused { directory, why: problem_text(&problem) },
        Error::Json(_) => {
            Failure::Directory { directory, why: "it does not speak ACME; check the URL".to_owned() }
        }
        error => Failure::Directory { directory, why: sentence(&error) },
    }
}

/// A problem document (RFC 7807) of an authority, as a part of a sentence.
pub(crate) fn problem_text(problem: &Problem) -> String {
    let own = [problem.detail.as_deref(), problem.r#type.as_deref()].into_iter().flatten().next();
    let parts = problem.subproblems.iter().map(ToString::to_string);
    let reasons: Vec<String> = own.map(str::to_owned).into_iter().chain(parts).collect();
    if reasons.is_empty() { "it gives no reason".to_owned() } else { bounded(&reasons.join("; ")) }
}

/// An error with its causes, as a part of a sentence.
pub(crate) fn sentence(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    bounded(&causes.fold(error.to_string(), |sentence, cause| format!("{sentence}: {cause}")))
}

/// Text from outside as one line of limited length.
fn bounded(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut line: String =
        text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_LEN_MAX).collect();
    if text.chars().count() > REASON_LEN_MAX {
        line.push('…');
    }
    line
}

fn hint(challenge: AcmeChallenge) -> &'static str {
    match challenge {
        AcmeChallenge::TlsAlpn => {
            "its name must resolve to this machine, and port 443 of that address must lead to this listener"
        }
        AcmeChallenge::Http => {
            "its name must resolve to this machine, and port 80 of that address must lead to a plain listener of the proxy"
        }
    }
}

fn name(challenge: AcmeChallenge) -> &'static str {
    match challenge {
        AcmeChallenge::TlsAlpn => "tlsAlpn",
        AcmeChallenge::Http => "http",
    }
}

/// Hosts for a message: the first ones, and how many more.
pub(crate) fn hosts(hosts: &[Hostname]) -> String {
    const NAMED: usize = 3;
    let named: Vec<&str> = hosts.iter().take(NAMED).map(Hostname::as_str).collect();
    match hosts.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_an_authority_is_one_line_of_bounded_length() {
        let problem: Problem =
            serde_json::from_str(&format!("{{\"detail\": \"a\\nb{}\"}}", "x".repeat(1000))).unwrap();
        let text = problem_text(&problem);
        assert!(text.starts_with("a b") && text.ends_with('…'), "{text}");
        assert_eq!(text.chars().count(), REASON_LEN_MAX + 1);
        assert_eq!(super::problem_text(&serde_json::from_str("{}").unwrap()), "it gives no reason");
    }

    #[test]
    fn of_many_hosts_the_first_are_named() {
        let all: Vec<Hostname> = ["a", "b", "c", "d", "e"].map(|host| Hostname::parse(host).unwrap()).into();
        assert_eq!(hosts(&all), "a, b, c and 2 more");
        assert_eq!(hosts(&all[..2]), "a, b");
    }
}
