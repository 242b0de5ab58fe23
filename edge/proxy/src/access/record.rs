//! The record of a request that is logged, or counted for its route, or both.
//!
//! It is shared by all parts that serve the request, counted when the request is answered, and logged when the last of them drops it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::request::Parts;
use tokio::time::Instant;

use super::Log;
use super::entry::{Destination, Entry};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::route::Protocol;
use crate::traffic::RouteShard;

/// What is known of a request so far.
#[derive(Debug)]
pub(crate) struct Record {
    started: Instant,
    /// Where it is to be counted; `None` once it was.
    counter: RefCell<Option<RouteCounter>>,
    line: Option<PendingLine>,
}

#[derive(Debug)]
struct RouteCounter {
    shards: Arc<[RouteShard]>,
    worker: usize,
}

#[derive(Debug)]
struct PendingLine {
    log: Arc<Log>,
    entry: RefCell<Box<Entry>>,
}

impl Record {
    /// A new record, of which nothing is counted or logged yet.
    pub(crate) fn new(started: Instant) -> Self {
        Self { started, counter: RefCell::new(None), line: None }
    }

    /// Logs the request in `log`.
    pub(crate) fn with_log(mut self, log: Arc<Log>, client: &Client, parts: &Parts) -> Self {
        let protocol = match client.protocol {
            // TCP and UDP have no requests.
            Protocol::Http1 | Protocol::Tcp | Protocol::Udp => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2.0",
        };
        let entry = Entry::new(os::wall(), client.address.as_bytes(), protocol, parts);
        self.line = Some(PendingLine { log, entry: RefCell::new(Box::new(entry)) });
        self
    }

    /// Counts the request for this route, in the shard of this worker.
    pub(crate) fn with_route(self, route: &Arc<str>, shards: &Arc<[RouteShard]>, worker: usize) -> Self {
        *self.counter.borrow_mut() = Some(RouteCounter { shards: Arc::clone(shards), worker });
        self.note(|entry| entry.route = Some(Arc::clone(route)));
        self
    }

    /// Sets the service, unless the client's is a listener that services share.
    pub(crate) fn set_service(&self, client: &Client) {
        let service = &client.local.service;
        if service.router.is_none() {
            self.note(|entry| entry.service = Some(Arc::clone(&service.name)));
        }
    }

    /// Adds an attempt at this endpoint.
    pub(crate) fn add_attempt(&self, endpoint: &Endpoint) {
        self.note(|entry| {
            entry.endpoint = Some(Destination::of(endpoint));
            entry.tries += 1;
        });
    }

    /// Sets how it was answered; a gRPC call by the status in its trailers.
    pub(crate) fn answered(&self, status: u16, bytes: u64, upstream: Option<Duration>) {
        if let Some(counter) = self.counter.take() {
            counter.shards[counter.worker].answered(status, self.started.elapsed());
        }
        self.note(|entry| {
            (entry.status, entry.bytes) =
                (status, if &*entry.method == "HEAD" { 0 } else { entry.bytes.max(bytes) });
            entry.upstream = upstream.or(entry.upstream);
        });
    }

    /// Sets the message of a local reply.
    pub(crate) fn set_reason(&self, message: &'static str) {
        self.note(|entry| entry.reason = message);
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
