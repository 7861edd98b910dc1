//! The wall clock, behind one function.
//!
//! The clock of a machine may be set at any time, back or forward. What has to last (leases,
//! waiting for the next attempt) is measured on the monotonic clock, or moved along when
//! [`Jump`] sees the wall clock jump.

use std::sync::OnceLock;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

/// What the program under test puts in place of the machine's clock.
static OTHER: OnceLock<fn() -> Timestamp> = OnceLock::new();

/// The time of day.
pub fn now() -> Timestamp {
    match OTHER.get() {
        Some(other) => other(),
        None => Timestamp::now(),
    }
}

/// Milliseconds since 1970, as the store keeps times.
pub fn now_ms() -> i64 {
    now().as_millisecond()
}

/// From now on `clock` tells the time. Later calls change nothing.
pub fn replace(clock: fn() -> Timestamp) {
    let _ = OTHER.set(clock);
}

/// Compares the wall clock with the monotonic one.
#[derive(Debug)]
pub struct Jump {
    wall: Timestamp,
    monotonic: Instant,
}

impl Jump {
    /// A smaller difference is the slow correction of a good clock.
    const MILLISECONDS_MIN: i64 = 30_000;

    /// Begins to compare.
    pub fn new() -> Jump {
        Jump { wall: now(), monotonic: Instant::now() }
    }

    /// By how many milliseconds the wall clock was set since the last call; 0 if it was not.
    pub fn milliseconds(&mut self) -> i64 {
        let (wall, monotonic) = (now(), Instant::now());
        let passed = SignedDuration::try_from(monotonic - self.monotonic).unwrap_or_default();
        let jump = wall.duration_since(self.wall).saturating_sub(passed).as_millis();
        (self.wall, self.monotonic) = (wall, monotonic);
        let jump = i64::try_from(jump).unwrap_or_default();
        if jump.abs() < Jump::MILLISECONDS_MIN { 0 } else { jump }
    }
}

impl Default for Jump {
    fn default() -> Jump {
        Jump::new()
    }
}
