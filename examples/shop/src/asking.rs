//! What is asked over UDP, without a connection.

use std::io;

use tokio::net::UdpSocket;

/// Bytes of a question that are given back; the rest of a longer one is left out.
const QUESTION_BYTES_MAX: usize = 1024;

/// Answers each datagram with the number of this process and what was asked, for as long as the socket is there. Answers why it is not any more.
pub(crate) async fn answer(socket: UdpSocket) -> io::Error {
    let mut question = [0; QUESTION_BYTES_MAX];
    loop {
        let (size, client) = match socket.recv_from(&mut question).await {
            Ok(asked) => asked,
            Err(error) => return error,
        };
        let answer = [format!("shop {}: ", std::process::id()).as_bytes(), &question[..size]].concat();
        // Who asked may be gone; nobody is told, as UDP has it.
        let _lost = socket.send_to(&answer, client).await;
    }
}
