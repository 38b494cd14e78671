//! The budget's way to disk: when memory runs short, who is told to let go of what.

use actix::{Message, Recipient};
use remex_protocol::{ids::ObjectId, tensor::Tensor};

use super::{
    budget::{Asked, NoRoom, WhenFull, Woken},
    disk::{Disk, ReadFailure, SpillFile},
    memory::{Account, Inner, Lease, MemoryBudget, Place},
    spill::{Coldest, Victim},
};
use crate::{Error, Result};

/// Objects that are to go to disk, if they are not in use.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct SpillOut(pub(super) Vec<Victim>);

/// A write ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Written {
    pub(super) victim: Victim,
    /// Whether it was tried.
    pub(super) tried: bool,
    /// The file, if there is one.
    pub(super) file: Option<SpillFile>,
}

/// A read ended.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Restored {
    pub(super) object: ObjectId,
    pub(super) number: u64,
    pub(super) outcome: Result<Tensor, ReadFailure>,
}

/// What may go to disk, and the disk.
#[derive(Debug)]
pub(super) struct Spill {
    pub(super) coldest: Coldest,
    pub(super) disk: Disk,
}

impl Spill {
    pub(super) fn new(disk: Disk) -> Self {
        Self { coldest: Coldest::default(), disk }
    }
}

impl Inner {
    /// Asks for bytes. Who would fail waits as long as something may go to disk for him.
    pub(super) fn ask(&mut self, context: u64, bytes: u64) -> Result<Asked, NoRoom> {
        if self.spill.is_some() && self.may_free(context, bytes) {
            return self.budget.ask_while(context, bytes, WhenFull::Wait);
        }
        self.budget.ask(context, bytes)
    }

    /// Whether what one more request lacks may go to disk.
    pub(super) fn may_free(&self, context: u64, bytes: u64) -> bool {
        let lack = self.budget.lacks(context, bytes);
        self.spill.as_ref().is_some_and(|spill| spill.coldest.may_free(lack, spill.disk.room()))
    }

    /// Chooses what goes to disk for those in line.
    pub(super) fn press(&mut self) -> Vec<(Recipient<SpillOut>, Vec<Victim>)> {
        let Some(spill) = &mut self.spill else { return Vec::new() };
        let Some(lack) = self.budget.lack() else { return Vec::new() };
        let mut told = Vec::new();
        for (context, victims) in spill.coldest.choose(&lack, spill.disk.room()) {
            match self.contexts.get(&context) {
                Some(ways) => told.push((ways.spill.clone(), victims)),
                // It is closed: its objects are about to go.
                None => victims.into_iter().for_each(|victim| spill.coldest.busy(victim)),
            }
        }
        told
    }

    /// Where nobody shall wait for others, who is in line waits in vain when nothing is on its way to disk. What was granted and
    /// has not been taken may become an object that goes there in its turn.
    fn deny(&mut self) -> Woken {
        let is_quiet = |spill: &Spill| spill.coldest.leaving() == 0;
        let in_vain = self.budget.limits().when_full == WhenFull::Fail
            && !self.budget.has_granted()
            && self.spill.as_ref().is_some_and(is_quiet);
        let contexts = if in_vain { self.budget.deny() } else { Vec::new() };
        Woken { contexts, room: false }
    }
}

impl MemoryBudget {
    /// Some time has passed: what was in use may not be so any more, and a disk that was full may have room.
    pub(crate) fn tick(&self) {
        self.change(|inner| {
            if let Some(spill) = &mut inner.spill {
                spill.coldest.tick();
            }
            Woken::default()
        });
        self.change(Inner::deny);
    }

    /// The disk, if objects may go there.
    pub(crate) fn disk(&self) -> Option<Disk> {
        self.lock().spill.as_ref().map(|spill| spill.disk.clone())
    }
}

impl Account {
    /// The disk, if objects may go there.
    pub(crate) fn disk(&self) -> Option<Disk> {
        self.budget.disk()
    }

    /// Looks for what may go to disk, if somebody needs memory.
    pub(crate) fn press(&self) {
        self.budget.change(|_| Woken::default());
    }

    /// The same, and says to those who do not want to wait for others whether they wait in vain. Not in the middle of a change,
    /// when what was granted is not an object yet.
    pub(crate) fn press_or_deny(&self) {
        self.press();
        self.budget.change(Inner::deny);
    }

    /// Something was in use and may not be so any more.
    pub(crate) fn look_again(&self) {
        self.with(Coldest::look_again);
    }

    /// It cannot go now.
    pub(crate) fn busy(&self, victim: Victim) {
        self.with(|coldest| coldest.busy(victim));
    }

    /// It stays in memory, after all.
    pub(crate) fn stay(&self, victim: &Victim) {
        self.with(|coldest| coldest.stay(victim));
    }

    /// A write of it begins, and its file is counted.
    pub(crate) fn begin(&self, victim: &Victim) {
        self.quietly(|coldest| coldest.begin(victim));
    }

    /// Whether it was not used since it was chosen.
    pub(crate) fn is_leaving(&self, victim: &Victim) -> bool {
        self.quietly(|coldest| coldest.is_leaving(victim)).unwrap_or_default()
    }

    /// A write of it ended.
    pub(crate) fn written(&self, succeeded: bool) {
        self.quietly(|coldest| if succeeded { coldest.succeeded() } else { coldest.failed() });
    }

    /// Places whose holders wait in vain, and why.
    pub(crate) fn denied(&self) -> Vec<(u64, Error)> {
        let mut inner = self.budget.lock();
        let places = inner.budget.take_denied(self.context);
        if places.is_empty() {
            return Vec::new();
        }
        let full = NoRoom::Full { used: inner.budget.counts().0, limit: inner.budget.limits().bytes };
        drop(inner);
        places.into_iter().map(|(place, bytes)| (place, self.refused(full, bytes))).collect()
    }

    /// There is no room; if the disk is the reason that there is none, it is named.
    pub(super) fn refused(&self, no_room: NoRoom, bytes: u64) -> Error {
        let why =
            self.budget.disk().filter(|_| matches!(no_room, NoRoom::Full { .. })).and_then(|disk| disk.complaint());
        let error = no_room.error(bytes);
        match why {
            Some(why) => error.map(|mut error| {
                error.message = format!("{}; {why}", error.message);
                error
            }),
            None => error,
        }
    }

    fn quietly<T>(&self, change: impl FnOnce(&mut Coldest) -> T) -> Option<T> {
        self.budget.lock().spill.as_mut().map(|spill| change(&mut spill.coldest))
    }

    fn with(&self, change: impl FnOnce(&mut Coldest)) {
        self.budget.change(|inner| {
            if let Some(spill) = &mut inner.spill {
                change(&mut spill.coldest);
            }
            Woken::default()
        });
    }
}

impl Lease {
    /// The memory of an object that may go to disk from now on, if there is one.
    #[must_use]
    pub(crate) fn of_object(mut self, object: ObjectId) -> Self {
        if self.bytes > 0 {
            let (context, bytes) = (self.account.context, self.bytes);
            let slot = &mut self.slot;
            self.account.budget.change(|inner| {
                *slot = inner.spill.as_mut().map(|spill| spill.coldest.insert(context, object, bytes));
                Woken::default()
            });
        }
        self
    }

    /// The object is used.
    pub(crate) fn touch(&self) {
        if let Some(slot) = self.slot {
            self.account.quietly(|coldest| coldest.touch(slot));
        }
    }

    /// Whether it is the memory of this object.
    pub(crate) fn is_of_victim(&self, victim: &Victim) -> bool {
        self.slot == Some(victim.slot)
    }

    /// Bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Place {
    /// What was granted here is not enough any more: it goes back, and the place is where it was in the line.
    pub(crate) fn again(&self, mut granted: Lease, bytes: u64) -> Result<()> {
        let (context, has) = (self.account.context, granted.bytes);
        let mut outcome = Ok(());
        self.account.budget.change(|inner| match inner.budget.again(self.place, context, has, bytes) {
            Ok(woken) => {
                granted.bytes = 0;
                woken
            }
            Err(no_room) => {
                outcome = Err(no_room.error(bytes));
                Woken::default()
            }
        });
        outcome
    }
}
