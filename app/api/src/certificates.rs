//! Certificates of services and routes: the check before they are declared, and the condition `Certificate`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use agent::{CertificateStatus, IssuanceStatus, IssuedCertificate};
use axum::http::StatusCode;
use model::resource::Resource;
use model::time::Wall;
use proxy::CertificateState;

use crate::failure::{Code, Failure};
use crate::timestamps::rfc3339;
use crate::v1;

/// The longest time before its end that a certificate is reported as expiring. Automatic renewal happens when a third of the lifetime is left,
/// so this is late enough to be an alarm and early enough for an operator to act.
const WARN_BEFORE_MAX: Duration = Duration::from_hours(14 * 24);

/// Refuses certificates that could not be presented to clients now.
pub(crate) fn check(resources: &[Resource]) -> Result<(), Failure> {
    let Err(unusable) = agent::check_certificates(resources) else { return Ok(()) };
    let problem = v1::Problem {
        path: unusable.path().into(),
        message: unusable.error.to_string(),
        line: None,
        column: None,
    };
    let failure = Failure::new(StatusCode::UNPROCESSABLE_ENTITY, Code::Invalid, unusable.to_string());
    Err(failure.with_problems(vec![problem]))
}

/// The condition `Certificate`; `None` when no certificates are presented.
pub(crate) fn condition(state: Option<&CertificateStatus>, now: Wall) -> Option<v1::Condition> {
    let (reason, message) = verdict(state?, now);
    Some(v1::Condition::of_bool("Certificate", reason == VALID, reason, message))
}

/// When the first certificate expires, in seconds since the Unix epoch; `None` without certificates.
pub(crate) fn not_after(state: &CertificateStatus) -> Option<i64> {
    let first = state.shown.certificates.iter().map(|certificate| certificate.not_after).min()?;
    let since = first.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Some(i64::try_from(since).unwrap_or(i64::MAX))
}

const VALID: &str = "Valid";

/// Reason and message: the first problem, or until when all certificates are valid.
fn verdict(state: &CertificateStatus, now: Wall) -> (&'static str, String) {
    if let Some(problem) = &state.shown.problem {
        return ("NotTaken", format!("{problem}; the previous files stay in use"));
    }
    state.issued.iter().find_map(|issued| acme_problem(state, issued)).unwrap_or_else(|| validity(state, now))
}

/// The problem of a certificate from ACME, if there is one.
fn acme_problem(state: &CertificateStatus, issued: &IssuedCertificate) -> Option<(&'static str, String)> {
    let shown = state.shown.certificates.iter().find(|shown| shown.files.certificate == issued.file);
    let directory = &issued.acme.directory;
    let hosts = hosts(issued);
    let meanwhile = if state.shown.certificates.is_empty() {
        "until then clients get a TLS alert"
    } else {
        "until then clients get another one"
    };
    match (&issued.status, shown) {
        (IssuanceStatus::Failed { why, retry_at }, None) => {
            let again = rfc3339(*retry_at);
            Some((
                "NotIssued",
                format!(
                    "there is no certificate for {hosts}: {why}; it is requested again at {again}, and {meanwhile}"
                ),
            ))
        }
        (IssuanceStatus::Failed { why, retry_at }, Some(shown)) => {
            let (until, again) = (time_text(shown.not_after), rfc3339(*retry_at));
            Some((
                "NotRenewed",
                format!(
                    "the certificate for {hosts} is valid until {until} and could not be renewed: {why}; it is requested again at {again}"
                ),
            ))
        }
        (IssuanceStatus::Ordered | IssuanceStatus::Issued { .. }, None) => Some((
            "Awaited",
            format!("a certificate for {hosts} is being requested from {directory}; {meanwhile}"),
        )),
        (IssuanceStatus::Ordered | IssuanceStatus::Issued { .. }, Some(_)) => None,
    }
}

fn validity(state: &CertificateStatus, now: Wall) -> (&'static str, String) {
    let Some(first) = state.shown.certificates.iter().min_by_key(|certificate| certificate.not_after) else {
        return (VALID, String::new());
    };
    let now = UNIX_EPOCH + Duration::from_millis(now.as_millis());
    let (name, until) = (name(first), time_text(first.not_after));
    if let Some(early) = state.shown.certificates.iter().find(|certificate| now < certificate.not_before) {
        let from = time_text(early.not_before);
        return ("NotYetValid", format!("{} is not valid before {from}", self::name(early)));
    }
    let lifetime = first.not_after.duration_since(first.not_before).unwrap_or_default();
    let left = first.not_after.duration_since(now).unwrap_or_default();
    let issued = state.issued.iter().find(|issued| issued.file == first.files.certificate);
    let renewal = issued.and_then(|issued| match issued.status {
        IssuanceStatus::Issued { renewal } => Some(rfc3339(renewal)),
        IssuanceStatus::Ordered | IssuanceStatus::Failed { .. } => None,
    });
    match renewal {
        _ if left.is_zero() => ("Expired", format!("{name} was valid until {until}; clients refuse it")),
        Some(renewal) => (VALID, format!("{name} is valid until {until}, and is renewed at {renewal}")),
        None if left < WARN_BEFORE_MAX.min(lifetime / 3) => {
            ("Expiring", format!("{name} is valid until {until}; renew it"))
        }
        None => (VALID, format!("{name} is valid until {until}")),
    }
}

fn name(certificate: &CertificateState) -> String {
    match certificate.names.first() {
        Some(name) => format!("the certificate for {name}"),
        None => format!("the certificate in {}", certificate.files.certificate.display()),
    }
}

/// The first host of a certificate, and the number of further hosts.
fn hosts(issued: &IssuedCertificate) -> String {
    let first = issued.acme.hosts.first().map_or("nobody", |host| host.as_str());
    match issued.acme.hosts.len() {
        0 | 1 => first.to_owned(),
        all => format!("{first} and {} more", all - 1),
    }
}

fn time_text(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(Wall::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::resource::Acme;
    use proxy::{CertificateFiles, TlsState};

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(day: u32) -> SystemTime {
        UNIX_EPOCH + DAY * day
    }

    fn wall(day: u32) -> Wall {
        Wall::from_millis(u64::from(day) * 86_400_000)
    }

    fn state(days: &[(u32, u32)]) -> CertificateStatus {
        let certificate = |&(from, until): &(u32, u32)| CertificateState {
            files: CertificateFiles { certificate: "/a.pem".into(), key: "/a.key".into() },
            names: vec![format!("{until}.example")],
            not_before: at(from),
            not_after: at(until),
        };
        let shown = TlsState { certificates: days.iter().map(certificate).collect(), problem: None };
        CertificateStatus { shown, issued: Vec::new() }
    }

    #[test]
    fn the_certificate_that_expires_first_is_reported_in_time() {
        let state = state(&[(0, 365), (0, 90)]);
        for (day, reason, message) in [
            (1, "Valid", "the certificate for 90.example is valid until 1970-04-01T00:00:00.000Z"),
            (75, "Valid", "the certificate for 90.example is valid until 1970-04-01T00:00:00.000Z"),
            (
                77,
                "Expiring",
                "the certificate for 90.example is valid until 1970-04-01T00:00:00.000Z; renew it",
            ),
            (
                90,
                "Expired",
                "the certificate for 90.example was valid until 1970-04-01T00:00:00.000Z; clients refuse it",
            ),
        ] {
            assert_eq!(verdict(&state, wall(day)), (reason, message.to_owned()), "{day}");
        }
    }

    #[test]
    fn a_short_lived_certificate_is_not_reported_as_expiring_from_its_begin() {
        let state = state(&[(10, 16)]);
        assert_eq!(verdict(&state, wall(9)).0, "NotYetValid");
        assert_eq!(verdict(&state, wall(13)).0, "Valid");
        assert_eq!(verdict(&state, wall(15)).0, "Expiring");
    }

    #[test]
    fn files_that_cannot_be_used_are_reported_first() {
        let mut state = state(&[(0, 1)]);
        state.shown.problem = Some(Arc::from("no"));
        assert_eq!(verdict(&state, wall(9)), ("NotTaken", "no; the previous files stay in use".to_owned()));
    }

    fn issued(file: &str, status: IssuanceStatus) -> IssuedCertificate {
        let acme: Acme = serde_json::from_str(
            r#"{"directory": "https://ca.example/", "hosts": ["a.example", "b.example"]}"#,
        )
        .unwrap();
        IssuedCertificate { acme, file: file.into(), status }
    }

    #[test]
    fn the_message_about_a_requested_certificate_tells_what_clients_get_meanwhile() {
        let failed = || IssuanceStatus::Failed { why: Arc::from("no network"), retry_at: wall(3) };
        let mut none = state(&[]);
        none.issued = vec![issued("/acme.pem", IssuanceStatus::Ordered)];
        let (reason, message) = verdict(&none, wall(2));
        assert_eq!(reason, "Awaited");
        assert_eq!(
            message,
            "a certificate for a.example and 1 more is being requested from https://ca.example/; until then clients get a TLS alert"
        );
        none.issued[0].status = failed();
        let (reason, message) = verdict(&none, wall(2));
        assert_eq!(reason, "NotIssued");
        assert_eq!(
            message,
            "there is no certificate for a.example and 1 more: no network; it is requested again at 1970-01-04T00:00:00.000Z, and until then clients get a TLS alert"
        );
        assert_eq!(not_after(&none), None);

        let mut beside = state(&[(0, 90)]);
        beside.issued = vec![issued("/acme.pem", IssuanceStatus::Ordered)];
        assert!(verdict(&beside, wall(2)).1.ends_with("until then clients get another one"));
    }

    #[test]
    fn a_certificate_with_automatic_renewal_is_reported_when_the_renewal_fails() {
        let mut state = state(&[(0, 90)]);
        state.issued = vec![issued("/a.pem", IssuanceStatus::Issued { renewal: wall(80) })];
        // A certificate that is renewed automatically is no alarm.
        let (reason, message) = verdict(&state, wall(79));
        assert_eq!(reason, "Valid");
        assert!(message.ends_with("and is renewed at 1970-03-22T00:00:00.000Z"), "{message}");
        assert_eq!(verdict(&state, wall(91)).0, "Expired");
        state.issued[0].status = IssuanceStatus::Failed { why: Arc::from("no network"), retry_at: wall(82) };
        let (reason, message) = verdict(&state, wall(81));
        assert_eq!(reason, "NotRenewed");
        assert!(message.contains("could not be renewed: no network; it is requested again at"), "{message}");
        assert_eq!(not_after(&state), Some(90 * 86_400));
    }
}
