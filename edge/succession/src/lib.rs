//! Hands over the listening sockets of one process to the one that replaces it, so that no client is refused in between.
//!
//! The running process has a [`SuccessorListener`] in its data folder. The process that is to replace it connects there; each represents the
//! other as its [`Successor`] or [`Predecessor`]. The successor receives a [`Handover`]: sockets that keep listening as long as one of the
//! processes has them open. Until it confirms that it serves, the predecessor continues to serve; if the successor ends before that, the
//! predecessor stays.
//!
//! A service manager that follows the first process is notified of its successor, and of other changes of state ([`ServiceManager`]).
//!
//! This crate transfers sockets and messages. It knows no service, and opens no listening socket but its own. It ends no process by
//! itself: [`SuccessorProcess`] is for the caller that has waited long enough for a successor that hangs.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use succession::{Handover, Predecessor, SuccessorListener};
//!
//! let folder = Path::new("data");
//! let listener = SuccessorListener::bind(folder)?;
//!
//! // In another process:
//! if let Some(mut predecessor) = Predecessor::connect(folder, Duration::from_secs(60)).await? {
//!     let handover = predecessor.receive().await?;
//!     // … begins to serve from those sockets …
//!     predecessor.retire().await?;
//! }
//!
//! // Here, meanwhile:
//! let mut successor = listener.accept().await;
//! listener.close("it hands over to another process already").await;
//! successor.send(&Handover::default()).await?;
//! successor.wait_until_serving().await?;
//! // … drains its connections and ends …
//! # Ok(()) }
//! ```

mod handover;
mod predecessor;
mod predecessor_process;
mod sd_notify;
mod socket_path;
mod successor;
mod successor_process;
mod wire;

pub use handover::{Handover, ListeningSocket};
pub use predecessor::{ConnectError, Predecessor, ReceiveError, RetireError};
pub use sd_notify::{Notification, ServiceManager};
pub use successor::{ListenError, ServeError, Successor, SuccessorListener};
pub use successor_process::SuccessorProcess;
