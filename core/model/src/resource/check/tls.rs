//! What must hold of the certificates that clients are shown, those that are issued by ACME included.

use std::collections::BTreeSet;

use super::Severity;
use crate::resource::{ACME_HOSTS_MAX, Acme, Problem, Span, Tls};

/// Longest address of a mailbox, in bytes. Source: RFC 5321, section 4.5.3.1.3.
const EMAIL_LEN_MAX: usize = 254;

/// Shortest time before its end at which a certificate is renewed: an attempt that fails is tried again after a minute.
const RENEW_BEFORE_MIN: Span = Span::from_secs(1);

/// Longest: no authority that is asked by itself vouches for more than ten years.
const RENEW_BEFORE_MAX: Span = Span::from_secs(10 * 366 * 86_400);

pub(super) fn problems(at: &str, tls: &Tls, found: &mut Vec<(Severity, Problem)>) {
    if let Some(text) = tls.problem() {
        found.push((Severity::Error, Problem::at(at, text)));
    }
    if let Some(acme) = &tls.acme {
        asked_for(&format!("{at}.acme"), acme, found);
    }
}

fn asked_for(at: &str, acme: &Acme, found: &mut Vec<(Severity, Problem)>) {
    let mut wrong = |field: &str, text: String| {
        found.push((Severity::Error, Problem::at(format!("{at}.{field}"), text)));
    };
    if !acme.directory.is_https() {
        wrong("directory", "an authority is asked over TLS alone: write https://".to_owned());
    }
    let count = acme.hosts.len();
    if !(1..=ACME_HOSTS_MAX).contains(&count) {
        wrong("hosts", format!("a certificate is for 1 to {ACME_HOSTS_MAX} hosts, not {count}"));
    }
    let mut seen = BTreeSet::new();
    for (i, host) in acme.hosts.iter().enumerate() {
        if host.as_str().starts_with("*.") {
            let text = format!("{host} stands for many: name each host, or give a certificate in files");
            wrong(&format!("hosts[{i}]"), text);
        } else if !seen.insert(host) {
            wrong(&format!("hosts[{i}]"), format!("{host} is named twice"));
        }
    }
    if let Some(email) = acme.email.as_ref().filter(|email| !is_mailbox(email)) {
        wrong("email", format!("it is one address as NAME@HOST, not {email:?}"));
    }
    if acme.ca_file.as_ref().is_some_and(|path| path.is_empty() || path.contains('\0')) {
        wrong("caFile", "the path of a file is not empty and holds no zero byte".to_owned());
    }
    if let Some(span) = acme.renew_before
        && !(RENEW_BEFORE_MIN..=RENEW_BEFORE_MAX).contains(&span)
    {
        let text = format!("it lies between {RENEW_BEFORE_MIN} and {RENEW_BEFORE_MAX}, not {span}");
        wrong("renewBefore", text);
    }
}

/// Whether it can stand behind `mailto:` as it is, for one mailbox without header fields. Source: RFC 8555, section 7.3.
fn is_mailbox(email: &str) -> bool {
    let is_said =
        |c: char| c.is_ascii_graphic() && !matches!(c, ',' | '?' | '%' | '&' | '<' | '>' | '"' | '\\');
    let parts = email.split_once('@');
    email.len() <= EMAIL_LEN_MAX
        && email.chars().all(is_said)
        && parts.is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::check;
    use super::*;
    use crate::resource::Resource;

    fn route(name: &str, port: u16, tls: &Value) -> Resource {
        let spec = json!({"listen": format!("127.0.0.1:{port}"), "tls": tls, "rules": [{}]});
        let written =
            json!({"apiVersion": "homeostat/v1", "kind": "Route", "metadata": {"name": name}, "spec": spec});
        serde_json::from_value(written).unwrap()
    }

    fn said(resources: &[Resource]) -> Vec<String> {
        let found = check(resources, Severity::Error).into_iter();
        found.map(|it| format!("{:?} {} {}", it.severity, it.resource, it.problem)).collect()
    }

    #[test]
    fn an_authority_is_asked_over_tls_for_hosts_with_names() {
        let door = |acme: Value| {
            let mut all = json!({"directory": "https://ca.example/dir", "hosts": ["a.example"]});
            all.as_object_mut().unwrap().extend(acme.as_object().unwrap().clone());
            route("door", 443, &json!({"acme": all}))
        };
        assert_eq!(said(&[door(json!({"email": "ops@a.example", "renewBefore": "720h"}))]), [""; 0]);
        for (wrong, sentence) in [
            (
                json!({"directory": "http://ca.example/dir"}),
                "directory: an authority is asked over TLS alone",
            ),
            (json!({"hosts": []}), "hosts: a certificate is for 1 to 100 hosts, not 0"),
            (json!({"hosts": ["a.example", "*.a.example"]}), "hosts[1]: *.a.example stands for many"),
            (json!({"hosts": ["a.example", "a.example"]}), "hosts[1]: a.example is named twice"),
            (json!({"email": "a@b?subject=c"}), "email: it is one address"),
            (json!({"email": "nobody"}), "email: it is one address"),
            (json!({"caFile": ""}), "caFile: the path of a file is not empty"),
            (json!({"renewBefore": "0s"}), "renewBefore: it lies between"),
        ] {
            let said = said(&[door(wrong)]);
            let start = format!("Error 0 spec.tls.acme.{sentence}");
            assert!(said.len() == 1 && said[0].starts_with(&start), "{start} is not {said:#?}");
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
            let said = said(&routes);
            assert!(said.len() == 1 && said[0].starts_with(start), "{start} is not {said:#?}");
        }
        assert_eq!(said(&[secure(), plain(80)]), [""; 0]);
        assert_eq!(said(&[plain(443), plain(443)]).len(), 1, "they have one name, and nothing else is wrong");
    }
}
