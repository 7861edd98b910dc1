//! Mistakes in a configuration, each in words: where it stands, what is wrong, what was meant.

use figment::error::Kind;

use super::Config;
use super::written::{Key, Written};
use crate::definitions::Definitions;
use crate::http::without_secrets;

/// More are not listed.
const MISTAKES_MAX: usize = 20;
/// A sibling that is less like the unknown key is not what was meant.
const LIKENESS_MIN: f64 = 0.6;

/// Every mistake of what is `written`, in one sentence; `first` is what was found already.
pub fn explained(first: figment::Error, written: &Written) -> anyhow::Error {
    let mut rest = written.clone();
    let mut mistakes = Vec::new();
    let mut next = Some(first);
    while let Some(error) = next.take().filter(|_| mistakes.len() < MISTAKES_MAX) {
        // An array may hold several errors in one.
        for error in error {
            let (key, what) = mistake(&error);
            let place = written.place(&key);
            mistakes.push(format!("{place}: {what}"));
            // Without it the next mistake shows; if it cannot be taken out, there is no next one.
            if rest.remove(&key) {
                next = rest.figment().extract::<Config>().err();
            }
        }
    }
    mistakes.dedup();
    anyhow::anyhow!("read the configuration: {}", mistakes.join("; "))
}

/// The key and what is wrong with it.
fn mistake(error: &figment::Error) -> (Key, String) {
    let mut key = error.path.clone();
    let Kind::UnknownField(name, siblings) = &error.kind else {
        let what = format!("{} is wrong: {}", key.join("."), error.kind);
        let what = without_secrets(&what).into_owned();
        return (key, what);
    };
    if key.last() != Some(name) {
        key.push(name.clone());
    }
    let nearest = nearest(&key, siblings);
    let hint = nearest.map(|near| format!("; the nearest key is {near}")).unwrap_or_default();
    let what = format!("{} is not a key{hint}", key.join("."));
    (key, what)
}

/// The key that was meant: one of the same name in another section, or a sibling.
fn nearest(key: &Key, siblings: &[&str]) -> Option<String> {
    let (name, section) = key.split_last()?;
    let elsewhere = shipped_keys().into_iter().find(|known| known.last() == Some(name));
    if let Some(known) = elsewhere {
        return Some(known.join("."));
    }
    let likeness = |known: &str| strsim::jaro_winkler(known, name);
    let best = siblings.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    let mut meant = section.to_vec();
    meant.push((*best).to_owned());
    (likeness(best) >= LIKENESS_MIN).then(|| meant.join("."))
}

/// Every key of the configuration that explains them all.
fn shipped_keys() -> Vec<Key> {
    let text = Definitions::BuiltIn.text("verbatim.toml").unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let mut keys = Vec::new();
    let mut pending: Vec<(Key, toml::Table)> = vec![(Key::new(), table)];
    while let Some((above, table)) = pending.pop() {
        for (name, value) in table {
            let mut key = above.clone();
            key.push(name);
            match value {
                toml::Value::Table(inner) => pending.push((key, inner)),
                _ => keys.push(key),
            }
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::config::Config;

    /// Loads `text`; every expectation is part of the one sentence.
    fn check(text: &str, expected: &[&str]) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let error = format!("{:#}", Config::load(Some(file.path()), None).unwrap_err());
        assert!(error.contains(&file.path().display().to_string()), "{error}");
        for expected in expected {
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
    }

    #[test]
    fn an_unknown_key_names_its_line_and_the_nearest_one() {
        let nearest = ", line 2: feed.appi is not a key; the nearest key is feed.api";
        check("[feed]\nappi = \"https://x.org\"\n", &[nearest]);
        check(
            "\n\n[feeed]\napi = \"https://x.org\"\n",
            &[", line 3: feeed is not a key; the nearest key is feed"],
        );
        check(
            "[rebuild.limits]\nwall_secs = 1\n",
            &["line 2: rebuild.limits.wall_secs is not a key; the nearest key is \
             rebuild.limits.wall_seconds"],
        );
    }

    #[test]
    fn a_key_in_the_wrong_section_names_the_right_one() {
        check("listen = \"127.0.0.1:1\"\n", &["line 1: listen is not", "is server.listen"]);
        check("[server]\ninterval = \"1h\"\n", &["server.interval is not", "is feed.interval"]);
    }

    #[test]
    fn a_wrong_value_names_its_line_and_key() {
        for (text, expected) in [
            ("[feed]\napi = \"not a url\"\n", "line 2: feed.api is wrong: \"not a url\" is not a"),
            (
                "[feed]\ninterval = \"soon\"\n",
                "line 2: feed.interval is wrong: \"soon\" is no time",
            ),
            ("[feed]\n\ninterval = 3\n", "line 3: feed.interval is wrong: invalid type"),
            ("feed = 1\n", "line 1: feed is wrong: invalid type"),
            ("[rebuild.limits]\nprocesses = \"many\"\n", "line 2: rebuild.limits.processes is"),
            ("[rebuild]\nruntime = \"docker\"\n", "line 2: rebuild.runtime is wrong: unknown"),
            ("[store]\nurl = \"mysql://x\"\n", "line 2: store.url is wrong: \"mysql://x\" is not"),
            (
                "[environment]\narchives = [\n\"https://a.example\",\n\"b\",\n]\n",
                "line 4: environment.archives.1 is wrong",
            ),
            ("[feed\n", "line 1: "),
            ("[feed]\napi = 1\napi = 2\n", "line 3: duplicate key"),
        ] {
            check(text, &[expected]);
        }
    }

    #[test]
    fn every_mistake_is_named_at_once() {
        check(
            "[feed]\nappi = 1\ninterval = 3\n[queue]\nlease = \"no\"\nretry = \"1s\"\n",
            &[
                "line 2: feed.appi is not",
                "line 3: feed.interval is wrong",
                "line 5: queue.lease is wrong",
            ],
        );
    }
}
