//! How the binary is linked: smaller, by what the linker and the C library at hand can do (docs/decisions/0048).

use std::process::Command;

/// The first version of glibc that reads packed relocations (`DT_RELR`): a binary that has them does not start under an older one.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Rust brings lld for this target alone; elsewhere the linker is the machine's, of which nothing is known.
    if variable("TARGET") != "x86_64-unknown-linux-gnu" || variable("PROFILE") != "release" {
        return;
    }
    // Of equal functions one is kept: many copies of a generic one differ in types alone.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    if glibc().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// An environment variable that cargo sets for this build; empty when it is not set.
#[expect(clippy::disallowed_methods, reason = "the environment is how cargo speaks to a build script")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The version of the machine's glibc; `None` where it is not glibc, or cannot be asked.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = output.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
