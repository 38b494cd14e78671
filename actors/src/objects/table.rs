//! The objects of one context on one task. Pure.

use std::{collections::BTreeSet, sync::Arc};

use foldhash::fast::FixedState;
use indexmap::{IndexMap, map};
use remex_protocol::{
    calls::DeleteMode,
    ids::{ObjectId, ObjectPrefix},
    tensor::{Tensor, TensorMetadata},
};

use super::{
    entry::{Entry, State},
    jobs::JobId,
    memory::Held,
};
use crate::Error;

/// What an object is.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Data.
    Tensor(Tensor),
    /// Nothing but the fact that it is there.
    Chain,
}

/// A place in a job's list of inputs that waits for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiter {
    pub(crate) job: JobId,
    pub(crate) input: u32,
}

/// Where an object comes from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Made {
    /// Seconds since the store began.
    pub(crate) at: u32,
    /// The program whose output it is.
    pub(crate) by: Option<Arc<str>>,
}

/// Why an object was not given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotGivenUp {
    /// There is none, or it was given up before.
    Nothing,
    /// It is pinned, and was to be deleted.
    Pinned,
}

/// What a lookup found.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    Ready(&'a Held),
    Failed(&'a Error),
    /// It is not ready.
    Wait,
    /// It is ready, on disk.
    Spilled,
    /// There is none, or it was given up.
    Nothing,
}

/// Objects by id.
#[derive(Debug)]
pub(crate) struct Table {
    // Seeded: the ids come from peers, and they shall not choose what collides. The entries lie close together, apart from
    // the table of hashes: that one has room to spare, which an entry would pay for, and grows without moving them.
    pub(super) entries: IndexMap<ObjectId, Entry, FixedState>,
    pub(super) tombstones: usize,
    pinned: usize,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        Self { entries: IndexMap::with_hasher(FixedState::with_seed(seed)), tombstones: 0, pinned: 0 }
    }

    /// How many objects there are, tombstones among them.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them are tombstones.
    pub(crate) fn tombstones(&self) -> usize {
        self.tombstones
    }

    pub(crate) fn entry(&self, id: ObjectId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// All that is in it, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ObjectId, &Entry)> {
        self.entries.iter().map(|(id, entry)| (*id, entry))
    }

    /// How many objects are pinned.
    pub(crate) fn pinned(&self) -> usize {
        self.pinned
    }

    /// Whether an object is pinned; `None` if there is no such object for new calls.
    pub(crate) fn is_pinned(&self, id: ObjectId) -> Option<bool> {
        let named = |entry: &&Entry| !entry.given_up && !matches!(entry.state, State::Expected);
        self.entries.get(&id).filter(named).map(|entry| entry.pinned)
    }

    /// An object that is there stays when there are no references to it any more.
    pub(crate) fn pin(&mut self, id: ObjectId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            self.pinned += usize::from(!std::mem::replace(&mut entry.pinned, true));
        }
    }

    /// The same no more. An object without references is given up.
    pub(crate) fn unpin(&mut self, id: ObjectId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        self.pinned -= usize::from(std::mem::replace(&mut entry.pinned, false));
        if entry.count == 0 {
            // Of a release there is nobody to tell.
            let _ = self.give_up(id, DeleteMode::Release);
        }
    }

    /// An object outlives the session that made it. False if there is no such object for new calls.
    pub(crate) fn keep_for_good(&mut self, id: ObjectId) -> bool {
        let named = |entry: &&mut Entry| !entry.given_up && !matches!(entry.state, State::Expected);
        self.entries.get_mut(&id).filter(named).map(|entry| entry.kept = true).is_some()
    }

    /// What was made with ids of this prefix and is not kept, in order.
    pub(crate) fn made_with(&self, prefix: ObjectPrefix) -> BTreeSet<ObjectId> {
        self.iter().filter(|(id, entry)| id.prefix == prefix && !entry.kept).map(|(id, _)| id).collect()
    }

    /// There is one more reference to an object. False if there is no such object for new calls, or no room for a count.
    pub(crate) fn count_more(&mut self, id: ObjectId) -> bool {
        let named = |entry: &&mut Entry| !entry.given_up && !matches!(entry.state, State::Expected);
        let Some(entry) = self.entries.get_mut(&id).filter(named) else { return false };
        let Some(count) = entry.count.checked_add(1) else { return false };
        entry.count = count;
        true
    }

    /// Who waits for an object.
    pub(crate) fn waiters(&self, id: ObjectId) -> &[Waiter] {
        self.entries.get(&id).map_or(&[], Entry::waiters)
    }

    pub(crate) fn find(&self, id: ObjectId) -> Found<'_> {
        match self.entries.get(&id) {
            None | Some(Entry { given_up: true, .. }) => Found::Nothing,
            Some(entry) => match &entry.state {
                State::Expected | State::Pending => Found::Wait,
                State::Ready(value) => Found::Ready(value),
                State::Spilled(_) => Found::Spilled,
                State::Failed(error) => Found::Failed(error),
            },
        }
    }

    /// Whether an id may not be given to a new object: it is in use, or its tombstone stands.
    pub(crate) fn is_taken(&self, id: ObjectId) -> bool {
        self.entries.get(&id).is_some_and(|entry| !matches!(entry.state, State::Expected))
    }

    /// Somebody will make the object. The id is not taken.
    pub(crate) fn reserve(&mut self, id: ObjectId, made: Made) {
        match self.entries.entry(id) {
            map::Entry::Vacant(vacant) => _ = vacant.insert(Entry::new(State::Pending, made)),
            map::Entry::Occupied(mut waited_for) => {
                let entry = waited_for.get_mut();
                (entry.state, entry.at, entry.by) = (State::Pending, made.at, made.by);
            }
        }
    }

    /// Somebody waits for an object that nobody has announced.
    pub(crate) fn expect(&mut self, id: ObjectId) {
        self.entries.entry(id).or_insert_with(|| Entry::new(State::Expected, Made::default()));
    }

    /// Lets a job wait for an object that is there and not ready.
    pub(crate) fn wait(&mut self, id: ObjectId, waiter: Waiter) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.add_waiter(waiter);
        }
    }

    /// An object's metadata is known before its value. Says who waits for it; nobody if it was known already.
    pub(crate) fn know(&mut self, id: ObjectId, metadata: TensorMetadata) -> Vec<Waiter> {
        match self.entries.get_mut(&id) {
            Some(entry) if matches!(entry.state, State::Pending) && entry.metadata().is_none() => {
                entry.set_metadata(metadata);
                entry.waiters().to_vec()
            }
            Some(_) | None => Vec::new(),
        }
    }

    pub(crate) fn metadata(&self, id: ObjectId) -> Option<&TensorMetadata> {
        self.entries.get(&id)?.metadata()
    }

    pub(crate) fn is_pending(&self, id: ObjectId) -> bool {
        self.entries.get(&id).is_some_and(|entry| matches!(entry.state, State::Pending))
    }

    /// The producer of a pending object ends. Says who waited; of any other object this changes nothing (I4).
    pub(crate) fn settle(&mut self, id: ObjectId, outcome: Result<Held, Error>) -> Vec<Waiter> {
        let Some(entry) = self.entries.get_mut(&id) else { return Vec::new() };
        if !matches!(entry.state, State::Pending) {
            return Vec::new();
        }
        let waiters = entry.take_waiters();
        if entry.given_up {
            self.entries.swap_remove(&id);
            self.tombstones -= 1;
            return waiters;
        }
        entry.state = match outcome {
            Ok(held) => {
                // The value says what it is, and nobody keeps what is only ready now.
                entry.rare = None;
                State::Ready(held)
            }
            Err(error) => State::Failed(error),
        };
        waiters
    }

    /// Stores an object that failed before it was begun. The id is not taken. Says who waited.
    pub(crate) fn poison(&mut self, id: ObjectId, error: Error, at: u32) -> Vec<Waiter> {
        self.reserve(id, Made { at, by: None });
        self.settle(id, Err(error))
    }

    /// Gives an object up, if this was its last reference or it is deleted: it is hidden from new calls. Says who is to
    /// fail, because he waits for what was explicitly deleted while it was pending. Calls that wait for what was only
    /// released still get it.
    pub(crate) fn give_up(&mut self, id: ObjectId, mode: DeleteMode) -> Result<Vec<Waiter>, NotGivenUp> {
        let found = self.entries.get_full_mut(&id).filter(|(_, _, entry)| !entry.given_up);
        let (place, _, entry) = found.ok_or(NotGivenUp::Nothing)?;
        match mode {
            // Who waits for something that nobody makes has not named an object.
            _ if matches!(entry.state, State::Expected) => return Err(NotGivenUp::Nothing),
            DeleteMode::Delete if entry.pinned => return Err(NotGivenUp::Pinned),
            DeleteMode::Delete => {}
            DeleteMode::Release => {
                entry.count = entry.count.saturating_sub(1);
                if entry.count > 0 || entry.pinned {
                    return Ok(Vec::new());
                }
            }
        }
        match &entry.state {
            State::Ready(_) | State::Spilled(_) | State::Failed(_) if entry.is_needed() => {
                entry.given_up = true;
                self.tombstones += 1;
                Ok(Vec::new())
            }
            State::Ready(_) | State::Spilled(_) | State::Failed(_) => {
                self.entries.swap_remove_index(place);
                Ok(Vec::new())
            }
            State::Expected => Err(NotGivenUp::Nothing),
            State::Pending => {
                entry.given_up = true;
                self.tombstones += 1;
                Ok(match mode {
                    DeleteMode::Release => Vec::new(),
                    DeleteMode::Delete => entry.take_waiters(),
                })
            }
        }
    }

    /// Forgets an object, whatever its state. Says who waited.
    pub(crate) fn forget(&mut self, id: ObjectId) -> Vec<Waiter> {
        let Some(mut entry) = self.entries.swap_remove(&id) else { return Vec::new() };
        self.tombstones -= usize::from(entry.given_up);
        self.pinned -= usize::from(entry.pinned);
        entry.take_waiters()
    }

    /// Forgets an object that nobody has announced.
    pub(crate) fn forget_expected(&mut self, id: ObjectId) {
        if self.entries.get(&id).is_some_and(|entry| matches!(entry.state, State::Expected)) {
            self.entries.swap_remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng, rngs::SmallRng, seq::SliceRandom};
    use remex_protocol::ids::{DeviceIndex, ObjectPrefix};

    use super::*;

    /// TFRT §3.2-8: whatever is deleted, and in whatever order, everything else is still found, and only that.
    #[test]
    fn deleting_an_object_hides_no_other() {
        let id = |prefix, local| ObjectId { prefix: ObjectPrefix(prefix), local, device: DeviceIndex(0) };
        let seed: u64 = rand::random();
        let mut rng = SmallRng::seed_from_u64(seed);
        let ends = [0, 1, 3, 5, 7, 9, 67, 1 << 32, u64::MAX - 1, u64::MAX];
        let mut ids: Vec<_> = ends.iter().flat_map(|&prefix| ends.map(|local| id(prefix, local))).collect();
        ids.extend((0..1000).map(|_| id(rng.random_range(8..10), rng.random_range(100..u64::MAX / 2))));
        let mut table = Table::new(rng.random());
        ids.iter().for_each(|id| table.reserve(*id, Made::default()));
        ids.iter().for_each(|id| drop(table.settle(*id, Ok(Held::chain()))));
        ids.shuffle(&mut rng);
        while let Some(gone) = ids.pop() {
            assert_eq!(table.give_up(gone, DeleteMode::Delete), Ok(Vec::new()), "{gone}, seed {seed}");
            assert!(matches!(table.find(gone), Found::Nothing), "{gone}, seed {seed}");
            let hidden = ids.iter().find(|id| !matches!(table.find(**id), Found::Ready(_)));
            assert_eq!((hidden, table.len()), (None, ids.len()), "after {gone}, seed {seed}");
        }
    }
}
