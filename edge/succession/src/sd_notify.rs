//! Notifications to the service manager that has started this process, such as systemd. Source: sd_notify(3).

use std::ffi::OsString;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The service manager, if one has started this process.
#[derive(Clone, Debug, Default)]
pub struct ServiceManager {
    socket: Option<OsString>,
}

/// A change of state of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notification {
    /// It serves.
    Ready,
    /// It shuts down.
    Stopping,
    /// From now on the process with this id is the service.
    Successor(u32),
}

impl ServiceManager {
    /// The manager that listens at `$NOTIFY_SOCKET`: a path, or after `@` an abstract name.
    pub fn at(socket: Option<OsString>) -> Self {
        Self { socket: socket.filter(|socket| !socket.is_empty()) }
    }

    /// Sends a notification; there is no answer.
    ///
    /// Fails when no process listens there, or the name of the socket is invalid.
    pub fn notify(&self, notification: Notification) -> io::Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let address = match socket.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddr::from_abstract_name(name)?,
            None => SocketAddr::from_pathname(socket)?,
        };
        let message = match notification {
            Notification::Ready => format!("READY=1\nMAINPID={}\n", std::process::id()),
            Notification::Stopping => "STOPPING=1\n".to_owned(),
            Notification::Successor(pid) => format!("MAINPID={pid}\n"),
        };
        UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(drop)
    }
}
