//! The `verbatim` program; everything it does is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    give_back_large_buffers();
    verifier::cli::main()
}

/// A buffer of 128 KiB or more goes back to the system when it is freed. Otherwise glibc raises the
/// bound to the largest buffer it has seen, and a daemon keeps for ever what unpacking an
/// environment once took: 93 MB instead of 24 (mallopt(3), M_MMAP_THRESHOLD).
fn give_back_large_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it sets a number of the allocator, before there is a second thread.
    #[expect(unsafe_code, reason = "no crate offers this call without it")]
    unsafe {
        nix::libc::mallopt(nix::libc::M_MMAP_THRESHOLD, 128 << 10);
    }
}
