//! A request that is counted for its route when it is answered, or will be a line, or both: held by all who carry it, and logged when the last of
//! them lets it go.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;
use tokio::time::Instant;

use super::Log;
use super::entry::{Entry, Peer};
use crate::connection::Client;
use crate::endpoint::Endpoint;
use crate::route::Protocol;
use crate::traffic::RouteShard;

/// What is known so far of a request.
#[derive(Debug)]
pub(crate) struct Record {
    started: Instant,
    /// Where it is counted; `None` once it is.
    tally: RefCell<Option<RouteTally>>,
    line: Option<LogLine>,
}

#[derive(Debug)]
struct RouteTally {
    shards: Arc<[RouteShard]>,
    worker: usize,
}

#[derive(Debug)]
struct LogLine {
    log: Arc<Log>,
    entry: RefCell<Box<Entry>>,
}

impl Record {
    /// A request that has just come, of which nothing is kept yet.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, tally: RefCell::new(None), line: None }
    }

    /// It will be a line of this log.
    pub(crate) fn logged(mut self, log: Arc<Log>, client: &Client, parts: &Parts) -> Self {
        let protocol = match client.protocol {
            // Where bytes pass unread there are no requests.
            Protocol::Http1 | Protocol::Tcp | Protocol::Udp => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2.0",
        };
        let entry = Entry::new(os::wall(), client.address.as_bytes(), protocol, parts);
        self.line = Some(LogLine { log, entry: RefCell::new(Box::new(entry)) });
        self
    }

    /// It is for this route, and counted there by this worker.
    pub(crate) fn of_route(self, route: &Arc<str>, shards: &Arc<[RouteShard]>, worker: usize) -> Self {
        *self.tally.borrow_mut() = Some(RouteTally { shards: Arc::clone(shards), worker });
        self.note(|entry| entry.route = Some(Arc::clone(route)));
        self
    }

    /// It is for the service that the client is connected to, unless that is a listener of several.
    pub(crate) fn goes_to(&self, client: &Client) {
        let service = &client.local.service;
        if service.router.is_none() {
            self.note(|entry| entry.service = Some(Arc::clone(&service.name)));
        }
    }

    /// It goes to this endpoint, perhaps after others.
    pub(crate) fn tries(&self, endpoint: &Endpoint) {
        self.note(|entry| {
            entry.endpoint = Some(Peer::of(endpoint));
            entry.tries += 1;
        });
    }

    /// It was answered so, of a call of gRPC as its trailers say.
    pub(crate) fn answered(&self, status: u16, bytes: u64, upstream: Option<Duration>) {
        if let Some(tally) = self.tally.take() {
            tally.shards[tally.worker].answered(status, self.started.elapsed());
        }
        self.note(|entry| {
            (entry.status, entry.bytes) =
                (status, if &*entry.method == "HEAD" { 0 } else { entry.bytes.max(bytes) });
            entry.upstream = upstream.or(entry.upstream);
        });
    }

    /// It was answered by the proxy itself, in these words.
    pub(crate) fn because(&self, words: &'static str) {
        self.note(|entry| entry.reason = words);
    }

    fn note(&self, change: impl FnOnce(&mut Entry)) {
        if let Some(line) = &self.line {
            change(&mut line.entry.borrow_mut());
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(line) = &mut self.line {
            let mut entry = std::mem::take(line.entry.get_mut());
            entry.duration = self.started.elapsed();
            line.log.put(entry);
        }
    }
}
