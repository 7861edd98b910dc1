//! JSON documents: whether they hold the same value, and which values differ.

use serde_json::Value;

use super::cause::{Cause, CauseId};
use super::difference::Detail;
use super::limits::Meter;
use super::text;

/// A parsed document takes several times its size in memory.
const DOCUMENT_BYTES_MAX: usize = 2 << 20;
/// Places that a cause names.
const PLACES_MAX: usize = 5;

/// Compares two different texts as JSON; `None` if one of them is none, or too large.
pub(super) fn compare(
    published: &[u8],
    rebuilt: &[u8],
    meter: &Meter,
) -> Option<(Vec<Cause>, Option<Detail>)> {
    if published.len().max(rebuilt.len()) > DOCUMENT_BYTES_MAX {
        return None;
    }
    let a: Value = serde_json::from_slice(published).ok()?;
    let b: Value = serde_json::from_slice(rebuilt).ok()?;
    let (mut causes, detail) = text::compare(published, rebuilt, meter);
    if a == b {
        let detail_text = "the same value, written differently (blanks or order of keys)";
        causes.insert(0, Cause::whole(CauseId::JsonFormatting, detail_text));
        return Some((causes, Some(detail)));
    }
    let mut places = Places::default();
    places.walk(&a, &b, &mut String::new());
    let mut shown = places.first.join(", ");
    if places.count > places.first.len() as u64 {
        shown.push_str(", …");
    }
    let text = format!("{} values: {shown}", places.count);
    causes.insert(0, Cause::whole(CauseId::JsonValues, text));
    // One long line says nothing; laid out, the difference is a few lines.
    let one_line = !published.trim_ascii_end().contains(&b'\n');
    let detail = match (one_line, laid_out(&a), laid_out(&b)) {
        (true, Some(a), Some(b)) => text::compare(&a, &b, meter).1,
        _ => detail,
    };
    Some((causes, Some(detail)))
}

fn laid_out(value: &Value) -> Option<Vec<u8>> {
    serde_json::to_vec_pretty(value).ok()
}

/// JSON pointers (RFC 6901) of values that differ.
#[derive(Default)]
struct Places {
    count: u64,
    first: Vec<String>,
}

impl Places {
    fn walk(&mut self, a: &Value, b: &Value, place: &mut String) {
        match (a, b) {
            (Value::Object(a), Value::Object(b)) => {
                for (key, value) in a {
                    let other = b.get(key).unwrap_or(&Value::Null);
                    self.step(value, other, b.contains_key(key), key, place);
                }
                for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                    self.step(&Value::Null, value, false, key, place);
                }
            }
            (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
                for (index, (a, b)) in a.iter().zip(b).enumerate() {
                    self.step(a, b, true, &index.to_string(), place);
                }
            }
            _ => self.add(place),
        }
    }

    fn step(&mut self, a: &Value, b: &Value, on_both: bool, key: &str, place: &mut String) {
        if on_both && a == b {
            return;
        }
        let length = place.len();
        place.push('/');
        place.push_str(&key.replace('~', "~0").replace('/', "~1"));
        match on_both {
            true => self.walk(a, b, place),
            false => self.add(place),
        }
        place.truncate(length);
    }

    fn add(&mut self, place: &str) {
        self.count += 1;
        if self.first.len() < PLACES_MAX {
            self.first.push(if place.is_empty() { "/".into() } else { place.into() });
        }
    }
}
