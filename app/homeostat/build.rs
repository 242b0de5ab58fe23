//! Linker options that make the binary smaller, where the linker and the C library support them (docs/decisions/0048).

use std::process::Command;

/// The first version of glibc with packed relocations (`DT_RELR`): a binary that has them does not start under an older one.
const PACKED_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Rust ships lld for this target only; elsewhere the linker is that of the machine, and its options are unknown.
    if variable("TARGET") != "x86_64-unknown-linux-gnu" || variable("PROFILE") != "release" {
        return;
    }
    // Identical code folding: many instances of a generic function compile to the same code.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    if glibc().is_some_and(|version| version >= PACKED_SINCE) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// An environment variable set by cargo; empty when it is not set.
#[expect(clippy::disallowed_methods, reason = "cargo passes its parameters in the environment")]
fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

/// The version of the machine's glibc; `None` where the C library is another, or `getconf` fails.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let output = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = output.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.split('.').next()?.parse().ok()?))
}
