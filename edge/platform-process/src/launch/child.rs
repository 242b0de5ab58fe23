//! What a new process does between fork and exec: with `process_end.rs` the only unsafe code of the crate.
//!
//! The standard library does most of it (descriptors 0 to 2, user, folder, signal mask). Four things it cannot do, and
//! that cannot be done from outside in time, need a hook between fork and exec:
//! a session of its own, so that a terminal's hang-up never reaches it; the file mode mask, which a program would inherit
//! from whoever started us; ignored signals, which survive exec (a shell starts background programs with SIGINT
//! ignored: `stop.signal: SIGINT` would never work); and inherited descriptors without close-on-exec, which we cannot see
//! all of without a race. Joining the control group here, and not after the start, leaves no moment in which a child
//! of the replica could be born outside it.
//!
//! The way around unsafe code, a launcher program that does this and execs again, costs a second exec on the way that is
//! measured in milliseconds (a dead replica's successor), and makes every test bring that program.

#![expect(
    unsafe_code,
    reason = "a hook between fork and exec is unsafe by nature; see the module's documentation"
)]

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use rustix::fs::Mode;

/// Files of a replica are readable by all and writable by their owner, as under every service manager.
const FILE_MODE_MASK: Mode = Mode::WGRP.union(Mode::WOTH);

/// The highest signal number of Linux on every architecture that we run on.
const SIGNAL_MAX: libc::c_int = 64;

/// Makes `command` start in a session and in the control groups of its own, with nothing inherited that was not given.
///
/// `cgroup_entrances` are `cgroup.procs` files, open for writing.
pub(super) fn isolate(command: &mut Command, cgroup_entrances: Vec<File>) {
    let hook = move || {
        rustix::process::setsid()?;
        rustix::process::umask(FILE_MODE_MASK);
        for entrance in &cgroup_entrances {
            // "0" is the process that writes.
            rustix::io::write(entrance, b"0")?;
        }
        reset_signals();
        close_inherited_on_exec()
    };
    // SAFETY: `hook` runs in the child of a process with many threads, so it must call only what is async-signal-safe.
    // It does nothing but direct system calls (rustix' linux_raw backend and libc's thin wrappers): it does not allocate,
    // takes no lock, and cannot panic; `File` is only borrowed, and never dropped there.
    unsafe { command.pre_exec(hook) };
}

/// Gives every signal its default action.
fn reset_signals() {
    for signal in 1..=SIGNAL_MAX {
        // SAFETY: SIG_DFL installs no handler, so no code can come to run by it. For numbers that may not be changed
        // (SIGKILL, SIGSTOP, the C library's own two) the call fails and changes nothing.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
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
    // Linux before 5.11 does not know the flag. All descriptors that we open ourselves have it set.
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => Ok(()),
        Some(_) | None => Err(error),
    }
}
