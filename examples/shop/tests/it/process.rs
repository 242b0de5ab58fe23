//! A shop as a process, and an HTTP client for it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Method, Request, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

/// Longer than any step takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A running shop; killed when dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    origin: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A response, with its body as text.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have exited already; it is waited for in any case.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Process {
    /// Starts a shop on a free port and waits until it listens.
    pub(crate) fn start(options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_shop"))
            .args(["--port", "0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the shop starts");
        let mut first = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        // The pipe is closed afterwards; the shop must tolerate that.
        BufReader::new(stdout).read_line(&mut first).expect("it prints its address");
        let origin = first.trim().rsplit(' ').next().expect("the line ends with the address").to_owned();
        assert!(origin.starts_with("http://127.0.0.1:"), "{first:?}");
        Self { child, origin, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Starts a shop and waits until it is open.
    pub(crate) async fn open(options: &[&str]) -> Self {
        let shop = Self::start(options);
        let open = async { while shop.get("/healthz").await.status != StatusCode::OK {} };
        tokio::time::timeout(DEADLINE, open).await.expect("it opens");
        shop
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, "").await.expect("a response")
    }

    /// Sends a request to another port of the shop.
    pub(crate) async fn get_at(&self, address: SocketAddr, path: &str) -> Response {
        self.send_to(&format!("http://{address}"), Method::GET, path, "").await.expect("a response")
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Response {
        self.send(Method::POST, path, json).await.expect("a response")
    }

    /// Sends a request; `None` without a response.
    pub(crate) async fn send(&self, method: Method, path: &str, json: &str) -> Option<Response> {
        self.send_to(&self.origin, method, path, json).await
    }

    async fn send_to(&self, origin: &str, method: Method, path: &str, json: &str) -> Option<Response> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{origin}{path}"))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(json.as_bytes())))
            .expect("a request of the test");
        let response = self.client.request(request).await.ok()?;
        let status = response.status();
        let body = response.into_body().collect().await.ok()?.to_bytes();
        Some(Response { status, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Waits until the metrics contain this line.
    pub(crate) async fn wait_for_metric(&self, line: &str) {
        let shown = async { while !self.get("/metrics").await.body.lines().any(|shown| shown == line) {} };
        tokio::time::timeout(DEADLINE, shown).await.unwrap_or_else(|_| panic!("no {line} in the metrics"));
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a process id");
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    }

    /// Waits until the process has exited.
    pub(crate) async fn exit_status(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_raw(self.pid()).expect("a process id");
        let flags = rustix::process::PidfdFlags::NONBLOCK;
        let ended = rustix::process::pidfd_open(pid, flags).expect("it was not waited for yet");
        let mut watched = [rustix::event::PollFd::new(&ended, rustix::event::PollFlags::IN)];
        let deadline = rustix::event::Timespec { tv_sec: 60, tv_nsec: 0 };
        let polled = tokio::task::block_in_place(|| rustix::event::poll(&mut watched, Some(&deadline)));
        assert_eq!(polled, Ok(1), "the process has not exited");
        self.child.wait().expect("a child can be waited for")
    }

    /// Returns the CPU time used by the process.
    pub(crate) fn cpu_time(&self) -> Duration {
        let stat =
            procfs::process::Process::new(self.pid()).and_then(|process| process.stat()).expect("it runs");
        Duration::from_secs_f64((stat.utime + stat.stime) as f64 / procfs::ticks_per_second() as f64)
    }

    /// Returns the anonymous memory of the process, in KiB.
    pub(crate) fn own_memory_kib(&self) -> u64 {
        let status =
            procfs::process::Process::new(self.pid()).and_then(|process| process.status()).expect("it runs");
        status.rssanon.expect("the kernel reports it")
    }
}
