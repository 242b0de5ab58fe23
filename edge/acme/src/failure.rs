//! Why there is no certificate.

use std::path::PathBuf;

use instant_acme::Problem;
use model::resource::AcmeChallenge;
use model::resource::route::Hostname;

/// Most characters of the reasons that an authority gives: they come from outside, and are shown in one line.
const REASON_LEN_MAX: usize = 400;

/// Why no certificate was issued. An earlier one stays in use.
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
    #[error(
        "there are no certificates of authorities on this machine: {why}; install ca-certificates, or give `caFile`"
    )]
    Authorities {
        /// What was found instead.
        why: String,
    },
    /// A file could not be written.
    #[error("could not write {}: {why}; make room on the disk, or let the user that runs Homeostat write there", .file.display())]
    Write {
        /// The file.
        file: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The directory could not be asked, or its answer is not ACME.
    #[error("asking {directory} failed: {why}")]
    Directory {
        /// Its URL.
        directory: String,
        /// What went wrong.
        why: String,
    },
    /// The authority refused.
    #[error("{directory} refuses it: {why}")]
    Refused {
        /// Its URL.
        directory: String,
        /// What it said.
        why: String,
    },
    /// The authority did not find the proof that we control a host.
    #[error("{directory} was not shown that {host} is ours: {why}; {}", hint(*.challenge))]
    Unproven {
        /// Its URL.
        directory: String,
        /// The host.
        host: String,
        /// What it found there, in its words.
        why: String,
        /// Which challenge was tried.
        challenge: AcmeChallenge,
    },
    /// The authority does not offer the challenge.
    #[error("{directory} does not offer the challenge `{}` for {host}; choose the other one under `challenge`", name(*.challenge))]
    NotOffered {
        /// Its URL.
        directory: String,
        /// The host.
        host: String,
        /// What was wanted.
        challenge: AcmeChallenge,
    },
    /// What the authority sent cannot be used.
    #[error("what {directory} issued cannot be used: {why}")]
    Unusable {
        /// Its URL.
        directory: String,
        /// What is wrong with it.
        why: String,
    },
    /// The whole order took too long.
    #[error("{directory} did not issue it within {seconds} s")]
    TimedOut {
        /// Its URL.
        directory: String,
        /// The limit.
        seconds: u64,
    },
}

/// A problem document (RFC 7807) of an authority, as a part of a sentence.
pub(crate) fn problem_text(problem: &Problem) -> String {
    let own = [problem.detail.as_deref(), problem.r#type.as_deref()].into_iter().flatten().next();
    let parts = problem.subproblems.iter().map(ToString::to_string);
    let words: Vec<String> = own.map(str::to_owned).into_iter().chain(parts).collect();
    if words.is_empty() { "it gives no reason".to_owned() } else { bounded(&words.join("; ")) }
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
        AcmeChallenge::TlsAlpn => "its name has to lead there, and port 443 of that address to this listener",
        AcmeChallenge::Http => {
            "its name has to lead there, and port 80 of that address to a plain listener of the proxy"
        }
    }
}

fn name(challenge: AcmeChallenge) -> &'static str {
    match challenge {
        AcmeChallenge::TlsAlpn => "tlsAlpn",
        AcmeChallenge::Http => "http",
    }
}

/// Hosts for people: the first ones, and how many more.
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
    fn what_comes_from_outside_is_one_line_of_bounded_length() {
        let problem: Problem =
            serde_json::from_str(&format!("{{\"detail\": \"a\\nb{}\"}}", "x".repeat(1000))).unwrap();
        let said = problem_text(&problem);
        assert!(said.starts_with("a b") && said.ends_with('…'), "{said}");
        assert_eq!(said.chars().count(), REASON_LEN_MAX + 1);
        assert_eq!(super::problem_text(&serde_json::from_str("{}").unwrap()), "it gives no reason");
    }

    #[test]
    fn of_many_hosts_the_first_are_named() {
        let all: Vec<Hostname> = ["a", "b", "c", "d", "e"].map(|host| Hostname::parse(host).unwrap()).into();
        assert_eq!(hosts(&all), "a, b, c and 2 more");
        assert_eq!(hosts(&all[..2]), "a, b");
    }
}
