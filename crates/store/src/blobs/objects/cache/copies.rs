//! The index of a disk cache: its copies by their last use, and the objects that are being read.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use oci::Digest;
use tokio::sync::watch;

use super::fill::Fill;
use crate::permissions;

/// The number of blobs whose last read is remembered.
const RECENT: usize = 4096;
/// The number of copies. The index takes about 200 bytes for each.
const MOST: usize = 100_000;

/// The state of a file. It differs once another program has changed the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp([i64; 6]);

impl Stamp {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self([
            metadata.ino().cast_signed(),
            metadata.len().cast_signed(),
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.ctime(),
            metadata.ctime_nsec(),
        ])
    }
}

#[derive(Default)]
pub(super) struct Copies {
    copies: HashMap<Digest, Entry>,
    /// The copies by their last use.
    order: BTreeMap<u64, Digest>,
    clock: u64,
    bytes: u64,
    /// The bytes of copies that are being made.
    filling: u64,
    flights: HashMap<Digest, Flight>,
    /// The blobs that were read last.
    recent: VecDeque<Digest>,
    is_recent: HashSet<Digest>,
}

struct Entry {
    size: u64,
    used: u64,
    /// `None` until the copy of an earlier process is verified.
    stamp: Option<Stamp>,
}

/// A blob that one request reads for all.
struct Flight {
    id: u64,
    state: FlightState,
}

enum FlightState {
    Opening(watch::Sender<()>),
    Filling(Arc<Fill>),
}

/// The result of looking for a blob.
pub(super) enum Found {
    /// A verified copy.
    Copy(Stamp),
    /// A copy that this request verifies, with the id of its flight.
    Unverified(u64),
    /// A copy that is being made.
    Fill(Arc<Fill>),
    /// Another request opens the object.
    Opening(watch::Receiver<()>),
    /// Nothing. This request opens the object, with this id of its flight.
    Nothing(u64),
}

/// The file of a copy.
pub(super) fn path(directory: &Path, digest: &Digest) -> PathBuf {
    directory.join(format!("{}-{}", digest.algorithm(), digest.hex()))
}

/// Reads the copies of an earlier process, and removes all other files. The times of last use are those of
/// the copying.
pub(super) fn read(directory: &Path) -> Copies {
    if let Err(error) = permissions::create_dir_all(directory) {
        tracing::warn!(%error, directory = %directory.display(), "cannot create the directory of copies of blobs");
    }
    let mut found: Vec<(SystemTime, Digest, u64)> = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let digest = entry.file_name().to_str().and_then(|name| name.replacen('-', ":", 1).parse().ok());
        match (digest, entry.metadata()) {
            (Some(digest), Ok(metadata)) if metadata.is_file() => {
                let made = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                found.push((made, digest, metadata.len()));
            }
            // An unfinished one.
            _ => _ = fs::remove_file(entry.path()),
        }
    }
    found.sort_unstable_by_key(|(made, ..)| *made);
    let mut copies = Copies::default();
    for (_, digest, size) in found {
        copies.add(&digest, size, None);
    }
    copies
}

impl Copies {
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn digests(&self) -> Vec<Digest> {
        self.copies.keys().copied().collect()
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Looks for a blob, and counts that as a use.
    pub(super) fn find(&mut self, digest: &Digest) -> Found {
        if let Some(Flight { state, .. }) = self.flights.get(digest) {
            return match state {
                FlightState::Opening(end) => Found::Opening(end.subscribe()),
                FlightState::Filling(fill) => Found::Fill(fill.clone()),
            };
        }
        let used = self.tick();
        if let Some(entry) = self.copies.get_mut(digest) {
            self.order.remove(&std::mem::replace(&mut entry.used, used));
            self.order.insert(used, *digest);
            if let Some(stamp) = entry.stamp {
                return Found::Copy(stamp);
            }
        }
        let is_there = self.copies.contains_key(digest);
        let id = self.tick();
        let state = FlightState::Opening(watch::Sender::new(()));
        self.flights.insert(*digest, Flight { id, state });
        if is_there { Found::Unverified(id) } else { Found::Nothing(id) }
    }

    fn flight(&self, digest: &Digest, id: u64) -> Option<&Flight> {
        self.flights.get(digest).filter(|flight| flight.id == id)
    }

    pub(super) fn has_waiters(&self, digest: &Digest, id: u64) -> bool {
        match self.flight(digest, id) {
            Some(Flight { state: FlightState::Opening(end), .. }) => end.receiver_count() > 0,
            _ => false,
        }
    }

    /// Lets other requests join a fill.
    pub(super) fn fill(&mut self, digest: &Digest, id: u64, fill: &Arc<Fill>) {
        if let Some(flight) = self.flights.get_mut(digest).filter(|flight| flight.id == id) {
            flight.state = FlightState::Filling(fill.clone());
        }
    }

    /// Ends a flight.
    pub(super) fn end(&mut self, digest: &Digest, id: u64) {
        if self.flight(digest, id).is_some() {
            self.flights.remove(digest);
        }
    }

    /// Adds the copy that a flight has made. `false` if the blob was deleted since the flight began.
    pub(super) fn insert(&mut self, digest: &Digest, id: u64, size: u64, stamp: Stamp) -> bool {
        if self.flight(digest, id).is_none() {
            return false;
        }
        self.drop_entry(digest);
        self.add(digest, size, Some(stamp));
        true
    }

    fn add(&mut self, digest: &Digest, size: u64, stamp: Option<Stamp>) {
        let used = self.tick();
        self.copies.insert(*digest, Entry { size, used, stamp });
        self.order.insert(used, *digest);
        self.bytes += size;
    }

    pub(super) fn verified(&mut self, digest: &Digest, stamp: Stamp) {
        if let Some(entry) = self.copies.get_mut(digest) {
            entry.stamp = Some(stamp);
        }
    }

    fn drop_entry(&mut self, digest: &Digest) -> bool {
        let Some(entry) = self.copies.remove(digest) else { return false };
        self.order.remove(&entry.used);
        self.bytes -= entry.size;
        true
    }

    /// Removes the copy with this stamp. Returns `false` if it is another one by now.
    pub(super) fn forget_copy(&mut self, digest: &Digest, stamp: Option<Stamp>) -> bool {
        self.copies.get(digest).is_some_and(|entry| entry.stamp == stamp) && self.drop_entry(digest)
    }

    /// Removes the copy of a deleted blob, and disowns the flight that makes one. Returns whether there was a
    /// copy.
    pub(super) fn forget(&mut self, digest: &Digest) -> bool {
        self.flights.remove(digest);
        self.drop_entry(digest)
    }

    /// Evicts the least recently used copies until `size` more bytes are within `limit`. Returns their
    /// digests; `None` if the unfinished copies leave no room. [`release`](Self::release) ends it.
    pub(super) fn evict(&mut self, limit: u64, size: u64) -> Option<Vec<Digest>> {
        if self.filling + size > limit {
            return None;
        }
        self.filling += size;
        let mut evicted = Vec::new();
        while self.bytes + self.filling > limit || self.copies.len() >= MOST {
            let Some((_, digest)) = self.order.pop_first() else { break };
            self.drop_entry(&digest);
            evicted.push(digest);
        }
        Some(evicted)
    }

    pub(super) fn release(&mut self, size: u64) {
        self.filling -= size;
    }

    /// Notes that a blob is read. Returns whether it was read a short time ago.
    pub(super) fn note(&mut self, digest: &Digest) -> bool {
        if !self.is_recent.insert(*digest) {
            return true;
        }
        self.recent.push_back(*digest);
        if self.recent.len() > RECENT
            && let Some(oldest) = self.recent.pop_front()
        {
            self.is_recent.remove(&oldest);
        }
        false
    }
}
