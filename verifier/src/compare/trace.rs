//! Where every published member comes from: equal to what the tag has, made by a step of the
//! recipe, or unexplained. Added files that no step made are the class of the xz 5.6.0 backdoor.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;

use rebuilder::{Digest, Trace};

use super::container::{Container, Visitor};
use super::difference::{Change, Difference, Explanation, Format, Note, Origin, Side};
use super::limits::{Meter, Stop};
use super::member::Member;
use super::source::{Inner, Peeled, Source};
use super::tar::Kind;

/// The step whose files are the tag's own, as `git archive` gives them.
const EXPORT_STEP: &str = "export";

/// Traces every member of the archive or directory `published`.
pub(super) fn explain(
    published: &Source,
    directory: Option<&Container>,
    trace: &Trace,
    meter: &Meter,
) -> io::Result<Explanation> {
    let container = match directory {
        Some(container) => container.clone(),
        None => match Peeled::open(published, meter) {
            Ok(Peeled { inner: Inner::Tar, .. }) => Container::Tar(published.clone()),
            Ok(Peeled { inner: Inner::Zip, layers, .. }) if layers.is_empty() => {
                Container::Zip(published.clone())
            }
            Ok(_) => return Ok(without_members("the published file is no archive")),
            Err(error) => return Ok(without_members(&Stop::of(error)?.to_string())),
        },
    };
    let mut tracer = Tracer { on_disk: directory.is_some(), ..Tracer::default() };
    let walked = container.walk(meter, &mut tracer)?;
    let mut explanation = tracer.explain(trace);
    if let Some(stop) = walked.stop {
        let text = stop.to_string();
        explanation.notes.push(Note { side: Some(Side::Published), text });
    }
    if let Some(trailing) = walked.end.trailing {
        let text = format!("{} follow the archive's end", trailing.describe());
        explanation.notes.push(Note { side: Some(Side::Published), text });
    }
    Ok(explanation)
}

fn without_members(text: &str) -> Explanation {
    let note = Note { side: Some(Side::Published), text: text.to_owned() };
    Explanation { notes: vec![note], ..Explanation::default() }
}

/// Collects paths and digests; a hundred bytes a member.
#[derive(Default)]
struct Tracer {
    files: Vec<(String, Digest)>,
    directories: u64,
    /// Members of a directory have no top directory of their own.
    on_disk: bool,
    top: Option<String>,
    single_top: bool,
    count: u64,
    by_path: HashMap<String, Digest>,
}

impl Visitor for Tracer {
    fn wants(&self, _index: u64, _size: u64) -> bool {
        false
    }

    fn member(&mut self, _index: u64, member: Member, _body: Option<Vec<u8>>) -> Result<(), Stop> {
        self.count += 1;
        let (first, rest) = member.path.split_once('/').unwrap_or((&member.path, ""));
        if self.count == 1 {
            let can_be_directory = !rest.is_empty() || member.kind == Kind::Directory;
            self.top = (can_be_directory && !self.on_disk).then(|| first.to_owned());
            self.single_top = true;
        }
        self.single_top &= self.top.as_deref() == Some(first);
        let digest = match member.kind {
            Kind::Directory => {
                self.directories += 1;
                return Ok(());
            }
            Kind::File => member.sha256,
            // A hard link has the content of the member it names.
            Kind::Hardlink => match self.by_path.get(&member.link) {
                Some(digest) => *digest,
                None => member.sha256,
            },
            // The trace has the digest of a link's target; devices are in no trace.
            _ => Digest::of(member.link.as_bytes()),
        };
        self.by_path.insert(member.path.clone(), digest);
        self.files.push((member.path, digest));
        Ok(())
    }
}

impl Tracer {
    fn explain(self, trace: &Trace) -> Explanation {
        let mut explanation =
            Explanation { directories: self.directories, ..Explanation::default() };
        let prefix = match (&self.top, self.single_top) {
            (Some(top), true) => format!("{top}/"),
            _ => String::new(),
        };
        let mut seen = BTreeSet::new();
        let mut others = BTreeMap::new();
        for (path, digest) in &self.files {
            let path = path.strip_prefix(prefix.as_str()).unwrap_or(path);
            seen.insert(path);
            explanation.files += 1;
            match origin(path, digest, trace) {
                Origin::Git => explanation.git += 1,
                origin => {
                    // Of duplicates, the worst is what counts.
                    let place = others.entry(path.to_owned()).or_insert(origin.clone());
                    *place = place.clone().max(origin);
                }
            }
        }
        let odd = |origin: &&Origin| matches!(origin, Origin::Unexplained | Origin::RemovedBy(_));
        explanation.unexplained = others.values().filter(odd).count() as u64;
        explanation.others = others.into_iter().collect();
        let owned = |(path, step): (&String, &String)| (path.clone(), step.clone());
        let removed = trace.removed.iter().filter(|(path, _)| !seen.contains(path.as_str()));
        explanation.removed = removed.map(owned).collect();
        let missing = trace.files.iter().filter(|(path, _)| !seen.contains(path.as_str()));
        explanation.missing =
            missing.map(|(path, made)| (path.clone(), made.step.clone())).collect();
        explanation
    }
}

fn origin(path: &str, digest: &Digest, trace: &Trace) -> Origin {
    match (trace.files.get(path), trace.removed.get(path)) {
        (Some(made), _) if made.sha256 != *digest => Origin::Unexplained,
        (Some(made), _) if made.step == EXPORT_STEP => Origin::Git,
        (Some(made), _) => Origin::Step(made.step.clone()),
        (None, Some(step)) => Origin::RemovedBy(step.clone()),
        (None, None) => Origin::Unexplained,
    }
}

/// Paths that nothing accounts for. A file that a step removed and that is published all the same
/// is one of them.
pub(super) fn unexplained(explanation: &Explanation) -> Vec<String> {
    let odd = |(path, origin): &(String, Origin)| match origin {
        Origin::Unexplained | Origin::RemovedBy(_) => Some(path.clone()),
        Origin::Git | Origin::Step(_) => None,
    };
    explanation.others.iter().filter_map(odd).collect()
}

/// Marks the nodes of published members with their origin.
pub(super) fn mark(
    nodes: &mut [Difference],
    explanation: Option<&Explanation>,
    unexplained: &[String],
) {
    let others: HashMap<&str, &Origin> = explanation
        .iter()
        .flat_map(|explanation| &explanation.others)
        .map(|(path, origin)| (path.as_str(), origin))
        .collect();
    for node in nodes.iter_mut().filter(|node| node.change != Change::OnlyRebuilt) {
        if node.formats.first() == Some(&Format::Directory) {
            continue;
        }
        node.origin = match (explanation, others.get(node.path.as_str())) {
            (_, Some(origin)) => Some((*origin).clone()),
            (Some(_), None) => Some(Origin::Git),
            (None, None) => {
                unexplained.binary_search(&node.path).is_ok().then_some(Origin::Unexplained)
            }
        };
    }
}
