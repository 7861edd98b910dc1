//! The desk where members of the two sides meet. Both sides are read at once, each by a thread of
//! its own; whoever comes second takes the pair away and explains it, if there is anything to
//! explain, and both bodies are dropped. So memory holds only members that still wait for their
//! other half, and of those only as many bodies as the limit allows.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::difference::Side;
use super::limits::{Limits, Stop};
use super::member::Member;

/// A member and, while memory allows, its bytes.
pub(super) struct Arrived {
    /// Position among the members of its side.
    pub(super) index: u64,
    pub(super) member: Member,
    pub(super) body: Option<Vec<u8>>,
}

/// A member of both sides.
pub(super) struct Pair {
    pub(super) published: Arrived,
    pub(super) rebuilt: Arrived,
}

/// Members pair by path. The first part of the path is left out where it is the archive's single
/// top directory, so `Python-3.13.5/x` meets `Python-3.13.15/x`; the number tells duplicates apart.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    in_top: bool,
    rest: String,
    occurrence: u32,
}

/// What the first part of a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tops {
    /// Directories on disk: it is a name like any other.
    None,
    /// Archives whose top directories differ and are not the only ones.
    Kept,
    /// Archives: it is left out even where it differs.
    Mapped,
}

/// What is known of one side when its scan has ended.
#[derive(Default)]
pub(super) struct Lane {
    waiting: HashMap<Key, Arrived>,
    /// Keys of waiting members that have a body, oldest first.
    bodies: VecDeque<Key>,
    body_bytes: u64,
    occurrences: HashMap<String, u32>,
    blocked: bool,
    finished: bool,
    /// The first part of the first member's path, if that can be a directory.
    pub(super) top: Option<String>,
    /// Whether every member lies in `top`.
    pub(super) single_top: bool,
    pub(super) members: u64,
    /// Whether the members are sorted the way `tar --sort=name` does it.
    pub(super) sorted: bool,
    last_path: String,
    pub(super) duplicates: u64,
}

/// See the module's text.
pub(super) struct Desk<'a> {
    limits: &'a Limits,
    tops: Tops,
    lanes: Mutex<[Lane; 2]>,
    wake: Condvar,
}

impl<'a> Desk<'a> {
    pub(super) fn new(limits: &'a Limits, tops: Tops) -> Desk<'a> {
        let lane = || Lane { single_top: true, sorted: true, ..Lane::default() };
        Desk { limits, tops, lanes: Mutex::new([lane(), lane()]), wake: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, [Lane; 2]> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A member of `side` has been read; the pair, if the other half was waiting.
    pub(super) fn arrive(&self, side: Side, arrived: Arrived) -> Result<Option<Pair>, Stop> {
        let mut lanes = self.lock();
        let (own, other) = (side as usize, 1 - side as usize);
        let key = lanes[own].admit(&arrived.member, self.tops, self.limits)?;
        if let Some(partner) = lanes[other].take(&key) {
            self.wake.notify_all();
            return Ok(Some(match side {
                Side::Published => Pair { published: arrived, rebuilt: partner },
                Side::Rebuilt => Pair { published: partner, rebuilt: arrived },
            }));
        }
        lanes[own].put(key, arrived);
        self.make_room(lanes, own, other);
        Ok(None)
    }

    /// Waits until the other side has caught up; if it cannot, drops the oldest bodies.
    fn make_room(&self, mut lanes: MutexGuard<[Lane; 2]>, own: usize, other: usize) {
        while lanes[own].body_bytes > self.limits.waiting_bytes_max {
            if lanes[other].finished || lanes[other].blocked {
                lanes[own].drop_oldest_body();
                continue;
            }
            lanes[own].blocked = true;
            lanes = self.wake.wait(lanes).unwrap_or_else(PoisonError::into_inner);
            lanes[own].blocked = false;
        }
    }

    /// No more members of `side` will come.
    pub(super) fn finish(&self, side: Side) {
        self.lock()[side as usize].finished = true;
        self.wake.notify_all();
    }

    /// Both lanes, and the members that found no other half, by path.
    pub(super) fn close(self) -> ([Lane; 2], [Vec<Arrived>; 2]) {
        let mut lanes = self.lanes.into_inner().unwrap_or_else(PoisonError::into_inner);
        let left = [lanes[0].drain(), lanes[1].drain()];
        (lanes, left)
    }
}

impl Lane {
    fn admit(&mut self, member: &Member, tops: Tops, limits: &Limits) -> Result<Key, Stop> {
        self.members += 1;
        if self.members > limits.members_max {
            let bound = limits.members_max;
            return Err(Stop::Limit(format!("more than {bound} members")));
        }
        let (first, rest) = member.path.split_once('/').unwrap_or((&member.path, ""));
        if self.members == 1 {
            let can_be_directory = !rest.is_empty() || member.kind == super::tar::Kind::Directory;
            let has_top = can_be_directory && tops != Tops::None;
            self.top = has_top.then(|| first.to_owned());
        } else if sort_key(&self.last_path) > sort_key(&member.path) {
            self.sorted = false;
        }
        self.last_path.clone_from(&member.path);
        let in_top = self.top.as_deref() == Some(first);
        self.single_top &= in_top;
        let rest = match in_top && tops == Tops::Mapped {
            true => rest.to_owned(),
            false => member.path.clone(),
        };
        let occurrence = self.occurrences.entry(member.path.clone()).or_insert(0);
        *occurrence += 1;
        self.duplicates += u64::from(*occurrence > 1);
        Ok(Key { in_top: in_top && tops == Tops::Mapped, rest, occurrence: *occurrence })
    }

    fn put(&mut self, key: Key, arrived: Arrived) {
        if let Some(body) = &arrived.body {
            self.body_bytes += charge(body);
            self.bodies.push_back(key.clone());
        }
        self.waiting.insert(key, arrived);
    }

    fn take(&mut self, key: &Key) -> Option<Arrived> {
        let arrived = self.waiting.remove(key)?;
        if let Some(body) = &arrived.body {
            // The key stays queued; whoever drops bodies skips it. Searching the queue would make
            // an archive in reverse order cost quadratic time.
            self.body_bytes -= charge(body);
        }
        Some(arrived)
    }

    fn drop_oldest_body(&mut self) {
        let Some(key) = self.bodies.pop_front() else { return };
        if let Some(body) = self.waiting.get_mut(&key).and_then(|arrived| arrived.body.take()) {
            self.body_bytes -= charge(&body);
        }
    }

    fn drain(&mut self) -> Vec<Arrived> {
        let mut left: Vec<Arrived> = self.waiting.drain().map(|(_, arrived)| arrived).collect();
        left.sort_by(|a, b| (&a.member.path, a.index).cmp(&(&b.member.path, b.index)));
        left
    }

    /// A path as people write it: without the single top directory.
    pub(super) fn relative<'p>(&self, path: &'p str) -> &'p str {
        match &self.top {
            Some(top) if self.single_top => match path.strip_prefix(top.as_str()) {
                Some("") => path,
                Some(rest) => rest.trim_start_matches('/'),
                None => path,
            },
            _ => path,
        }
    }
}

/// What holding a body costs, its place in the queue included.
fn charge(body: &[u8]) -> u64 {
    body.len() as u64 + 256
}

/// `--sort=name` sorts each directory by bytes and walks depth first, so `/` sorts first.
pub(super) fn sort_key(path: &str) -> Vec<u8> {
    path.bytes().map(|byte| if byte == b'/' { 0 } else { byte }).collect()
}
