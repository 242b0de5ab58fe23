//! What must hold of the external balancers of a service.

use super::access_log;
use super::service::{COMMAND_BYTES_MAX, Found, error};
use crate::resource::{EXTERNALS_MAX, Expose, External, ExternalFormat, HashKey, ServiceSpec, Span};

/// Shortest time for a check or a reload: less than a process takes to start on a busy machine.
const TIMEOUT_MIN: Span = Span::from_millis(100);

/// Longest time for a check or a reload: what hangs is told from what is slow by then.
const TIMEOUT_MAX: Span = Span::from_secs(600);

/// Shortest time between two writes: each reload of a balancer costs it new processes.
const EVERY_MIN: Span = Span::from_millis(100);

/// Longest time between two writes: past an hour it is a typing error more often than a wish.
const EVERY_MAX: Span = Span::from_secs(3600);

/// Bytes of a path at most. Source: Linux, `PATH_MAX`, with room for the ending of the candidate beside it.
const PATH_LEN_MAX: usize = 4000;

pub(super) fn problems(spec: &ServiceSpec, expose: &Expose, found: &mut Found) {
    if expose.listen.is_none() && expose.external.is_empty() {
        let text = "say where the service is reached: an address for the proxy, or balancers of your own under external";
        found.push(error("spec.expose.listen", text));
    }
    if expose.listen.is_none() && expose.tls.is_some() {
        found.push(error(
            "spec.expose.tls",
            "only the proxy shows certificates: give it an address under listen",
        ));
    }
    if let Some(log) = &expose.access_log {
        access_log::problems("spec.expose.accessLog", log, found);
        if expose.listen.is_none() {
            let text = "only the proxy writes one: give it an address under listen, or let your own balancer write it";
            found.push(error("spec.expose.accessLog", text));
        }
    }
    if expose.external.len() > EXTERNALS_MAX {
        let text = format!("a service is told to at most {EXTERNALS_MAX}, not {}", expose.external.len());
        found.push(error("spec.expose.external", text));
    }
    if spec.scale.to_zero.is_some() && !(expose.external.is_empty() && expose.listen.is_some()) {
        let text = "only requests over the proxy keep a service awake and wake it: give it an address under \
                    spec.expose.listen, and take spec.expose.external out";
        found.push(error("spec.scale.toZero", text));
    }
    for (nth, external) in expose.external.iter().enumerate() {
        let at = format!("spec.expose.external[{nth}]");
        file(&format!("{at}.file"), &external.file, found);
        command(&format!("{at}.check"), &external.check, found);
        command(&format!("{at}.reload"), &external.reload, found);
        within(&format!("{at}.timeout"), external.timeout, TIMEOUT_MIN, TIMEOUT_MAX, found);
        within(&format!("{at}.every"), external.every, EVERY_MIN, EVERY_MAX, found);
        hash(&at, external, &expose.hash, found);
    }
}

pub(super) fn file(at: &str, path: &str, found: &mut Found) {
    let last = path.rsplit('/').next().unwrap_or_default();
    if matches!(last, "" | "." | "..") || path.len() > PATH_LEN_MAX || path.contains(char::is_control) {
        let text = format!(
            "it is the path of a file, of at most {PATH_LEN_MAX} bytes and without control characters, not {path:?}"
        );
        found.push(error(at, text));
    }
}

fn command(at: &str, words: &[String], found: &mut Found) {
    if words.first().is_none_or(String::is_empty) {
        found.push(error(at, "it names at least a program"));
    }
    if words.iter().any(|word| word.contains('\0')) {
        found.push(error(at, "an argument cannot hold a zero byte"));
    }
    let bytes: usize = words.iter().map(|word| word.len() + 1).sum();
    if bytes > COMMAND_BYTES_MAX {
        found.push(error(at, format!("it has {bytes} bytes, at most {COMMAND_BYTES_MAX} can be passed")));
    }
}

fn within(at: &str, span: Span, min: Span, max: Span, found: &mut Found) {
    if span < min || span > max {
        found.push(error(at, format!("it lies between {min} and {max}, not {span}")));
    }
}

/// Both have names of headers and cookies in words of their own, in which not all that HTTP allows can be said.
fn hash(at: &str, external: &External, key: &HashKey, found: &mut Found) {
    let is_word =
        |name: &str, more: &[u8]| name.bytes().all(|b| b.is_ascii_alphanumeric() || more.contains(&b));
    let fits = match (external.format, key) {
        (_, HashKey::Address) => true,
        (ExternalFormat::Nginx, HashKey::Cookie(name)) => is_word(name, b"_"),
        // `_` and `-` are the same to nginx, which by default leaves headers with `_` out.
        (ExternalFormat::Nginx, HashKey::Header(name)) => is_word(name, b"-"),
        (ExternalFormat::Haproxy, HashKey::Header(name) | HashKey::Cookie(name)) => is_word(name, b"_-"),
    };
    if !fits {
        let text = format!(
            "{} cannot tell clients apart by what spec.expose.hash names: take letters and digits only, for a header also -, for a cookie also _",
            external.format
        );
        found.push(error(at, text));
    }
}
