//! Queries to PostgreSQL. Source: PostgreSQL's manual, "Frontend/Backend Protocol", by the crate `tokio-postgres`.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, select};
use model::measure::Labels;
use model::resource::{POSTGRES_PORT_DEFAULT, PostgresOrigin, Span};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Error};

use crate::dial::{Bounded, PreparedTls, connect};
use crate::failure::{Failure, sentence, short};
use crate::secret::password;

/// The number that the query gives; none when it gives no row, or NULL. The server cancels it after `limit`.
pub(crate) async fn query(origin: &PostgresOrigin, limit: Span) -> Result<Vec<(Labels, f64)>, Failure> {
    let (host, port) = (origin.address.host(), origin.address.port_or(POSTGRES_PORT_DEFAULT));
    let authority = format!("{host}:{port}");
    let failed = |error| failure(&authority, error);
    let mut config = Config::new();
    config.user(&origin.user).dbname(origin.database.as_ref().unwrap_or(&origin.user));
    config.application_name("homeostat");
    if let Some(from) = &origin.password {
        config.password(password(from).await?);
    }
    let tls = match &origin.tls {
        None => None,
        Some(tls) => Some(PreparedTls::of(host, port, tls).await?),
    };
    config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
    let stream = Bounded::new(connect(host, port).await?);
    let (client, connection) = config.connect_raw(stream, Tls(tls)).await.map_err(failed)?;
    let text = number(&client, &origin.query, limit);
    let text = match select(pin!(text), pin!(connection)).await {
        Either::Left((text, _)) => text,
        Either::Right((Err(error), _)) => Err(error),
        // The connection may end just as it delivers the answer, which is available all the same.
        Either::Right((Ok(()), text)) => text.await,
    };
    let Some(text) = text.map_err(failed)? else { return Ok(Vec::new()) };
    match text.trim().parse() {
        Ok(number) => Ok(vec![(Labels::new(), number)]),
        Err(_) => {
            let found = format!("the text {:?}", text.chars().take(40).collect::<String>());
            Err(Failure::Answer { authority, found })
        }
    }
}

/// The result of the query, as text.
///
/// It runs as a subquery, so the server refuses it unless it is a single query that gives one column and at most one row: the extended
/// protocol allows no second statement, and a statement that changes data is not allowed in a subquery. Nothing is prepared, so that
/// it works through a connection pooler.
async fn number(client: &Client, query: &str, limit: Span) -> Result<Option<String>, Error> {
    let ms = limit.as_millis();
    client.batch_execute(&format!("begin read only; set local statement_timeout = {ms}")).await?;
    let query = query.trim_end().trim_end_matches(';');
    // The end of the line ends a comment in the query.
    let row = client.query_typed_one(&format!("select (\n{query}\n)::text"), &[]).await?;
    row.try_get(0)
}

fn failure(authority: &str, error: Error) -> Failure {
    let authority = authority.to_owned();
    if let Some(error) = error.as_db_error() {
        return Failure::Refused { authority, why: short(error.message()) };
    }
    let why = short(&sentence(&error));
    match error.into_source().and_then(|source| source.downcast::<Failure>().ok()) {
        Some(failure) => *failure,
        None => Failure::Broken { url: authority, why },
    }
}

type Plain = Bounded<TcpStream>;

/// TLS for a connection whose server has agreed to it; `None` when TLS is not requested.
struct Tls(Option<PreparedTls>);

impl TlsConnect<Plain> for Tls {
    type Stream = TlsConnection;
    type Error = Box<dyn std::error::Error + Send + Sync>;
    type Future = BoxFuture<'static, Result<TlsConnection, Self::Error>>;

    fn connect(self, stream: Plain) -> Self::Future {
        async {
            let tls = self.0.ok_or("TLS was not requested")?;
            Ok(TlsConnection(tls.secure(stream).await?))
        }
        .boxed()
    }
}

/// A connection over TLS, without channel binding: the certificate of the server was verified.
struct TlsConnection(tokio_rustls::client::TlsStream<Plain>);

impl TlsStream for TlsConnection {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for TlsConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for TlsConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
