//! What waits for objects: calls that will run, and fetches. Pure.

use std::{fmt, sync::Arc, time::Instant};

use remex_protocol::{
    ids::{CallId, ObjectId},
    tensor::TensorMetadata,
};
use slab::Slab;
use smallvec::SmallVec;

use super::{
    Part,
    memory::{Held, Room},
};
use crate::{programs::Executable, session::SessionId};

/// Names a job, and no other one that has the same slot later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct JobId(pub(crate) u64);

impl JobId {
    fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "j{}", self.0)
    }
}

/// Who is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The session that the call came on.
    pub session: SessionId,
    /// The call.
    pub call: CallId,
}

/// An object that a call makes.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    pub(crate) id: ObjectId,
    pub(crate) need_metadata: bool,
    /// What the program's signature says that it will be. Boxed: most programs have none, and each call has outputs.
    pub(crate) inferred: Option<Box<TensorMetadata>>,
    /// Whether the caller was told its metadata.
    pub(crate) told: bool,
}

/// A run of a program.
#[derive(Debug)]
pub(crate) struct RunJob {
    /// The kind of its call.
    pub(crate) kind: u8,
    pub(crate) name: Arc<str>,
    /// `None` while it is being compiled.
    pub(crate) program: Option<Arc<Executable>>,
    pub(crate) lane: u16,
    pub(crate) outputs: SmallVec<[Output; 2]>,
    /// So many of the job's inputs, the last ones, are only waited for.
    pub(crate) in_chains: u32,
    pub(crate) out_chain: Option<ObjectId>,
    pub(crate) baggage: Vec<(String, String)>,
    /// Who is to be told of an output, by its number, besides the caller.
    pub(crate) readers: Vec<(u32, SessionId)>,
    /// Whether it was handed to the executor.
    pub(crate) running: bool,
    /// Whether the executor may run it behind those that it waits for.
    pub(crate) ahead: bool,
    /// Whether the signature was asked already.
    pub(crate) inferred: bool,
}

/// What a job does when its inputs are there.
#[derive(Debug)]
pub(crate) enum Work {
    Run(RunJob),
    /// Its only input, or some bytes of it, is sent to the caller.
    Fetch(Option<Part>),
}

/// An input of a job.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    Here(Held),
    Waiting(ObjectId),
    /// It is ready, in memory or on disk, and is taken when the call could otherwise run.
    Kept(ObjectId),
}

/// Something that waits for objects.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) caller: Caller,
    pub(crate) deadline: Instant,
    pub(crate) inputs: SmallVec<[Input; 3]>,
    /// How many inputs, and whether a program, are not there yet.
    pub(crate) missing: u32,
    /// The memory that it takes, or waits for.
    pub(crate) room: Option<Room>,
    pub(crate) work: Work,
}

impl Job {
    /// How many of the inputs the program is given; the others are chains that it comes after.
    pub(crate) fn given(&self) -> usize {
        match &self.work {
            Work::Run(run) => self.inputs.len().saturating_sub(run.in_chains as usize),
            Work::Fetch(_) => self.inputs.len(),
        }
    }

    /// Which inputs are not there yet.
    pub(crate) fn waits(&self) -> impl Iterator<Item = usize> {
        let waiting = self.inputs.iter().enumerate().filter(|(_, input)| matches!(input, Input::Waiting(_)));
        waiting.map(|(place, _)| place)
    }
}

/// All that wait or run.
#[derive(Debug, Default)]
pub(crate) struct Jobs {
    slots: Slab<(JobId, Job)>,
    counter: u32,
}

impl Jobs {
    pub(crate) fn insert(&mut self, job: Job) -> JobId {
        self.counter = self.counter.wrapping_add(1);
        let entry = self.slots.vacant_entry();
        let id = JobId(u64::from(self.counter) << 32 | entry.key() as u64);
        entry.insert((id, job));
        id
    }

    pub(crate) fn get_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.slots.get_mut(id.slot()).filter(|(own, _)| *own == id).map(|(_, job)| job)
    }

    pub(crate) fn remove(&mut self, id: JobId) -> Option<Job> {
        self.get_mut(id)?;
        self.slots.try_remove(id.slot()).map(|(_, job)| job)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.slots.iter().map(|(_, (id, job))| (*id, job))
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_that_is_used_again_has_another_name() {
        let job = || Job {
            caller: Caller { session: SessionId(1), call: CallId::default() },
            deadline: crate::testing::instant(),
            inputs: SmallVec::new(),
            missing: 0,
            room: None,
            work: Work::Fetch(None),
        };
        let mut jobs = Jobs::default();
        let first = jobs.insert(job());
        assert!(jobs.remove(first).is_some());
        let second = jobs.insert(job());
        assert_eq!(first.slot(), second.slot());
        assert!(jobs.remove(first).is_none() && jobs.get_mut(first).is_none());
        assert!(jobs.get_mut(second).is_some());
    }
}
