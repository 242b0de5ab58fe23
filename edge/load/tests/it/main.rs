//! The public interface of `load`, against servers that behave well and badly.

mod server;
mod traces;

use std::num::NonZeroU16;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::http::uri::PathAndQuery;
use hyper::{Method, StatusCode};
use load::profile::Profile;
use load::rate::Rate;
use load::{LoadPlan, Progress, Report, RequestTemplate, RunError, Target, run};
use server::{Seen, Server, respond};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Longer than any of these loads takes on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn plan(url: &str, rate: f64, duration: Duration) -> LoadPlan {
    let profile = Profile::constant(Rate::per_second(rate).unwrap(), duration).unwrap();
    LoadPlan::new(Target::parse(url).unwrap(), profile)
}

async fn run_to_end(plan: LoadPlan) -> Report {
    Running::start(plan).report().await
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A run in the background; dropping it ends the run.
struct Running {
    runs: JoinSet<Result<Report, RunError>>,
    stop: CancellationToken,
    progress: watch::Receiver<Progress>,
}

impl Running {
    fn start(plan: LoadPlan) -> Self {
        let (sender, progress) = watch::channel(Progress::default());
        let stop = CancellationToken::new();
        let mut runs = JoinSet::new();
        runs.spawn(run(plan, stop.clone(), sender));
        Self { runs, stop, progress }
    }

    async fn wait_for(&mut self, reached: impl FnMut(&Progress) -> bool) -> Progress {
        let waiting = self.progress.wait_for(reached);
        tokio::time::timeout(DEADLINE, waiting)
            .await
            .expect("the state is reached")
            .expect("the run has not ended")
            .clone()
    }

    async fn report(mut self) -> Report {
        let ended = tokio::time::timeout(DEADLINE, self.runs.join_next()).await.expect("the run ends");
        ended.expect("there is one run").expect("it does not panic").expect("it starts")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_a_profile_are_sent_over_kept_connections() {
    let server = Server::with_status(StatusCode::OK).await;
    let report = run_to_end(plan(&server.url(), 200.0, ms(500))).await;
    assert_eq!((report.requests, report.failed, report.skipped, report.stopped), (100, 0, 0, false));
    assert_eq!(report.statuses.get(&200), Some(&100));
    assert_eq!(report.bytes_received, 500);
    assert_eq!(report.series.iter().map(|point| point.sent).sum::<u64>(), 100);
    assert_eq!(report.series.iter().map(|point| point.ok).sum::<u64>(), 100);
    let opened = server.connections.load(Ordering::Relaxed) as u64;
    assert_eq!(report.connections_opened, opened);
    assert!(opened < 100, "connections are kept: {opened} for 100 requests");
    assert!(report.duration_seconds >= 0.5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_sent_in_time_though_none_is_answered() {
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::behind(Arc::clone(&gate)).await;
    let mut running = Running::start(plan(&server.url(), 200.0, ms(500)));
    let seen = running.wait_for(|progress| progress.sent == 100 && progress.in_flight == 100).await;
    assert_eq!(seen.ok, 0);
    gate.add_permits(100);
    let report = running.report().await;
    assert_eq!((report.requests, report.failed, report.skipped), (100, 0, 0));
    // The first was due at 2.5 ms and waited until all had been sent, which is the end of the half second.
    let latency = report.latency_seconds.unwrap();
    assert!(latency.max >= 0.45, "{latency:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_without_a_free_connection_are_skipped_and_counted() {
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::behind(Arc::clone(&gate)).await;
    let connections = NonZeroU16::new(5).unwrap();
    let plan = LoadPlan { connections, ..plan(&server.url(), 200.0, ms(200)) };
    let mut running = Running::start(plan);
    running.wait_for(|progress| progress.skipped == 35).await;
    gate.add_permits(5);
    let report = running.report().await;
    assert_eq!((report.requests, report.failed, report.skipped), (5, 0, 35));
    assert_eq!(report.series.iter().map(|point| point.skipped).sum::<u64>(), 35);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_failure_has_its_class() {
    let refused = {
        let gone = Server::with_status(StatusCode::OK).await;
        gone.url()
    };
    let report = run_to_end(plan(&refused, 100.0, ms(100))).await;
    assert_eq!((report.requests, report.failures.connect), (10, 10), "{report:?}");
    assert_eq!(report.first_causes.connect.as_deref(), Some("Connection refused (os error 111)"));

    let server = Server::with_status(StatusCode::SERVICE_UNAVAILABLE).await;
    let report = run_to_end(plan(&server.url(), 100.0, ms(100))).await;
    assert_eq!((report.failed, report.failures.status5xx), (10, 10), "{report:?}");

    let server = Server::with_status(StatusCode::NOT_FOUND).await;
    let report = run_to_end(plan(&server.url(), 100.0, ms(100))).await;
    assert_eq!((report.failed, report.failures.status4xx), (10, 10), "{report:?}");

    let server = Server::of_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part").await;
    let report = run_to_end(plan(&server.url(), 100.0, ms(100))).await;
    assert_eq!((report.failed, report.failures.reset), (10, 10), "{report:?}");
    let cause = report.first_causes.reset.as_deref();
    assert_eq!(
        cause,
        Some("error reading a body from connection: end of file before message length reached")
    );

    let server = Server::of_bytes(b"220 mail.example.org ESMTP\r\n\r\n").await;
    let report = run_to_end(plan(&server.url(), 100.0, ms(100))).await;
    assert_eq!((report.failed, report.failures.other), (10, 10), "{report:?}");
    assert_eq!(report.first_causes.other.as_deref(), Some("invalid HTTP version parsed"));
    assert_eq!(report.latency_seconds, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_answer_times_out() {
    let server = Server::behind(Arc::new(Semaphore::new(0))).await;
    let report = run_to_end(LoadPlan { timeout: ms(50), ..plan(&server.url(), 100.0, ms(100)) }).await;
    assert_eq!((report.requests, report.failed, report.failures.timeout), (10, 10, 10), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_after_each_answer_costs_no_request() {
    let server = Server::of_requests(|_| async {
        let mut response = respond(StatusCode::OK);
        response.headers_mut().insert("connection", "close".parse().unwrap());
        response
    })
    .await;
    let report = run_to_end(plan(&server.url(), 200.0, ms(250))).await;
    assert_eq!((report.requests, report.failed, report.connections_opened), (50, 0, 50), "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_sent_in_turn_as_they_are_written() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&seen);
    let server = Server::of_requests(move |request: Seen| {
        record.lock().unwrap().push(request);
        async { respond(StatusCode::OK) }
    })
    .await;
    let mut plan = plan(&server.url(), 20.0, ms(200));
    let order = RequestTemplate {
        method: Method::POST,
        body: r#"{"product":7}"#.into(),
        ..RequestTemplate::get(PathAndQuery::from_static("/cart?now"))
    };
    plan.requests.push(order);
    let report = run_to_end(plan).await;
    assert_eq!(report.requests, 4);
    let mut seen = seen.lock().unwrap().clone();
    // Requests may overtake each other on the way; how many there are of each may not change.
    seen.sort_by(|a, b| a.method.cmp(&b.method));
    let host = server.address.to_string();
    let get = Seen { method: "GET".into(), path: "/".into(), host: host.clone(), body: "".into() };
    let post =
        Seen { method: "POST".into(), path: "/cart?now".into(), host, body: r#"{"product":7}"#.into() };
    assert_eq!(seen, [get.clone(), get, post.clone(), post]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopping_ends_the_sending_and_awaits_the_answers() {
    let gate = Arc::new(Semaphore::new(0));
    let server = Server::behind(Arc::clone(&gate)).await;
    let mut running = Running::start(plan(&server.url(), 100.0, Duration::from_secs(3600)));
    running.wait_for(|progress| progress.in_flight > 0).await;
    running.stop.cancel();
    gate.add_permits(Semaphore::MAX_PERMITS / 2);
    let report = running.report().await;
    assert!(report.stopped && report.requests > 0 && report.failed == 0, "{report:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_run_ends_its_thread() {
    let server = Server::behind(Arc::new(Semaphore::new(0))).await;
    let mut running = Running::start(plan(&server.url(), 100.0, Duration::from_secs(3600)));
    running.wait_for(|progress| progress.sent > 0).await;
    let Running { mut runs, mut progress, .. } = running;
    runs.shutdown().await;
    // The thread owns the sender of the progress: it is gone when the channel is closed.
    let closed = async { while progress.changed().await.is_ok() {} };
    tokio::time::timeout(DEADLINE, closed).await.expect("the thread ends");
}

#[tokio::test]
async fn an_unresolvable_name_is_an_error_before_any_request() {
    let (progress, _watcher) = watch::channel(Progress::default());
    let plan = plan("http://no-such-host.invalid/", 1.0, ms(100));
    let refused = run(plan, CancellationToken::new(), progress).await;
    assert!(matches!(refused, Err(RunError::Resolve { .. })), "{refused:?}");
}
