//! Two sides of one succession, over a real socket in a real folder.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use succession::{Door, Estate, Heirloom, InheritError, Predecessor};
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;

const LINGER: Duration = Duration::from_secs(7);

fn estate_of(listeners: &[TcpListener]) -> Estate {
    let heirloom = |(nth, listener): (usize, &TcpListener)| Heirloom {
        name: format!("service-{nth}"),
        requested: listener.local_addr().unwrap(),
        socket: listener.try_clone().unwrap().into(),
    };
    let sockets = listeners.iter().enumerate().map(heirloom).collect();
    Estate { sockets, serving: BTreeMap::from([("service-0".to_owned(), 3)]) }
}

async fn find(folder: &Path) -> Option<Predecessor> {
    Predecessor::find(folder, LINGER).await.unwrap()
}

#[tokio::test]
async fn sockets_pass_to_the_successor_and_go_on_listening_when_the_first_lets_go() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path()).unwrap();
    let mut before = find(folder.path()).await.expect("one runs");
    let mut successor = door.successor().await;
    assert_eq!(successor.linger(), LINGER);
    let listeners: Vec<TcpListener> = (0..40).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    let given = estate_of(&listeners);
    // Queued with the first, accepted by the second.
    let mut clients: Vec<TcpStream> = listeners
        .iter()
        .map(|listener| TcpStream::connect(listener.local_addr().unwrap()).unwrap())
        .collect();

    let (taken, given) = tokio::join!(before.estate(), successor.give(&given));
    given.unwrap();
    let taken = taken.unwrap();
    drop(listeners);
    before.retire().await.unwrap();
    assert!(successor.serves().await);

    assert_eq!(taken.serving, BTreeMap::from([("service-0".to_owned(), 3)]));
    assert_eq!(taken.sockets.len(), clients.len());
    for (nth, (heirloom, client)) in taken.sockets.into_iter().zip(&mut clients).enumerate() {
        assert_eq!(heirloom.name, format!("service-{nth}"));
        let listener = TcpListener::from(heirloom.socket);
        assert_eq!(listener.local_addr().unwrap(), heirloom.requested);
        let (mut accepted, _) = listener.accept().unwrap();
        accepted.write_all(&[u8::try_from(nth).unwrap()]).unwrap();
        let mut said = [0];
        client.read_exact(&mut said).unwrap();
        assert_eq!(usize::from(said[0]), nth);
    }
}

#[tokio::test]
async fn a_successor_that_is_gone_before_it_serves_has_not_succeeded() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path()).unwrap();
    let mut before = find(folder.path()).await.expect("one runs");
    let mut successor = door.successor().await;
    let given = Estate::default();
    let (taken, given) = tokio::join!(before.estate(), successor.give(&given));
    taken.unwrap();
    given.unwrap();
    drop(before);
    assert!(!successor.serves().await);
}

#[tokio::test]
async fn a_successor_that_is_let_down_is_told_so() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path()).unwrap();
    let mut before = find(folder.path()).await.expect("one runs");
    drop(door.successor().await);
    assert!(matches!(before.estate().await, Err(InheritError::Broken { .. })));
}

#[tokio::test]
async fn where_none_runs_none_is_found_also_not_one_that_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    assert!(find(folder.path()).await.is_none());
    assert!(find(&folder.path().join("not-there")).await.is_none());
    // As kill -9 leaves it: the file without anybody behind.
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("successor.sock")).unwrap());
    assert!(find(folder.path()).await.is_none());
    let door = Door::open(folder.path()).unwrap();
    assert!(find(folder.path()).await.is_some());
    drop(door);
    assert!(find(folder.path()).await.is_none());
}

#[tokio::test]
async fn whoever_says_something_else_is_turned_away_and_the_next_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::open(folder.path()).unwrap();
    let path = folder.path().join("successor.sock");
    let mut other_form = UnixStream::connect(&path).await.unwrap();
    let words = br#"{"say":"ask","form":2,"linger_ms":1}"#;
    other_form.write_u32(u32::try_from(words.len()).unwrap()).await.unwrap();
    other_form.write_all(words).await.unwrap();
    let mut endless = UnixStream::connect(&path).await.unwrap();
    endless.write_u32(u32::MAX).await.unwrap();
    let _before = find(folder.path()).await.expect("one runs");
    assert_eq!(door.successor().await.linger(), LINGER);
}

#[tokio::test]
async fn only_the_owner_may_ask_and_a_long_path_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let door = Door::open(&deep).unwrap();
    let mode = std::fs::metadata(deep.join("successor.sock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let _before = find(&deep).await.expect("one runs");
    assert_eq!(door.successor().await.linger(), LINGER);
}
