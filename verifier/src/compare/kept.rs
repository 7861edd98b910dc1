//! The nodes of one archive's members, bounded. Two threads add them in an order that differs from
//! run to run, so what stays is decided by path alone: the first paths keep their content until the
//! budget is used up, and the first `nodes_max` paths keep a line.

use std::collections::BTreeMap;

use super::difference::{Change, Detail, Difference};
use super::limits::Limits;

/// Sorts members as reports list them: what only one side has comes first.
type Rank = (u8, String, u64);

/// See the module's text.
pub(super) struct Kept {
    nodes_max: u64,
    details_bytes_max: u64,
    nodes: BTreeMap<Rank, Difference>,
    /// Bytes of each node that still has its details.
    details: BTreeMap<Rank, u64>,
    details_bytes: u64,
    /// From here on, details are dropped.
    details_cut: Option<Rank>,
    nodes_cut: Option<Rank>,
    omitted: u64,
}

impl Kept {
    pub(super) fn new(limits: &Limits) -> Kept {
        Kept {
            nodes_max: limits.nodes_max,
            details_bytes_max: limits.details_bytes_max,
            nodes: BTreeMap::new(),
            details: BTreeMap::new(),
            details_bytes: 0,
            details_cut: None,
            nodes_cut: None,
            omitted: 0,
        }
    }

    /// Adds the node of member number `index`.
    pub(super) fn add(&mut self, mut node: Difference, index: u64) {
        let rank = (group(&node.change), node.path.clone(), index);
        if self.nodes_cut.as_ref().is_some_and(|cut| rank >= *cut) {
            self.omitted += 1;
            return;
        }
        if self.details_cut.as_ref().is_some_and(|cut| rank >= *cut) {
            strip(&mut node);
        }
        let bytes = detail_bytes(&node);
        if bytes > 0 {
            self.details.insert(rank.clone(), bytes);
            self.details_bytes += bytes;
        }
        self.nodes.insert(rank, node);
        self.drop_details();
        self.drop_nodes();
    }

    fn drop_details(&mut self) {
        while self.details_bytes > self.details_bytes_max {
            let Some((rank, bytes)) = self.details.pop_last() else { return };
            self.details_bytes -= bytes;
            if let Some(node) = self.nodes.get_mut(&rank) {
                strip(node);
            }
            self.details_cut = Some(rank);
        }
    }

    fn drop_nodes(&mut self) {
        while self.nodes.len() as u64 > self.nodes_max {
            let Some((rank, _)) = self.nodes.pop_last() else { return };
            self.omitted += 1;
            if let Some(bytes) = self.details.remove(&rank) {
                self.details_bytes -= bytes;
            }
            self.nodes_cut = Some(rank);
        }
    }

    /// The nodes in order, and how many had to go.
    pub(super) fn finish(self) -> (Vec<Difference>, u64) {
        (self.nodes.into_values().collect(), self.omitted)
    }
}

fn group(change: &Change) -> u8 {
    match change {
        Change::OnlyPublished => 0,
        Change::OnlyRebuilt => 1,
        Change::Renamed(_) => 2,
        Change::Changed => 3,
        Change::Metadata => 4,
    }
}

/// What the details of a node cost in a report: as JSON, where every control character takes six
/// bytes.
fn detail_bytes(node: &Difference) -> u64 {
    if node.detail.is_none() && node.children.is_empty() {
        return 0;
    }
    match serde_json::to_vec(node) {
        Ok(json) => json.len() as u64,
        // Only a map with keys that are no strings fails, and there is none.
        Err(_) => 0,
    }
}

/// Takes out content, leaving how much there was.
pub(super) fn strip(node: &mut Difference) {
    let (count, unit) = match node.detail.take() {
        Some(Detail::Lines { removed, added, .. }) => (removed + added, "lines"),
        Some(Detail::Bytes { changed, .. }) => (changed, "bytes"),
        Some(Detail::Text { lines, omitted }) => (lines.len() as u64 + omitted, "lines"),
        Some(Detail::Head { hex, omitted }) => (hex.len() as u64 / 2 + omitted, "bytes"),
        Some(Detail::Omitted { count, unit }) => {
            node.detail = Some(Detail::Omitted { count, unit });
            return drop_children(node);
        }
        None => return drop_children(node),
    };
    node.detail = Some(Detail::Omitted { count, unit: unit.into() });
    drop_children(node);
}

fn drop_children(node: &mut Difference) {
    node.children_omitted += node.children.len() as u64;
    node.children.clear();
}
