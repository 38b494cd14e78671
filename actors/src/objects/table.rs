//! The objects of one context on one task. Pure.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use remex_protocol::{
    calls::DeleteMode,
    ids::ObjectId,
    tensor::{Tensor, TensorMetadata},
};

use super::{
    disk::{ReadBack, SpillFile},
    jobs::JobId,
    memory::{Held, Lease},
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

/// Where an object stands (I4): `Pending → Ready | Failed`, and nothing else ever changes. What is ready may be on disk, as
/// long as the disk keeps it.
#[derive(Debug)]
pub(crate) enum State {
    /// Somebody waits for it, nobody has said yet that he will make it.
    Expected,
    /// Somebody is making it.
    Pending,
    Ready(Held),
    Spilled(Box<OnDisk>),
    Failed(Error),
}

/// An object that is not in memory.
#[derive(Debug)]
pub(crate) struct OnDisk {
    file: SpillFile,
    /// It is being read, by this number, into memory that is reserved for it.
    reading: Option<(u64, Lease)>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) state: State,
    pub(crate) metadata: Option<TensorMetadata>,
    waiters: Vec<Waiter>,
    /// Given up while it was pending: a tombstone, hidden from new calls, gone when its producer ends. Or while calls waited
    /// that will use it: gone with the last of them.
    given_up: bool,
    /// Calls that wait and will use the value, without holding it.
    users: u32,
}

impl Entry {
    fn new(state: State) -> Self {
        Self { state, metadata: None, waiters: Vec::new(), given_up: false, users: 0 }
    }

    /// Whether a call that waits will use the value.
    fn is_needed(&self) -> bool {
        self.users > 0 || matches!(&self.state, State::Spilled(on_disk) if on_disk.reading.is_some())
    }
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

/// What a call gets of an object that it kept.
#[derive(Debug)]
pub(crate) enum Taken {
    Here(Held),
    /// It is on disk: it waits, and a read is to begin.
    OnDisk,
    /// It is being read: it waits.
    Coming,
    Failed(Error),
    Gone,
}

/// Objects by id.
#[derive(Debug)]
pub(crate) struct Table {
    // Seeded: the ids come from peers, and they shall not choose what collides.
    entries: HashMap<ObjectId, Entry, FixedState>,
    tombstones: usize,
}

impl Table {
    pub(crate) fn new(seed: u64) -> Self {
        Self { entries: HashMap::with_hasher(FixedState::with_seed(seed)), tombstones: 0 }
    }

    /// How many objects there are, tombstones among them.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many of them are tombstones.
    pub(crate) fn tombstones(&self) -> usize {
        self.tombstones
    }

    /// Who waits for an object.
    pub(crate) fn waiters(&self, id: ObjectId) -> &[Waiter] {
        self.entries.get(&id).map_or(&[], |entry| &entry.waiters)
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

    /// Somebody will make the object. The id is not taken. Says who waits for its metadata.
    pub(crate) fn reserve(&mut self, id: ObjectId) {
        self.entries.entry(id).or_insert_with(|| Entry::new(State::Pending)).state = State::Pending;
    }

    /// Somebody waits for an object that nobody has announced.
    pub(crate) fn expect(&mut self, id: ObjectId) {
        self.entries.entry(id).or_insert_with(|| Entry::new(State::Expected));
    }

    /// Lets a job wait for an object that is there and not ready.
    pub(crate) fn wait(&mut self, id: ObjectId, waiter: Waiter) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.waiters.push(waiter);
        }
    }

    /// An object's metadata is known before its value. Says who waits for it; nobody if it was known already.
    pub(crate) fn know(&mut self, id: ObjectId, metadata: TensorMetadata) -> Vec<Waiter> {
        match self.entries.get_mut(&id) {
            Some(entry @ Entry { metadata: None, state: State::Pending, .. }) => {
                entry.metadata = Some(metadata);
                entry.waiters.clone()
            }
            Some(_) | None => Vec::new(),
        }
    }

    pub(crate) fn metadata(&self, id: ObjectId) -> Option<&TensorMetadata> {
        self.entries.get(&id)?.metadata.as_ref()
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
        let waiters = std::mem::take(&mut entry.waiters);
        if entry.given_up {
            self.entries.remove(&id);
            self.tombstones -= 1;
            return waiters;
        }
        entry.state = match outcome {
            Ok(held) => {
                if let Value::Tensor(tensor) = &held.value {
                    entry.metadata = Some(tensor.metadata().clone());
                }
                State::Ready(held)
            }
            Err(error) => State::Failed(error),
        };
        waiters
    }

    /// Stores an object that failed before it was begun. The id is not taken. Says who waited.
    pub(crate) fn poison(&mut self, id: ObjectId, error: Error) -> Vec<Waiter> {
        self.reserve(id);
        self.settle(id, Err(error))
    }

    /// Gives an object up: it is hidden from new calls. `Err` if there is none; else who is to fail, because he waits
    /// for what was explicitly deleted while it was pending. Calls that wait for what was only released still get it.
    pub(crate) fn give_up(&mut self, id: ObjectId, mode: DeleteMode) -> Result<Vec<Waiter>, ()> {
        let entry = self.entries.get_mut(&id).filter(|entry| !entry.given_up).ok_or(())?;
        match &entry.state {
            State::Ready(_) | State::Spilled(_) | State::Failed(_) if entry.is_needed() => {
                entry.given_up = true;
                self.tombstones += 1;
                Ok(Vec::new())
            }
            State::Ready(_) | State::Spilled(_) | State::Failed(_) => {
                self.entries.remove(&id);
                Ok(Vec::new())
            }
            // Who waits for something that nobody makes has not named an object.
            State::Expected => Err(()),
            State::Pending => {
                entry.given_up = true;
                self.tombstones += 1;
                Ok(match mode {
                    DeleteMode::Release => Vec::new(),
                    DeleteMode::Delete => std::mem::take(&mut entry.waiters),
                })
            }
        }
    }

    /// Forgets an object, whatever its state. Says who waited.
    pub(crate) fn forget(&mut self, id: ObjectId) -> Vec<Waiter> {
        let Some(entry) = self.entries.remove(&id) else { return Vec::new() };
        self.tombstones -= usize::from(entry.given_up);
        entry.waiters
    }

    /// A call that waits will use a value that is ready, and does not hold it. False if there is none.
    pub(crate) fn keep(&mut self, id: ObjectId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if let State::Ready(held) = &entry.state {
            held.lease.iter().for_each(|lease| lease.touch());
        }
        let is_ready = matches!(entry.state, State::Ready(_) | State::Spilled(_));
        entry.users += u32::from(is_ready);
        is_ready
    }

    /// Whether calls wait that will use it.
    pub(crate) fn is_kept(&self, id: ObjectId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.users > 0)
    }

    /// A call will not use what it kept.
    pub(crate) fn let_go(&mut self, id: ObjectId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.users = entry.users.saturating_sub(1);
        }
        self.sweep(id);
    }

    /// A call uses what it kept, now, or as soon as it is in memory.
    pub(crate) fn take_kept(&mut self, id: ObjectId, waiter: Waiter) -> Taken {
        let Some(entry) = self.entries.get_mut(&id) else { return Taken::Gone };
        entry.users = entry.users.saturating_sub(1);
        let taken = match &entry.state {
            State::Ready(held) => {
                held.lease.iter().for_each(|lease| lease.touch());
                Taken::Here(held.clone())
            }
            State::Failed(error) => Taken::Failed(error.clone()),
            State::Spilled(on_disk) => {
                entry.waiters.push(waiter);
                if on_disk.reading.is_some() { Taken::Coming } else { Taken::OnDisk }
            }
            State::Expected | State::Pending => Taken::Gone,
        };
        self.sweep(id);
        taken
    }

    /// The bytes that an object needs to come back into memory; none if it is there, or on its way.
    pub(crate) fn bytes_on_disk(&self, id: ObjectId) -> u64 {
        match self.entries.get(&id).map(|entry| &entry.state) {
            Some(State::Spilled(on_disk)) if on_disk.reading.is_none() => on_disk.file.bytes(),
            _ => 0,
        }
    }

    /// What an object is that is in memory.
    pub(crate) fn in_memory(&self, id: ObjectId) -> Option<&Held> {
        match &self.entries.get(&id)?.state {
            State::Ready(held) => Some(held),
            _ => None,
        }
    }

    /// An object that is in memory is only on disk from now on. Gives what was in memory.
    pub(crate) fn spill(&mut self, id: ObjectId, file: SpillFile) -> Option<Held> {
        let entry = self.entries.get_mut(&id).filter(|entry| matches!(entry.state, State::Ready(_)))?;
        let on_disk = State::Spilled(Box::new(OnDisk { file, reading: None }));
        match std::mem::replace(&mut entry.state, on_disk) {
            State::Ready(held) => Some(held),
            _ => None,
        }
    }

    /// An object that is on disk is to be read, into memory that was reserved.
    pub(crate) fn begin_read(&mut self, id: ObjectId, number: u64, lease: Lease) -> Option<ReadBack> {
        let State::Spilled(on_disk) = &mut self.entries.get_mut(&id)?.state else { return None };
        on_disk.reading = Some((number, lease));
        Some(on_disk.file.reading(id, number))
    }

    /// A read ended: the memory that was reserved for it, if anybody still wants to know.
    pub(crate) fn end_read(&mut self, id: ObjectId, number: u64) -> Option<Lease> {
        let State::Spilled(on_disk) = &mut self.entries.get_mut(&id)?.state else { return None };
        on_disk.reading.take_if(|(own, _)| *own == number).map(|(_, lease)| lease)
    }

    /// An object is in memory again, or lost; its file goes. `None`: it is still on disk. Says who waited.
    pub(crate) fn restore(&mut self, id: ObjectId, outcome: Option<Result<Held, Error>>) -> Vec<Waiter> {
        let Some(entry) = self.entries.get_mut(&id) else { return Vec::new() };
        match outcome {
            Some(Ok(held)) => entry.state = State::Ready(held),
            Some(Err(error)) => entry.state = State::Failed(error),
            None => {}
        }
        let waiters = std::mem::take(&mut entry.waiters);
        self.sweep(id);
        waiters
    }

    /// Forgets an object that was given up, when nobody needs it any more.
    fn sweep(&mut self, id: ObjectId) {
        let is_over = |entry: &Entry| {
            let is_made = !matches!(entry.state, State::Expected | State::Pending);
            entry.given_up && is_made && !entry.is_needed()
        };
        if self.entries.get(&id).is_some_and(is_over) {
            self.entries.remove(&id);
            self.tombstones -= 1;
        }
    }

    /// Forgets an object that nobody has announced.
    pub(crate) fn forget_expected(&mut self, id: ObjectId) {
        if self.entries.get(&id).is_some_and(|entry| matches!(entry.state, State::Expected)) {
            self.entries.remove(&id);
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
        ids.iter().for_each(|id| table.reserve(*id));
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
