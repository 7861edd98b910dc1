//! Named points at which a test can make the program fail or die.
//!
//! Every write that matters passes two points: `NAME.before` (failed, not persisted) and
//! `NAME.after` (persisted, but nobody was told). Only the program under test installs a [`Hook`];
//! otherwise a point costs one load.

use std::sync::OnceLock;

/// What happens at a point: nothing, an error, or the end of the process.
pub type Hook = fn(point: &str) -> anyhow::Result<()>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Every write that has points: what python.org and its repository say, what people ask for, what
/// a worker does with its job, a record that no job asked for, what webhooks are told, and
/// byproducts that are compressed.
///
/// Without points is what comes to the same when it is done again, and is done again: by the next
/// round or start (facts, an opened alarm, the configured webhooks, a sign of life, a job that we
/// want ourselves), or by the operator who was not answered (a cleared alarm, a token). That the
/// clock was set is not noted twice: at worst something is due at another time.
pub const WRITES: &[&str] = &[
    "api_request",
    "learn",
    "files",
    "tags",
    "observe",
    "request",
    "cancel",
    "cancel_job",
    "claim",
    "release",
    "wait",
    "retry",
    "park",
    "reports",
    "settle",
    "give_up",
    "append",
    "deliver",
    "take_delivery",
    "send_again",
    "end_delivery",
    "compress",
];

/// Passes the point before `write`.
pub fn before(write: &'static str) -> anyhow::Result<()> {
    point(write, "before")
}

/// Passes the point after `write`.
pub fn after(write: &'static str) -> anyhow::Result<()> {
    point(write, "after")
}

fn point(write: &'static str, side: &str) -> anyhow::Result<()> {
    debug_assert!(WRITES.contains(&write), "{write} is not listed");
    match HOOK.get() {
        Some(hook) => hook(&format!("{write}.{side}")),
        None => Ok(()),
    }
}

/// From now on `hook` is asked at each point. Later calls change nothing.
pub fn install(hook: Hook) {
    let _ = HOOK.set(hook);
}
