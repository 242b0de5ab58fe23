//! What a new process does between fork and exec: with `process_end.rs` the only unsafe code of the crate.
//!
//! The standard library does most of it (descriptors 0 to 2, user, working directory, signal mask). Four things that it cannot do, and
//! that cannot be done from outside in time, need a hook between fork and exec:
//!
//! - a session of its own, so that a terminal's hang-up never reaches it;
//! - the umask, which a program would inherit from the process that started homeostat;
//! - ignored signals, which survive exec (a shell starts background programs with SIGINT ignored: `stop.signal: SIGINT` would
//!   never work);
//! - inherited descriptors without close-on-exec, which cannot all be listed without a race.
//!
//! Joining the control group here, and not after the start, leaves no time in which a child of the replica could be forked
//! outside it. Until its exec the child dies with this process: without the token in its environment it could not be found again.
//!
//! A launcher program that does this and execs again would avoid the unsafe code, but adds a second exec to a path that is
//! measured in milliseconds (replacing a dead replica), and every test would need that program.

#![expect(
    unsafe_code,
    reason = "a hook between fork and exec is unsafe by nature; see the module's documentation"
)]

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::Mode;
use rustix::process::Signal;

/// Files of a replica are readable by all and writable by their owner, as under service managers.
const FILE_MODE_MASK: Mode = Mode::WGRP.union(Mode::WOTH);

/// The highest signal number of Linux on the supported architectures.
const SIGNAL_MAX: libc::c_int = 64;

/// Makes `command` start in its own session and control groups, and inherit only what it was given.
///
/// `procs_files` are `cgroup.procs` files, open for writing.
pub(super) fn isolate(command: &mut Command, procs_files: Vec<File>) {
    let driver = rustix::process::getpid();
    let hook = move || {
        // If the driver died now, this process could not be found: its environment is still the driver's.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        if rustix::process::getppid() != Some(driver) {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        rustix::process::setsid()?;
        rustix::process::umask(FILE_MODE_MASK);
        for procs_file in &procs_files {
            // "0" is the process that writes.
            rustix::io::write(procs_file, b"0")?;
        }
        reset_signals();
        close_inherited_on_exec()?;
        // From here on it outlives the driver.
        rustix::process::set_parent_process_death_signal(None)?;
        Ok(())
    };
    // SAFETY: `hook` runs in the child of a process with many threads, so it must call only what is async-signal-safe.
    // It does nothing but direct system calls (rustix' linux_raw backend and libc's thin wrappers): it does not allocate,
    // takes no lock, and cannot panic; `File` is only borrowed, and never dropped there.
    unsafe { command.pre_exec(hook) };
}

/// Gives every signal its default action.
///
/// By the kernel's own call, since the C library's refuses the two signals that it uses itself, which may be ignored, too.
fn reset_signals() {
    // The kernel's `struct sigaction`: handler, flags, restorer (not on every architecture) and mask, all of one word. Zero is
    // SIG_DFL with an empty mask.
    let default: [usize; 4] = [0; 4];
    let mask_bytes = size_of::<u64>();
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: the kernel reads at most the 32 bytes of `default`, and is given nowhere to write to. The default action
        // runs no code of this process. For SIGKILL and SIGSTOP the call fails and changes nothing.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<usize>(),
                mask_bytes,
            )
        };
    }
}

/// Marks every descriptor above 2 to be closed by exec.
fn close_inherited_on_exec() -> io::Result<()> {
    let flags = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: the call changes a flag of descriptors of this process, the forked child, which uses none of them after
    // exec, and closes nothing before.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, flags) };
    if result == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    // Linux before 5.11 does not know the flag. All descriptors that homeostat opens itself have it set.
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => Ok(()),
        Some(_) | None => Err(error),
    }
}
