//! `connections`: the memory of many idle connections.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};
use procfs::process::Process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use super::backend::Backend;
use super::peer::{Choice, ClientProtocol, Kind, Peer, Setup};
use super::{ensure_tools, service};
use crate::figure::{Findings, Target, Unit};
use crate::idle::memory;
use crate::instance::{self, Instance, InstanceFolder};

/// The connections that are open at a time, if the limit of open files allows it.
const CONNECTIONS: usize = 10_000;
/// Half as many of HTTP/2: a client opens one where it would open six of HTTP/1.1.
const CONNECTIONS_OF_HTTP2: usize = 5000;
/// Files for everything else; more than Homeostat itself keeps free.
const OTHER_FILES: u64 = 1200;
/// How long one answer may take.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

const BESIDE_NGINX: Target = Target::AtMost(2.0);

/// Opens connections to each proxy, sends one request on each, and measures by how much the proxy has grown.
pub(crate) fn run() -> anyhow::Result<Findings> {
    ensure_tools()?;
    let many = CONNECTIONS.min(connections_max()?);
    let mut findings = Findings::of("connections");
    findings.describe(format!(
        "{many} connections, one request on each, then none; resident memory of all processes of the proxy, less what it was before the first; \
         nginx and HAProxy with 2 workers or threads"
    ));
    let ratio = compare(&mut findings, ClientProtocol::Http1, many)?;
    findings.compare("memory of idle connections, homeostat ÷ nginx", ratio, Unit::Ratio, BESIDE_NGINX);
    let ratio = compare(&mut findings, ClientProtocol::Http2, many.min(CONNECTIONS_OF_HTTP2))?;
    findings.note("memory of idle connections of HTTP/2, homeostat ÷ nginx", ratio, Unit::Ratio);
    Ok(findings)
}

/// Notes the memory of each; returns the ratio of Homeostat's to nginx's.
fn compare(findings: &mut Findings, protocol: ClientProtocol, many: usize) -> anyhow::Result<f64> {
    let homeostat = measure_homeostat(protocol, many)?;
    let nginx = measure_peer(Kind::Nginx, protocol, many)?;
    let haproxy = measure_peer(Kind::Haproxy, protocol, many)?;
    let of = match protocol {
        ClientProtocol::Http1 => "",
        ClientProtocol::Http2 => " of HTTP/2",
    };
    for (name, grown) in [("homeostat", homeostat), ("nginx", nginx), ("HAProxy", haproxy)] {
        findings.note(format!("{name}: memory of {many} idle connections{of}"), grown, Unit::Bytes);
        findings.note(format!("{name}: memory of one{of}"), grown / many as f64, Unit::Bytes);
    }
    Ok(homeostat / nginx)
}

/// The number of connections that the limit of open files allows. Homeostat reserves two files for each: the client's, and one to a replica.
fn connections_max() -> anyhow::Result<usize> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: maximum, maximum };
    setrlimit(Resource::Nofile, wanted).context("could not raise the limit of open files")?;
    let files = maximum.unwrap_or(u64::MAX);
    Ok(usize::try_from(files.saturating_sub(OTHER_FILES) / 2).unwrap_or(usize::MAX))
}

fn measure_homeostat(protocol: ClientProtocol, many: usize) -> anyhow::Result<f64> {
    let folder = InstanceFolder::new()?;
    let listen = instance::free_address();
    // Longer than the bench takes, so that idle connections stay open.
    let expose = json!({"listen": listen, "port": "http", "timeouts": {"idle": "10m"}});
    let declared = service(folder.path(), &[], &expose)?;
    let instance = Instance::up(folder, &[declared], &[])?;
    memory_growth(listen, protocol, &[instance.process()?], many)
}

fn measure_peer(kind: Kind, protocol: ClientProtocol, many: usize) -> anyhow::Result<f64> {
    let folder = InstanceFolder::new()?;
    let backend = Backend::start(&[])?;
    let plain = instance::free_address();
    let backends = vec![backend.address()];
    let setup = Setup { kind, plain, protocol, secure: None, backends, choice: Choice::RoundRobin };
    let peer = Peer::start(folder.path(), &setup)?;
    memory_growth(plain, protocol, &peer.processes()?, many)
}

/// By how many bytes the processes grow while connections to `address` are open.
fn memory_growth(
    address: SocketAddr,
    protocol: ClientProtocol,
    processes: &[Process],
    many: usize,
) -> anyhow::Result<f64> {
    let resident = || processes.iter().map(memory).sum::<anyhow::Result<u64>>();
    // The first requests make the proxy allocate what it needs only once.
    drop(open(address, protocol, 64)?);
    let before = resident()?;
    let connections = open(address, protocol, many)?;
    let after = resident()?;
    let open = connections.iter().filter(|connection| is_open(connection)).count();
    ensure!(open == many, "{address} closed {} of {many} idle connections", many - open);
    Ok(after.saturating_sub(before) as f64)
}

/// Connections, on each of which one request was answered.
fn open(address: SocketAddr, protocol: ClientProtocol, many: usize) -> anyhow::Result<Vec<TcpStream>> {
    let mut open = Vec::with_capacity(many);
    for number in 0..many {
        let mut connection = TcpStream::connect(address)
            .with_context(|| format!("could not open connection {number} to {address}"))?;
        connection.set_read_timeout(Some(ANSWER_WAIT_MAX))?;
        let answered = match protocol {
            ClientProtocol::Http1 => request(&mut connection),
            ClientProtocol::Http2 => request_http2(&mut connection),
        };
        answered.with_context(|| format!("connection {number} to {address} got no answer"))?;
        open.push(connection);
    }
    Ok(open)
}

fn request(connection: &mut TcpStream) -> anyhow::Result<()> {
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

/// Begins a connection of HTTP/2 and sends one request: `GET /` to the host `bench`, on stream 1. Source: RFC 9113, sections 3.4 and 4.1; RFC 7541, appendix A.
fn request_http2(connection: &mut TcpStream) -> anyhow::Result<()> {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const SETTINGS_ACK: &[u8] = &[0, 0, 0, 4, 1, 0, 0, 0, 0];
    // HEADERS that end both themselves and the stream.
    const GET: &[u8] = b"\0\0\x0a\x01\x05\0\0\0\x01\x82\x86\x84\x41\x05bench";
    const END_STREAM: u8 = 1;
    connection.write_all(&[PREFACE, SETTINGS, GET].concat())?;
    loop {
        let mut head = [0; 9];
        connection.read_exact(&mut head)?;
        let [a, b, c, kind, flags, ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        connection.read_exact(&mut payload)?;
        // DATA and HEADERS; in all other frames flag 1 means something else.
        if kind <= 1 && flags & END_STREAM != 0 {
            return Ok(connection.write_all(SETTINGS_ACK)?);
        }
        ensure!(kind != 7, "it got GOAWAY");
    }
}

/// Whether the other end has not closed the connection; on HTTP/2 it may also send frames other than answers.
fn is_open(mut connection: &TcpStream) -> bool {
    if connection.set_nonblocking(true).is_err() {
        return false;
    }
    loop {
        match connection.read(&mut [0; 1024]) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}
