//! Answers that break off: the part that was received is passed on to the client.

use rustix::net::{SendFlags, send};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::kit::{Backend, Fixture, read_head, send_raw};

/// Requests that are read in place, and by hyper.
const REQUESTS: [&str; 3] = [
    "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
];

/// Heads of answers that are more than their heads.
const HEADS: [&str; 3] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 15\r\nConnection: close\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
];

/// Sends this beginning of an answer, and closes its side at the same time.
async fn truncated(beginning: String) -> Backend {
    Backend::raw(move |mut stream| {
        let beginning = beginning.clone();
        async move {
            let request = read_head(&mut stream).await;
            if request.starts_with("POST") && request.ends_with("\r\n\r\n") {
                // With unread bytes the system would reset the connection, and discard what was sent.
                stream.read_exact(&mut [0; 5]).await.unwrap();
            }
            send(&stream, beginning.as_bytes(), SendFlags::MORE).unwrap();
            stream.shutdown().await.unwrap();
        }
    })
    .await
}

#[tokio::test]
async fn the_received_part_of_a_truncated_answer_is_passed_on() {
    for head in HEADS {
        for piece in ["", "5\r\nhello\r\n"] {
            let backend = truncated([head, piece].concat()).await;
            for request in REQUESTS {
                let fixture = Fixture::new(&[backend.address]);
                let received = send_raw(fixture.address, request).await;
                let (began, body) = received.split_once("\r\n\r\n").unwrap_or_default();
                assert!(began.starts_with("HTTP/1.1 200 OK\r\n"), "{head:?} {request:?}: {received:?}");
                assert_eq!(body, piece, "{head:?} {request:?}");
                assert_eq!(fixture.traffic().broken_off, 1, "{head:?} {request:?}");
            }
        }
    }
}
