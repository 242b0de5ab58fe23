//! Runs replicas as processes of this machine.
//!
//! Each life has a session of its own and, where permitted, a control group of its own. It writes its output directly to a file, so
//! no pipe breaks when this process dies. What is needed to find it again is on disk before its start is acknowledged: a driver that
//! opens the same data folder continues where the last one ended, even after a crash.
//!
//! The crate decides nothing about starts, stops or restarts, and probes no replica.
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
mod ending;
mod exec;
mod resize;
mod starting;
mod stopping;
mod usage;

mod descriptor_reserve;
mod driver;
mod epoch_fence;
mod failure;
mod folder_claim;
mod record;
mod tracked_life;

mod cgroup;
mod launch;
mod log;
mod process_end;
mod process_table;

pub use process_platform::{OpenError, ProcessPlatform};
pub use process_table::UnrecordedReplica;
pub use settings::{CgroupUse, CpuPolicy, LogLimits, PATH_DEFAULT, Settings};
