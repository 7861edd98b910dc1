//! The log on standard error: its form, and how much it says, which may change while it runs. No
//! user or password of a URL is in it.

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use clap::ValueEnum;
use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::config::wants_no_colour;
use crate::http::without_secrets;

/// Sets what is said; there once the log has begun.
static FILTER: OnceLock<reload::Handle<EnvFilter, Registry>> = OnceLock::new();

/// Form of the log on standard error.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

/// The least serious news that are still said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// What failed.
    Error,
    /// What somebody should look at.
    #[default]
    Warn,
    /// What happens.
    Info,
    /// What each part does.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// As often as `-v` was given, but not less than `configured`.
    pub fn of(verbose: u8, configured: Level) -> Level {
        let wanted = match verbose {
            0 => return configured,
            1 => Level::Debug,
            _ => Level::Trace,
        };
        wanted.max(configured)
    }

    fn filter(self) -> EnvFilter {
        let words = match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "info,verifier=debug",
            Level::Trace => "debug,verifier=trace",
        };
        // sqlx reports each slow statement on a busy machine; that is no news to a user.
        EnvFilter::new(format!("{words},sqlx=error"))
    }
}

/// Standard error, for whole events: each is one write.
struct WithoutSecrets;

impl Write for WithoutSecrets {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        io::stderr().lock().write_all(without_secrets(&text).as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Begins the log.
pub fn start(level: Level, format: LogFormat) {
    let (filter, handle) = reload::Layer::new(level.filter());
    let log = fmt::layer()
        .with_writer(|| WithoutSecrets)
        .with_ansi(std::io::stderr().is_terminal() && !wants_no_colour());
    let log = match format {
        LogFormat::Text => log.boxed(),
        LogFormat::Json => log.json().boxed(),
    };
    tracing_subscriber::registry().with(filter).with(log).init();
    // The log begins once.
    let _ = FILTER.set(handle);
}

/// From now on the log says what `level` asks for.
pub fn set_level(level: Level) {
    let Some(handle) = FILTER.get() else { return };
    if let Err(error) = handle.reload(level.filter()) {
        tracing::warn!("set the log's level: {error}");
    }
}
