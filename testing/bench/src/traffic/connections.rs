//! `connections`: the memory of many connections on which nothing happens.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use procfs::process::Process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::backend::Backend;
use super::peer::{Choice, Kind, Peer, Setup};
use super::{ensure_tools, service};
use crate::figure::{Findings, Target, Unit};
use crate::house::{self, House, Place};
use crate::idle::memory;

/// Connections that stay open at a time, where the limit of open files allows them.
const CONNECTIONS: usize = 10_000;
/// Files for everything else; more than Homeostat itself keeps free.
const OTHER_FILES: u64 = 1200;
/// How long one answer may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

const BESIDE_NGINX: Target = Target::AtMost(2.0);

/// Opens connections to each proxy, asks once on each, and looks at what the proxy has grown by.
pub(crate) fn run() -> anyhow::Result<Findings> {
    ensure_tools()?;
    let many = CONNECTIONS.min(afforded()?);
    let mut findings = Findings::of("connections");
    findings.say(format!(
        "{many} connections, one request on each, then none; resident memory of all processes of the proxy, less what it was before the first; \
         nginx and HAProxy with 2 workers or threads"
    ));
    let ours = ours(many)?;
    let nginx = peer(Kind::Nginx, many)?;
    let haproxy = peer(Kind::Haproxy, many)?;
    for (name, grown) in [("homeostat", ours), ("nginx", nginx), ("HAProxy", haproxy)] {
        findings.note(format!("{name}: memory of {many} idle connections"), grown, Unit::Bytes);
        findings.note(format!("{name}: memory of one"), grown / many as f64, Unit::Bytes);
    }
    findings.hold("memory of idle connections, homeostat ÷ nginx", ours / nginx, Unit::Ratio, BESIDE_NGINX);
    Ok(findings)
}

/// For how many connections the open files suffice that a program may have here. Homeostat counts two for each: its own, and one to a replica.
fn afforded() -> anyhow::Result<usize> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, wanted).context("could not raise the limit of open files")?;
    let files = maximum.unwrap_or(u64::MAX);
    Ok(usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX))
}

fn ours(many: usize) -> anyhow::Result<f64> {
    let place = Place::new()?;
    let listen = house::free_address()?;
    // Longer than the bench takes: what is idle stays open.
    let expose = json!({"listen": listen, "port": "http", "timeouts": {"idle": "10m"}});
    let declared = service(place.path(), &[], &expose)?;
    let house = House::up(place, &[declared], &[])?;
    grown(listen, &[house.process()?], many)
}

fn peer(kind: Kind, many: usize) -> anyhow::Result<f64> {
    let place = Place::new()?;
    let backend = Backend::start(&[])?;
    let plain = house::free_address()?;
    let backends = vec![backend.address()];
    let setup = Setup { kind, plain, secure: None, backends, choice: Choice::RoundRobin };
    let peer = Peer::start(place.path(), &setup)?;
    grown(plain, &peer.processes()?, many)
}

/// What the processes grow by, in bytes, while connections to `address` are open.
fn grown(address: SocketAddr, processes: &[Process], many: usize) -> anyhow::Result<f64> {
    let resident = || processes.iter().map(memory).sum::<anyhow::Result<u64>>();
    // What the first requests need is needed once.
    drop(open(address, 64)?);
    let before = resident()?;
    let connections = open(address, many)?;
    let after = resident()?;
    let open = connections.iter().filter(|connection| is_open(connection)).count();
    ensure!(open == many, "{address} closed {} of {many} idle connections", many - open);
    Ok(after.saturating_sub(before) as f64)
}

/// Connections on which one request was answered each.
fn open(address: SocketAddr, many: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut open = Vec::with_capacity(many);
    for number in 0..many {
        let mut connection = TcpStream::connect(address)
            .with_context(|| format!("could not open connection {number} to {address}"))?;
        connection.set_read_timeout(Some(ANSWER_WAIT_MAX))?;
        ask(&mut connection).with_context(|| format!("connection {number} to {address} got no answer"))?;
        open.push(connection);
    }
    Ok(open)
}

fn ask(connection: &mut TcpStream) -> anyhow::Result<()> {
    connection.write_all(b"GET / HTTP/1.1\r\nHost: bench\r\n\r\n")?;
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    // The body of a replica's answer.
    while !answer.ends_with(b"ok\n") {
        let read = connection.read(&mut piece)?;
        ensure!(read > 0, "it was closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&piece[..read]);
    }
    Ok(())
}

/// Whether the other end has neither closed the connection nor said anything.
fn is_open(connection: &TcpStream) -> bool {
    connection.set_nonblocking(true).is_ok()
        && connection.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
}
