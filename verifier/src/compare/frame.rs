//! What differs about an archive as a whole: order, top directory, ends; and how close two archives
//! are. The tier is computed here, from digests and counts, never from nodes.

use super::archive::Scan;
use super::cause::{Cause, CauseId, grouped};
use super::desk::Lane;
use super::difference::{Format, Tier};
use super::leftover::Lone;
use super::tar::End;

/// Facts about a pair of archives.
pub(super) struct Facts {
    /// Members that only one side has, and renamed ones.
    pub(super) lone: Lone,
    /// Members without another half, because the other side ended early.
    pub(super) unknown: u64,
    same_top: bool,
    /// Pairs that are out of order.
    moved: u64,
}

impl Facts {
    pub(super) fn of(scan: &Scan) -> Facts {
        let order = scan.rebuilt_order();
        let moved = order.len() as u64 - longest_increasing(&order);
        let [a, b] = &scan.lanes;
        let same_top = a.top == b.top || !(a.single_top && b.single_top);
        Facts { lone: Lone::default(), unknown: 0, same_top, moved }
    }

    /// How close the archives are.
    pub(super) fn tier(&self, scan: &Scan) -> Tier {
        let [a, b] = &scan.walked;
        if a.identity.is_some() && a.identity == b.identity {
            return Tier::Payload;
        }
        let whole = a.stop.is_none() && b.stop.is_none();
        let same_members = self.lone.is_empty() && self.unknown == 0 && self.same_top;
        let same_contents = scan.findings.changed == 0 && scan.findings.changed_mode == 0;
        // Bytes where no unpacker looks are content that somebody may look for.
        let same_hidden = a.end.trailing == b.end.trailing
            && a.zip.as_ref().map(|frame| frame.hidden())
                == b.zip.as_ref().map(|frame| frame.hidden());
        match whole && same_members && same_contents && same_hidden {
            true => Tier::Contents,
            false => Tier::Different,
        }
    }
}

/// Causes of the archive as a whole.
pub(super) fn causes(scan: &Scan, facts: &Facts, format: Format) -> Vec<Cause> {
    let [a, b] = &scan.lanes;
    let pairs = scan.findings.changed;
    let mut causes = Vec::new();
    let mut add = |cause, members: u64, detail: String, examples: &[String]| {
        if members > 0 {
            let examples = examples.to_vec();
            causes.push(Cause { cause, members, of: 0, detail, examples });
        }
    };
    let lone = &facts.lone;
    let (removed, added) = (lone.only_published, lone.only_rebuilt);
    add(CauseId::MemberRemoved, removed, "only published".into(), &lone.published_examples);
    add(CauseId::MemberAdded, added, "only rebuilt".into(), &lone.rebuilt_examples);
    let renamed = "under another path on each side".to_owned();
    add(CauseId::MemberRenamed, lone.renamed, renamed, &lone.renamed_examples);
    let all = order_length(scan);
    let mut changed = scan.findings.changed_examples.clone().into_vec();
    for example in &mut changed {
        *example = a.relative(example).to_owned();
    }
    add(CauseId::MemberChanged, pairs, format!("of {} members changed", grouped(all)), &changed);
    if a.top != b.top && a.single_top && b.single_top {
        let name = |lane: &Lane| format!("{:?}", lane.top.as_deref().unwrap_or_default());
        let detail = format!("{} → {}", name(a), name(b));
        causes.push(Cause::whole(CauseId::TopDirectory, detail));
    }
    if facts.moved > 0 && format != Format::Directory {
        let id = if format == Format::Zip { CauseId::ZipOrder } else { CauseId::TarOrder };
        let detail = format!(
            "same members, other order (published {}, rebuilt {})",
            order_name(a),
            order_name(b)
        );
        let of = all;
        causes.push(Cause { cause: id, members: facts.moved, of, detail, examples: Vec::new() });
    }
    if a.duplicates != b.duplicates {
        let (a, b) = (grouped(a.duplicates), grouped(b.duplicates));
        let detail = format!("{a} → {b} members that repeat a path");
        causes.push(Cause::whole(CauseId::MemberChanged, detail));
    }
    let [walked_a, walked_b] = &scan.walked;
    causes.extend(end_causes(&walked_a.end, &walked_b.end));
    if let (Some(frame_a), Some(frame_b)) = (&walked_a.zip, &walked_b.zip) {
        causes.extend(frame_a.causes(frame_b));
    }
    causes
}

/// Members that are on both sides.
fn order_length(scan: &Scan) -> u64 {
    scan.rebuilt_order().len() as u64
}

fn order_name(lane: &Lane) -> &'static str {
    match lane.sorted {
        true => "sorted by name",
        false => "not sorted",
    }
}

fn end_causes(a: &End, b: &End) -> Vec<Cause> {
    let mut causes = Vec::new();
    if a.trailing != b.trailing {
        let name = |end: &End| match &end.trailing {
            None => "nothing".into(),
            Some(trailing) => trailing.describe(),
        };
        let detail = format!("after the tar's end: {} → {}", name(a), name(b));
        causes.push(Cause::whole(CauseId::ArchiveTrailing, detail));
    }
    if a.zero_bytes != b.zero_bytes && !(a.is_usual() && b.is_usual()) {
        let name = |end: &End| match end.zero_bytes {
            0 => "no end mark".to_owned(),
            bytes => format!("{} zero bytes", grouped(bytes)),
        };
        let detail = format!("at the end: {} → {} (tar --blocking-factor)", name(a), name(b));
        causes.push(Cause::whole(CauseId::TarPadding, detail));
    }
    causes
}

/// Length of the longest increasing subsequence: members that did not move.
fn longest_increasing(order: &[u64]) -> u64 {
    let mut ends: Vec<u64> = Vec::new();
    for position in order {
        let place = ends.partition_point(|end| end < position);
        match ends.get_mut(place) {
            Some(end) => *end = *position,
            None => ends.push(*position),
        }
    }
    ends.len() as u64
}
