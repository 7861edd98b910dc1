//! What the service manager (systemd) is told: ready, reloading, stopping, how things are, and that
//! the daemon is alive. Without one (no NOTIFY_SOCKET) nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;

/// The daemon serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is being read again; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!("read the monotonic clock: {error}"),
    }
}

/// The daemon was told to end.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// How things are, in one line.
pub fn status(text: &str) {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    tell(&[NotifyState::Status(&line)]);
}

/// The daemon is alive and does its work.
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The service manager wants to hear [`alive`] at least this often; none if it does not care.
pub fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn tell(news: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(news) {
        tracing::warn!("tell the service manager: {error}");
    }
}
