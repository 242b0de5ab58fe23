//! `greeter serve` is the server; `greeter greet` is a client that sends one or many calls.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use greeter::{GreeterClient, GreeterServer, Host, Name};
use tokio::signal::unix::{SignalKind, signal};
use tonic::Code;
use tonic::transport::{Endpoint, Server};

#[derive(Debug, Parser)]
#[command(about = "A small gRPC service, and a client that calls it")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve on a port of 127.0.0.1. On SIGTERM its health check fails, and it finishes the calls in flight.
    Serve {
        /// The port.
        #[arg(long)]
        port: u16,
        /// The name of the server in its greetings.
        #[arg(long, default_value = "greeter")]
        signature: String,
    },
    /// Call a greeter and print its greetings.
    Greet {
        /// The URL of the server, such as http://127.0.0.1:50051.
        #[arg(long)]
        url: String,
        /// Whom to greet.
        #[arg(long, default_value = "world")]
        name: String,
        /// Number of calls, all at the same time on one connection.
        #[arg(long, default_value_t = 1)]
        calls: u32,
        /// Call GreetOften instead of Greet: each call gets several greetings.
        #[arg(long)]
        often: bool,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let ended = match Arguments::parse().verb {
        Verb::Serve { port, signature } => serve(port, signature).await,
        Verb::Greet { url, name, calls, often } => greet(&url, &name, calls, often).await,
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(port: u16, signature: String) -> Result<(), String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut term = signal(SignalKind::terminate())
        .map_err(|error| format!("could not install the handler of SIGTERM: {error}"))?;
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_serving::<GreeterServer<Host>>().await;
    let server = Server::builder().add_service(health).add_service(GreeterServer::new(Host { signature }));
    let served = server.serve_with_shutdown(address, async move {
        term.recv().await;
        reporter.set_not_serving::<GreeterServer<Host>>().await;
    });
    served.await.map_err(|error| format!("could not serve on {address}: {error}"))
}

/// Sends the calls; fails when one of them fails.
async fn greet(url: &str, name: &str, calls: u32, often: bool) -> Result<(), String> {
    let endpoint = Endpoint::from_shared(url.to_owned())
        .map_err(|error| format!("{url} is not a valid URL: {error}"))?;
    let channel = endpoint.connect().await.map_err(|error| format!("could not connect to {url}: {error}"))?;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..calls {
        let (mut client, name) = (GreeterClient::new(channel.clone()), Name { name: name.to_owned() });
        tasks.spawn(async move {
            if !often {
                return client.greet(name).await.map(|greeting| vec![greeting.into_inner().words]);
            }
            let mut greetings = client.greet_often(name).await?.into_inner();
            let mut texts = Vec::new();
            while let Some(greeting) = greetings.message().await? {
                texts.push(greeting.words);
            }
            Ok(texts)
        });
    }
    let mut failed = 0;
    while let Some(ended) = tasks.join_next().await {
        match ended.unwrap_or_else(|panicked| Err(tonic::Status::new(Code::Internal, panicked.to_string()))) {
            Ok(texts) => {
                // The reader may have closed the pipe.
                let _ = writeln!(std::io::stdout(), "{}", texts.join("\n"));
            }
            Err(status) => {
                failed += 1;
                eprintln!("{:?}: {}", status.code(), status.message());
            }
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} of {calls} calls failed")) }
}
