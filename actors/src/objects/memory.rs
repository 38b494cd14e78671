//! Memory of the task's budget, held by values: given back when they are dropped, on whatever thread.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use actix::{Message, Recipient, WeakRecipient};
use remex_protocol::{ErrorCode, tensor::Tensor};
use smallvec::SmallVec;

use super::{
    budget::{Asked, Budget, MemoryLimits, NoRoom, WhenFull, Woken},
    disk::Disk,
    pressure::{Spill, SpillOut},
    table::Value,
};
use crate::{Error, Result, envelope::post};

/// There is memory again: what waited for it may look.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct MemoryFreed;

/// The memory that the objects of a task may take. Clones share it.
#[derive(Clone)]
pub struct MemoryBudget(Arc<Mutex<Inner>>);

pub(super) struct Inner {
    pub(super) budget: Budget,
    pub(super) contexts: BTreeMap<u64, Ways>,
    /// Weak: the executor holds the budget.
    executor: Option<WeakRecipient<MemoryFreed>>,
    /// What may go to disk, and the disk; `None`: nothing.
    pub(super) spill: Option<Spill>,
}

/// The ways to a context's objects.
#[derive(Clone, Debug)]
pub(super) struct Ways {
    freed: Recipient<MemoryFreed>,
    pub(super) spill: Recipient<SpillOut>,
}

/// How much of a budget is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryUse {
    /// Bytes of objects now.
    pub used: u64,
    /// The most that they were.
    pub peak: u64,
    /// What they may be.
    pub limit: u64,
    /// Calls that wait for memory.
    pub waiting: usize,
    /// Requests that were refused.
    pub refused: u64,
    /// Objects that are on disk.
    pub spilled: u64,
    /// Their bytes.
    pub spilled_bytes: u64,
    /// Objects that went to disk, so far.
    pub spill_writes: u64,
    /// Objects that came back.
    pub spill_reads: u64,
    /// Writes and reads that failed.
    pub spill_errors: u64,
}

impl MemoryBudget {
    /// A budget of which nothing is used.
    pub fn new(limits: MemoryLimits) -> Self {
        Self::with_disk(limits, None)
    }

    /// The same, with a place where objects go that there is no room for.
    pub(crate) fn with_disk(limits: MemoryLimits, disk: Option<Disk>) -> Self {
        let spill = disk.map(Spill::new);
        let budget = Budget::new(limits);
        Self(Arc::new(Mutex::new(Inner { budget, contexts: BTreeMap::new(), executor: None, spill })))
    }

    /// How much is used.
    pub fn usage(&self) -> MemoryUse {
        let inner = self.lock();
        let (used, peak, waiting, refused) = inner.budget.counts();
        let disk = inner.spill.as_ref().map(|spill| spill.disk.usage()).unwrap_or_default();
        MemoryUse {
            used,
            peak,
            limit: inner.budget.limits().bytes,
            waiting,
            refused,
            spilled: disk.files,
            spilled_bytes: disk.bytes,
            spill_writes: disk.writes,
            spill_reads: disk.reads,
            spill_errors: disk.errors,
        }
    }

    /// Whether more is used than the limit says: programs whose outputs are of unknown size do not begin then.
    pub fn is_over(&self) -> bool {
        self.lock().budget.is_over()
    }

    /// Tells the executor, from now on, when the budget is not exceeded any more.
    pub(crate) fn tell_executor(&self, executor: WeakRecipient<MemoryFreed>) {
        self.lock().executor = Some(executor);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the budget, and tells everybody what came of it.
    pub(super) fn change(&self, change: impl FnOnce(&mut Inner) -> Woken) {
        let mut inner = self.lock();
        let woken = change(&mut inner);
        let leaving = inner.press();
        if woken == Woken::default() && leaving.is_empty() {
            return;
        }
        let ways = woken.contexts.iter().filter_map(|context| inner.contexts.get(context));
        let told: Vec<_> = ways.map(|ways| ways.freed.clone()).collect();
        let executor = inner.executor.as_ref().filter(|_| woken.room).and_then(WeakRecipient::upgrade);
        // A message may run a drop that comes back here.
        drop(inner);
        told.iter().chain(&executor).for_each(|to| post(to, MemoryFreed));
        leaving.into_iter().for_each(|(to, victims)| post(&to, SpillOut(victims)));
    }
}

/// One context's way to the budget.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(super) budget: MemoryBudget,
    pub(super) context: u64,
}

impl Account {
    pub(crate) fn new(budget: MemoryBudget, context: u64) -> Self {
        Self { budget, context }
    }

    /// Is told when something was granted that this context waited for, and what of it is to go to disk.
    pub(crate) fn attach(&self, freed: Recipient<MemoryFreed>, spill: Recipient<SpillOut>) {
        self.budget.lock().contexts.insert(self.context, Ways { freed, spill });
    }

    /// The context is gone.
    pub(crate) fn detach(&self) {
        self.budget.lock().contexts.remove(&self.context);
    }

    /// Asks for bytes, all or none: they are there, or a place in the line is. `ResourceExhausted` if they can never be,
    /// or if nobody waits here.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<Room> {
        if bytes == 0 {
            return Ok(Room::Got(self.lease(bytes)));
        }
        let asked = self.budget.lock().ask(self.context, bytes);
        match asked {
            Ok(Asked::Granted) => Ok(Room::Got(self.lease(bytes))),
            Ok(Asked::InLine(place)) => {
                self.press();
                Ok(Room::InLine(Place { account: self.clone(), place }))
            }
            Err(no_room) => Err(self.refused(no_room, bytes)),
        }
    }

    fn lease(&self, bytes: u64) -> Lease {
        Lease { account: self.clone(), bytes, slot: None }
    }

    /// Counts bytes that are there.
    pub(crate) fn take(&self, bytes: u64) -> Lease {
        if bytes > 0 {
            let mut inner = self.budget.lock();
            inner.budget.take(self.context, bytes);
            let press = inner.spill.is_some() && inner.budget.is_over();
            drop(inner);
            if press {
                self.press();
            }
        }
        self.lease(bytes)
    }

    /// Fails if so much can never be had.
    pub(crate) fn check(&self, bytes: u64) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        let limit = self.budget.lock().budget.capacity();
        if bytes <= limit { Ok(()) } else { Err(NoRoom::Never { limit }.error(bytes)) }
    }

    /// Fails if the budget is exceeded and calls do not wait here.
    pub(crate) fn check_over(&self) -> Result<()> {
        let inner = self.budget.lock();
        let limits = inner.budget.limits();
        if limits.when_full == WhenFull::Wait || !inner.budget.is_over() || inner.may_free(self.context, 0) {
            return Ok(());
        }
        let full = NoRoom::Full { used: inner.budget.counts().0, limit: limits.bytes };
        drop(inner);
        Err(self.refused(full, 0))
    }

    /// Places that were granted something.
    pub(crate) fn granted(&self) -> Vec<u64> {
        self.budget.lock().budget.granted(self.context)
    }
}

/// Room, or the prospect of it.
#[derive(Debug)]
pub(crate) enum Room {
    Got(Lease),
    InLine(Place),
}

/// Bytes of the budget. Dropped, they are free.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(super) account: Account,
    pub(super) bytes: u64,
    /// Its object, among those that may go to disk.
    pub(super) slot: Option<u32>,
}

impl Lease {
    /// Cuts bytes off, if there are as many.
    pub(crate) fn split(&mut self, bytes: u64) -> Option<Lease> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(self.account.lease(bytes))
    }

    /// Takes over what another one of the same account has.
    pub(crate) fn absorb(&mut self, mut other: Lease) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Whether it is of this account.
    pub(crate) fn is_of(&self, account: &Account) -> bool {
        Arc::ptr_eq(&self.account.budget.0, &account.budget.0) && self.account.context == account.context
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.account.budget.change(|inner| {
                if let (Some(slot), Some(spill)) = (self.slot, &mut inner.spill) {
                    spill.coldest.remove(slot);
                }
                inner.budget.free(self.account.context, self.bytes)
            });
        }
    }
}

/// A place in the line. Dropped, the next one moves up.
#[derive(Debug)]
pub(crate) struct Place {
    pub(super) account: Account,
    pub(super) place: u64,
}

impl Place {
    pub(crate) fn number(&self) -> u64 {
        self.place
    }

    /// What was granted, if it was.
    pub(crate) fn claim(&self) -> Option<Lease> {
        let bytes = self.account.budget.lock().budget.claim(self.place)?;
        Some(self.account.lease(bytes))
    }

    /// No more than this is needed by now.
    pub(crate) fn shrink(&self, bytes: u64) {
        self.account.budget.change(|inner| inner.budget.shrink(self.place, bytes));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.account.budget.change(|inner| inner.budget.withdraw(self.place));
    }
}

/// Memory that is counted while a program may look at it.
pub(crate) type Holds = SmallVec<[Arc<Lease>; 3]>;

/// A value, and the memory that is counted for as long as anybody here holds it.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) value: Value,
    pub(crate) lease: Option<Arc<Lease>>,
}

impl Held {
    pub(crate) fn new(tensor: Tensor, lease: Lease) -> Self {
        let lease = (lease.bytes > 0).then(|| Arc::new(lease));
        Self { value: Value::Tensor(tensor), lease }
    }

    /// A chain: takes no memory.
    pub(crate) fn chain() -> Self {
        Self { value: Value::Chain, lease: None }
    }
}

impl NoRoom {
    pub(super) fn error(self, bytes: u64) -> Error {
        let message = match self {
            NoRoom::Never { limit } => format!(
                "{bytes} bytes are more than the memory budget of {limit}: give the task a larger one, or work on smaller pieces"
            ),
            NoRoom::Full { used, limit } => format!(
                "{bytes} bytes do not fit: {used} of the memory budget of {limit} are used; free objects, or let calls wait"
            ),
            NoRoom::LineFull => "too many calls wait for memory: free objects, or wait for calls in flight".to_owned(),
        };
        Error::new(ErrorCode::ResourceExhausted, message)
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}
