//! The proxy alone, to be measured or tried: `reverse_proxy LISTEN ENDPOINT...` runs until it is killed.

use std::net::SocketAddr;
use std::num::NonZeroUsize;

use proxy::{EndpointId, EndpointRoute, Proxy, ProxyConfig, ServiceRoute};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut addresses: Vec<SocketAddr> = Vec::new();
    let mut config = ProxyConfig::default();
    for argument in std::env::args().skip(1) {
        match argument.strip_prefix("--workers=") {
            Some(workers) => config.workers = workers.parse::<NonZeroUsize>()?,
            None => addresses.push(argument.parse()?),
        }
    }
    let Some((listen, endpoints)) = addresses.split_first() else {
        return Err("usage: reverse_proxy [--workers=N] LISTEN ENDPOINT...".into());
    };
    let proxy = Proxy::start(&config)?;
    let mut route = ServiceRoute::new("measured", *listen);
    route.endpoints = (0..)
        .zip(endpoints)
        .map(|(ordinal, &address)| EndpointRoute::new(EndpointId { ordinal, incarnation: 1 }, address))
        .collect();
    if let Some(address) = proxy.table().set_service(&route)? {
        println!("{address}");
    }
    loop {
        std::thread::park();
    }
}
