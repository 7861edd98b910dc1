//! Named points at which a test can make the program fail or die.
//!
//! Every write that matters passes two points: before it (failed, not persisted) and after it
//! (persisted, but nobody was told). Only the program under test installs a [`Hook`]; otherwise a
//! point costs one load.

use std::sync::OnceLock;

/// What happens at a point: nothing, an error, or the end of the process.
pub type Hook = fn(point: &str) -> anyhow::Result<()>;

static HOOK: OnceLock<Hook> = OnceLock::new();

/// Every point that there is, in the order in which a job passes them.
pub const POINTS: &[&str] = &[
    "request.before",
    "request.after",
    "claim.before",
    "claim.after",
    "release.before",
    "release.after",
    "reports.before",
    "reports.after",
    "settle.before",
    "settle.after",
    "deliver.before",
    "deliver.after",
    "compress.before",
    "compress.after",
    "observe.before",
    "observe.after",
    "learn.before",
    "learn.after",
];

/// Passes the point `name`.
pub fn point(name: &'static str) -> anyhow::Result<()> {
    debug_assert!(POINTS.contains(&name), "{name} is not listed");
    match HOOK.get() {
        Some(hook) => hook(name),
        None => Ok(()),
    }
}

/// From now on `hook` is asked at each point. Later calls change nothing.
pub fn install(hook: Hook) {
    let _ = HOOK.set(hook);
}
