//! Objects of the store that go to disk and come back (I8).
//!
//! A call that waits does not hold its inputs: it keeps them ([`Input::Kept`]), wherever they are. When it could otherwise run it
//! asks for room for its outputs and for all that is on disk, in one step, and then takes everything ([`Store::gather`]): what is in
//! memory stays there from then on, what is not is read into the room that it got. So calls that wait hold up nobody, and one
//! that was granted its room needs no more.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use remex_protocol::{ErrorCode, RemoteError, ids::ObjectId, tensor::Tensor};

use super::{
    disk::{ReadFailure, SpillFile, WriteOut},
    jobs::{Input, Job, JobId, Work},
    memory::{Held, Lease, Room},
    reserving::{Waits, each_once, outputs, waiting},
    spill::Victim,
    spilled::Taken,
    store::{Effect, Event, Store},
    table::{Table, Value, Waiter},
};
use crate::Error;

impl Store {
    /// A value of the table, whose memory may go to disk.
    pub(super) fn hold(&self, object: ObjectId, tensor: Tensor, lease: Lease) -> Held {
        Held::new(tensor, if self.spills { lease.of_object(object) } else { lease })
    }

    /// A job that was looked up and not yet added will use these.
    pub(super) fn keep_inputs(&mut self, job: &Job) {
        for input in &job.inputs {
            if let Input::Kept(object) = input {
                self.table.keep(*object);
            }
        }
    }

    /// A job is over that did not take what it kept.
    pub(super) fn let_go(&mut self, job: &Job) {
        for input in &job.inputs {
            if let Input::Kept(object) = input {
                self.table.let_go(*object);
            }
        }
    }

    /// How an input that has come is held: a call that waits for more does not hold memory, if it can have it later.
    pub(super) fn held_or_kept(&mut self, object: ObjectId, held: Held, has_room: bool) -> Input {
        match self.spills && !has_room && held.lease.is_some() && self.table.keep(object) {
            true => Input::Kept(object),
            false => Input::Here(held),
        }
    }

    /// Takes what a call kept. Room for it has been reserved. False if the call has to wait for reads, or has failed.
    pub(super) fn gather(&mut self, id: JobId) -> bool {
        if !self.spills {
            return true;
        }
        let Some(job) = self.jobs.get_mut(id) else { return false };
        for (i, input) in job.inputs.iter_mut().enumerate() {
            let Input::Kept(object) = *input else { continue };
            let waiter = Waiter { job: id, input: i as u32 };
            match self.table.take_kept(object, waiter) {
                Taken::Here(held) => {
                    *input = Input::Here(held);
                    continue;
                }
                Taken::Coming => {}
                Taken::OnDisk => {
                    let bytes = self.table.bytes_on_disk(object);
                    let lease = match &mut job.room {
                        Some(Room::Got(lease)) => lease.split(bytes),
                        Some(Room::InLine(_)) | None => None,
                    };
                    let lease = lease.unwrap_or_else(|| self.account.take(bytes));
                    self.reads += 1;
                    self.effects.extend(self.table.begin_read(object, self.reads, lease).map(Effect::Read));
                }
                Taken::Failed(error) => self.events.push_back(Event::Settled(waiter, Err(error))),
                Taken::Gone => {
                    let message = format!("object {object} is gone though a call needs it: must not happen");
                    let error = RemoteError::new(ErrorCode::Internal, message).on_task(&self.task);
                    self.events.push_back(Event::Settled(waiter, Err(error.into())));
                }
            }
            *input = Input::Waiting(object);
            job.missing += 1;
        }
        job.missing == 0
    }

    /// A call was granted room: it takes it if it is what it needs by now. False if it waits again, or has failed.
    pub(super) fn take_room(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return false };
        let Some(Room::InLine(place)) = &job.room else { return false };
        let Some(mut lease) = place.claim() else { return false };
        if self.spills {
            let from_others = waiting(job).into_iter().filter_map(|object| self.held_back.get(&object));
            let needs = from_others.map(|held| held.bytes).chain([outputs(job), on_disk(&self.table, job)]);
            let needs = needs.fold(0, u64::saturating_add);
            if needs > lease.bytes() {
                let number = place.number();
                match place.again(lease, needs) {
                    Ok(()) => drop(self.line.insert(number, Waits::Job(id))),
                    Err(error) => self.fail_for_memory(id, error),
                }
                return false;
            }
            // What it does not need any more is free.
            lease = lease.split(needs).unwrap_or(lease);
        }
        job.room = Some(Room::Got(lease));
        true
    }

    /// These are to go to disk, if they are not in use.
    pub(crate) fn spill_out(&mut self, victims: Vec<Victim>) {
        for victim in victims {
            let tensor = self.idle(&victim).cloned();
            match (tensor, &self.disk) {
                (Some(tensor), Some(disk)) => {
                    let file = disk.file(&tensor);
                    self.account.begin(&victim);
                    self.effects.push(Effect::Write(WriteOut { victim, file, tensor }));
                }
                _ => self.account.busy(victim),
            }
        }
        self.account.press_or_deny();
    }

    /// A write ended; without a file it failed, or was not tried because another one had. If the object was used meanwhile, or is
    /// gone, the file is not needed.
    pub(crate) fn written(&mut self, victim: Victim, tried: bool, file: Option<SpillFile>) {
        if tried {
            self.account.written(file.is_some());
        }
        match file.filter(|_| self.idle(&victim).is_some()) {
            Some(file) => drop(self.table.spill(victim.object, file)),
            None => self.account.stay(&victim),
        }
        self.account.press_or_deny();
    }

    /// The tensor that was chosen, if it was not used since and nobody but the table holds it.
    fn idle(&self, victim: &Victim) -> Option<&Tensor> {
        let Held { value: Value::Tensor(tensor), lease: Some(lease) } = self.table.in_memory(victim.object)? else {
            return None;
        };
        let is_it = lease.is_of_victim(victim) && self.account.is_leaving(victim);
        // A call that runs has the lease, an answer on its way knows it.
        let is_idle = Arc::strong_count(lease) == 1 && Arc::weak_count(lease) == 0;
        (is_it && is_idle).then_some(tensor)
    }

    /// The bytes of an answer. Until they are dropped the object stays in memory, since to write it would free nothing; they are not
    /// counted, if it is deleted.
    pub(super) fn on_its_way(&self, tensor: &Tensor, holds: &[Arc<Lease>]) -> Bytes {
        let bytes = tensor.bytes().clone();
        match holds.first().filter(|_| self.spills) {
            Some(lease) => Bytes::from_owner(OnItsWay { bytes, _lease: Arc::downgrade(lease) }),
            None => bytes,
        }
    }

    /// A read ended.
    pub(crate) fn read_back(&mut self, object: ObjectId, number: u64, outcome: Result<Tensor, ReadFailure>) {
        let Some(lease) = self.table.end_read(object, number) else { return };
        let here = |error: Error| error.map(|error| error.on_task(&self.task));
        let (outcome, is_final) = match outcome {
            Ok(tensor) => (Ok(self.hold(object, tensor, lease)), true),
            Err(ReadFailure::Lost(error)) => (Err(here(error)), true),
            Err(ReadFailure::NotNow(error)) => (Err(here(error)), false),
        };
        let waiters = self.table.restore(object, is_final.then(|| outcome.clone()));
        self.notify(waiters, outcome);
        if self.table.is_kept(object) {
            self.need_less(object);
        }
        self.look_at_events();
    }

    /// An object came back for one call: others that are in line for it need no room for it any more.
    fn need_less(&mut self, object: ObjectId) {
        let keeps = |job: &Job| job.inputs.iter().any(|input| matches!(input, Input::Kept(id) if *id == object));
        let in_line = self.line.values().filter_map(|waits| match waits {
            Waits::Job(id) => Some(*id),
            Waits::Put(_) => None,
        });
        let ids: Vec<_> = in_line.collect();
        for id in ids {
            if self.jobs.get_mut(id).is_some_and(|job| job.missing == 0 && keeps(job)) {
                self.start(id);
            }
        }
    }

    /// What a fetch will bring is known before it is in memory.
    pub(super) fn foretell(&mut self, id: JobId) {
        let waits = self.jobs.get_mut(id).is_some_and(|job| matches!(job.work, Work::Fetch(_)));
        if waits {
            self.events.push_back(Event::Known(Waiter { job: id, input: 0 }));
        }
    }

    /// Programs have ended: what they held may go to disk, and what went behind them and has not run begins.
    pub(crate) fn look_again(&mut self) {
        self.start_left();
        if self.spills {
            self.account.look_again();
        }
    }
}

/// Bytes of an object that are being sent.
struct OnItsWay {
    bytes: Bytes,
    _lease: Weak<Lease>,
}

impl AsRef<[u8]> for OnItsWay {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The bytes that a call needs for those of its inputs that are on disk.
pub(super) fn on_disk(table: &Table, job: &Job) -> u64 {
    let kept = each_once(job, |input| match input {
        Input::Kept(object) => Some(*object),
        Input::Here(_) | Input::Waiting(_) => None,
    });
    kept.into_iter().map(|object| table.bytes_on_disk(object)).fold(0, u64::saturating_add)
}

#[cfg(test)]
#[path = "spilling_test.rs"]
mod tests;
