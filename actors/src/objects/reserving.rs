//! Memory for calls in the store: reserved in one step when a call could otherwise run (I8).
//!
//! What a call needs is known when its outputs were inferred, and when the inputs that it has to fetch have come once: an
//! input that comes and finds no room is thrown away, its size is remembered, and it is fetched again when the call has
//! room for all that it lacks. So nothing is held by a call that waits.

use remex_protocol::{
    Effect, ErrorCode, RemoteError,
    ids::{ObjectId, TaskIndex},
    tensor::Tensor,
};

use super::{
    jobs::{Caller, Input, Job, JobId, Work},
    memory::{Held, Lease, Room},
    spilling::on_disk,
    store::Store,
    table::Found,
};
use crate::{Error, Result};

/// Who has a place in the line.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Waits {
    Put(Caller),
    Job(JobId),
}

/// An object that another task has and for which there was no room.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldBack {
    owner: TaskIndex,
    pub(super) bytes: u64,
}

impl Store {
    /// Whether one more call may wait or run.
    pub(super) fn check_jobs(&mut self) -> Result<()> {
        if self.jobs.len() < self.limits.jobs {
            return Ok(());
        }
        self.refused += 1;
        let message = format!("{} calls of the context wait or run here, which is the limit", self.jobs.len());
        Err(self.here(RemoteError::new(ErrorCode::Overloaded, message).with_effect(Effect::NotRun)))
    }

    /// Whether so many objects may be made, and those of `named` besides that the table does not have.
    pub(super) fn check_named(
        &mut self,
        more: usize,
        named: impl IntoIterator<Item = ObjectId, IntoIter: Clone>,
    ) -> Result<()> {
        let named = named.into_iter();
        let most = self.table.len().saturating_add(more).saturating_add(named.clone().count());
        // Nearly always there is room for all of them, and to look each up costs more than the rest.
        let unknown =
            if most <= self.limits.objects { 0 } else { named.filter(|object| self.is_unknown(*object)).count() };
        self.check_objects(more + unknown)
    }

    fn is_unknown(&self, object: ObjectId) -> bool {
        matches!(self.table.find(object), Found::Nothing)
    }

    /// Whether so many more objects may be made.
    pub(super) fn check_objects(&mut self, more: usize) -> Result<()> {
        let (objects, tombstones) = (self.table.len(), self.table.tombstones());
        let message = if objects.saturating_add(more) > self.limits.objects {
            format!("the context has {objects} objects here; at most {} are kept: free some", self.limits.objects)
        } else if tombstones >= self.limits.tombstones {
            format!("{tombstones} objects were given up before they were ready, which is the limit: let calls end")
        } else {
            return Ok(());
        };
        self.refused += 1;
        Err(self.here(RemoteError::new(ErrorCode::ResourceExhausted, message).with_effect(Effect::NotRun)))
    }

    /// Whether a call whose inputs are all there has the memory for its outputs. If not, it has a place in the line, or
    /// has failed.
    pub(super) fn has_room(&mut self, id: JobId) -> bool {
        let Some(job) = self.jobs.get_mut(id) else { return false };
        let bytes = outputs(job).saturating_add(if self.spills { on_disk(&self.table, job) } else { 0 });
        match &job.room {
            Some(Room::Got(_)) => true,
            // What it still had to fetch has come for somebody else.
            Some(Room::InLine(place)) if bytes > 0 => {
                place.shrink(bytes);
                false
            }
            Some(Room::InLine(place)) => {
                let place = place.number();
                job.room = None;
                self.line.remove(&place);
                true
            }
            None if bytes > 0 => self.reserve_for(id, bytes) && self.has_room(id),
            None => {
                let blind =
                    matches!(&job.work, Work::Run(run) if run.outputs.iter().any(|output| output.inferred.is_none()));
                let over = if blind { self.account.check_over() } else { Ok(()) };
                over.map_err(|error| self.fail_for_memory(id, error)).is_ok()
            }
        }
    }

    /// A call that lacks nothing but inputs for which there was no room asks for room for all of them, and for its outputs.
    pub(super) fn line_up(&mut self, id: JobId) {
        if self.held_back.is_empty() {
            return;
        }
        let Some(job) = self.jobs.get_mut(id).filter(|job| job.room.is_none() && job.missing > 0) else { return };
        let waiting = waiting(job);
        let sizes: Option<Vec<_>> = waiting.iter().map(|object| self.held_back.get(object)).collect();
        let Some(sizes) = sizes.filter(|sizes| !sizes.is_empty() && job.missing as usize == job.waits().count()) else {
            return;
        };
        let own = outputs(job).saturating_add(on_disk(&self.table, job));
        let bytes = sizes.iter().fold(own, |sum, held| sum.saturating_add(held.bytes));
        if self.reserve_for(id, bytes) {
            self.gather(id);
            self.fetch_again(id);
        }
    }

    /// Asks for memory for a call. True if it has it now; else it waits or has failed.
    fn reserve_for(&mut self, id: JobId, bytes: u64) -> bool {
        let room = match self.account.reserve(bytes) {
            Ok(room) => room,
            Err(error) => {
                self.fail_for_memory(id, error);
                return false;
            }
        };
        if let Room::InLine(place) = &room {
            self.line.insert(place.number(), Waits::Job(id));
        }
        let got = matches!(room, Room::Got(_));
        if let Some(job) = self.jobs.get_mut(id) {
            job.room = Some(room);
        }
        got
    }

    pub(super) fn fail_for_memory(&mut self, id: JobId, error: Error) {
        let error = error.map(|error| error.on_task(&self.task));
        self.fail(id, error);
    }

    /// There is memory for some of those who waited.
    pub(crate) fn freed(&mut self) {
        for place in self.account.granted() {
            match self.line.remove(&place) {
                Some(Waits::Put(caller)) => self.put_has_room(caller),
                Some(Waits::Job(id)) => self.job_has_room(id),
                None => {}
            }
        }
        for (place, error) in self.account.denied() {
            match self.line.remove(&place) {
                Some(Waits::Put(caller)) => self.fail_put(caller, &error.map(|error| error.on_task(&self.task))),
                Some(Waits::Job(id)) => self.fail_for_memory(id, error),
                None => {}
            }
        }
        self.look_at_events();
        if self.spills {
            self.account.press_or_deny();
        }
    }

    fn job_has_room(&mut self, id: JobId) {
        if !self.take_room(id) {
            return;
        }
        if self.jobs.get_mut(id).is_some_and(|job| job.missing == 0) {
            self.start(id);
        } else {
            self.gather(id);
            self.fetch_again(id);
        }
    }

    fn fetch_again(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let (deadline, waiting) = (job.deadline, waiting(job));
        for object in waiting {
            // What is not held back is being fetched for another call.
            if let Some(HeldBack { owner, .. }) = self.held_back.remove(&object) {
                self.want(object, owner, deadline);
            }
        }
    }

    /// An object that another task was asked for is here: it is kept if there is room, for one of those who wait.
    pub(super) fn fetched_whole(&mut self, object: ObjectId, owner: TaskIndex, tensor: Tensor) {
        let bytes = tensor.bytes().len() as u64;
        let waiters = self.table.waiters(object).to_vec();
        let reserved = waiters.iter().find_map(|waiter| match &mut self.jobs.get_mut(waiter.job)?.room {
            Some(Room::Got(lease)) => lease.split(bytes),
            Some(Room::InLine(_)) | None => None,
        });
        let room = reserved.map_or_else(|| self.account.reserve(bytes), |lease| Ok(Room::Got(lease)));
        match room {
            Ok(Room::Got(lease)) => self.end_fetch(object, Ok(Held::new(tensor, lease))),
            Err(error) => self.end_fetch(object, Err(error.map(|error| error.on_task(&self.task)))),
            Ok(Room::InLine(place)) => {
                // The calls take places of their own, each when it lacks nothing else.
                drop(place);
                self.know(object, tensor.metadata().clone());
                self.held_back.insert(object, HeldBack { owner, bytes });
                for waiter in &waiters {
                    self.infer(waiter.job);
                    self.line_up(waiter.job);
                }
                self.forget_held_back(object);
            }
        }
    }

    /// A call is over: its place is another's, and what was to be fetched for it alone is not.
    pub(super) fn leave_line(&mut self, job: &Job) {
        if let Some(Room::InLine(place)) = &job.room {
            self.line.remove(&place.number());
        }
        if !self.held_back.is_empty() {
            waiting(job).into_iter().for_each(|object| self.forget_held_back(object));
        }
        if self.spills {
            self.let_go(job);
        }
    }

    /// Nobody waits any more for an object that was held back: its next user asks for it anew.
    fn forget_held_back(&mut self, object: ObjectId) {
        let waits = |(_, job): (JobId, &Job)| {
            job.inputs.iter().any(|input| matches!(input, Input::Waiting(id) if *id == object))
        };
        if self.held_back.contains_key(&object) && !self.jobs.iter().any(waits) {
            self.held_back.remove(&object);
            self.table.forget(object);
        }
    }

    /// The executor has counted outputs for which no memory was reserved.
    pub(crate) fn counted(&mut self, job: u64, lease: Option<Lease>) {
        // An executor with a budget of its own does not count for this one.
        let lease = lease.filter(|lease| lease.is_of(&self.account));
        let (Some(job), Some(lease)) = (self.jobs.get_mut(JobId(job)), lease) else { return };
        match &mut job.room {
            Some(Room::Got(own)) => own.absorb(lease),
            Some(Room::InLine(_)) | None => job.room = Some(Room::Got(lease)),
        }
    }

    /// The memory of an output that was published: out of what its call has, or beyond.
    pub(super) fn lease_of_output(&mut self, id: JobId, tensor: &Tensor) -> Lease {
        let mut room = self.jobs.get_mut(id).and_then(|job| job.room.take());
        let lease = self.cut(&mut room, tensor.bytes().len() as u64);
        if let Some(job) = self.jobs.get_mut(id) {
            job.room = room;
        }
        lease
    }

    /// Memory for an output that is there: what was reserved for it, else it is counted now.
    pub(super) fn cut(&self, room: &mut Option<Room>, bytes: u64) -> Lease {
        match room {
            Some(Room::Got(lease)) => lease.split(bytes),
            Some(Room::InLine(_)) | None => None,
        }
        .unwrap_or_else(|| self.account.take(bytes))
    }
}

/// The bytes of those outputs that were inferred.
pub(super) fn outputs(job: &Job) -> u64 {
    let Work::Run(run) = &job.work else { return 0 };
    let sizes = run.outputs.iter().filter_map(|output| output.inferred.as_ref());
    sizes.map(|metadata| metadata.size_bytes().unwrap_or(u64::MAX)).fold(0, u64::saturating_add)
}

/// The objects that a call waits for, each once.
pub(super) fn waiting(job: &Job) -> Vec<ObjectId> {
    each_once(job, |input| match input {
        Input::Waiting(object) => Some(*object),
        Input::Here(_) | Input::Kept(_) => None,
    })
}

/// Objects among the inputs of a call, each once.
pub(super) fn each_once(job: &Job, which: impl FnMut(&Input) -> Option<ObjectId>) -> Vec<ObjectId> {
    let mut objects: Vec<_> = job.inputs.iter().filter_map(which).collect();
    objects.sort_unstable();
    objects.dedup();
    objects
}
