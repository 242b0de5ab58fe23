//! What every command gets: how to print, and which server to use.

use std::future::Future;

use anyhow::Context;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Printer;
use crate::paint::{Colours, Paint};

/// What every command gets.
#[derive(Clone, Debug)]
pub(crate) struct CommandContext {
    /// Whether colours may be used.
    pub(crate) colours: Colours,
    /// Prints to standard output.
    pub(crate) printer: Printer,
    server: String,
}

impl CommandContext {
    pub(crate) fn new(colours: Colours, server: String) -> Self {
        Self { colours, printer: Printer { paint: Paint::stdout(colours) }, server }
    }

    /// The client of the server that the arguments name.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Client::of(&self.server).map_err(Failure::usage)
    }
}

/// Runs asynchronous work to its end, in a runtime of its own on this thread.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("could not start the asynchronous runtime")?.block_on(work)
}
