//! A small web shop whose requests cost real CPU time.
//!
//! It stands for the service of a user: it can start slowly, reports when it is ready, saturates one core, queues
//! requests behind it, refuses those beyond the queue, and finishes the requests in flight when it stops. It is
//! stateless: any replica can serve any request.

mod catalogue;
mod counters;
mod pages;
mod routes;
mod shop;
mod udp;
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
    /// The port to listen on; 0 for a free one, which is printed
    #[arg(long, env = "PORT")]
    port: u16,

    /// A second port with only probes and metrics, for operators
    #[arg(long)]
    admin_port: Option<u16>,

    /// A UDP port; datagrams are answered with the id of this process
    #[arg(long)]
    udp_port: Option<u16>,

    /// The address to listen on
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,

    /// CPU time of each page
    #[arg(long, default_value = "5ms", value_parser = duration)]
    work: Duration,

    /// Time that each page also waits, such as for a database; uses no CPU, but occupies its thread
    #[arg(long, default_value = "0s", value_parser = duration)]
    wait: Duration,

    /// Threads that make pages; with 1 the shop saturates one core and queues requests behind it
    #[arg(long, default_value = "1")]
    workers: NonZeroUsize,

    /// Most requests in the queue or in progress; further ones are refused with 503
    #[arg(long, default_value = "256")]
    queue: NonZeroUsize,

    /// Time until the shop is ready; it answers 503 before
    #[arg(long, default_value = "0s", value_parser = duration)]
    startup: Duration,

    /// Additional memory to allocate, in MiB
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=routes::MIB_MAX))]
    memory_mib: u16,

    /// How long requests may take to finish after SIGTERM
    #[arg(long, default_value = "10s", value_parser = duration)]
    grace: Duration,

    /// Enable POST /chaos/{crash,hang,unready,leak}, to test how the shop is healed
    #[arg(long)]
    allow_chaos: bool,
}

/// The longest duration of an option.
const DURATION_MAX: Duration = Duration::from_secs(3600);

/// Parses a duration such as `5ms` or `2s`.
fn duration(text: &str) -> Result<Duration, String> {
    let error = |reason: String| format!("{reason}; write a duration such as 5ms or 2s, of one hour at most");
    let parsed: jiff::SignedDuration = text.parse().map_err(|cause: jiff::Error| error(cause.to_string()))?;
    let duration = Duration::try_from(parsed).map_err(|_| error("it is negative".to_owned()))?;
    if duration <= DURATION_MAX { Ok(duration) } else { Err(error("it is too long".to_owned())) }
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(Closing::Finished) => ExitCode::SUCCESS,
        Ok(Closing::TimedOut) => {
            let grace = options.grace;
            let _is_closed =
                writeln!(io::stderr(), "shop: stopped with requests still in flight after {grace:?}");
            ExitCode::FAILURE
        }
        Err(error) => {
            let (host, port) = (options.host, options.port);
            let _is_closed = writeln!(
                io::stderr(),
                "shop: could not listen on {host}:{port}: {error}; choose another --port, or 0 for a free one"
            );
            ExitCode::FAILURE
        }
    }
}

/// How the shop closed.
enum Closing {
    /// All requests in flight were answered.
    Finished,
    /// The grace period ended before.
    TimedOut,
}

fn run(options: &Options) -> io::Result<Closing> {
    // One thread for the sockets. Pages are made on the blocking threads of the runtime, which only run the jobs of
    // work::Workers.
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(options.workers.get())
        .build()?;
    let closing = runtime.block_on(serve(options))?;
    // Does not wait for requests beyond the grace period.
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
    let udp = match options.udp_port {
        Some(port) => Some(UdpSocket::bind((options.host, port)).await?),
        None => None,
    };
    let shop = Arc::new(Shop::new(Page { work: options.work, wait: options.wait }, options.queue));
    shop.hold_memory(options.memory_mib);
    let mut app = routes::pages(Arc::clone(&shop));
    if options.allow_chaos {
        app = app.merge(routes::chaos(Arc::clone(&shop)));
    }
    let app = routes::with_hang(app, &shop);
    let admin_app = routes::admin(Arc::clone(&shop));
    log(&format!("listening on http://{address}"));

    let closing = Arc::clone(&shop);
    let stop_signal = async move {
        // Both are cancel-safe.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        closing.enter(Phase::Closing);
        log("closing: finishing requests in flight");
    };
    let listener = listener.tap_io(|stream| {
        // Otherwise the second of two small writes waits for the acknowledgement of the first. Failure only costs time.
        let _is_set = stream.set_nodelay(true);
    });
    let serving = axum::serve(listener, app).with_graceful_shutdown(stop_signal).into_future();
    let (opening, grace) = (open_after(options.startup, &shop), grace_after_closing(options.grace, &shop));
    let supervising = async {
        opening.await;
        grace.await;
    };
    let answering = async {
        match udp {
            Some(socket) => udp::answer(socket).await,
            None => std::future::pending().await,
        }
    };
    let administering = async {
        match admin {
            Some(listener) => axum::serve(listener, admin_app).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        served = serving => served.map(|()| Closing::Finished),
        () = supervising => Ok(Closing::TimedOut),
        error = answering => Err(error),
        ended = administering => ended.map(|()| Closing::Finished),
    }
}

/// Opens the shop after its startup time, or returns at once when it closes before.
async fn open_after(startup: Duration, shop: &Shop) {
    tokio::select! {
        () = tokio::time::sleep(startup) => {
            shop.open();
            log("open");
        }
        () = shop.reached(Phase::Closing) => {}
    }
}

/// Waits until the shop has been closing for `grace`.
async fn grace_after_closing(grace: Duration, shop: &Shop) {
    shop.reached(Phase::Closing).await;
    tokio::time::sleep(grace).await;
}

/// Writes a line to the log; a closed stdout is no reason to stop.
fn log(line: &str) {
    let _is_closed = writeln!(io::stdout(), "shop: {line}");
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
