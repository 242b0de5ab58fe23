//! HAProxy: a `backend`, as an additional file of its configuration.
//!
//! Source: HAProxy's configuration manual, sections 4.2 (`balance`, `hash-type`, `hash-balance-factor`) and 5.2 (`weight`), for HAProxy
//! 2.6 and later.

use model::resource::{Balance, HashKey};

use super::{head, sanitized};
use crate::upstream::{ServerState, Upstream};

/// The greatest weight that HAProxy accepts.
const WEIGHT_MAX: u16 = 256;

pub(super) fn render(upstream: &Upstream) -> String {
    let mut text = head(upstream);
    text += &format!("backend {}\n{}", sanitized(&upstream.name), balance(upstream));
    for server in &upstream.servers {
        let weight = match server.state {
            ServerState::Serving { weight } => weight.clamp(1, WEIGHT_MAX),
            // HAProxy's way to say that a server gets nothing new: it shows as DRAIN.
            ServerState::Draining => 0,
        };
        let name = match server.ordinal {
            Some(ordinal) => format!("{}-{ordinal}", sanitized(&upstream.service)),
            // The `%` of a zone is replaced by `-` and a colon by `_`, so that no two addresses have the same name.
            None => format!("elsewhere-{}", sanitized(&server.address.to_string().replace('%', "-"))),
        };
        let protocol = if server.http2 { " proto h2" } else { "" };
        text += &format!("    server {name} {}{protocol} weight {weight}\n", server.address);
    }
    text
}

fn balance(upstream: &Upstream) -> String {
    let by_key = |sample: &str| {
        format!(
            "    http-request set-var(txn.homeostat_key) src\n    \
             http-request set-var(txn.homeostat_key) {sample} if {{ {sample} -m found }}\n    \
             balance hash var(txn.homeostat_key)\n{CONSISTENT}"
        )
    };
    match upstream.balance {
        Balance::RoundRobin | Balance::Weighted => "    balance roundrobin\n".to_owned(),
        Balance::Random => "    balance random(1)\n".to_owned(),
        Balance::LeastLoaded => "    balance random(2)\n".to_owned(),
        Balance::ConsistentHash => match &upstream.hash {
            HashKey::Address => format!("    balance source\n{CONSISTENT}"),
            HashKey::Header(header) => by_key(&format!("req.hdr({})", sanitized(header))),
            HashKey::Cookie(cookie) => by_key(&format!("req.cook({})", sanitized(cookie))),
        },
    }
}

/// A hash ring with bounded loads: a server with over a quarter more than the mean is skipped, as in the proxy.
const CONSISTENT: &str = "    hash-type consistent\n    hash-balance-factor 125\n";
