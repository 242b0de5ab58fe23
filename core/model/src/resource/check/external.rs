//! Checks of where a service is exposed, and of its external balancers.

use super::access_log;
use super::fields::{COMMAND_BYTES_MAX, ProblemList, error, file, time_between};
use crate::resource::{EXTERNALS_MAX, Expose, External, ExternalFormat, HashKey, ServiceSpec, Span};

/// Shortest timeout of a check or a reload: the time that a process takes to start on a busy machine.
const TIMEOUT_MIN: Span = Span::from_millis(100);

/// Longest timeout of a check or a reload: a process that takes longer hangs.
const TIMEOUT_MAX: Span = Span::from_secs(600);

/// Shortest interval of writes: each reload makes a balancer start new processes.
const EVERY_MIN: Span = Span::from_millis(100);

/// Longest interval of writes: more than an hour is probably a typing error.
const EVERY_MAX: Span = Span::from_secs(3600);

pub(super) fn problems(spec: &ServiceSpec, expose: &Expose, found: &mut ProblemList) {
    if expose.listen.is_none() && expose.external.is_empty() {
        let text =
            "the service needs a listen address for the proxy, or balancers of your own under external";
        found.push(error("spec.expose.listen", text));
    }
    if expose.listen.is_none() && expose.tls.is_some() {
        found.push(error(
            "spec.expose.tls",
            "only the proxy uses certificates: give it an address under listen",
        ));
    }
    if let Some(log) = &expose.access_log {
        access_log::problems("spec.expose.accessLog", log, found);
        if expose.listen.is_none() {
            let text = "only the proxy writes an access log: give it an address under listen, or configure your own balancer to write one";
            found.push(error("spec.expose.accessLog", text));
        }
    }
    if expose.external.len() > EXTERNALS_MAX {
        let text = format!(
            "a service has at most {EXTERNALS_MAX} external balancers, not {}",
            expose.external.len()
        );
        found.push(error("spec.expose.external", text));
    }
    if spec.scale.to_zero.is_some() && !(expose.external.is_empty() && expose.listen.is_some()) {
        let text = "scaling to zero needs all requests to pass the proxy: give it an address under spec.expose.listen, and remove \
                    spec.expose.external";
        found.push(error("spec.scale.toZero", text));
    }
    for (nth, external) in expose.external.iter().enumerate() {
        let at = format!("spec.expose.external[{nth}]");
        file(&format!("{at}.file"), &external.file, found);
        command(&format!("{at}.check"), &external.check, found);
        command(&format!("{at}.reload"), &external.reload, found);
        time_between(&format!("{at}.timeout"), external.timeout, (TIMEOUT_MIN, TIMEOUT_MAX), found);
        time_between(&format!("{at}.every"), external.every, (EVERY_MIN, EVERY_MAX), found);
        hash(&at, external, &expose.hash, found);
    }
}

fn command(at: &str, arguments: &[String], found: &mut ProblemList) {
    if arguments.first().is_none_or(String::is_empty) {
        found.push(error(at, "the command must name a program"));
    }
    if arguments.iter().any(|argument| argument.contains('\0')) {
        found.push(error(at, "an argument must not contain a zero byte"));
    }
    let bytes: usize = arguments.iter().map(|argument| argument.len() + 1).sum();
    if bytes > COMMAND_BYTES_MAX {
        found.push(error(
            at,
            format!("the command has {bytes} bytes, and at most {COMMAND_BYTES_MAX} are allowed"),
        ));
    }
}

/// The configuration languages of both balancers support only some of the names that HTTP allows.
fn hash(at: &str, external: &External, key: &HashKey, found: &mut ProblemList) {
    let is_plain =
        |name: &str, more: &[u8]| name.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
    let fits = match (external.format, key) {
        (_, HashKey::Address) => true,
        (ExternalFormat::Nginx, HashKey::Cookie(name)) => is_plain(name, b"_"),
        // nginx does not distinguish `_` and `-`, and ignores headers with `_` by default.
        (ExternalFormat::Nginx, HashKey::Header(name)) => is_plain(name, b"-"),
        (ExternalFormat::Haproxy, HashKey::Header(name) | HashKey::Cookie(name)) => is_plain(name, b"_-"),
    };
    if !fits {
        let text = format!(
            "{} does not support the name in spec.expose.hash: use only letters and digits, in a header also -, in a cookie also _",
            external.format
        );
        found.push(error(at, text));
    }
}
