//! Hands the listening sockets of one process to the one that takes its place, so that no client finds the door shut in between.
//!
//! The running process keeps a [`Door`] in its data folder. The process that is to take its place connects there; each sees the other as
//! its [`Successor`] and [`Predecessor`]. The successor is given an [`Estate`]: sockets that go on listening whichever process has them.
//! Until it says that it serves, the predecessor goes on serving; if the successor ends before that, in whatever way, the predecessor keeps
//! its place.
//!
//! A service manager that follows the first process is told of its successor, and of whatever else concerns it ([`ServiceManager`]).
//!
//! This crate moves sockets and messages. It knows no service, opens no listening socket but its own, and ends no process.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use std::path::Path;
//! use std::time::Duration;
//!
//! use succession::{Door, Estate, Predecessor};
//!
//! let folder = Path::new("data");
//! let door = Door::open(folder)?;
//!
//! // In another process:
//! if let Some(mut before) = Predecessor::find(folder, Duration::from_secs(60)).await? {
//!     let estate = before.estate().await?;
//!     // … begins to serve from those sockets …
//!     before.retire().await?;
//! }
//!
//! // Here, meanwhile:
//! let mut successor = door.successor().await;
//! drop(door);
//! successor.give(&Estate::default()).await?;
//! if successor.serves().await { /* sees off its clients and ends */ }
//! # Ok(()) }
//! ```

mod door;
mod estate;
mod place;
mod predecessor;
mod wire;
mod word;

pub use door::{Door, DoorError, Successor};
pub use estate::{Estate, Heirloom};
pub use predecessor::{FindError, InheritError, Predecessor, RetireError};
pub use word::{ServiceManager, Word};
