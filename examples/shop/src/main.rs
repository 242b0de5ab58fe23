//! A small web shop whose requests cost real CPU time.
//!
//! It stands for the service that an operator has: it starts slowly if told to, says when it is ready, saturates
//! one core, queues behind it, refuses what the queue cannot hold, and finishes what it has begun when it is asked
//! to stop. It keeps nothing: any replica answers any request.

mod asking;
mod catalogue;
mod counters;
mod pages;
mod routes;
mod shop;
mod work;

use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use clap::Parser;
use tokio::net::{TcpListener, UdpSocket};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::shop::{Phase, Shop};
use crate::work::Page;

/// A small web shop whose requests cost real CPU time.
#[derive(Debug, Clone, Parser)]
#[command(version)]
struct Options {
    /// The port to listen on; 0 takes a free one, which is printed
    #[arg(long, env = "PORT")]
    port: u16,

    /// A second port for what is nobody's business but the operator's: probes and metrics
    #[arg(long)]
    admin_port: Option<u16>,

    /// A port of UDP; what is asked there is answered with the number of this process
    #[arg(long)]
    udp_port: Option<u16>,

    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,

    /// CPU time that each page costs
    #[arg(long, default_value = "5ms", value_parser = duration)]
    work: Duration,

    /// How long each page waits for somebody else besides, such as a database; it costs no CPU, and its thread makes no other page meanwhile
    #[arg(long, default_value = "0s", value_parser = duration)]
    wait: Duration,

    /// Threads that make pages; 1 saturates one core and queues behind it
    #[arg(long, default_value = "1")]
    workers: NonZeroUsize,

    /// Pages that may wait or be made at once; the next is refused with 503
    #[arg(long, default_value = "256")]
    queue: NonZeroUsize,

    /// How long the shop takes to open; until then it answers 503
    #[arg(long, default_value = "0s", value_parser = duration)]
    startup: Duration,

    /// Memory that the shop holds besides its own, in MiB
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=routes::MIB_MAX))]
    memory_mib: u16,

    /// How long requests may take to finish after SIGTERM
    #[arg(long, default_value = "10s", value_parser = duration)]
    grace: Duration,

    /// Offer POST /chaos/{crash,hang,unready,leak}, for tests of what keeps the shop alive
    #[arg(long)]
    allow_chaos: bool,
}

/// The longest duration that an option may have: an hour, longer than any demonstration.
const DURATION_MAX: Duration = Duration::from_secs(3600);

/// Reads a duration such as `5ms` or `2s`.
fn duration(text: &str) -> Result<Duration, String> {
    let refused = |why: String| format!("{why}; write a duration such as 5ms or 2s, of one hour at most");
    let parsed: jiff::SignedDuration =
        text.parse().map_err(|error: jiff::Error| refused(error.to_string()))?;
    let duration = Duration::try_from(parsed).map_err(|_| refused("it is negative".to_owned()))?;
    if duration <= DURATION_MAX { Ok(duration) } else { Err(refused("it is too long".to_owned())) }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(Closing::Finished) => ExitCode::SUCCESS,
        Ok(Closing::GaveUp) => {
            let grace = options.grace;
            let _nobody_listens =
                writeln!(io::stderr(), "shop: gave up on requests that took longer than {grace:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            let (host, port) = (options.host, options.port);
            let _nobody_listens = writeln!(
                io::stderr(),
                "shop: could not listen on {host}:{port}: {error}; choose another --port, or 0 for a free one"
            );
            ExitCode::FAILURE
        }
    }
}

/// How the shop closed.
enum Closing {
    /// Each request that had begun was answered.
    Finished,
    /// The grace ran out before.
    GaveUp,
}

fn run(options: &Options) -> io::Result<Closing> {
    // One thread for the sockets; pages are made on the runtime's blocking threads, which are the workers. All
    // that is ever sent to them is work::Workers' jobs.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(options.workers.get())
        .build()?;
    let closing = runtime.block_on(serve(options))?;
    // What the grace did not suffice for is not waited for now.
    runtime.shutdown_background();
    Ok(closing)
}

async fn serve(options: &Options) -> io::Result<Closing> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let listener = TcpListener::bind((options.host, options.port)).await?;
    let address = listener.local_addr()?;
    let admin = match options.admin_port {
        Some(port) => Some(TcpListener::bind((options.host, port)).await?),
        None => None,
    };
    let asked = match options.udp_port {
        Some(port) => Some(UdpSocket::bind((options.host, port)).await?),
        None => None,
    };
    let shop = Arc::new(Shop::new(Page { work: options.work, wait: options.wait }, options.queue));
    shop.hold_memory(options.memory_mib);
    let mut app = routes::pages(Arc::clone(&shop));
    if options.allow_chaos {
        app = app.merge(routes::chaos(Arc::clone(&shop)));
    }
    let app = routes::hanging_if_told(app, &shop);
    let for_operators = routes::admin(Arc::clone(&shop));
    say(&format!("listening on http://{address}"));

    let closing = Arc::clone(&shop);
    let asked_to_stop = async move {
        // Both are cancel-safe.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        closing.enter(Phase::Closing);
        say("closing: finishing what has begun");
    };
    let listener = listener.tap_io(|stream| {
        // Without it an answer of two small writes waits for the client's acknowledgement of the first.
        let _slower_at_worst = stream.set_nodelay(true);
    });
    let serving = axum::serve(listener, app).with_graceful_shutdown(asked_to_stop).into_future();
    let (opening, grace) = (open_after(options.startup, &shop), grace_after_closing(options.grace, &shop));
    let supervising = async {
        opening.await;
        grace.await;
    };
    let answering = async {
        match asked {
            Some(socket) => asking::answer(socket).await,
            None => std::future::pending().await,
        }
    };
    let administering = async {
        match admin {
            Some(listener) => axum::serve(listener, for_operators).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serving => served.map(|()| Closing::Finished),
        () = supervising => Ok(Closing::GaveUp),
        error = answering => Err(error),
        ended = administering => ended.map(|()| Closing::Finished),
    }
}

/// Opens the shop when its slow start is over, or goes on at once when it closes before.
async fn open_after(startup: Duration, shop: &Shop) {
    tokio::select! {
        () = tokio::time::sleep(startup) => {
            shop.open();
            say("open");
        }
        () = shop.reached(Phase::Closing) => {}
    }
}

/// Waits until the shop has been closing for `grace`.
async fn grace_after_closing(grace: Duration, shop: &Shop) {
    shop.reached(Phase::Closing).await;
    tokio::time::sleep(grace).await;
}

/// Writes a line for whoever reads the log; a reader that has gone is no reason to stop.
fn say(line: &str) {
    let _nobody_listens = writeln!(io::stdout(), "shop: {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_carries_its_unit_and_has_a_limit() {
        assert_eq!(duration("5ms"), Ok(Duration::from_millis(5)));
        assert_eq!(duration("1h"), Ok(DURATION_MAX));
        for bad in ["5", "-5ms", "61m", "soon", ""] {
            assert!(duration(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_options_are_consistent() {
        <Options as clap::CommandFactory>::command().debug_assert();
    }
}
