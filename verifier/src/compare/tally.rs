//! Adds up what differs over thousands of members until one line a cause is left. Whatever the
//! order in which members arrive, the same archives give the same tally: where memory is bounded,
//! the smallest keys stay.

use std::collections::{BTreeMap, BTreeSet};

use super::cause::{Cause, CauseId};
use super::member::{Delta, Value};

/// Distinct changes of one field that are told apart.
const CHANGES_MAX: usize = 256;
/// Members that a cause names.
const EXAMPLES_MAX: usize = 5;
/// Distinct changes that a line shows.
const SHOWN_MAX: usize = 3;

/// Counts by cause and field.
#[derive(Default)]
pub(super) struct Tally {
    fields: BTreeMap<(CauseId, &'static str), Field>,
    /// Causes found inside members.
    inner: BTreeMap<CauseId, Count>,
}

#[derive(Default)]
struct Field {
    members: u64,
    changes: BTreeMap<Change, u64>,
    /// Members whose change is not among `changes`.
    other: u64,
    cut: bool,
    examples: Examples,
}

#[derive(Default)]
struct Count {
    members: u64,
    examples: Examples,
}

/// The first few names, by name.
#[derive(Clone, Default)]
pub(super) struct Examples(BTreeSet<String>);

/// Seconds count by their distance, everything else by its values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Shift(i64),
    From(Value, Value),
}

impl Examples {
    pub(super) fn add(&mut self, path: &str) {
        let full = self.0.len() >= EXAMPLES_MAX;
        if full && self.0.last().is_some_and(|last| last.as_str() <= path) {
            return;
        }
        self.0.insert(path.to_owned());
        if full && self.0.len() > EXAMPLES_MAX {
            self.0.pop_last();
        }
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0.into_iter().collect()
    }
}

impl Tally {
    /// The member at `path` differs in these fields.
    pub(super) fn add(&mut self, path: &str, deltas: Vec<Delta>) {
        for delta in deltas {
            let field = self.fields.entry((delta.cause, delta.field)).or_default();
            field.members += 1;
            field.examples.add(path);
            let change = match (&delta.published, &delta.rebuilt) {
                (Value::Seconds(a), Value::Seconds(b)) => Change::Shift(b.saturating_sub(*a)),
                _ => Change::From(delta.published, delta.rebuilt),
            };
            field.count(change);
        }
    }

    /// The member at `path` differs for this reason in its content.
    pub(super) fn add_inner(&mut self, path: &str, cause: CauseId) {
        let count = self.inner.entry(cause).or_default();
        count.members += 1;
        count.examples.add(path);
    }

    /// One cause a field, out of `of` members.
    pub(super) fn causes(self, of: u64) -> Vec<Cause> {
        let mut causes = Vec::new();
        let same_magic = !self.fields.keys().any(|(cause, _)| *cause == CauseId::TarFormat);
        for ((cause, name), field) in self.fields {
            let mut detail = field.describe(name, cause);
            if cause == CauseId::TarDevmajor && same_magic {
                detail.push_str(&devmajor_hint(&field));
            }
            let (members, examples) = (field.members, field.examples.into_vec());
            causes.push(Cause { cause, members, of, detail, examples });
        }
        for (cause, count) in self.inner {
            let examples = count.examples.into_vec();
            let detail = "inside".to_owned();
            causes.push(Cause { cause, members: count.members, of, detail, examples });
        }
        causes
    }
}

impl Field {
    fn count(&mut self, change: Change) {
        if let Some(members) = self.changes.get_mut(&change) {
            *members += 1;
            return;
        }
        let beyond = self.changes.last_key_value().is_some_and(|(last, _)| *last < change);
        if self.cut && beyond {
            self.other += 1;
            return;
        }
        self.changes.insert(change, 1);
        if self.changes.len() > CHANGES_MAX
            && let Some((_, members)) = self.changes.pop_last()
        {
            self.other += members;
            self.cut = true;
        }
    }

    fn describe(&self, name: &str, cause: CauseId) -> String {
        let mut changes: Vec<(&Change, &u64)> = self.changes.iter().collect();
        changes.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
        let alone = changes.len() == 1 && self.other == 0;
        let mut parts: Vec<String> = changes
            .iter()
            .take(SHOWN_MAX)
            .map(|(change, members)| match alone {
                true => change.describe(),
                false => format!("{} ({members})", change.describe()),
            })
            .collect();
        let shown: u64 = changes.iter().take(SHOWN_MAX).map(|(_, members)| **members).sum();
        if shown < self.members {
            parts.push(format!("other changes ({})", self.members - shown));
        }
        let text = parts.join(", ");
        match cause {
            CauseId::TarMtime | CauseId::ZipMtime | CauseId::TarMode | CauseId::DirectoryMode
                if !name.contains(' ') =>
            {
                text
            }
            CauseId::TarFormat | CauseId::TarDevmajor => text,
            _ => format!("{name} {text}"),
        }
    }
}

impl Change {
    fn describe(&self) -> String {
        match self {
            Change::Shift(seconds) => format!("{seconds:+} s"),
            Change::From(a, b) => format!("{} → {}", a.describe(), b.describe()),
        }
    }
}

/// GNU tar 1.35 stopped writing zeros into the device fields of members that are no devices.
fn devmajor_hint(field: &Field) -> String {
    let zeros_and_nul = |change: &Change| match change {
        Change::From(Value::Text(a), Value::Text(b)) => match (a.as_str(), b.as_str()) {
            ("0000000", "NUL") => Some("1.34 → 1.35"),
            ("NUL", "0000000") => Some("1.35 → 1.34"),
            _ => None,
        },
        _ => None,
    };
    match field.changes.keys().next().and_then(zeros_and_nul) {
        Some(versions) if field.changes.len() == 1 => format!(" (GNU tar {versions})"),
        _ => String::new(),
    }
}
