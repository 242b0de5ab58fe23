//! The word to the service manager that has started us, as systemd wants it. Source: sd_notify(3).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The socket on which a service manager listens for messages of its service; none if no manager has started us.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    socket: Option<OsString>,
}

/// What a service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// It serves.
    Ready,
    /// It is about to end.
    Stopping,
    /// From now on the process of this number is the service.
    Successor(u32),
}

impl ServiceManager {
    /// The one that listens at `$NOTIFY_SOCKET`: a path, or after `@` a name in the kernel's own list.
    pub fn at(socket: Option<OsString>) -> Self {
        Self { socket: socket.filter(|socket| !socket.is_empty()) }
    }

    /// Says it, and does not wait for an answer: there is none.
    ///
    /// Fails when nobody listens there, or the name of the socket is none.
    pub fn tell(&self, word: Word) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let address = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(socket)?,
        };
        let said = match word {
            Word::Ready => format!("READY=1\nMAINPID={}\n", std::process::id()),
            Word::Stopping => "STOPPING=1\n".to_owned(),
            Word::Successor(pid) => format!("MAINPID={pid}\n"),
        };
        UnixDatagram::unbound()?.send_to_addr(said.as_bytes(), &address).map(drop)
    }
}
