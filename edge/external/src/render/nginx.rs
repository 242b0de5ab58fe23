//! nginx: an `upstream`, for an `include` within `http`.
//!
//! Source: nginx's documentation, module `ngx_http_upstream_module`; all of it is in nginx 1.18 and later.

use model::resource::{Balance, HashKey};

use super::{head, sanitized};
use crate::upstream::{ServerState, Upstream};

/// The shared memory zone of an upstream: the worker processes share which servers fail, and compare loads over all workers.
///
/// A server takes less than 1 KiB, and a service has at most 1,000. Unused pages take no memory.
const ZONE: &str = "1m";

/// Idle connections to the replicas that each worker process keeps, if the `location` has `proxy_http_version 1.1` and clears the
/// `Connection` header. The number is that of nginx's own example.
const KEEPALIVE: u32 = 32;

pub(super) fn render(upstream: &Upstream) -> String {
    let name = sanitized(&upstream.name);
    let mut text = head(upstream);
    let method = match upstream.balance {
        Balance::RoundRobin | Balance::Weighted => String::new(),
        Balance::Random => "    random;\n".to_owned(),
        Balance::LeastLoaded => "    random two least_conn;\n".to_owned(),
        Balance::ConsistentHash => {
            let key = match &upstream.hash {
                HashKey::Address => "$remote_addr".to_owned(),
                HashKey::Header(header) => map(&mut text, &name, &variable("http", header)),
                HashKey::Cookie(cookie) => map(&mut text, &name, &variable("cookie", cookie)),
            };
            format!("    hash {key} consistent;\n")
        }
    };
    text += &format!(
        "upstream {name} {{\n    zone homeostat_{name} {ZONE};\n{method}    keepalive {KEEPALIVE};\n"
    );
    for server in &upstream.servers {
        match server.state {
            ServerState::Serving { weight } => {
                text += &format!("    server {} weight={weight};\n", server.address);
            }
            ServerState::Draining => text += &format!("    server {} down;\n", server.address),
        }
    }
    if upstream.servers.is_empty() {
        text += "    # nginx wants one, and there is none: 502.\n    server 127.0.0.1:1 down;\n";
    }
    text += "}\n";
    text
}

/// A variable of nginx, whose names are in lower case with `_` for `-`.
fn variable(of: &str, name: &str) -> String {
    let name = sanitized(name).replace(['-', '.'], "_").to_ascii_lowercase();
    format!("${of}_{name}")
}

/// A name of an upstream as a part of the name of a variable: equal only for equal names, of which nginx ignores the case. nginx replaces
/// the first of two maps with one variable silently.
fn escaped(name: &str) -> String {
    let name = name.to_ascii_lowercase().replace('_', "__");
    name.replace('-', "_d").replace('.', "_p")
}

/// Writes a `map` that falls back to the client's address when a header or cookie is missing; returns the name of its variable.
fn map(text: &mut String, name: &str, variable: &str) -> String {
    let key = format!("$homeostat_{}", escaped(name));
    *text += &format!("map {variable} {key} {{\n    default {variable};\n    \"\" $remote_addr;\n}}\n");
    key
}
