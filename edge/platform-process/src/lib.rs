//! Runs replicas as processes of this machine.
//!
//! Each life is a session of its own and, where permitted, a control group of its own. Its output goes straight to a file,
//! so no death of ours can break its pipe. What is needed to find it again is on disk before its start is acknowledged:
//! a driver that opens the same data folder goes on where the last one ended, however that ended.
//!
//! The crate never decides to start, stop or restart anything, and asks no replica for its health.
//!
//! ```no_run
//! # async fn example() -> Result<(), platform_process::OpenError> {
//! use platform::Platform as _;
//! use platform_process::{ProcessPlatform, Settings};
//!
//! let platform = ProcessPlatform::open(Settings::new("/var/lib/homeostat", "."))?;
//! for sentence in platform.capabilities().degraded() {
//!     eprintln!("{sentence}");
//! }
//! # Ok(()) }
//! ```

mod process_platform;
mod settings;

mod adopt;
mod allotting;
mod beside;
mod ending;
mod starting;
mod stopping;
mod usage;

mod driver;
mod failure;
mod fence;
mod living;
mod record;

mod cgroup;
mod launch;
mod log;
mod process_end;
mod process_table;

pub use process_platform::{OpenError, ProcessPlatform};
pub use settings::{CgroupUse, CpuPolicy, LogLimits, PATH_DEFAULT, Settings};
