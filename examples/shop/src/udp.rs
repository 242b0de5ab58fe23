//! Answers datagrams.

use std::io;

use tokio::net::UdpSocket;

/// Most bytes of a datagram that are returned; the rest is dropped.
const DATAGRAM_BYTES_MAX: usize = 1024;

/// Answers each datagram with the id of this process and the content of the datagram. Returns only on an error of the socket.
pub(crate) async fn answer(socket: UdpSocket) -> io::Error {
    let mut datagram = [0; DATAGRAM_BYTES_MAX];
    loop {
        let (size, client) = match socket.recv_from(&mut datagram).await {
            Ok(received) => received,
            Err(error) => return error,
        };
        let answer = [format!("shop {}: ", std::process::id()).as_bytes(), &datagram[..size]].concat();
        // UDP has no delivery guarantee: the client may be gone.
        let _is_lost = socket.send_to(&answer, client).await;
    }
}
