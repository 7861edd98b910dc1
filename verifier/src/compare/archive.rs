//! Two archives, or two directories: reads both at once, lets members meet at the [`Desk`], and
//! turns what is left into causes and nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cause::{Cause, CauseId};
use super::container::{Container, Visitor, Walked, walk_tar};
use super::desk::{Arrived, Desk, Lane, Pair, Tops};
use super::differ::{Differ, Found, content_of, empty_node, note_stop};
use super::difference::{Change, Difference, Format, Note, Side, Tier};
use super::frame;
use super::kept::Kept;
use super::leftover;
use super::limits::Stop;
use super::member::Member;
use super::tally::{Examples, Tally};
use super::tar::Kind;

type Reader<'a> = Box<dyn Read + Send + 'a>;

/// Two containers that are being compared.
pub(super) struct Archive<'a> {
    pub(super) differ: Differ<'a>,
    pub(super) depth: u32,
    pub(super) containers: [Container; 2],
}

/// What both threads add to.
pub(super) struct Findings {
    pub(super) tally: Tally,
    pub(super) kept: Kept,
    /// Positions of the members of each pair, to compare the order.
    positions: Vec<(u64, u64)>,
    pub(super) changed: u64,
    pub(super) changed_examples: Examples,
    pub(super) changed_mode: u64,
    /// Published paths whose content the rebuilt side does not have.
    pub(super) unexplained: BTreeSet<String>,
    /// Pairs that differ and whose bytes could not be held.
    pub(super) postponed: Vec<Pair>,
    error: Option<io::Error>,
}

impl<'a> Archive<'a> {
    pub(super) fn new(differ: Differ<'a>, depth: u32, containers: [Container; 2]) -> Archive<'a> {
        Archive { differ, depth, containers }
    }

    /// Compares the containers; `readers` are tars that have been opened already.
    pub(super) fn compare(
        &self,
        node: Difference,
        readers: Option<[Reader<'a>; 2]>,
    ) -> io::Result<Found> {
        let tops = match self.containers[0] {
            Container::Directory(_) => Tops::None,
            Container::Tar(_) | Container::Zip(_) => Tops::Mapped,
        };
        let first = self.scan(readers, tops)?;
        let tops_differ = first.lanes[0].top != first.lanes[1].top;
        let mapped_wrongly = tops_differ && !first.lanes.iter().all(|lane| lane.single_top);
        let scan = if mapped_wrongly { self.scan(None, Tops::Kept)? } else { first };
        self.conclude(node, scan)
    }

    fn scan(&self, readers: Option<[Reader<'a>; 2]>, tops: Tops) -> io::Result<Scan> {
        let limits = self.differ.meter.limits;
        let desk = Desk::new(limits, tops);
        let findings = Mutex::new(Findings {
            tally: Tally::default(),
            kept: Kept::new(limits),
            positions: Vec::new(),
            changed: 0,
            changed_examples: Examples::default(),
            changed_mode: 0,
            unexplained: BTreeSet::new(),
            postponed: Vec::new(),
            error: None,
        });
        let [reader_a, reader_b] = match readers {
            Some([a, b]) => [Some(a), Some(b)],
            None => [None, None],
        };
        let (walked_a, walked_b) = std::thread::scope(|scope| {
            let published = scope.spawn(|| self.walk(Side::Published, reader_a, &desk, &findings));
            let rebuilt = self.walk(Side::Rebuilt, reader_b, &desk, &findings);
            (published.join(), rebuilt)
        });
        let walked_a = match walked_a {
            Ok(walked) => walked?,
            // A bug in the other thread is a bug in this one.
            Err(panic) => std::panic::resume_unwind(panic),
        };
        let walked = [walked_a, walked_b?];
        let mut findings = findings.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = findings.error.take() {
            return Err(error);
        }
        let (lanes, left) = desk.close();
        Ok(Scan { walked, lanes, left, findings })
    }

    fn walk(
        &self,
        side: Side,
        reader: Option<Reader<'a>>,
        desk: &Desk,
        findings: &Mutex<Findings>,
    ) -> io::Result<Walked> {
        // Also when this thread panics: the other one must not wait for it for ever.
        let _finish = FinishLane { desk, side };
        let mut arrivals = Arrivals { archive: self, side, desk, findings };
        match reader {
            Some(reader) => walk_tar(reader, self.differ.meter, &mut arrivals),
            None => self.containers[side as usize].walk(self.differ.meter, &mut arrivals),
        }
    }

    /// Explains one pair; `Some` gives it back when its bytes are not at hand.
    fn settle(&self, pair: Pair, findings: &Mutex<Findings>) -> io::Result<Option<Pair>> {
        let (a, b) = (&pair.published.member, &pair.rebuilt.member);
        let deltas = a.deltas(b);
        let same = a.has_same_content(b);
        {
            let mut findings = lock(findings);
            findings.positions.push((pair.published.index, pair.rebuilt.index));
            findings.changed_mode += u64::from(a.mode() != b.mode());
            findings.tally.add(&a.path, deltas);
            if same {
                return Ok(None);
            }
            findings.changed += 1;
            findings.changed_examples.add(&a.path);
            findings.unexplained.insert(a.path.clone());
        }
        if a.kind != b.kind || a.kind != Kind::File {
            let node = type_node(a, b);
            add_node(&mut lock(findings), node, pair.published.index);
            return Ok(None);
        }
        if pair.published.body.is_none() || pair.rebuilt.body.is_none() {
            return Ok(Some(pair));
        }
        let index = pair.published.index;
        let node = self.explain_pair(pair, Change::Changed)?;
        add_node(&mut lock(findings), node, index);
        Ok(None)
    }

    /// The node of a pair whose bytes are at hand.
    pub(super) fn explain_pair(&self, pair: Pair, change: Change) -> io::Result<Difference> {
        let (a, b) = (pair.published, pair.rebuilt);
        let bodies = (a.body.unwrap_or_default(), b.body.unwrap_or_default());
        let path = &a.member.path;
        let mut node = self.differ.compare_bodies(path, bodies.0, bodies.1, self.depth + 1)?;
        node.change = change;
        node.published = content_of(a.member.size, a.member.sha256);
        node.rebuilt = content_of(b.member.size, b.member.sha256);
        Ok(node)
    }

    fn conclude(&self, mut node: Difference, mut scan: Scan) -> io::Result<Found> {
        let format = match self.containers[0] {
            Container::Tar(_) => Format::Tar,
            Container::Zip(_) => Format::Zip,
            Container::Directory(_) => Format::Directory,
        };
        if node.formats.is_empty() {
            node.formats.push(format);
        }
        leftover::explain_postponed(self, &mut scan)?;
        let lone = leftover::explain_lone(self, &mut scan)?;
        let mut facts = frame::Facts::of(&scan);
        facts.unknown = lone.unknown;
        facts.lone = lone;
        let tier = facts.tier(&scan);
        let [lane_a, _] = &scan.lanes;
        let members = lane_a.members;
        let pairs = scan.findings.positions.len() as u64;
        let causes = frame::causes(&scan, &facts, format);
        let findings = scan.findings;
        let mut tallied = findings.tally.causes(pairs);
        relative_examples(&mut tallied, lane_a);
        for (side, walked) in [Side::Published, Side::Rebuilt].into_iter().zip(&scan.walked) {
            if let Some(stop) = &walked.stop {
                note_stop(&mut node, side, stop);
            }
        }
        node.causes.extend(causes.into_iter().chain(tallied));
        node.causes.sort_by_key(|cause| cause.cause);
        (node.children, node.children_omitted) = findings.kept.finish();
        for child in &mut node.children {
            let lane = match child.change {
                Change::OnlyRebuilt => &scan.lanes[1],
                _ => lane_a,
            };
            child.path = lane.relative(&child.path).to_owned();
            if let Change::Renamed(to) = &mut child.change {
                *to = scan.lanes[1].relative(to).to_owned();
            }
        }
        if node.causes.is_empty() && node.children.is_empty() && tier != Tier::Payload {
            // The bytes differ, so something must be said.
            let id = if format == Format::Zip { CauseId::ZipHeaders } else { CauseId::TarEncoding };
            node.causes.push(Cause::whole(id, "bytes that belong to no member and no known field"));
        }
        let unexplained = findings.unexplained.iter();
        let unexplained = unexplained.map(|path| lane_a.relative(path).to_owned()).collect();
        if facts.unknown > 0 {
            let text =
                format!("{} members were not compared: the other side ended early", facts.unknown);
            node.notes.push(Note { side: None, text });
        }
        Ok(Found { tier, node, unexplained, members })
    }
}

/// Everything that reading both sides has given.
pub(super) struct Scan {
    pub(super) walked: [Walked; 2],
    pub(super) lanes: [Lane; 2],
    /// Members without another half.
    pub(super) left: [Vec<Arrived>; 2],
    pub(super) findings: Findings,
}

impl Scan {
    /// Positions of the pairs on the rebuilt side, in published order.
    pub(super) fn rebuilt_order(&self) -> Vec<u64> {
        let sorted: BTreeMap<u64, u64> = self.findings.positions.iter().copied().collect();
        sorted.into_values().collect()
    }
}

pub(super) fn lock(findings: &Mutex<Findings>) -> MutexGuard<'_, Findings> {
    findings.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Adds a node and counts the causes inside it.
pub(super) fn add_node(findings: &mut Findings, node: Difference, index: u64) {
    let ids: BTreeSet<CauseId> = inner_causes(&node);
    for cause in ids {
        findings.tally.add_inner(&node.path, cause);
    }
    findings.kept.add(node, index);
}

fn inner_causes(node: &Difference) -> BTreeSet<CauseId> {
    // Which members changed inside an archive is the tree's business; here it would only repeat it.
    let told = |cause: &&Cause| {
        !matches!(
            cause.cause,
            CauseId::MemberChanged
                | CauseId::MemberAdded
                | CauseId::MemberRemoved
                | CauseId::MemberRenamed
        )
    };
    let mut ids: BTreeSet<CauseId> =
        node.causes.iter().filter(told).map(|cause| cause.cause).collect();
    for child in &node.children {
        ids.extend(inner_causes(child));
    }
    ids
}

fn type_node(a: &Member, b: &Member) -> Difference {
    let mut node = empty_node(&a.path, Change::Changed);
    let describe = |member: &Member| match member.link.as_str() {
        "" => member.kind.name(),
        link => format!("{} to {link:?}", member.kind.name()),
    };
    let cause = if a.kind == b.kind { CauseId::MemberLink } else { CauseId::MemberType };
    node.causes.push(Cause::whole(cause, format!("{} → {}", describe(a), describe(b))));
    node.formats.push(match a.kind {
        Kind::Symlink | Kind::Hardlink => Format::Symlink,
        Kind::Directory => Format::Directory,
        Kind::File => Format::Bytes,
        _ => Format::Special,
    });
    node.published = content_of(a.size, a.sha256);
    node.rebuilt = content_of(b.size, b.sha256);
    node
}

fn relative_examples(causes: &mut [Cause], lane: &Lane) {
    for cause in causes {
        for example in &mut cause.examples {
            *example = lane.relative(example).to_owned();
        }
    }
}

struct FinishLane<'d, 'l> {
    desk: &'d Desk<'l>,
    side: Side,
}

impl Drop for FinishLane<'_, '_> {
    fn drop(&mut self) {
        self.desk.finish(self.side);
    }
}

/// One side's visitor.
struct Arrivals<'s, 'a, 'd> {
    archive: &'s Archive<'a>,
    side: Side,
    desk: &'s Desk<'d>,
    findings: &'s Mutex<Findings>,
}

impl Visitor for Arrivals<'_, '_, '_> {
    fn wants(&self, _index: u64, size: u64) -> bool {
        size <= self.archive.differ.meter.limits.member_bytes_max
    }

    fn member(&mut self, index: u64, member: Member, body: Option<Vec<u8>>) -> Result<(), Stop> {
        let Some(pair) = self.desk.arrive(self.side, Arrived { index, member, body })? else {
            return Ok(());
        };
        match self.archive.settle(pair, self.findings) {
            Ok(None) => Ok(()),
            Ok(Some(mut pair)) => {
                pair.published.body = None;
                pair.rebuilt.body = None;
                lock(self.findings).postponed.push(pair);
                Ok(())
            }
            Err(error) => match Stop::of(error) {
                Ok(stop) => Err(stop),
                Err(error) => {
                    lock(self.findings).error = Some(error);
                    Err(Stop::Limit("trouble of this machine".into()))
                }
            },
        }
    }
}
