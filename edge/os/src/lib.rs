//! Clocks, entropy, signals, files and time slices: the only place that reads the time.
//!
//! Everything else in the workspace gets the time as an argument. The crate decides nothing, and its only state is when a clock started.
//!
//! ```
//! use model::time::Time;
//! use os::Clock;
//!
//! let last_journaled = Time::from_millis(5);
//! let clock = Clock::continued_after(last_journaled);
//! let now = clock.now();
//! assert!(now.time >= last_journaled);
//! ```

mod clock;
mod entropy;
mod files;
mod limits;
mod signals;
mod time_slice;

pub use clock::{Clock, since_boot, wall};
pub use entropy::{EntropyError, seed, token};
pub use files::{
    Durability, FileLock, LockError, WriteError, create_secret_folder, write_atomically, write_secret,
};
pub use limits::{open_files, raise_open_files};
pub use signals::{Signals, SignalsError, StopSignal};
pub use time_slice::request_time_slice;
