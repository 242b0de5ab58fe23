use std::net::SocketAddr;

use model::resource::{Balance, ExternalFormat, HashKey};
use proptest::prelude::*;

use super::*;
use crate::upstream::{Server, ServerState};

fn server(ordinal: u32, state: ServerState) -> Server {
    let address = SocketAddr::from(([127, 0, 0, 1], 40_000 + u16::try_from(ordinal).unwrap()));
    Server { ordinal: Some(ordinal), address, http2: false, state }
}

fn upstream(balance: Balance, hash: HashKey, servers: Vec<Server>) -> Upstream {
    Upstream { service: "shop".into(), name: "shop.blue".into(), balance, hash, servers }
}

fn three() -> Vec<Server> {
    let serving = |weight| ServerState::Serving { weight };
    vec![server(0, serving(1)), server(1, ServerState::Draining), server(2, serving(2))]
}

/// The golden file with that name.
fn golden(name: &str) -> &'static str {
    match name {
        "nginx-least-loaded" => include_str!("golden/nginx-least-loaded.conf"),
        "nginx-none" => include_str!("golden/nginx-none.conf"),
        "nginx-by-header" => include_str!("golden/nginx-by-header.conf"),
        "nginx-by-address" => include_str!("golden/nginx-by-address.conf"),
        "haproxy-least-loaded" => include_str!("golden/haproxy-least-loaded.cfg"),
        "haproxy-none" => include_str!("golden/haproxy-none.cfg"),
        "haproxy-by-cookie" => include_str!("golden/haproxy-by-cookie.cfg"),
        "haproxy-by-address" => include_str!("golden/haproxy-by-address.cfg"),
        other => panic!("there is no golden file {other}"),
    }
}

#[test]
fn files_match_the_golden_ones() {
    use Balance::{ConsistentHash, LeastLoaded, RoundRobin};
    use ExternalFormat::{Haproxy, Nginx};
    let header = || HashKey::Header("X-User".into());
    let cookie = || HashKey::Cookie("user_id".into());
    for (name, format, upstream) in [
        ("nginx-least-loaded", Nginx, upstream(LeastLoaded, HashKey::Address, three())),
        ("nginx-none", Nginx, upstream(RoundRobin, HashKey::Address, Vec::new())),
        ("nginx-by-header", Nginx, upstream(ConsistentHash, header(), three())),
        ("nginx-by-address", Nginx, upstream(ConsistentHash, HashKey::Address, three())),
        ("haproxy-least-loaded", Haproxy, upstream(LeastLoaded, HashKey::Address, three())),
        ("haproxy-none", Haproxy, upstream(RoundRobin, HashKey::Address, Vec::new())),
        ("haproxy-by-cookie", Haproxy, upstream(ConsistentHash, cookie(), three())),
        ("haproxy-by-address", Haproxy, upstream(ConsistentHash, HashKey::Address, three())),
    ] {
        assert_eq!(render(format, &upstream), golden(name), "{name}");
    }
}

#[test]
fn upstreams_whose_names_differ_have_maps_of_their_own() {
    let variable = |name: &str| {
        let key = HashKey::Header("X-User".into());
        let upstream = Upstream { name: name.into(), ..upstream(Balance::ConsistentHash, key, three()) };
        let text = render(ExternalFormat::Nginx, &upstream);
        text.split_whitespace().find(|word| word.starts_with("$homeostat_")).map(str::to_owned)
    };
    let names = ["shop-v2", "shop.v2", "shop_v2", "shop-.v2", "shop__v2", "shop_dv2", "shopv2"];
    let variables: std::collections::BTreeSet<_> = names.iter().map(|name| variable(name)).collect();
    assert_eq!(variables.len(), names.len(), "{variables:?}");
}

#[test]
fn external_endpoints_are_servers_like_the_replicas() {
    let at = |address: &str, weight| Server {
        ordinal: None,
        address: address.parse().unwrap(),
        http2: false,
        state: ServerState::Serving { weight },
    };
    let servers = [three(), vec![at("10.0.0.7:8080", 3), at("[fd00::7]:80", 1)]].concat();
    let upstream = upstream(Balance::RoundRobin, HashKey::Address, servers);
    let nginx = render(ExternalFormat::Nginx, &upstream);
    assert!(
        nginx.contains("    server 10.0.0.7:8080 weight=3;\n    server [fd00::7]:80 weight=1;\n}"),
        "{nginx}"
    );
    let haproxy = render(ExternalFormat::Haproxy, &upstream);
    let lines = "    server elsewhere-10.0.0.7_8080 10.0.0.7:8080 weight 3\n    server elsewhere-_fd00__7__80 [fd00::7]:80 weight 1\n";
    assert!(haproxy.ends_with(lines), "{haproxy}");
}

#[test]
fn external_endpoints_have_distinct_names() {
    let addresses = ["[fe80::1%2]:80", "[fe80::1:2]:80", "[fe80::1]:280", "[fe80::12]:80"];
    let server = |address: &&str| Server {
        ordinal: None,
        address: address.parse().unwrap(),
        http2: false,
        state: ServerState::Serving { weight: 1 },
    };
    let servers = addresses.iter().map(server).collect();
    let text = render(ExternalFormat::Haproxy, &upstream(Balance::RoundRobin, HashKey::Address, servers));
    let names = text.lines().filter_map(|line| line.trim().strip_prefix("server ")?.split(' ').next());
    assert_eq!(names.collect::<std::collections::BTreeSet<_>>().len(), addresses.len(), "{text}");
}

#[test]
fn replicas_that_speak_http2_are_marked_as_such() {
    let mut servers = three();
    servers[0].http2 = true;
    let text = render(ExternalFormat::Haproxy, &upstream(Balance::LeastLoaded, HashKey::Address, servers));
    assert!(text.contains("server shop-0 127.0.0.1:40000 proto h2 weight 1\n"), "{text}");
    assert!(text.contains("server shop-2 127.0.0.1:40002 weight 2\n"), "{text}");
}

#[test]
fn a_weight_beyond_that_of_haproxy_is_clamped() {
    let heavy = vec![server(0, ServerState::Serving { weight: u16::MAX })];
    let text = render(ExternalFormat::Haproxy, &upstream(Balance::Weighted, HashKey::Address, heavy));
    assert!(text.ends_with("weight 256\n"), "{text}");
}

proptest! {
    /// The characters of a name change no line but its own, even if validation has let them through.
    #[test]
    fn no_name_can_inject_configuration(service in any::<String>(), name in any::<String>(), key in any::<String>()) {
        for format in [ExternalFormat::Nginx, ExternalFormat::Haproxy] {
            for hash in [HashKey::Header(key.clone()), HashKey::Cookie(key.clone())] {
                let wild = Upstream { service: service.clone(), name: name.clone(), balance: Balance::ConsistentHash, hash: hash.clone(), servers: three() };
                let tame = Upstream { service: "s".into(), name: "n".into(), ..wild.clone() };
                let tame = Upstream { hash: HashKey::Header("k".into()), ..tame };
                let (wild, tame) = (render(format, &wild), render(format, &tame));
                let lines = |text: &str| text.lines().map(|line| line.split(' ').count()).collect::<Vec<_>>();
                prop_assert_eq!(lines(&wild), lines(&tame));
                prop_assert!(wild.is_ascii());
                for special in ['"', '\'', '\\', ';', '{', '}', '#', '$'] {
                    let count = |text: &str| text.matches(special).count();
                    prop_assert_eq!(count(&wild), count(&tame));
                }
            }
        }
    }
}
