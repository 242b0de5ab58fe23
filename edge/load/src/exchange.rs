//! One request and its answer, over a pool of idle connections.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How a request failed without an answer, with the error.
#[derive(Debug)]
pub(crate) enum Failure {
    /// No connection could be made.
    Connect(Cause),
    /// No answer in time.
    Timeout,
    /// The connection ended before the answer did.
    Reset(Cause),
    /// The answer was not HTTP, or another error.
    Other(Cause),
}

/// The original error, which is formatted only if it is the first of its class.
pub(crate) type Cause = Box<dyn Error>;

impl Failure {
    fn connect(cause: impl Error + 'static) -> Self {
        Self::Connect(Box::new(cause))
    }
}

/// A complete answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Bytes of the body.
    pub(crate) bytes: u64,
}

/// Idle connections to one server.
///
/// The one that became idle last is reused first, so that no more connections stay in use than the load needs.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Tried in turn; never empty.
    addresses: Vec<SocketAddr>,
    idle: RefCell<Vec<Connection>>,
    opened: Cell<u64>,
}

impl Pool {
    pub(crate) fn new(addresses: Vec<SocketAddr>) -> Self {
        Self { addresses, idle: RefCell::default(), opened: Cell::new(0) }
    }

    /// Returns how many connections were made so far.
    pub(crate) fn opened(&self) -> u64 {
        self.opened.get()
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// If the server has closed an idle connection before a byte was written to it, the next one is used, and finally a new one
    /// (RFC 9112, 9.3.1). Nothing is sent twice. Dropping the future closes the connection.
    pub(crate) async fn exchange(
        &self,
        mut request: Request<Full<Bytes>>,
    ) -> Result<(Answer, Connection), Failure> {
        loop {
            let kept = self.take_idle().await;
            let is_new = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            match connection.send(request).await {
                Ok(answer) => return Ok((answer, connection)),
                Err(SendError { unsent: Some(unsent), .. }) if !is_new => request = *unsent,
                Err(SendError { failure, .. }) => return Err(failure),
            }
        }
    }

    /// Keeps a connection for the next request, unless the server closes it.
    pub(crate) async fn keep(&self, mut connection: Connection) {
        if connection.is_reusable().await {
            self.idle.borrow_mut().push(connection);
        }
    }

    /// Takes the connection that became free last and is still open.
    async fn take_idle(&self) -> Option<Connection> {
        loop {
            let mut connection = self.idle.borrow_mut().pop()?;
            if connection.is_open().await {
                return Some(connection);
            }
        }
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(&self.addresses[..]).await.map_err(Failure::connect)?;
        self.opened.set(self.opened.get() + 1);
        stream.set_nodelay(true).map_err(Failure::connect)?;
        let (sender, wire) = http1::handshake(TokioIo::new(stream)).await.map_err(Failure::connect)?;
        Ok(Connection { sender, wire: Some(wire) })
    }
}

/// A connection that is driven by the request that uses it: no task of its own, so no switch between tasks.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    /// `None` once it has ended.
    wire: Option<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>,
}

/// Why a request got no answer, and the request itself if none of it was written.
struct SendError {
    failure: Failure,
    unsent: Option<Box<Request<Full<Bytes>>>>,
}

impl From<hyper::Error> for SendError {
    fn from(error: hyper::Error) -> Self {
        Self { failure: failure_of(error), unsent: None }
    }
}

impl Connection {
    async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, SendError> {
        let answering = self.sender.try_send_request(request);
        let response = drive(&mut self.wire, answering).await.map_err(|mut error| {
            let unsent = error.take_message().map(Box::new);
            SendError { failure: failure_of(error.into_error()), unsent }
        })?;
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = drive(&mut self.wire, body.frame()).await {
            bytes += frame?.data_ref().map_or(0, Bytes::len) as u64;
        }
        Ok(Answer { status, bytes })
    }

    /// Whether the connection can send another request, once it has settled after an answer.
    async fn is_reusable(&mut self) -> bool {
        let Self { sender, wire } = self;
        drive(wire, sender.ready()).await.is_ok() && wire.is_some()
    }

    /// Whether the connection is open, as far as is known; does not wait.
    async fn is_open(&mut self) -> bool {
        drive(&mut self.wire, std::future::ready(())).await;
        self.wire.is_some() && self.sender.is_ready()
    }
}

/// Waits for `answer` while it moves the connection forward.
async fn drive<W, T>(wire: &mut Option<W>, answer: impl Future<Output = T>) -> T
where
    W: Future + Unpin,
{
    let mut answer = pin!(answer);
    poll_fn(|context| {
        if wire.as_mut().is_some_and(|wire| Pin::new(wire).poll(context).is_ready()) {
            // Its error, if any, comes out of `answer` too.
            *wire = None;
        }
        answer.as_mut().poll(context)
    })
    .await
}

/// Returns an error of the connection in its class.
fn failure_of(error: hyper::Error) -> Failure {
    if is_end(&error) { Failure::Reset(Box::new(error)) } else { Failure::Other(Box::new(error)) }
}

/// Whether an error says that the connection ended too early.
fn is_end(error: &hyper::Error) -> bool {
    if error.is_incomplete_message()
        || error.is_closed()
        || error.is_canceled()
        || error.is_body_write_aborted()
    {
        return true;
    }
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return matches!(
                io.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::NotConnected
            );
        }
        cause = source.source();
    }
    false
}
