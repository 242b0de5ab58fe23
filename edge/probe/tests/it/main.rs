//! Probes against real sockets.

#![expect(clippy::disallowed_methods, reason = "the servers of a test end with its runtime")]

mod grpc;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use model::resource::{Check, PortName, Probes};
use probe::{Failure, ProbeStatus, Prober, Replica, run_check};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn replica(port: u16) -> Replica {
    let name = PortName::parse("http").unwrap();
    Replica {
        ports: BTreeMap::from([(name.clone(), port)]),
        first_port: Some(name),
        run_beside: Arc::new(|command, _| {
            Box::pin(async move {
                if command[0] == "true" {
                    Ok(())
                } else {
                    Err(Failure::Command("it exited with code 1".to_owned()))
                }
            })
        }),
    }
}

fn check(json: &str) -> Check {
    let probes: Probes = serde_json::from_str(&format!(r#"{{"readiness": {json}}}"#)).unwrap();
    probes.readiness.unwrap().check
}

/// A server that answers every request with the status that is in `status`.
async fn server(status: Arc<AtomicU16>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let status = status.load(Ordering::SeqCst);
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = socket.read(&mut request).await;
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                let _ = socket.write_all(answer.as_bytes()).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_status_from_200_to_399_is_a_success() {
    let status = Arc::new(AtomicU16::new(200));
    let port = server(Arc::clone(&status)).await;
    let http = check(r#"{"http": {"path": "/healthz"}}"#);
    for (code, is_yes) in [(200, true), (204, true), (302, true), (400, false), (503, false)] {
        status.store(code, Ordering::SeqCst);
        assert_eq!(run_check(&replica(port), &http, LONG).await.is_ok(), is_yes, "{code}");
    }
    assert_eq!(
        run_check(&replica(port), &http, LONG).await,
        Err(Failure::Status { path: "/healthz".to_owned(), status: 503 })
    );
}

#[tokio::test]
async fn a_refused_connection_is_a_failure_that_names_the_port() {
    let port = ports::free();
    for form in [r#"{"http": {}}"#, r#"{"tcp": {}}"#] {
        let answer = run_check(&replica(port), &check(form), LONG).await;
        assert!(matches!(&answer, Err(Failure::Refused { port: named, .. }) if *named == port), "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_times_out() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(
        run_check(&replica(port), &check(r#"{"http": {}}"#), SHORT).await,
        Err(Failure::TimedOut(SHORT))
    );
    assert_eq!(run_check(&replica(port), &check(r#"{"tcp": {}}"#), LONG).await, Ok(()));
}

#[tokio::test]
async fn another_protocol_than_http_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"220 mail.example ESMTP\r\n").await.unwrap();
    });
    let answer = run_check(&replica(port), &check(r#"{"http": {}}"#), LONG).await;
    assert!(matches!(answer, Err(Failure::Broken { .. })), "{answer:?}");
}

#[tokio::test]
async fn a_failed_command_has_its_cause() {
    assert_eq!(run_check(&replica(1), &check(r#"{"command": ["true"]}"#), LONG).await, Ok(()));
    let failed = run_check(&replica(1), &check(r#"{"command": ["false"]}"#), LONG).await;
    assert_eq!(failed.unwrap_err().to_string(), "it exited with code 1");
}

#[tokio::test]
async fn a_prober_reports_each_change_and_nothing_else() {
    let status = Arc::new(AtomicU16::new(503));
    let port = server(Arc::clone(&status)).await;
    let probes = serde_json::from_str(
        r#"{"startup": {"http": {}, "every": "5ms"}, "readiness": {"http": {}, "every": "5ms", "failures": 2}}"#,
    );
    let prober = Prober { replica: replica(port), probes: probes.unwrap() };
    let (report, mut statuses) = mpsc::unbounded_channel();
    let probing = tokio::spawn(async move { prober.run(|now| report.send(now).unwrap()).await });
    let mut next = async || tokio::time::timeout(LONG, statuses.recv()).await.unwrap().unwrap();
    assert_eq!(next().await, ProbeStatus { started: false, ready: false, live: true, note: None });
    let why = Some("GET / answered 503".into());
    assert_eq!(next().await, ProbeStatus { started: false, ready: false, live: true, note: why });
    status.store(200, Ordering::SeqCst);
    assert_eq!(next().await, ProbeStatus { started: true, ready: false, live: true, note: None });
    assert_eq!(next().await, ProbeStatus { started: true, ready: true, live: true, note: None });
    status.store(500, Ordering::SeqCst);
    for ready in [true, false] {
        let failed = next().await;
        assert_eq!((failed.ready, failed.note.as_deref()), (ready, Some("GET / answered 500")));
    }
    probing.abort();
}

/// The first status that is as wanted.
async fn status_where(probes: &str, port: u16, mut wanted: impl FnMut(&ProbeStatus) -> bool) -> ProbeStatus {
    let prober = Prober { replica: replica(port), probes: serde_json::from_str(probes).unwrap() };
    let (report, mut status) = mpsc::unbounded_channel();
    let search = async {
        loop {
            let now = status.recv().await.unwrap();
            if wanted(&now) {
                return now;
            }
        }
    };
    tokio::select! {
        () = prober.run(|now| report.send(now).unwrap()) => panic!("a prober with probes does not end"),
        found = tokio::time::timeout(LONG, search) => found.unwrap(),
    }
}

#[tokio::test]
async fn a_replica_that_was_never_ready_has_a_cause() {
    let port = server(Arc::new(AtomicU16::new(503))).await;
    let probes = r#"{"readiness": {"http": {"path": "/healthz"}, "every": "5ms"}}"#;
    let status = status_where(probes, port, |status| status.note.is_some()).await;
    assert_eq!((status.ready, status.note.as_deref()), (false, Some("GET /healthz answered 503")));
}

#[tokio::test]
async fn a_probe_that_passes_does_not_hide_why_another_fails() {
    let port = server(Arc::new(AtomicU16::new(200))).await;
    let probes =
        r#"{"readiness": {"http": {}, "every": "5ms"}, "liveness": {"command": ["false"], "every": "5ms"}}"#;
    let status = status_where(probes, port, |status| status.ready && !status.live).await;
    assert_eq!(status.note.as_deref(), Some("it exited with code 1"));
}

#[tokio::test]
async fn replicas_that_hang_do_not_delay_the_probes_of_others() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent_port = silent.local_addr().unwrap().port();
    let probing: Vec<_> = (0..100)
        .map(|_| {
            let probes = serde_json::from_str(r#"{"readiness": {"http": {}, "timeout": "5m"}}"#).unwrap();
            let prober = Prober { replica: replica(silent_port), probes };
            tokio::spawn(async move { prober.run(|_| {}).await })
        })
        .collect();
    let mut held = Vec::new();
    for _ in 0..64 {
        held.push(silent.accept().await.unwrap());
    }
    let port = server(Arc::new(AtomicU16::new(200))).await;
    let status = status_where(r#"{"readiness": {"http": {}}}"#, port, |status| status.ready).await;
    assert_eq!(status.note, None);
    probing.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_body_without_end_is_a_success() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        while socket.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert_eq!(run_check(&replica(port), &check(r#"{"http": {}}"#), LONG).await, Ok(()));
}
