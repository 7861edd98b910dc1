//! Which settings may change while the daemon runs, and what became of each that was changed.

use super::{Config, Rebuild};

/// Keys, and sections that end in a dot, whose values are looked at anew each time they are
/// needed. `queue.lease` is not one of them: a worker that beats by the old one would be given up.
const RELOADABLE: [&str; 12] = [
    "feed.interval",
    "feed.requests_per_day",
    "feed.since",
    "queue.retry",
    "queue.park",
    "queue.wait",
    "rebuild.limits.",
    "retention.",
    "server.anonymous_requests",
    "server.requests_per_hour_each",
    "server.requests_per_hour_total",
    "log.level",
];

/// What reading the configuration again came to.
#[derive(Debug)]
pub struct Reloaded {
    /// What holds from now on.
    pub config: Config,
    /// What changed: `feed.interval: "30m" → "10m"`.
    pub changed: Vec<String>,
    /// What was changed, but holds only after a restart; in the same form.
    pub restart: Vec<String>,
}

impl Config {
    /// These settings, with those of `read` that may change while the daemon runs.
    pub fn reloaded(&self, read: &Config) -> anyhow::Result<Reloaded> {
        let is_reloadable = |key: &[String]| is_reloadable(&key.join("."));
        let (mut changed, mut restart) = (Vec::new(), Vec::new());
        for key in self.written.differing(&read.written) {
            let (was, is) = (self.written.shown(&key), read.written.shown(&key));
            let line = format!("{}: {was} → {is}", key.join("."));
            if is_reloadable(&key) { changed.push(line) } else { restart.push(line) }
        }
        let written = self.written.taking(&read.written, |key| is_reloadable(key));
        let limits = read.rebuild.limits.clone();
        let config = Config {
            // What the command line and the machine have a say in, as it was understood.
            state: self.state.clone(),
            environment: self.environment.clone(),
            rebuild: Rebuild { limits, ..self.rebuild.clone() },
            ..Config::of(written)?
        };
        Ok(Reloaded { config, changed, restart })
    }
}

fn is_reloadable(key: &str) -> bool {
    RELOADABLE.iter().any(|known| match known.ends_with('.') {
        true => key.starts_with(known),
        false => key == *known,
    })
}

#[cfg(test)]
mod tests {
    use super::RELOADABLE;

    #[test]
    fn the_shipped_file_names_every_key_that_can_be_reloaded() {
        let shipped = include_str!("../../../config/verbatim.toml").replace("\n# ", " ");
        let (_, rest) = shipped.split_once("the log names both: ").unwrap();
        let (named, _) = rest.split_once(".\n").unwrap();
        assert_eq!(named.split(", ").collect::<Vec<_>>(), RELOADABLE);
    }
}
