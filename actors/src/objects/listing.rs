//! What the store says of its objects, a page at a time.

use std::{collections::BinaryHeap, time::Instant};

use actix::Message;
use remex_protocol::{
    calls::{ListedObject, ObjectState},
    ids::ObjectId,
};

use super::{
    entry::{Entry, State},
    store::Store,
    table::Table,
};
use crate::Result;

/// Asks for objects in the order of their ids.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Listed>")]
pub struct List {
    /// Those behind this one; `None`: all.
    pub after: Option<ObjectId>,
    /// So many at most. With 0 they are only counted.
    pub most: usize,
    /// What the context is called in the answer.
    pub context: u64,
}

/// A page of objects.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// In the order of their ids.
    pub objects: Vec<ListedObject>,
    /// How many lie behind these.
    pub rest: u64,
}

impl Table {
    /// The ids of a page, in order, and how many lie behind it. Looks at every object: what is listed costs those that
    /// are not nothing while they live.
    fn page(&self, after: Option<ObjectId>, most: usize) -> (Vec<ObjectId>, u64) {
        let (mut page, mut count) = (BinaryHeap::new(), 0u64);
        // What is only waited for is no object.
        let objects = self.iter().filter(|(_, entry)| !matches!(entry.state, State::Expected)).map(|(id, _)| id);
        for id in objects.filter(|id| after.is_none_or(|after| *id > after)) {
            count += 1;
            if page.len() < most {
                page.push(id);
            } else if page.peek().is_some_and(|last| id < *last) {
                page.pop();
                page.push(id);
            }
        }
        let rest = count - page.len() as u64;
        (page.into_sorted_vec(), rest)
    }
}

impl Store {
    /// A page of the objects, as they are at `now`.
    pub(crate) fn list(&self, List { after, most, context }: List, now: Instant) -> Listed {
        let (page, rest) = self.table.page(after, most);
        let seconds = self.seconds(now);
        let describe = |object| self.table.entry(object).map(|entry| entry.describe(object, context, seconds));
        Listed { objects: page.into_iter().filter_map(describe).collect(), rest }
    }
}

impl Entry {
    fn describe(&self, object: ObjectId, context: u64, now: u32) -> ListedObject {
        let state = match &self.state {
            _ if self.is_given_up() => ObjectState::GivenUp,
            State::Expected | State::Pending => ObjectState::Pending,
            State::Ready(_) => ObjectState::Ready,
            State::Spilled(_) => ObjectState::Spilled,
            State::Failed(_) => ObjectState::Failed,
        };
        let is_ready = matches!(state, ObjectState::Ready | ObjectState::Spilled);
        let made = self.made();
        let size = self.metadata().filter(|_| is_ready).and_then(|metadata| metadata.size_bytes());
        ListedObject {
            context,
            object,
            metadata: self.metadata().cloned(),
            size_bytes: size.unwrap_or_default(),
            state,
            holders: self.count(),
            pinned: self.is_pinned(),
            age_ms: u64::from(now.saturating_sub(made.at)) * 1000,
            program: made.by.as_deref().map(str::to_owned),
        }
    }
}
