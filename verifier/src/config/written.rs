//! What an operator wrote: one TOML file and the variables of the environment, before anything of
//! it is understood. Every value is kept with its key, so that it can be told what changed.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::{Env, Serialized};
use figment::value::{Dict, Value};
use toml::de::{DeTable, DeValue};

use crate::http::without_secrets;

/// A configuration is some kilobytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What every variable begins with; the parts of a key are parted by two underscores.
const PREFIX: &str = "VERBATIM_";
/// A value whose key has one of these words in it is never shown.
const SECRET_WORDS: [&str; 3] = ["secret", "token", "webhook"];

/// A key, part by part.
pub type Key = Vec<String>;

/// Every value that was written, by its key.
#[derive(Clone, Default, PartialEq)]
pub struct Written {
    file: Option<(PathBuf, String)>,
    /// Keys that a variable sets.
    variables: Vec<Key>,
    values: BTreeMap<Key, Value>,
}

impl fmt::Debug for Written {
    /// The keys only: a value may be a secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.values.keys().map(|key| key.join("."))).finish()
    }
}

impl Written {
    /// Reads `file` and the environment, which takes the place of it.
    pub fn read(file: Option<&Path>) -> anyhow::Result<Written> {
        let mut written = Written::default();
        if let Some(path) = file {
            let text = text_of(path)
                .with_context(|| format!("read the configuration {}", path.display()))?;
            let values: Dict = toml::from_str(&text).map_err(|error| unreadable(path, &error))?;
            flatten(&Vec::new(), values, &mut written.values);
            written.file = Some((path.to_owned(), text));
        }
        let variables = Figment::from(Env::prefixed(PREFIX).split("__"));
        let mut values = BTreeMap::new();
        flatten(&Vec::new(), variables.extract().context("read the environment")?, &mut values);
        written.variables = values.keys().cloned().collect();
        for (key, value) in values {
            written.remove(&key);
            written.values.insert(key, value);
        }
        Ok(written)
    }

    /// All values, ready to be understood.
    pub fn figment(&self) -> Figment {
        let mut root = Dict::new();
        for (key, value) in &self.values {
            insert(&mut root, key, value);
        }
        Figment::from(Serialized::defaults(root))
    }

    /// Takes `key` out, with everything below it; false if it is not there.
    pub fn remove(&mut self, key: &[String]) -> bool {
        let before = self.values.len();
        self.values.retain(|known, _| !known.starts_with(key));
        self.values.len() < before
    }

    /// Where `key` was written.
    pub fn place(&self, key: &[String]) -> String {
        if self.variables.iter().any(|variable| variable.starts_with(key)) {
            return format!("the variable {PREFIX}{}", key.join("__").to_uppercase());
        }
        match &self.file {
            Some((path, text)) => match line_of(text, key) {
                Some(line) => format!("{}, line {line}", path.display()),
                None => path.display().to_string(),
            },
            None => "the defaults".to_owned(),
        }
    }

    /// Keys whose values are not the same in `other`.
    pub fn differing(&self, other: &Written) -> Vec<Key> {
        let all = self.values.keys().chain(other.values.keys());
        let mut keys: Vec<Key> =
            all.filter(|key| self.values.get(*key) != other.values.get(*key)).cloned().collect();
        keys.sort();
        keys.dedup();
        keys
    }

    /// These values, but with those of `other` for every key that `takes`.
    pub fn taking(&self, other: &Written, takes: impl Fn(&Key) -> bool) -> Written {
        let kept = self.values.iter().filter(|(key, _)| !takes(key));
        let taken = other.values.iter().filter(|(key, _)| takes(key));
        let values = kept.chain(taken).map(|(key, value)| (key.clone(), value.clone()));
        Written { values: values.collect(), ..other.clone() }
    }

    /// The value of `key` for a log: never that of a secret, nor one in a URL.
    pub fn shown(&self, key: &Key) -> String {
        let Some(value) = self.values.get(key) else { return "the default".to_owned() };
        let name = key.join(".").to_lowercase();
        if SECRET_WORDS.iter().any(|word| name.contains(word)) {
            return "(not shown)".to_owned();
        }
        match serde_json::to_string(value) {
            Ok(text) => without_secrets(&text).into_owned(),
            Err(_) => "(not shown)".to_owned(),
        }
    }
}

/// The text of a small file.
pub fn text_of(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        bail!("it is larger than {FILE_BYTES_MAX} bytes");
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &toml::de::Error) -> anyhow::Error {
    let text = text_of(path).unwrap_or_default();
    let line = error.span().map(|span| format!(", line {}", line_at(&text, span.start)));
    let (path, line) = (path.display(), line.unwrap_or_default());
    anyhow::anyhow!("read the configuration: {path}{line}: {}", error.message())
}

/// The line of `place` in bytes, counted from 1.
fn line_at(text: &str, place: usize) -> usize {
    text.as_bytes().iter().take(place).filter(|byte| **byte == b'\n').count() + 1
}

/// The line where `key` is written, or the section that it should stand in.
fn line_of(text: &str, key: &[String]) -> Option<usize> {
    let root = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut value: Option<&DeValue<'_>> = None;
    for part in key {
        let table = match value {
            None => Some(root.get_ref()),
            Some(value) => value.as_table(),
        };
        let (place, next) = match (table, value.and_then(DeValue::as_array)) {
            (Some(table), _) => {
                let (name, next) = table.iter().find(|(name, _)| name.get_ref() == part)?;
                (name.span().start, next)
            }
            (None, Some(array)) => {
                let next = array.get(part.parse::<usize>().ok()?)?;
                (next.span().start, next)
            }
            (None, None) => break,
        };
        (found, value) = (Some(line_at(text, place)), Some(next.get_ref()));
    }
    found
}

fn flatten(above: &Key, values: Dict, into: &mut BTreeMap<Key, Value>) {
    for (name, value) in values {
        let mut key = above.clone();
        key.push(name);
        match value {
            Value::Dict(_, inner) => flatten(&key, inner, into),
            value => {
                into.insert(key, value);
            }
        }
    }
}

fn insert(table: &mut Dict, key: &[String], value: &Value) {
    match key {
        [] => {}
        [name] => {
            table.insert(name.clone(), value.clone());
        }
        [name, rest @ ..] => {
            let inner = table.entry(name.clone()).or_insert_with(|| Dict::new().into());
            if let Value::Dict(_, inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::line_of;

    #[test]
    fn the_line_of_a_key_is_found_in_every_way_to_write_it() {
        let text = "a.b = 1\n\n[feed]\napi = \"x\"\n[x.y]\nz = [\n 1,\n 2,\n]\n\
                    [[hook]]\nurl = 1\n[[hook]]\nurl = 2\n";
        for (key, line) in [
            ("a.b", 1),
            ("feed", 3),
            ("feed.api", 4),
            ("feed.api.deeper", 4),
            ("x.y.z", 6),
            ("x.y.z.1", 8),
            ("hook.0.url", 11),
            ("hook.1.url", 13),
        ] {
            let key: Vec<String> = key.split('.').map(str::to_owned).collect();
            assert_eq!(line_of(text, &key), Some(line), "{key:?}");
        }
        assert_eq!(line_of(text, &["none".to_owned()]), None);
    }
}
