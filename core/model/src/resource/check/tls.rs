//! Checks of the certificates that are shown to clients, including those issued by ACME.

use std::collections::BTreeSet;

use super::fields::{ProblemList, error, time_between};
use crate::resource::{ACME_HOSTS_MAX, Acme, Span, Tls};

/// Longest email address, in bytes. Source: RFC 5321, section 4.5.3.1.3.
const EMAIL_LEN_MAX: usize = 254;

/// Shortest time between the renewal of a certificate and its expiry. Failed attempts are repeated after a minute.
const RENEW_BEFORE_MIN: Span = Span::from_secs(1);

/// Longest time between the renewal of a certificate and its expiry: no ACME authority issues certificates for more than ten years.
const RENEW_BEFORE_MAX: Span = Span::from_secs(10 * 366 * 86_400);

pub(super) fn problems(at: &str, tls: &Tls, found: &mut ProblemList) {
    if let Some(text) = tls.problem() {
        found.push(error(at, text));
    }
    if let Some(acme) = &tls.acme {
        acme_problems(&format!("{at}.acme"), acme, found);
    }
}

fn acme_problems(at: &str, acme: &Acme, found: &mut ProblemList) {
    let mut add = |field: &str, text: String| {
        found.push(error(format!("{at}.{field}"), text));
    };
    if !acme.directory.is_https() {
        add("directory", "the directory must be reached over TLS: write https://".to_owned());
    }
    let count = acme.hosts.len();
    if !(1..=ACME_HOSTS_MAX).contains(&count) {
        add("hosts", format!("a certificate must have 1 to {ACME_HOSTS_MAX} hosts, not {count}"));
    }
    let mut seen = BTreeSet::new();
    for (i, host) in acme.hosts.iter().enumerate() {
        if host.as_str().starts_with("*.") {
            let text = format!("{host} is a wildcard: name each host, or give a certificate in files");
            add(&format!("hosts[{i}]"), text);
        } else if !seen.insert(host) {
            add(&format!("hosts[{i}]"), format!("{host} is given twice"));
        }
    }
    if let Some(email) = acme.email.as_ref().filter(|email| !is_mailbox(email)) {
        add("email", format!("must be one address of the form NAME@HOST, not {email:?}"));
    }
    if acme.ca_file.as_ref().is_some_and(|path| path.is_empty() || path.contains('\0')) {
        add("caFile", "the path of a file must not be empty or contain a zero byte".to_owned());
    }
    if let Some(span) = acme.renew_before {
        time_between(&format!("{at}.renewBefore"), span, (RENEW_BEFORE_MIN, RENEW_BEFORE_MAX), found);
    }
}

/// Whether it is valid after `mailto:` without encoding, for one mailbox and without header fields. Source: RFC 8555, section 7.3.
fn is_mailbox(email: &str) -> bool {
    let is_allowed =
        |c: char| c.is_ascii_graphic() && !matches!(c, ',' | '?' | '%' | '&' | '<' | '>' | '"' | '\\');
    let parts = email.split_once('@');
    email.len() <= EMAIL_LEN_MAX
        && email.chars().all(is_allowed)
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::{Severity, check};
    use crate::resource::Resource;

    fn route(name: &str, port: u16, tls: &Value) -> Resource {
        let spec = json!({"listen": format!("127.0.0.1:{port}"), "tls": tls, "rules": [{}]});
        let written =
            json!({"apiVersion": "homeostat/v1", "kind": "Route", "metadata": {"name": name}, "spec": spec});
        serde_json::from_value(written).unwrap()
    }

    fn problems_of(resources: &[Resource]) -> Vec<String> {
        let found = check(resources, Severity::Error).into_iter();
        found.map(|it| format!("{:?} {} {}", it.severity, it.resource, it.problem)).collect()
    }

    #[test]
    fn an_acme_directory_is_reached_over_tls_and_hosts_are_names() {
        let route_with = |acme: Value| {
            let mut all = json!({"directory": "https://ca.example/dir", "hosts": ["a.example"]});
            all.as_object_mut().unwrap().extend(acme.as_object().unwrap().clone());
            route("door", 443, &json!({"acme": all}))
        };
        assert_eq!(
            problems_of(&[route_with(json!({"email": "ops@a.example", "renewBefore": "720h"}))]),
            [""; 0]
        );
        for (wrong, sentence) in [
            (
                json!({"directory": "http://ca.example/dir"}),
                "directory: the directory must be reached over TLS",
            ),
            (json!({"hosts": []}), "hosts: a certificate must have 1 to 100 hosts, not 0"),
            (json!({"hosts": ["a.example", "*.a.example"]}), "hosts[1]: *.a.example is a wildcard"),
            (json!({"hosts": ["a.example", "a.example"]}), "hosts[1]: a.example is given twice"),
            (json!({"email": "a@b?subject=c"}), "email: must be one address"),
            (json!({"email": "nobody"}), "email: must be one address"),
            (json!({"caFile": ""}), "caFile: the path of a file must not be empty"),
            (json!({"renewBefore": "0s"}), "renewBefore: must be between"),
        ] {
            let found = problems_of(&[route_with(wrong)]);
            let start = format!("Error 0 spec.tls.acme.{sentence}");
            assert!(found.len() == 1 && found[0].starts_with(&start), "{start} is not {found:#?}");
        }
    }

    #[test]
    fn a_route_without_certificates_beside_one_that_has_them_is_warned_of_once() {
        let files = json!({"certificate": "a.pem", "key": "a.key"});
        let secure = || route("safe", 443, &files);
        let plain = |port| route("plain", port, &Value::Null);
        for (routes, start) in [
            (
                [secure(), plain(443)],
                "Warning 1 spec.tls: it is reached over TLS, with the certificates of route safe",
            ),
            (
                [plain(443), secure()],
                "Warning 1 spec.tls: route plain, which has the same address and no certificates",
            ),
        ] {
            let found = problems_of(&routes);
            assert!(found.len() == 1 && found[0].starts_with(start), "{start} is not {found:#?}");
        }
        assert_eq!(problems_of(&[secure(), plain(80)]), [""; 0]);
        assert_eq!(
            problems_of(&[plain(443), plain(443)]).len(),
            1,
            "they have one name, and nothing else is wrong"
        );
    }
}
