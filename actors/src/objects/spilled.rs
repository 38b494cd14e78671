//! Objects of the table that are on disk, or may go there because calls that wait do not hold them. Pure.

use remex_protocol::ids::ObjectId;

use super::{
    disk::{ReadBack, SpillFile},
    entry::{Entry, OnDisk, State},
    memory::{Held, Lease},
    table::{Table, Waiter},
};
use crate::Error;

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

impl Table {
    /// A call that waits will use a value that is ready, and does not hold it. False if there is none.
    pub(crate) fn keep(&mut self, id: ObjectId) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if let State::Ready(held) = &entry.state {
            held.lease.iter().for_each(|lease| lease.touch());
        }
        let is_ready = matches!(entry.state, State::Ready(_) | State::Spilled(_));
        if is_ready {
            entry.add_user();
        }
        is_ready
    }

    /// Whether calls wait that will use it.
    pub(crate) fn is_kept(&self, id: ObjectId) -> bool {
        self.entries.get(&id).is_some_and(|entry| entry.users() > 0)
    }

    /// A call will not use what it kept.
    pub(crate) fn let_go(&mut self, id: ObjectId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.remove_user();
        }
        self.sweep(id);
    }

    /// A call uses what it kept, now, or as soon as it is in memory.
    pub(crate) fn take_kept(&mut self, id: ObjectId, waiter: Waiter) -> Taken {
        let Some(entry) = self.entries.get_mut(&id) else { return Taken::Gone };
        entry.remove_user();
        let taken = match &entry.state {
            State::Ready(held) => {
                held.lease.iter().for_each(|lease| lease.touch());
                Taken::Here(held.clone())
            }
            State::Failed(error) => Taken::Failed(error.clone()),
            State::Spilled(on_disk) => {
                let taken = if on_disk.reading.is_some() { Taken::Coming } else { Taken::OnDisk };
                entry.add_waiter(waiter);
                taken
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
        if let Some(metadata) = entry.metadata().cloned() {
            entry.set_metadata(metadata);
        }
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
        let waiters = entry.take_waiters();
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
            self.entries.swap_remove(&id);
            self.tombstones -= 1;
        }
    }
}
