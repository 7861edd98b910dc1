//! The `verbatim` program, built for these tests: it can be made to die or fail at a named point,
//! and to believe that the clock was set.
// The rules of the product about settings are not for what only its tests set.
#![allow(clippy::disallowed_methods)]

use std::fs;
use std::process::ExitCode;

use jiff::{SignedDuration, Timestamp};
use verifier::{clock, fault};

fn main() -> ExitCode {
    if std::env::var_os("UNDER_TEST_FAULT").is_some() {
        fault::install(meet);
    }
    if std::env::var_os("UNDER_TEST_CLOCK").is_some() {
        clock::replace(told);
    }
    verifier::cli::main()
}

/// `UNDER_TEST_FAULT` is `kill POINT`, `panic POINT` or `fail POINT`; `UNDER_TEST_FAULT_MARK` is a
/// file that is there once it was met, so that it is met once.
fn meet(point: &str) -> anyhow::Result<()> {
    let wanted = std::env::var("UNDER_TEST_FAULT").unwrap_or_default();
    let Some((what, wanted)) = wanted.split_once(' ') else { return Ok(()) };
    let Some(mark) = std::env::var_os("UNDER_TEST_FAULT_MARK") else { return Ok(()) };
    if point != wanted || fs::File::create_new(mark).is_err() {
        return Ok(());
    }
    if what == "kill" {
        // Nothing may run after it: no destructor, no flush.
        let _ = nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL);
    }
    assert!(what != "panic", "the test wants a panic at {point}");
    anyhow::bail!("the test wants a failure at {point}")
}

/// The machine's clock, set by the seconds in the file that `UNDER_TEST_CLOCK` names.
fn told() -> Timestamp {
    let file = std::env::var_os("UNDER_TEST_CLOCK").unwrap_or_default();
    let seconds = fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok());
    Timestamp::now() + SignedDuration::from_secs(seconds.unwrap_or_default())
}
