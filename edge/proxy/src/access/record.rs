//! A request that will be a line: held by all who carry it, and logged when the last of them lets it go.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use balance::EndpointId;
use hyper::http::request::Parts;
use tokio::time::Instant;

use super::Log;
use super::entry::Entry;
use crate::connection::Client;
use crate::route::Protocol;

/// What is known so far of a request that is logged.
#[derive(Debug)]
pub(crate) struct Record {
    log: Arc<Log>,
    started: Instant,
    entry: RefCell<Box<Entry>>,
}

impl Record {
    /// A request that has just come.
    pub(crate) fn new(log: Arc<Log>, client: &Client, parts: &Parts, started: Instant) -> Self {
        let protocol = match client.protocol {
            // Where bytes pass unread there are no requests.
            Protocol::Http1 | Protocol::Tcp => "HTTP/1.1",
            Protocol::Http2 => "HTTP/2.0",
        };
        let entry = Entry::new(os::wall(), client.address.as_bytes(), protocol, parts);
        Self { log, started, entry: RefCell::new(Box::new(entry)) }
    }

    /// It is for this route.
    pub(crate) fn is_for(&self, route: &Arc<str>) {
        self.entry.borrow_mut().route = Some(Arc::clone(route));
    }

    /// It is for the service that the client is connected to, unless that is a listener of several.
    pub(crate) fn goes_to(&self, client: &Client) {
        let service = &client.local.service;
        if service.router.is_none() {
            self.entry.borrow_mut().service = Some(Arc::clone(&service.name));
        }
    }

    /// It goes to this endpoint, perhaps after others.
    pub(crate) fn tries(&self, endpoint: EndpointId) {
        let mut entry = self.entry.borrow_mut();
        entry.replica = Some(endpoint.ordinal);
        entry.tries += 1;
    }

    /// It was answered so.
    pub(crate) fn answered(&self, status: u16, bytes: u64, upstream: Option<Duration>) {
        let mut entry = self.entry.borrow_mut();
        (entry.status, entry.bytes) =
            (status, if &*entry.method == "HEAD" { 0 } else { entry.bytes.max(bytes) });
        entry.upstream = upstream.or(entry.upstream);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let mut entry = std::mem::take(self.entry.get_mut());
        entry.duration = self.started.elapsed();
        self.log.put(entry);
    }
}
