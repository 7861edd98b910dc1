//! Asks the linker for packed relocations (DT_RELR, 1 MB less in memory) where this machine's C
//! library understands them: glibc since 2.36.

#![expect(clippy::disallowed_methods, reason = "nothing of the program: it is built here")]

use std::process::Command;

/// glibc, release notes of 2.36.
const UNDERSTOOD_SINCE: (u32, u32) = (2, 36);

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is_set = |name: &str, wanted: &str| std::env::var(name).is_ok_and(|value| value == wanted);
    let is_own = std::env::var("HOST") == std::env::var("TARGET");
    if is_own && is_set("CARGO_CFG_TARGET_ENV", "gnu") && glibc() >= Some(UNDERSTOOD_SINCE) {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's glibc; none if it cannot be told.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}
