//! Both sides of a handover, over a real socket in a real folder.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use succession::{Handover, ListeningSocket, Predecessor, ReceiveError, SuccessorListener, SuccessorProcess};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

const LINGER: Duration = Duration::from_secs(7);

fn handover_of(listeners: &[TcpListener]) -> Handover {
    let socket = |(nth, listener): (usize, &TcpListener)| ListeningSocket {
        name: format!("service-{nth}"),
        requested: listener.local_addr().unwrap(),
        socket: listener.try_clone().unwrap().into(),
    };
    let sockets = listeners.iter().enumerate().map(socket).collect();
    Handover { sockets, serving: BTreeMap::from([("service-0".to_owned(), 3)]) }
}

async fn connect(folder: &Path) -> Option<Predecessor> {
    Predecessor::connect(folder, LINGER).await.unwrap()
}

#[tokio::test]
async fn received_sockets_keep_listening_after_the_predecessor_has_closed_them() {
    let folder = tempfile::tempdir().unwrap();
    let listener = SuccessorListener::bind(folder.path()).unwrap();
    let mut predecessor = connect(folder.path()).await.expect("one runs");
    let mut successor = listener.accept().await;
    assert_eq!(successor.linger(), LINGER);
    assert_eq!(successor.process().map(|process| process.pid()), Some(std::process::id()));
    let listeners: Vec<TcpListener> = (0..40).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let given = handover_of(&listeners);
    // Queued with the first, accepted by the second.
    let mut clients: Vec<TcpStream> = listeners
        .iter()
        .map(|listener| TcpStream::connect(listener.local_addr().unwrap()).unwrap())
        .collect();

    let (received, given) = tokio::join!(predecessor.receive(), successor.send(&given));
    given.unwrap();
    let received = received.unwrap();
    drop(listeners);
    predecessor.retire().await.unwrap();
    successor.wait_until_serving().await.unwrap();

    assert_eq!(received.serving, BTreeMap::from([("service-0".to_owned(), 3)]));
    assert_eq!(received.sockets.len(), clients.len());
    for (nth, (socket, client)) in received.sockets.into_iter().zip(&mut clients).enumerate() {
        assert_eq!(socket.name, format!("service-{nth}"));
        let listener = TcpListener::from(socket.socket);
        assert_eq!(listener.local_addr().unwrap(), socket.requested);
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.write_all(&[u8::try_from(nth).unwrap()]).unwrap();
        let mut said = [0];
        client.read_exact(&mut said).unwrap();
        assert_eq!(usize::from(said[0]), nth);
    }
}

#[tokio::test]
async fn a_successor_that_ends_before_it_serves_does_not_replace_its_predecessor() {
    let folder = tempfile::tempdir().unwrap();
    let listener = SuccessorListener::bind(folder.path()).unwrap();
    let mut predecessor = connect(folder.path()).await.expect("one runs");
    let mut successor = listener.accept().await;
    let given = Handover::default();
    let (received, given) = tokio::join!(predecessor.receive(), successor.send(&given));
    received.unwrap();
    given.unwrap();
    drop(predecessor);
    let error = successor.wait_until_serving().await.unwrap_err().to_string();
    assert!(error.starts_with("it ended before it served"), "{error}");
}

#[tokio::test]
async fn a_refused_successor_gets_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let listener = SuccessorListener::bind(folder.path()).unwrap();
    let mut predecessor = connect(folder.path()).await.expect("one runs");
    drop(listener.accept().await);
    assert!(matches!(predecessor.receive().await, Err(ReceiveError::Broken { .. })));
}

#[tokio::test]
async fn of_two_successors_the_second_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let listener = SuccessorListener::bind(folder.path()).unwrap();
    let mut first = connect(folder.path()).await.expect("one runs");
    let mut second = connect(folder.path()).await.expect("one runs");
    let mut successor = listener.accept().await;
    let refusing = listener.close("it hands over to another process already");
    assert!(connect(folder.path()).await.is_none(), "it listens no more");
    refusing.await;
    let refused = second.receive().await.unwrap_err();
    assert!(
        matches!(&refused, ReceiveError::Refused { why, .. } if why.contains("another process")),
        "{refused}"
    );
    let given = Handover::default();
    let (received, given) = tokio::join!(first.receive(), successor.send(&given));
    received.unwrap();
    given.unwrap();
}

#[tokio::test]
async fn no_predecessor_is_found_where_none_runs_or_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(connect(folder.path()).await.is_none());
    assert!(connect(&folder.path().join("not-there")).await.is_none());
    // As after kill -9: a socket file without a listener.
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("successor.sock")).unwrap());
    assert!(connect(folder.path()).await.is_none());
    let listener = SuccessorListener::bind(folder.path()).unwrap();
    assert!(connect(folder.path()).await.is_some());
    drop(listener);
    assert!(connect(folder.path()).await.is_none());
}

#[tokio::test]
async fn invalid_requests_are_refused_and_the_next_one_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let listener = SuccessorListener::bind(folder.path()).unwrap();
    let path = folder.path().join("successor.sock");
    let mut other_form = UnixStream::connect(&path).await.unwrap();
    let words = br#"{"say":"ask","form":2,"linger_ms":1}"#;
    other_form.write_u32(u32::try_from(words.len()).unwrap()).await.unwrap();
    other_form.write_all(words).await.unwrap();
    let mut endless = UnixStream::connect(&path).await.unwrap();
    endless.write_u32(u32::MAX).await.unwrap();
    let _before = connect(folder.path()).await.expect("one runs");
    assert_eq!(listener.accept().await.linger(), LINGER);
}

#[tokio::test]
async fn only_the_owner_may_connect_and_a_long_path_works() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let listener = SuccessorListener::bind(&deep).unwrap();
    let mode = std::fs::metadata(deep.join("successor.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _before = connect(&deep).await.expect("one runs");
    assert_eq!(listener.accept().await.linger(), LINGER);
}

#[test]
fn a_process_is_killed_though_it_is_stopped_and_never_another_one_in_its_place() {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    kill_process(Pid::from_child(&child), Signal::STOP).unwrap();
    let process = SuccessorProcess::open(child.id()).unwrap();
    process.kill().unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::KILL.as_raw()));
    let error = process.kill().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::SRCH.raw_os_error()));
    // As the kernel reports a process of another namespace; kill(2) would take it for the group of the caller.
    assert!(SuccessorProcess::open(0).is_err());
}
