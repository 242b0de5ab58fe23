//! W3C Trace Context: passed on unchanged if it is valid, and dropped otherwise.
//!
//! Source: W3C Recommendation "Trace Context", sections 3.2 and 3.3: without a valid `traceparent` neither it nor `tracestate` is passed on; an
//! invalid `tracestate` alone is dropped.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};

pub(super) const PARENT: &str = "traceparent";
pub(super) const STATE: &str = "tracestate";

const TRACEPARENT: HeaderName = HeaderName::from_static(PARENT);
const TRACESTATE: HeaderName = HeaderName::from_static(STATE);

/// Bytes of a `traceparent` of version 00, which every later version begins with.
const PARENT_LEN: usize = 55;

/// Members of a `tracestate` at most.
const MEMBERS_MAX: usize = 32;

/// Bytes of a key, and of a value, in a `tracestate` at most.
const MEMBER_LEN_MAX: usize = 256;

/// Drops what is invalid; nothing is added.
pub(super) fn prepare(headers: &mut HeaderMap) {
    if trace_id(headers).is_none() {
        headers.remove(TRACEPARENT);
        headers.remove(TRACESTATE);
    } else if !is_state(headers) {
        headers.remove(TRACESTATE);
    }
}

/// The trace that a request belongs to; `None` without a valid `traceparent`.
pub(crate) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let parent = parents.next()?.to_str().ok()?;
    let is_only = parents.next().is_none();
    let known = parent.get(..PARENT_LEN)?;
    let mut parts = known.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_hex = |text: &str, len: usize| {
        text.len() == len && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_some = |text: &str, len| is_hex(text, len) && text.bytes().any(|b| b != b'0');
    let fits = is_hex(version, 2) && is_some(trace, 32) && is_some(span, 16) && is_hex(flags, 2);
    // What later versions add follows another dash.
    let rest = &parent[PARENT_LEN..];
    let is_whole = if version == "00" { rest.is_empty() } else { rest.is_empty() || rest.starts_with('-') };
    (is_only && fits && version != "ff" && is_whole).then_some(trace)
}

fn is_state(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(TRACESTATE).iter().map(HeaderValue::as_bytes);
    let members = lines.flat_map(|line| line.split(|&b| b == b',')).map(<[u8]>::trim_ascii);
    let mut count = 0;
    // Empty members are allowed, and count for nothing.
    members.filter(|member| !member.is_empty()).all(|member| {
        count += 1;
        count <= MEMBERS_MAX && is_member(member)
    })
}

fn is_member(member: &[u8]) -> bool {
    let Some(at) = member.iter().position(|&b| b == b'=') else { return false };
    let (key, value) = (&member[..at], &member[at + 1..]);
    let begins = key.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_key = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-*/@".contains(b);
    let is_value = |b: &u8| (b' '..=b'~').contains(b) && *b != b'=';
    let is_short = key.len() <= MEMBER_LEN_MAX && (1..=MEMBER_LEN_MAX).contains(&value.len());
    begins && is_short && key.iter().all(is_key) && value.iter().all(is_value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// What is left of these headers.
    fn left(sent: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        prepare(&mut headers);
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            (name.to_string(), value.to_str().unwrap().to_owned())
        };
        headers.iter().map(text).collect()
    }

    #[test]
    fn a_valid_trace_is_unchanged() {
        let later = format!("{}-what-comes-later", VALID.replace("00-4b", "cc-4b"));
        for parent in [VALID, &VALID.replace("-01", "-ff"), &VALID.replace("00-4b", "cc-4b"), &later] {
            assert_eq!(left(&[("traceparent", parent)]).len(), 1, "{parent}");
        }
        let sent =
            [("traceparent", VALID), ("tracestate", "congo=t61rcWkgMzE,"), ("tracestate", "1rojo@v=00 f0")];
        let whole: Vec<_> =
            sent.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        assert_eq!(left(&sent), whole);
        assert_eq!(left(&[]), []);
    }

    #[test]
    fn a_parent_that_cannot_be_read_goes_with_its_state() {
        let zero_trace = format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32));
        let zero_span = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", "0".repeat(16));
        for parent in [
            "",
            "00",
            &VALID[..54],
            &format!("{VALID}-more"),
            &VALID.to_uppercase(),
            &VALID.replace("00-4b", "ff-4b"),
            &VALID.replace("00-4b", "cc-4b").replace("-01", "-01x"),
            &VALID.replace("4736-", "473g-"),
            &zero_trace,
            &zero_span,
        ] {
            assert_eq!(left(&[("traceparent", parent), ("tracestate", "a=1")]), [], "{parent}");
        }
        assert_eq!(left(&[("traceparent", VALID), ("traceparent", VALID)]), [], "there is one parent");
        assert_eq!(left(&[("tracestate", "a=1")]), [], "it means nothing alone");
    }

    #[test]
    fn an_invalid_state_is_dropped_alone() {
        let many = "a=1,".repeat(33);
        let long = format!("a={}", "x".repeat(257));
        for state in ["a", "=1", "A=1", "a=", "a=1=2", "-a=1", &many, &long] {
            let found = left(&[("traceparent", VALID), ("tracestate", state)]);
            assert_eq!(found, [("traceparent".to_owned(), VALID.to_owned())], "{state}");
        }
    }
}
