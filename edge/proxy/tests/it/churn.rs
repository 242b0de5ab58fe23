//! Endpoints that are real processes are killed, drained and added under load, and no request fails.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proxy::{EndpointId, EndpointRoute, EndpointState, Protocol};
use tokio::task::JoinSet;

use crate::kit::*;

/// An endpoint that is a process of its own; dropping it kills it with -9.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start() -> Self {
        let here = std::env::current_exe().unwrap();
        let program = here.ancestors().nth(2).unwrap().join("examples/backend");
        let child = Command::new(&program).stdout(Stdio::piped()).stdin(Stdio::null()).spawn();
        let mut child =
            child.unwrap_or_else(|e| panic!("{}: {e}; `cargo build --examples`", program.display()));
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, address: line.trim().parse().unwrap() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[derive(Default)]
struct Score {
    answered: AtomicU64,
    is_over: AtomicBool,
}

/// Requests of one kind on one connection after another, until it is over; the first failure is returned.
async fn load(
    address: SocketAddr,
    (method, path): (&'static str, &'static str),
    score: Arc<Score>,
) -> Result<(), String> {
    while !score.is_over.load(Ordering::Relaxed) {
        let mut client = Client::connect(address).await;
        for _ in 0..50 {
            let body = if method == "GET" { "" } else { "the body of a request" };
            match client.send(request(method, path, body)).await {
                Ok(response) if response.status() == 200 => {
                    assert!(method == "GET" || path != "/" || response.body() == body);
                    score.answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(response) => return Err(format!("{method}: {} {:?}", response.status(), response.body())),
                Err(error) => return Err(format!("{method}: {error:?}")),
            }
        }
    }
    Ok(())
}

async fn answered(score: &Score, more: u64, tasks: &mut JoinSet<Result<(), String>>) {
    let goal = score.answered.load(Ordering::Relaxed) + more;
    until(|| {
        if let Some(ended) = tasks.try_join_next() {
            ended.unwrap().unwrap();
        }
        score.answered.load(Ordering::Relaxed) >= goal
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_drains_and_newcomers_cost_no_request() {
    survive_kills(Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_drains_and_newcomers_cost_no_request_that_shares_a_connection() {
    survive_kills(Protocol::Http2).await;
}

fn fixture(processes: &[Process], protocol: Protocol) -> Fixture {
    let addresses: Vec<_> = processes.iter().map(|process| process.address).collect();
    Fixture::with(&addresses, |_, route| route.protocol = protocol)
}

async fn survive_kills(protocol: Protocol) {
    let mut processes: Vec<_> = (0..3).map(|_| Process::start()).collect();
    let fixture = fixture(&processes, protocol);
    let mut route = fixture.route.clone();
    let score = Arc::new(Score::default());
    let mut tasks = JoinSet::new();
    // What may not be repeated cannot survive a kill in the middle of its answer; PUT and GET can.
    // The frames of an answer in HTTP/2 need not be sent together; one of a single frame has no middle.
    let path = if protocol == Protocol::Http1 { "/" } else { "/empty" };
    for method in ["GET", "PUT"].repeat(8) {
        tasks.spawn(load(fixture.address, (method, path), Arc::clone(&score)));
    }
    for round in 0u32..12 {
        let victim = round as usize % processes.len();
        let id = route.endpoints[victim].id;
        match round % 3 {
            // Killed, and the table changes only later.
            0 => {
                drop(std::mem::replace(&mut processes[victim], Process::start()));
                answered(&score, 200, &mut tasks).await;
            }
            // Killed, and the table changes at once.
            1 => {
                let successor = Process::start();
                drop(std::mem::replace(&mut processes[victim], successor));
                fixture.table.set_endpoint_state(SERVICE, id, EndpointState::Out).unwrap();
            }
            // Drained first, as a scale-in does.
            _ => {
                fixture.table.set_endpoint_state(SERVICE, id, EndpointState::Draining).unwrap();
                within(fixture.table.drained(SERVICE, id)).await;
                processes[victim] = Process::start();
            }
        }
        let reborn = EndpointId { ordinal: id.ordinal, incarnation: id.incarnation + 1 };
        route.endpoints[victim] = EndpointRoute::new(reborn, processes[victim].address);
        fixture.table.set_service(&route).unwrap();
        answered(&score, 200, &mut tasks).await;
    }
    score.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = within(tasks.join_next()).await {
        ended.unwrap().unwrap();
    }
    let traffic = fixture.traffic();
    assert_eq!(traffic.counts.status[4], 0);
    assert!(traffic.counts.requests >= 3_000, "{}", traffic.counts.requests);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_cost_no_request_that_must_not_be_repeated() {
    survive_drains(Protocol::Http1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drains_cost_no_request_that_shares_a_connection_and_must_not_be_repeated() {
    survive_drains(Protocol::Http2).await;
}

async fn survive_drains(protocol: Protocol) {
    let mut processes: Vec<_> = (0..2).map(|_| Process::start()).collect();
    let fixture = fixture(&processes, protocol);
    let mut route = fixture.route.clone();
    let score = Arc::new(Score::default());
    let mut tasks = JoinSet::new();
    for _ in 0..12 {
        tasks.spawn(load(fixture.address, ("POST", "/"), Arc::clone(&score)));
    }
    for round in 0..10 {
        let victim = round % processes.len();
        let id = route.endpoints[victim].id;
        fixture.table.set_endpoint_state(SERVICE, id, EndpointState::Draining).unwrap();
        within(fixture.table.drained(SERVICE, id)).await;
        // Nothing is in flight: killing it now fails no request.
        processes[victim] = Process::start();
        let reborn = EndpointId { incarnation: id.incarnation + 1, ..id };
        route.endpoints[victim] = EndpointRoute::new(reborn, processes[victim].address);
        fixture.table.set_service(&route).unwrap();
        answered(&score, 200, &mut tasks).await;
    }
    score.is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = within(tasks.join_next()).await {
        ended.unwrap().unwrap();
    }
}
