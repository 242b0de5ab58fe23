//! `bench replica`: the smallest program that Homeostat can run, probe and route to.
//!
//! Before anything else, it reports its start to a socket; then it answers every request with `ok`.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use tokio::sync::Mutex;

/// Arguments of the mode.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// The port to listen on.
    #[arg(long)]
    port: u16,
    /// The datagram socket to which this process reports its start.
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Work on each request for this many milliseconds, on one at a time.
    #[arg(long, default_value_t = 0)]
    work_ms: u64,
    /// The same, for the one replica that is slow.
    #[arg(long, default_value_t = 0, requires = "slow_if_first")]
    slow_work_ms: u64,
    /// A file: the replica that creates it is the slow one.
    #[arg(long)]
    slow_if_first: Option<PathBuf>,
}

/// The socket to which replicas report their starts.
#[derive(Debug)]
pub(crate) struct StartReports(mpsc::Receiver<StartReport>);

/// The start of a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartReport {
    /// Its process.
    pub(crate) pid: i32,
    /// When its `main` was entered, since the machine was booted.
    pub(crate) at: Duration,
}

/// Reports the start of this process at `begun` to the socket, and serves until it is killed.
pub(crate) fn run(options: &Options, begun: Duration) -> anyhow::Result<()> {
    if let Some(socket) = &options.socket {
        report_start(socket, begun)?;
    }
    let work = options.work();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("could not start the runtime")?.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await;
        let listener = listener.with_context(|| format!("could not listen on port {}", options.port))?;
        let worker = Arc::new(Mutex::new(()));
        let answer = async move || {
            if !work.is_zero() {
                let _alone = worker.lock().await;
                // tidy: slow on purpose
                tokio::time::sleep(work).await;
            }
            "ok\n"
        };
        axum::serve(listener, Router::new().fallback(answer)).await.context("could not serve")
    })
}

impl Options {
    /// How long this replica works on a request.
    fn work(&self) -> Duration {
        let is_first = |path: &PathBuf| File::create_new(path).is_ok();
        let is_slow = self.slow_if_first.as_ref().is_some_and(is_first);
        Duration::from_millis(if is_slow { self.slow_work_ms } else { self.work_ms })
    }
}

fn report_start(socket: &Path, begun: Duration) -> anyhow::Result<()> {
    let mut report = [0; 12];
    report[..4].copy_from_slice(&std::process::id().to_le_bytes());
    let nanos = u64::try_from(begun.as_nanos()).unwrap_or(u64::MAX);
    report[4..].copy_from_slice(&nanos.to_le_bytes());
    let sender = UnixDatagram::unbound().context("could not create a socket")?;
    sender.send_to(&report, socket).with_context(|| format!("could not send to {}", socket.display()))?;
    Ok(())
}

impl StartReports {
    /// Listens at `path`, which must not exist yet.
    ///
    /// A thread receives each report at once, until this process exits: the system queues only some ten datagrams and then
    /// blocks their senders.
    pub(crate) fn listen(path: &Path) -> anyhow::Result<Self> {
        let socket =
            UnixDatagram::bind(path).with_context(|| format!("could not listen at {}", path.display()))?;
        let (sender, reports) = mpsc::channel();
        let receive_all = move || {
            while let Ok(report) = receive(&socket) {
                if sender.send(report).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("reports".into()).spawn(receive_all);
        thread.context("could not start a thread")?;
        Ok(Self(reports))
    }

    /// The next report; `None` if there is none within `limit`.
    pub(crate) fn next(&self, limit: Duration) -> Option<StartReport> {
        self.0.recv_timeout(limit).ok()
    }
}

fn receive(socket: &UnixDatagram) -> io::Result<StartReport> {
    let mut report = [0; 12];
    let length = socket.recv(&mut report)?;
    let parsed = report.get(..length).and_then(|bytes| {
        let (pid, nanos) = bytes.split_first_chunk::<4>()?;
        let nanos = u64::from_le_bytes(nanos.try_into().ok()?);
        Some(StartReport { pid: i32::from_le_bytes(*pid), at: Duration::from_nanos(nanos) })
    });
    parsed.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_start_is_received_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("reports");
        let reports = StartReports::listen(&path).expect("the path is free");
        report_start(&path, Duration::from_nanos(123_456_789)).expect("the socket exists");
        let report = reports.next(Duration::from_secs(5)).expect("a report was sent");
        assert_eq!(report.at, Duration::from_nanos(123_456_789));
        assert_eq!(u32::try_from(report.pid).ok(), Some(std::process::id()));
        assert!(reports.next(Duration::from_millis(1)).is_none());
    }
}
