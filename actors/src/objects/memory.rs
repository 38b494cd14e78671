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

struct Inner {
    budget: Budget,
    contexts: BTreeMap<u64, Recipient<MemoryFreed>>,
    /// Weak: the executor holds the budget.
    executor: Option<WeakRecipient<MemoryFreed>>,
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
}

impl MemoryBudget {
    /// A budget of which nothing is used.
    pub fn new(limits: MemoryLimits) -> Self {
        Self(Arc::new(Mutex::new(Inner { budget: Budget::new(limits), contexts: BTreeMap::new(), executor: None })))
    }

    /// How much is used.
    pub fn usage(&self) -> MemoryUse {
        let inner = self.lock();
        let (used, peak, waiting, refused) = inner.budget.counts();
        MemoryUse { used, peak, limit: inner.budget.limits().bytes, waiting, refused }
    }

    /// Whether more is used than the limit says: programs whose outputs are of unknown size do not begin then.
    pub fn is_over(&self) -> bool {
        self.lock().budget.is_over()
    }

    /// Tells the executor, from now on, when the budget is not exceeded any more.
    pub(crate) fn tell_executor(&self, executor: WeakRecipient<MemoryFreed>) {
        self.lock().executor = Some(executor);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Budget) -> Woken) {
        let mut inner = self.lock();
        let Woken { contexts, room } = change(&mut inner.budget);
        if contexts.is_empty() && !room {
            return;
        }
        let told: Vec<_> = contexts.iter().filter_map(|context| inner.contexts.get(context).cloned()).collect();
        let executor = inner.executor.as_ref().filter(|_| room).and_then(WeakRecipient::upgrade);
        // A message may run a drop that comes back here.
        drop(inner);
        told.iter().chain(&executor).for_each(|to| post(to, MemoryFreed));
    }
}

/// One context's way to the budget.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    budget: MemoryBudget,
    context: u64,
}

impl Account {
    pub(crate) fn new(budget: MemoryBudget, context: u64) -> Self {
        Self { budget, context }
    }

    /// Is told when something was granted that this context waited for.
    pub(crate) fn attach(&self, freed: Recipient<MemoryFreed>) {
        self.budget.lock().contexts.insert(self.context, freed);
    }

    /// The context is gone.
    pub(crate) fn detach(&self) {
        self.budget.lock().contexts.remove(&self.context);
    }

    /// Asks for bytes, all or none: they are there, or a place in the line is. `ResourceExhausted` if they can never be,
    /// or if nobody waits here.
    pub(crate) fn reserve(&self, bytes: u64) -> Result<Room> {
        if bytes == 0 {
            return Ok(Room::Got(Lease { account: self.clone(), bytes }));
        }
        match self.budget.lock().budget.ask(self.context, bytes) {
            Ok(Asked::Granted) => Ok(Room::Got(Lease { account: self.clone(), bytes })),
            Ok(Asked::InLine(place)) => Ok(Room::InLine(Place { account: self.clone(), place })),
            Err(no_room) => Err(no_room.error(bytes)),
        }
    }

    /// Counts bytes that are there.
    pub(crate) fn take(&self, bytes: u64) -> Lease {
        if bytes > 0 {
            self.budget.lock().budget.take(self.context, bytes);
        }
        Lease { account: self.clone(), bytes }
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
        if limits.when_full == WhenFull::Wait || !inner.budget.is_over() {
            return Ok(());
        }
        Err(NoRoom::Full { used: inner.budget.counts().0, limit: limits.bytes }.error(0))
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
    account: Account,
    bytes: u64,
}

impl Lease {
    /// Cuts bytes off, if there are as many.
    pub(crate) fn split(&mut self, bytes: u64) -> Option<Lease> {
        self.bytes = self.bytes.checked_sub(bytes)?;
        Some(Lease { account: self.account.clone(), bytes })
    }
}

impl Lease {
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
            self.account.budget.change(|budget| budget.free(self.account.context, self.bytes));
        }
    }
}

/// A place in the line. Dropped, the next one moves up.
#[derive(Debug)]
pub(crate) struct Place {
    account: Account,
    place: u64,
}

impl Place {
    pub(crate) fn number(&self) -> u64 {
        self.place
    }

    /// What was granted, if it was.
    pub(crate) fn claim(&self) -> Option<Lease> {
        let bytes = self.account.budget.lock().budget.claim(self.place)?;
        Some(Lease { account: self.account.clone(), bytes })
    }

    /// No more than this is needed by now.
    pub(crate) fn shrink(&self, bytes: u64) {
        self.account.budget.change(|budget| budget.shrink(self.place, bytes));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.account.budget.change(|budget| budget.withdraw(self.place));
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
    fn error(self, bytes: u64) -> Error {
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
