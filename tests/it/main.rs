//! End-to-end tests: the program as a user runs it, against a small world on loopback.
//!
//! One file a room. Fast tests use an environment of this machine's own programs; `genuine` and
//! `browser` use the real one and the real 3.13.5, where `RUN_SLOW_TESTS=1` asks for it.
#![allow(clippy::disallowed_methods)]

mod api;
mod authenticate;
mod browser;
mod compare;
mod config;
mod daemon;
mod deliveries;
mod deploy;
mod diagnose;
mod environment;
mod explain;
mod export;
mod faults;
mod feed;
mod files;
mod genuine;
mod line;
mod operate;
mod rebuild;
mod record;
mod replay;
mod request;
mod retention;
mod sbom;
mod secrets;
mod source;
mod survival;
mod tidy;
mod watch;
mod witness;

use tests::{Place, Scene};

/// Where Cargo put the program under test.
const PLACE: Place = Place {
    program: env!("CARGO_BIN_EXE_verbatim-under-test"),
    temporary: env!("CARGO_TARGET_TMPDIR"),
};

/// A machine that has verified nothing yet, and a world that announces one true release.
fn scene() -> Scene {
    Scene::new(PLACE)
}
