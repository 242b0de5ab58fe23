//! `bench replica`: the smallest program that Homeostat can run, ask for its health and route to.
//!
//! Before anything else, it reports to a socket when it began; then it answers every request with `ok`.

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
    /// The datagram socket to which this process reports when it began.
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

/// The socket to which replicas report that they have begun.
#[derive(Debug)]
pub(crate) struct Births(mpsc::Receiver<Birth>);

/// A replica that has begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Birth {
    /// Its process.
    pub(crate) pid: i32,
    /// When its `main` was entered, since the machine was booted.
    pub(crate) at: Duration,
}

/// Reports to the socket that this process began at `begun`, and serves until it is ended.
pub(crate) fn run(options: &Options, begun: Duration) -> anyhow::Result<()> {
    if let Some(socket) = &options.socket {
        tell(socket, begun)?;
    }
    let work = options.work();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("could not start: the system gave no event queue")?.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await;
        let listener = listener.with_context(|| format!("could not listen on port {}", options.port))?;
        let desk = Arc::new(Mutex::new(()));
        let answer = async move || {
            if !work.is_zero() {
                let _alone = desk.lock().await;
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

fn tell(socket: &Path, begun: Duration) -> anyhow::Result<()> {
    let mut birth = [0; 12];
    birth[..4].copy_from_slice(&std::process::id().to_le_bytes());
    let nanos = u64::try_from(begun.as_nanos()).unwrap_or(u64::MAX);
    birth[4..].copy_from_slice(&nanos.to_le_bytes());
    let door = UnixDatagram::unbound().context("could not make a socket")?;
    door.send_to(&birth, socket).with_context(|| format!("could not tell {}", socket.display()))?;
    Ok(())
}

impl Births {
    /// Listens at `path`, which must not exist yet.
    ///
    /// A thread takes each report at once, to the end of this process: the system queues only some ten datagrams and then
    /// lets their senders wait.
    pub(crate) fn listen(path: &Path) -> anyhow::Result<Self> {
        let door =
            UnixDatagram::bind(path).with_context(|| format!("could not listen at {}", path.display()))?;
        let (tell, births) = mpsc::channel();
        let take = move || {
            while let Ok(birth) = receive(&door) {
                if tell.send(birth).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("births".into()).spawn(take);
        thread.context("could not start a thread")?;
        Ok(Self(births))
    }

    /// The next birth that was reported; `None` if there is none within `limit`.
    pub(crate) fn next(&self, limit: Duration) -> Option<Birth> {
        self.0.recv_timeout(limit).ok()
    }
}

fn receive(door: &UnixDatagram) -> io::Result<Birth> {
    let mut birth = [0; 12];
    let length = door.recv(&mut birth)?;
    let whole = birth.get(..length).and_then(|bytes| {
        let (pid, nanos) = bytes.split_first_chunk::<4>()?;
        let nanos = u64::from_le_bytes(nanos.try_into().ok()?);
        Some(Birth { pid: i32::from_le_bytes(*pid), at: Duration::from_nanos(nanos) })
    });
    whole.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reported_birth_is_received_unchanged() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("births");
        let births = Births::listen(&path).expect("the path is free");
        tell(&path, Duration::from_nanos(123_456_789)).expect("somebody listens");
        let birth = births.next(Duration::from_secs(5)).expect("the birth was reported");
        assert_eq!(birth.at, Duration::from_nanos(123_456_789));
        assert_eq!(u32::try_from(birth.pid).ok(), Some(std::process::id()));
        assert!(births.next(Duration::from_millis(1)).is_none());
    }
}
