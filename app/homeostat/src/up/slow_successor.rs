//! A successor that does not come to serve.
//!
//! While a successor is waited for, no loop runs and nothing answers at the API: the successor may already use what only one process may
//! hold. One that hangs would keep it so for ever. It is therefore killed in the end, and the kernel says when it has released everything.

use std::convert::Infallible;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use succession::SuccessorProcess;
use tokio::runtime;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// How long a successor may take until that is reported, and as long again until it is killed.
///
/// 75 s: it waits up to 60 s for the replicas to pass its probes, and a start on a slow disk takes some seconds.
pub(super) const SLOW_AFTER: Duration = Duration::from_secs(75);

/// Interval between reports of a successor that could not be killed.
const REPORT_INTERVAL: Duration = Duration::from_secs(60);

/// The part of this process that answers instead of the API.
pub(super) struct ApiFallback<'a> {
    pub(super) listener: &'a TcpListener,
    pub(super) runtime: &'a runtime::Handle,
    pub(super) tasks: &'a TaskTracker,
}

/// After `slow_after` reports that the successor is slow and answers requests of the API with that; kills it when as much time has passed
/// again. It ends when it is dropped.
pub(super) async fn watch(
    successor: Option<SuccessorProcess>,
    slow_after: Duration,
    api: ApiFallback<'_>,
) -> Infallible {
    let pid = successor.as_ref().map(SuccessorProcess::pid);
    tokio::time::sleep(slow_after).await;
    tracing::warn!(pid, killed_in = ?slow_after, "successor_slow");
    let process = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
    let why = format!(
        "{process} takes over and does not serve yet; this one goes on when that one has ended, and kills it {} s after the handover",
        2 * slow_after.as_secs()
    );
    let _answering = api.answer(why).inspect_err(|error| tracing::warn!(%error, "api_not_answered"));
    tokio::time::sleep(slow_after).await;
    loop {
        let killed =
            successor.as_ref().map_or(Err(io::ErrorKind::Unsupported.into()), SuccessorProcess::kill);
        match killed {
            Ok(()) => tracing::warn!(pid, "successor_killed"),
            Err(error) => {
                let hint = "kill the successor, and this process goes on";
                tracing::error!(pid, %error, hint, "successor_not_killed");
            }
        }
        tokio::time::sleep(REPORT_INTERVAL).await;
    }
}

impl ApiFallback<'_> {
    /// Answers requests with the reason `why` until the result is dropped.
    fn answer(&self, why: String) -> io::Result<DropGuard> {
        let listener = {
            let _within = self.runtime.enter();
            self.listener.try_clone().and_then(tokio::net::TcpListener::from_std)?
        };
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        self.tasks
            .spawn_on(async move { api::serve_unavailable(listener, &why, stopped).await }, self.runtime);
        Ok(stop.drop_guard())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;
    use std::process::{Child, Command};

    use rustix::process::{Pid, Signal, kill_process};

    use super::*;

    /// Ends its process when a check has failed.
    struct Hanging(Child);

    impl Drop for Hanging {
        fn drop(&mut self) {
            // It has ended already when the test passes.
            let _ = self.0.kill();
        }
    }

    fn get(address: std::net::SocketAddr, path: &str) -> (u16, String) {
        let config = ureq::Agent::config_builder().http_status_as_error(false);
        let agent: ureq::Agent = config.build().into();
        let mut response = agent.get(format!("http://{address}{path}")).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_api_says_that_a_successor_hangs_and_the_successor_is_killed() {
        let mut hanging = Hanging(Command::new("sleep").arg("1000").spawn().unwrap());
        kill_process(Pid::from_child(&hanging.0), Signal::STOP).unwrap();
        let pid = hanging.0.id();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let (runtime, tasks) = (runtime::Handle::current(), TaskTracker::new());
        let api = ApiFallback { listener: &listener, runtime: &runtime, tasks: &tasks };
        // Requests wait in the queue of the socket until then.
        let requests = tokio::task::spawn_blocking(move || {
            ["/healthz", "/readyz", "/v1/services"].map(|path| get(address, path))
        });
        let ended = tokio::task::spawn_blocking(move || hanging.0.wait().unwrap());
        let both = async {
            let [healthz, readyz, services] = requests.await.unwrap();
            assert_eq!(healthz, (200, "ok\n".to_owned()));
            for (status, body) in [readyz, services] {
                assert_eq!(status, 503, "{body}");
                assert!(body.contains(&format!("process {pid} takes over and does not serve yet")), "{body}");
            }
            assert_eq!(ended.await.unwrap().signal(), Some(Signal::KILL.as_raw()));
        };
        tokio::select! {
            () = both => {}
            never = watch(SuccessorProcess::open(pid).ok(), Duration::from_secs(1), api) => match never {},
        }
        tasks.close();
        tasks.wait().await;
        assert!(listener.accept().is_err(), "no request is left");
    }
}
