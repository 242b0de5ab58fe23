//! How long a thread may run before the kernel looks for another one.

#![expect(unsafe_code, reason = "no safe crate wraps sched_getattr(2) and sched_setattr(2)")]

use std::io;
use std::time::Duration;

/// Asks the kernel for shorter (or longer) time slices for the calling thread, and for threads that it starts from now on.
///
/// A thread with short slices is chosen earlier after it wakes up and yields earlier to others; its share of the processor stays the same. So a
/// thread that does little for each event waits less on a busy machine. Linux 6.12 and later heed it ([EEVDF with custom
/// slices](https://docs.kernel.org/scheduler/sched-eevdf.html)) and clamp it to 0.1 to 100 ms; earlier ones accept and ignore it.
///
/// A thread with another scheduling policy than the normal ones (`SCHED_OTHER`, `SCHED_BATCH`) is left as it is, which is no error.
///
/// # Errors
///
/// The kernel, or a filter of system calls, refuses. Nothing was changed.
pub fn request_time_slice(slice: Duration) -> io::Result<()> {
    let mut attributes = attributes()?;
    if !is_fair(attributes.sched_policy) {
        return Ok(());
    }
    attributes.sched_runtime = slice.as_nanos().try_into().unwrap_or(u64::MAX);
    // SAFETY: the kernel reads `size` bytes from the pointer, which is valid for as many, and keeps nothing of it. Thread 0 is the caller.
    let result = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attributes, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The scheduling attributes of the calling thread.
fn attributes() -> io::Result<libc::sched_attr> {
    let mut attributes = libc::sched_attr {
        size: SIZE,
        sched_policy: 0,
        sched_flags: 0,
        sched_nice: 0,
        sched_priority: 0,
        sched_runtime: 0,
        sched_deadline: 0,
        sched_period: 0,
    };
    // SAFETY: the kernel writes at most `SIZE` bytes to the pointer, which is valid for as many, and keeps nothing of it. Any bytes are a valid
    // `sched_attr`. Thread 0 is the caller.
    let result = unsafe { libc::syscall(libc::SYS_sched_getattr, 0, &raw mut attributes, SIZE, 0) };
    if result == 0 { Ok(attributes) } else { Err(io::Error::last_os_error()) }
}

/// The size of the first published version of the structure, which every kernel takes.
const SIZE: u32 = 48;
const _: () = assert!(size_of::<libc::sched_attr>() == SIZE as usize, "libc describes another version");

/// Whether a policy shares the processor fairly, so that it has slices that can be set.
fn is_fair(policy: u32) -> bool {
    i32::try_from(policy).is_ok_and(|policy| matches!(policy, libc::SCHED_OTHER | libc::SCHED_BATCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requested_slice_is_reported_and_nothing_else_changes() {
        std::thread::spawn(|| {
            let before = attributes().unwrap();
            request_time_slice(Duration::from_micros(300)).unwrap();
            let after = attributes().unwrap();
            assert_eq!(after.sched_nice, before.sched_nice);
            assert_eq!(after.sched_policy, before.sched_policy);
            // Kernels before 6.12 report 0 for both.
            if before.sched_runtime > 0 && is_fair(before.sched_policy) {
                assert_eq!(after.sched_runtime, 300_000);
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_niced_thread_stays_niced() {
        std::thread::spawn(|| {
            rustix::process::setpriority_process(Some(rustix::thread::gettid()), 7).unwrap();
            request_time_slice(Duration::from_millis(1)).unwrap();
            assert_eq!(attributes().unwrap().sched_nice, 7);
        })
        .join()
        .unwrap();
    }
}
