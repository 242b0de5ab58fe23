//! Formats an entry as a line of text.
//!
//! Whatever a client sends, the result is one line, and fields cannot be confused.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use jiff::Timestamp;
use model::resource::AccessLogFormat;
use serde::Serialize;

use super::entry::{Destination, Entry};

/// The status of a client that disconnected before there was an answer, as in nginx.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The line, with its end.
pub(super) fn line(entry: &Entry, format: AccessLogFormat) -> String {
    let mut line = match format {
        AccessLogFormat::Json => json(entry),
        AccessLogFormat::Combined => combined(entry),
    };
    line.push('\n');
    line
}

fn status(entry: &Entry) -> u16 {
    if entry.status == 0 { CLIENT_CLOSED_REQUEST } else { entry.status }
}

/// The fields of JSON, in the order in which they are written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    time: String,
    client: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    host: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    protocol: &'a str,
    status: u16,
    bytes: u64,
    duration_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    replica: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<SocketAddr>,
    tries: u32,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    user_agent: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    referer: &'a str,
}

fn json(entry: &Entry) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes);
    let (replica, endpoint) = match entry.endpoint {
        Some(Destination::Replica(ordinal)) => {
            (entry.service.as_ref().map(|service| format!("{service}-{ordinal}")), None)
        }
        Some(Destination::Elsewhere(address)) => (None, Some(address)),
        None => (None, None),
    };
    let target = text(&entry.target);
    let fields = Fields {
        time: timestamp(entry).strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string(),
        client: &text(&entry.client),
        method: &entry.method,
        host: &text(&entry.host),
        path: (!entry.method.is_empty()).then_some(&target),
        protocol: entry.protocol,
        status: status(entry),
        bytes: entry.bytes,
        duration_seconds: seconds(entry.duration),
        upstream_seconds: entry.upstream.map(seconds),
        route: entry.route.as_deref(),
        service: entry.service.as_deref(),
        replica,
        endpoint,
        tries: entry.tries,
        reason: entry.reason,
        request_id: &text(&entry.request_id),
        trace_id: entry.trace_id.as_deref(),
        user_agent: &text(&entry.user_agent),
        referer: &text(&entry.referer),
    };
    serde_json::to_string(&fields).expect("text and numbers are JSON")
}

/// Source: Apache HTTP Server, `mod_log_config`, "combined": `%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-agent}i"`.
fn combined(entry: &Entry) -> String {
    let mut line = String::with_capacity(256);
    escape(&mut line, &entry.client);
    let time = timestamp(entry).strftime("%d/%b/%Y:%H:%M:%S +0000");
    write!(line, " - - [{time}] \"").expect(INFALLIBLE);
    if entry.method.is_empty() {
        line.push('-');
    } else {
        escape(&mut line, entry.method.as_bytes());
        line.push(' ');
        escape(&mut line, &entry.target);
        write!(line, " {}", entry.protocol).expect(INFALLIBLE);
    }
    write!(line, "\" {} ", status(entry)).expect(INFALLIBLE);
    if entry.bytes == 0 {
        line.push('-');
    } else {
        write!(line, "{}", entry.bytes).expect(INFALLIBLE);
    }
    for value in [&entry.referer, &entry.user_agent] {
        line.push_str(" \"");
        if value.is_empty() {
            line.push('-');
        } else {
            escape(&mut line, value);
        }
        line.push('"');
    }
    line
}

const INFALLIBLE: &str = "writing to a string cannot fail";

/// Writes printable ASCII literally, and escapes everything else.
///
/// Source: Apache HTTP Server, `mod_log_config`: "non-printable and other special characters in %r, %i and %o are escaped using \xhh sequences", `"`
/// and `\` by a backslash.
fn escape(line: &mut String, bytes: &[u8]) {
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => {
                line.push('\\');
                line.push(char::from(byte));
            }
            b' '..=b'~' => line.push(char::from(byte)),
            _ => write!(line, "\\x{byte:02x}").expect(INFALLIBLE),
        }
    }
}

fn timestamp(entry: &Entry) -> Timestamp {
    let ms = i64::try_from(entry.time.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(ms).unwrap_or(Timestamp::MAX)
}

/// To the microsecond; the rest is noise.
fn seconds(duration: Duration) -> f64 {
    Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::time::Wall;
    use proptest::prelude::*;

    use super::*;

    fn entry() -> Entry {
        Entry {
            time: Wall::from_millis(1_764_288_000_123),
            client: b"127.0.0.1"[..].into(),
            method: "GET".into(),
            host: b"shop.test"[..].into(),
            target: b"/carts?id=1"[..].into(),
            protocol: "HTTP/1.1",
            user_agent: b"curl/8"[..].into(),
            service: Some(Arc::from("shop")),
            endpoint: Some(Destination::Replica(2)),
            tries: 2,
            status: 200,
            bytes: 17,
            duration: Duration::from_nanos(1_234_567),
            upstream: Some(Duration::from_micros(1_000)),
            ..Entry::default()
        }
    }

    #[test]
    fn json_lines_leave_out_unknown_fields() {
        assert_eq!(
            line(&entry(), AccessLogFormat::Json),
            "{\"time\":\"2025-11-28T00:00:00.123Z\",\"client\":\"127.0.0.1\",\"method\":\"GET\",\"host\":\"shop.test\",\"path\":\"/carts?id=1\",\
             \"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":17,\"durationSeconds\":0.001234,\"upstreamSeconds\":0.001,\"service\":\"shop\",\
             \"replica\":\"shop-2\",\"tries\":2,\"userAgent\":\"curl/8\"}\n"
        );
    }

    #[test]
    fn the_line_of_a_malformed_request_has_no_fields_of_the_request() {
        let malformed = Entry::malformed(Wall::from_millis(1_764_288_000_123), b"127.0.0.1", "HTTP/1.1", 400);
        assert_eq!(
            line(&malformed, AccessLogFormat::Json),
            "{\"time\":\"2025-11-28T00:00:00.123Z\",\"client\":\"127.0.0.1\",\"protocol\":\"HTTP/1.1\",\"status\":400,\"bytes\":0,\"durationSeconds\":0.0,\
             \"tries\":0,\"reason\":\"The head is not valid HTTP/1.1, or too long.\"}\n"
        );
        assert_eq!(
            line(&malformed, AccessLogFormat::Combined),
            "127.0.0.1 - - [28/Nov/2025:00:00:00 +0000] \"-\" 400 - \"-\" \"-\"\n"
        );
    }

    #[test]
    fn a_request_to_an_external_endpoint_has_its_address_instead_of_a_replica() {
        let address = "10.0.0.7:8080".parse().unwrap();
        let line = line(
            &Entry { endpoint: Some(Destination::Elsewhere(address)), ..entry() },
            AccessLogFormat::Json,
        );
        assert!(line.contains("\"service\":\"shop\",\"endpoint\":\"10.0.0.7:8080\",\"tries\":2"), "{line}");
    }

    #[test]
    fn combined_lines_match_those_of_apache() {
        assert_eq!(
            line(&entry(), AccessLogFormat::Combined),
            "127.0.0.1 - - [28/Nov/2025:00:00:00 +0000] \"GET /carts?id=1 HTTP/1.1\" 200 17 \"-\" \"curl/8\"\n"
        );
        let odd = Entry { user_agent: b"a\"b\\c\n\xff"[..].into(), bytes: 0, status: 0, ..entry() };
        let text = line(&odd, AccessLogFormat::Combined);
        assert!(text.ends_with(" 499 - \"-\" \"a\\\"b\\\\c\\x0a\\xff\"\n"), "{text}");
    }

    proptest! {
        /// Whatever a client sends, its line is one line, and reads back as what it sent.
        #[test]
        fn clients_cannot_inject_lines_or_fields(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut wild = entry();
            wild.user_agent = bytes.clone().into();
            wild.referer = bytes.clone().into();
            wild.target = bytes.clone().into();
            let json = line(&wild, AccessLogFormat::Json);
            prop_assert_eq!(json.matches('\n').count(), 1);
            let read: serde_json::Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read["path"].as_str().unwrap(), String::from_utf8_lossy(&bytes));
            prop_assert_eq!(&read["status"], 200);
            let combined = line(&wild, AccessLogFormat::Combined);
            prop_assert!(combined.trim_end().bytes().all(|b| (b' '..=b'~').contains(&b)) && combined.matches('\n').count() == 1);
            let quotes = combined.replace("\\\\", "").replace("\\\"", "").matches('"').count();
            prop_assert_eq!(quotes, 6);
        }
    }
}
