//! What the one pass over both sides left over: pairs whose bytes could not be held, and members
//! that found no other half. Only these are read a second time.

use std::collections::{BTreeMap, HashMap};
use std::io;

use super::archive::{Archive, Scan, add_node};
use super::container::{Container, Visitor};
use super::content;
use super::desk::{Arrived, Lane, Pair};
use super::differ::{content_of, empty_node, note_stop};
use super::difference::{Change, Detail, Difference, Format, Side};
use super::limits::{Meter, Stop};
use super::member::Member;
use super::tally::Examples;
use super::tar::Kind;

/// Times that an archive is read again for bytes that could not be held.
const PASSES_MAX: usize = 16;
/// Members of one side whose content is shown although nothing pairs with them.
const EXCERPTS_MAX: usize = 200;

/// Members that only one side has.
#[derive(Default)]
pub(super) struct Lone {
    pub(super) only_published: u64,
    pub(super) only_rebuilt: u64,
    pub(super) renamed: u64,
    pub(super) published_examples: Vec<String>,
    pub(super) rebuilt_examples: Vec<String>,
    pub(super) renamed_examples: Vec<String>,
    /// Members whose other half may exist behind the place where the other side ended early.
    pub(super) unknown: u64,
}

impl Lone {
    pub(super) fn is_empty(&self) -> bool {
        self.only_published + self.only_rebuilt + self.renamed == 0
    }
}

/// Explains the pairs whose bytes could not be held.
pub(super) fn explain_postponed(archive: &Archive, scan: &mut Scan) -> io::Result<()> {
    let mut postponed = std::mem::take(&mut scan.findings.postponed);
    postponed.sort_by_key(|pair| pair.published.index);
    let bound = archive.differ.meter.limits.member_bytes_max;
    let (small, large): (Vec<Pair>, Vec<Pair>) = postponed
        .into_iter()
        .partition(|pair| pair.published.member.size.max(pair.rebuilt.member.size) <= bound);
    for (pair, node) in explain_small(archive, small, &|_| Change::Changed)? {
        add_node(&mut scan.findings, node, pair);
    }
    for (position, pair) in large.into_iter().enumerate() {
        let index = pair.published.index;
        let node = explain_large(archive, &pair, position as u64)?;
        add_node(&mut scan.findings, node, index);
    }
    Ok(())
}

/// Reads both archives again, as often as the bytes of a batch fit, and gives a node for each pair.
fn explain_small(
    archive: &Archive,
    pairs: Vec<Pair>,
    change: &dyn Fn(&Pair) -> Change,
) -> io::Result<Vec<(u64, Difference)>> {
    let meter = archive.differ.meter;
    let mut nodes = Vec::new();
    let mut pairs = pairs.into_iter().peekable();
    for _ in 0..PASSES_MAX {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(pair) = pairs.peek() {
            let size = pair.published.member.size + pair.rebuilt.member.size;
            if !batch.is_empty() && bytes + size > 2 * meter.limits.waiting_bytes_max {
                break;
            }
            bytes += size;
            batch.extend(pairs.next());
        }
        if batch.is_empty() {
            return Ok(nodes);
        }
        let [a, b] = &archive.containers;
        let mut published = fetch(a, batch.iter().map(|pair| &pair.published).collect(), meter)?;
        let mut rebuilt = fetch(b, batch.iter().map(|pair| &pair.rebuilt).collect(), meter)?;
        for mut pair in batch {
            let index = pair.published.index;
            pair.published.body = published.remove(&index);
            pair.rebuilt.body = rebuilt.remove(&pair.rebuilt.index);
            if pair.published.body.is_none() || pair.rebuilt.body.is_none() {
                // Half a pair would read as if the other side were empty.
                let stop = Stop::Limit("the bytes could not be read a second time".into());
                nodes.push((index, unopened(&pair, &stop)));
                continue;
            }
            let change = change(&pair);
            nodes.push((index, archive.explain_pair(pair, change)?));
        }
    }
    for pair in pairs {
        let text = format!("more content differs than {PASSES_MAX} passes can hold");
        nodes.push((pair.published.index, unopened(&pair, &Stop::Limit(text))));
    }
    Ok(nodes)
}

fn explain_large(archive: &Archive, pair: &Pair, position: u64) -> io::Result<Difference> {
    let bound = archive.differ.meter.limits.large_members_max;
    if position >= bound {
        let text = format!("more than {bound} large members differ; this one was not opened");
        return Ok(unopened(pair, &Stop::Limit(text)));
    }
    let [container_a, container_b] = &archive.containers;
    let (a, b) = (&pair.published, &pair.rebuilt);
    let sources = (
        container_a.source_of(a.index, &a.member.path),
        container_b.source_of(b.index, &b.member.path),
    );
    let (path, depth) = (&a.member.path, archive.depth + 1);
    let mut node = match archive.differ.compare(path, &sources.0, &sources.1, depth) {
        Ok(found) => found.node,
        Err(error) => unopened(pair, &Stop::of(error)?),
    };
    node.published = content_of(a.member.size, a.member.sha256);
    node.rebuilt = content_of(b.member.size, b.member.sha256);
    Ok(node)
}

fn unopened(pair: &Pair, stop: &Stop) -> Difference {
    let (a, b) = (&pair.published.member, &pair.rebuilt.member);
    let mut node = empty_node(&a.path, Change::Changed);
    node.formats.push(Format::Bytes);
    node.published = content_of(a.size, a.sha256);
    node.rebuilt = content_of(b.size, b.sha256);
    note_stop(&mut node, Side::Published, stop);
    node
}

/// Finds renames among the members without another half; the rest are only on one side.
pub(super) fn explain_lone(archive: &Archive, scan: &mut Scan) -> io::Result<Lone> {
    let [mut published, mut rebuilt] = std::mem::take(&mut scan.left);
    let mut lone = Lone::default();
    let stopped = [scan.walked[0].stop.is_some(), scan.walked[1].stop.is_some()];
    for arrived in published.iter().filter(|arrived| arrived.member.kind != Kind::Directory) {
        scan.findings.unexplained.insert(arrived.member.path.clone());
    }
    if stopped[1] {
        lone.unknown += published.len() as u64;
        published.clear();
    }
    if stopped[0] {
        lone.unknown += rebuilt.len() as u64;
        rebuilt.clear();
    }
    let same = take_renamed(&mut published, &mut rebuilt, &|member| {
        (member.size > 0).then(|| member.sha256.to_string())
    });
    let moved = take_renamed(&mut published, &mut rebuilt, &|member| {
        member.path.rsplit('/').next().map(str::to_owned)
    });
    lone.renamed = (same.len() + moved.len()) as u64;
    lone.renamed_examples = renamed_examples(same.iter().chain(&moved), &scan.lanes);
    for pair in same {
        let node = renamed_node(&pair);
        add_node(&mut scan.findings, node, pair.published.index);
    }
    for (index, node) in explain_small(archive, moved, &renamed)? {
        add_node(&mut scan.findings, node, index);
    }
    lone.only_published = published.len() as u64;
    lone.only_rebuilt = rebuilt.len() as u64;
    let [container_a, container_b] = &archive.containers;
    let meter = archive.differ.meter;
    let [lane_a, lane_b] = &scan.lanes;
    lone.published_examples = examples(&published, lane_a);
    lone.rebuilt_examples = examples(&rebuilt, lane_b);
    for node in lone_nodes(container_a, published, Change::OnlyPublished, meter)? {
        scan.findings.kept.add(node.1, node.0);
    }
    for node in lone_nodes(container_b, rebuilt, Change::OnlyRebuilt, meter)? {
        scan.findings.kept.add(node.1, node.0);
    }
    Ok(lone)
}

fn examples(lone: &[Arrived], lane: &Lane) -> Vec<String> {
    let mut examples = Examples::default();
    for arrived in lone {
        examples.add(lane.relative(&arrived.member.path));
    }
    examples.into_vec()
}

/// Takes pairs of files out whose mark is the same and occurs once on each side.
fn take_renamed(
    published: &mut Vec<Arrived>,
    rebuilt: &mut Vec<Arrived>,
    mark: &dyn Fn(&Member) -> Option<String>,
) -> Vec<Pair> {
    let marks = |side: &[Arrived]| {
        let mut marks: HashMap<String, Option<usize>> = HashMap::new();
        for (position, arrived) in side.iter().enumerate() {
            if arrived.member.kind != Kind::File {
                continue;
            }
            if let Some(mark) = mark(&arrived.member) {
                let place = marks.entry(mark).or_insert(Some(position));
                *place = place.filter(|first| *first == position);
            }
        }
        marks
    };
    let (marks_a, marks_b) = (marks(published), marks(rebuilt));
    let mut chosen = BTreeMap::new();
    for (mark, place) in marks_a {
        if let (Some(a), Some(Some(b))) = (place, marks_b.get(&mark)) {
            chosen.insert(a, *b);
        }
    }
    let mut a: Vec<Option<Arrived>> = std::mem::take(published).into_iter().map(Some).collect();
    let mut b: Vec<Option<Arrived>> = std::mem::take(rebuilt).into_iter().map(Some).collect();
    let mut pairs = Vec::new();
    for (position_a, position_b) in chosen {
        if let (Some(published), Some(rebuilt)) = (a[position_a].take(), b[position_b].take()) {
            pairs.push(Pair { published, rebuilt });
        }
    }
    *published = a.into_iter().flatten().collect();
    *rebuilt = b.into_iter().flatten().collect();
    pairs
}

fn renamed(pair: &Pair) -> Change {
    Change::Renamed(pair.rebuilt.member.path.clone())
}

fn renamed_examples<'p>(pairs: impl Iterator<Item = &'p Pair>, lanes: &[Lane; 2]) -> Vec<String> {
    let mut examples = Examples::default();
    for pair in pairs {
        let from = lanes[0].relative(&pair.published.member.path);
        let to = lanes[1].relative(&pair.rebuilt.member.path);
        examples.add(&format!("{from} → {to}"));
    }
    examples.into_vec()
}

fn renamed_node(pair: &Pair) -> Difference {
    let (a, b) = (&pair.published.member, &pair.rebuilt.member);
    let mut node = empty_node(&a.path, renamed(pair));
    node.published = content_of(a.size, a.sha256);
    node.rebuilt = content_of(b.size, b.sha256);
    node
}

/// Nodes of members that only one side has, with the start of their content.
fn lone_nodes(
    container: &Container,
    mut lone: Vec<Arrived>,
    change: Change,
    meter: &Meter,
) -> io::Result<Vec<(u64, Difference)>> {
    let bound = meter.limits.member_bytes_max;
    let mut missing = Vec::new();
    let mut bytes = 0;
    for arrived in lone.iter().take(EXCERPTS_MAX) {
        let is_file = arrived.member.kind == Kind::File && arrived.member.size <= bound;
        let fits = bytes + arrived.member.size <= meter.limits.waiting_bytes_max;
        if is_file && fits && arrived.body.is_none() {
            bytes += arrived.member.size;
            missing.push(arrived);
        }
    }
    let mut fetched = fetch(container, missing, meter)?;
    let mut nodes = Vec::new();
    for (position, arrived) in lone.iter_mut().enumerate() {
        let body = match arrived.body.take() {
            Some(body) if position < EXCERPTS_MAX => Some(body),
            _ => fetched.remove(&arrived.index),
        };
        nodes.push((arrived.index, lone_node(&arrived.member, body, change.clone(), meter)));
    }
    Ok(nodes)
}

fn lone_node(member: &Member, body: Option<Vec<u8>>, change: Change, meter: &Meter) -> Difference {
    let mut node = empty_node(&member.path, change.clone());
    let content = content_of(member.size, member.sha256);
    match change {
        Change::OnlyRebuilt => node.rebuilt = content,
        _ => node.published = content,
    }
    match member.kind {
        Kind::File => {}
        Kind::Directory => {
            node.formats.push(Format::Directory);
            return node;
        }
        Kind::Symlink | Kind::Hardlink => {
            node.formats.push(Format::Symlink);
            let line = format!("{} to {}", member.kind.name(), member.link);
            node.detail = Some(Detail::Text { lines: vec![line], omitted: 0 });
            return node;
        }
        _ => {
            node.formats.push(Format::Special);
            let lines = vec![member.kind.name()];
            node.detail = Some(Detail::Text { lines, omitted: 0 });
            return node;
        }
    }
    match body {
        Some(body) => {
            let (format, detail) = content::excerpt(&member.path, &body, member.size, meter);
            node.formats.push(format);
            node.detail = Some(detail);
        }
        None => {
            node.formats.push(Format::Bytes);
            node.detail = Some(Detail::Omitted { count: member.size, unit: "bytes".into() });
        }
    }
    node
}

/// Bytes of these members, by index, in one more pass over the container.
fn fetch(
    container: &Container,
    wanted: Vec<&Arrived>,
    meter: &Meter,
) -> io::Result<HashMap<u64, Vec<u8>>> {
    let last = wanted.iter().map(|arrived| arrived.index).max();
    let Some(last) = last else { return Ok(HashMap::new()) };
    let bodies = wanted.iter().map(|arrived| (arrived.index, None)).collect();
    let mut collector = Collector { bodies, last };
    container.walk(meter, &mut collector)?;
    let bodies = collector.bodies.into_iter();
    Ok(bodies.filter_map(|(index, body)| Some((index, body?))).collect())
}

struct Collector {
    bodies: HashMap<u64, Option<Vec<u8>>>,
    last: u64,
}

impl Visitor for Collector {
    fn wants(&self, index: u64, _size: u64) -> bool {
        self.bodies.contains_key(&index)
    }

    fn member(&mut self, index: u64, _member: Member, body: Option<Vec<u8>>) -> Result<(), Stop> {
        if let Some(place) = self.bodies.get_mut(&index) {
            *place = body;
        }
        match index >= self.last {
            // Everything that was wanted has been seen; the reason is never shown.
            true => Err(Stop::Limit("done".into())),
            false => Ok(()),
        }
    }
}
