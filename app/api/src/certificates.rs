//! Certificates of services and routes: refused when they cannot be used, and watched until they end.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use model::resource::{Kind, Resource};
use model::time::Wall;
use proxy::{CertificateState, TlsState};

use crate::failure::{Code, Failure};
use crate::moment::rfc3339;
use crate::v1;

/// How long before its end a certificate is spoken of: what renews one by itself does so a third of its life before, so that this is late
/// enough to be an alarm and early enough for a person to act.
const WARN_BEFORE_MAX: Duration = Duration::from_hours(14 * 24);

/// Refuses certificates that could not be shown to clients now.
pub(crate) fn check(resources: &[Resource]) -> Result<(), Failure> {
    for resource in resources {
        if let Err(error) = agent::check_certificates(resource) {
            let (kind, name) = (resource.kind().as_str().to_ascii_lowercase(), resource.name());
            let sentence = format!("could not apply the resources: {kind}/{name}: {error}");
            let problem = v1::Problem {
                path: if resource.kind() == Kind::Route { "spec.tls" } else { "spec.expose.tls" }.into(),
                message: error.to_string(),
                line: None,
                column: None,
            };
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Failure::new(status, Code::Invalid, sentence).with_problems(vec![problem]));
        }
    }
    Ok(())
}

/// How certificates stand; `None` when none are shown.
pub(crate) fn condition(state: Option<&TlsState>, now: Wall) -> Option<v1::Condition> {
    let (reason, message) = words(state?, UNIX_EPOCH + Duration::from_millis(now.as_millis()));
    Some(v1::Condition {
        kind: "Certificate".into(),
        status: if reason == VALID { "True" } else { "False" }.into(),
        reason: reason.into(),
        message,
        since: None,
    })
}

const VALID: &str = "Valid";

/// The first thing that is wrong, or how long all is well.
fn words(state: &TlsState, now: SystemTime) -> (&'static str, String) {
    if let Some(problem) = &state.problem {
        return ("NotTaken", format!("{problem}; what was read before stays in use"));
    }
    let Some(first) = state.certificates.iter().min_by_key(|certificate| certificate.not_after) else {
        return (VALID, String::new());
    };
    let (name, until) = (name(first), moment(first.not_after));
    if let Some(early) = state.certificates.iter().find(|certificate| now < certificate.not_before) {
        let from = moment(early.not_before);
        return ("NotYetValid", format!("{} begins to be valid at {from}", self::name(early)));
    }
    let lifetime = first.not_after.duration_since(first.not_before).unwrap_or_default();
    let left = first.not_after.duration_since(now).unwrap_or_default();
    if left.is_zero() {
        ("Expired", format!("{name} was valid until {until}; clients refuse it"))
    } else if left < WARN_BEFORE_MAX.min(lifetime / 3) {
        ("Expiring", format!("{name} is valid until {until}; renew it"))
    } else {
        (VALID, format!("{name} is valid until {until}"))
    }
}

fn name(certificate: &CertificateState) -> String {
    match certificate.names.first() {
        Some(name) => format!("the certificate for {name}"),
        None => format!("the certificate in {}", certificate.files.certificate.display()),
    }
}

fn moment(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    rfc3339(Wall::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proxy::CertificateFiles;

    use super::*;

    const DAY: Duration = Duration::from_hours(24);

    fn at(day: u32) -> SystemTime {
        UNIX_EPOCH + DAY * day
    }

    fn state(days: &[(u32, u32)]) -> TlsState {
        let certificate = |&(from, until): &(u32, u32)| CertificateState {
            files: CertificateFiles { certificate: "/a.pem".into(), key: "/a.key".into() },
            names: vec![format!("{until}.example")],
            not_before: at(from),
            not_after: at(until),
        };
        TlsState { certificates: days.iter().map(certificate).collect(), problem: None }
    }

    #[test]
    fn the_certificate_that_ends_first_is_spoken_of_in_time() {
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
            assert_eq!(words(&state, at(day)), (reason, message.to_owned()), "{day}");
        }
    }

    #[test]
    fn a_short_life_is_not_spoken_of_from_its_beginning() {
        let state = state(&[(10, 16)]);
        assert_eq!(words(&state, at(9)).0, "NotYetValid");
        assert_eq!(words(&state, at(13)).0, "Valid");
        assert_eq!(words(&state, at(15)).0, "Expiring");
    }

    #[test]
    fn files_that_were_not_taken_come_first() {
        let state = TlsState { problem: Some(Arc::from("no")), ..state(&[(0, 1)]) };
        assert_eq!(words(&state, at(9)), ("NotTaken", "no; what was read before stays in use".to_owned()));
    }
}
