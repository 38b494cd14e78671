//! One object of the table, in as few bytes as may be: there are millions of them. Pure.

use std::sync::Arc;

use remex_protocol::tensor::TensorMetadata;
use smallvec::SmallVec;

use super::{
    disk::SpillFile,
    memory::{Held, Lease},
    table::{Made, Value, Waiter},
};
use crate::Error;

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
    pub(super) file: SpillFile,
    /// It is being read, by this number, into memory that is reserved for it.
    pub(super) reading: Option<(u64, Lease)>,
}

/// An object. What few have is apart.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) state: State,
    /// The program whose output it is.
    pub(super) by: Option<Arc<str>>,
    pub(super) rare: Option<Box<Rare>>,
    /// Seconds since the store began.
    pub(super) at: u32,
    /// How many references there are, those of tokens among them.
    pub(super) count: u32,
    /// It stays when there are none.
    pub(super) pinned: bool,
    /// It outlives the session that made it.
    pub(super) kept: bool,
    /// Given up while it was pending: a tombstone, hidden from new calls, gone when its producer ends. Or while calls waited
    /// that will use it: gone with the last of them.
    pub(super) given_up: bool,
}

/// What an object has that is not ready, or that calls keep.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// What it will be, or would have been.
    metadata: Option<TensorMetadata>,
    waiters: SmallVec<[Waiter; 1]>,
    /// Calls that wait and will use the value, without holding it.
    users: u32,
}

impl Entry {
    pub(super) fn new(state: State, made: Made) -> Self {
        let Made { at, by } = made;
        Self { state, by, rare: None, at, count: 1, pinned: false, kept: false, given_up: false }
    }

    /// Where it comes from.
    pub(crate) fn made(&self) -> Made {
        Made { at: self.at, by: self.by.clone() }
    }

    /// What it is, or will be, as far as that is known.
    pub(crate) fn metadata(&self) -> Option<&TensorMetadata> {
        match &self.state {
            State::Ready(Held { value: Value::Tensor(tensor), .. }) => Some(tensor.metadata()),
            _ => self.rare.as_ref()?.metadata.as_ref(),
        }
    }

    /// Says what it is where the value does not.
    pub(super) fn set_metadata(&mut self, metadata: TensorMetadata) {
        self.rare.get_or_insert_default().metadata = Some(metadata);
    }

    pub(super) fn waiters(&self) -> &[Waiter] {
        self.rare.as_ref().map_or(&[], |rare| &rare.waiters)
    }

    pub(super) fn add_waiter(&mut self, waiter: Waiter) {
        self.rare.get_or_insert_default().waiters.push(waiter);
    }

    pub(super) fn take_waiters(&mut self) -> Vec<Waiter> {
        self.rare.as_mut().map(|rare| std::mem::take(&mut rare.waiters).into_vec()).unwrap_or_default()
    }

    /// Calls that wait and will use the value, without holding it.
    pub(super) fn users(&self) -> u32 {
        self.rare.as_ref().map_or(0, |rare| rare.users)
    }

    pub(super) fn add_user(&mut self) {
        self.rare.get_or_insert_default().users += 1;
    }

    pub(super) fn remove_user(&mut self) {
        if let Some(rare) = &mut self.rare {
            rare.users = rare.users.saturating_sub(1);
        }
    }

    /// Whether a call that waits will use the value.
    pub(super) fn is_needed(&self) -> bool {
        self.users() > 0 || matches!(&self.state, State::Spilled(on_disk) if on_disk.reading.is_some())
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn is_pinned(&self) -> bool {
        self.pinned
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up
    }
}

#[cfg(test)]
mod tests {
    use remex_protocol::ids::ObjectId;

    use super::*;

    /// Beside its data and the rest of the table, which takes up to 20 bytes for each; 8 are its hash.
    #[test]
    fn an_object_takes_few_bytes() {
        let bytes = size_of::<ObjectId>() + size_of::<Entry>() + 8;
        assert!(bytes <= 176, "{bytes} bytes, {} of them a value", size_of::<Held>());
    }
}
