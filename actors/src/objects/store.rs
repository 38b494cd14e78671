//! What becomes of calls and objects: looks up, reserves, waits, infers, settles. Pure: time is passed in, and what is to
//! be done comes out as [`Effect`]s.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;
use remex_protocol::{
    Body, ErrorCode, Frame, RemoteError, Reply, Rpc,
    calls::*,
    ids::{CallId, ObjectId, TaskIndex},
    tensor::{Tensor, TensorMetadata},
};
use smallvec::SmallVec;

use super::{
    Step, Want,
    disk::{Disk, ReadBack, WriteOut},
    jobs::{Caller, Input, Job, JobId, Jobs, RunJob, Work},
    memory::{Account, Held},
    parts::{Part, Parts},
    puts::Put,
    replicas::Replicas,
    reserving::{HeldBack, Waits},
    table::{Made, Table, Waiter},
    tokens::Tokens,
};
use crate::{Error, chance::Chance, executor::Task, limits::ObjectLimits, session::SessionId};

/// What the actor around this has to do.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Nobody wants the result of this run any more.
    Abort(u64),
    /// Send it to the session.
    Answer(SessionId, Frame),
    /// Ask another task for an object.
    Want(Want),
    /// Write an object to disk.
    Write(WriteOut),
    /// Read one.
    Read(ReadBack),
}

/// Something that a job waited for has come about.
#[derive(Debug)]
pub(super) enum Event {
    /// An input is there, or never will be.
    Settled(Waiter, Result<Held, Error>),
    /// An input's metadata is known.
    Known(Waiter),
}

/// The objects of one context on one task, and who waits for them.
#[derive(Debug)]
pub(crate) struct Store {
    /// The task, for messages.
    pub(super) task: String,
    pub(super) table: Table,
    pub(super) jobs: Jobs,
    /// Jobs that wait for a program, by compilation.
    pub(super) compiling: BTreeMap<u64, Vec<JobId>>,
    /// Puts whose bytes are on their way, or that wait for memory.
    pub(super) puts: BTreeMap<(SessionId, CallId), Put>,
    pub(super) account: Account,
    /// Where objects go that there is no room for; whether there is such a place; and how many reads there were.
    pub(super) disk: Option<Disk>,
    pub(super) spills: bool,
    pub(super) reads: u64,
    pub(super) limits: ObjectLimits,
    /// Who waits for memory, by place in the line.
    pub(super) line: BTreeMap<u64, Waits>,
    /// Objects of other tasks that came and found no room: to be asked for again when there is some.
    pub(super) held_back: BTreeMap<ObjectId, HeldBack>,
    /// Calls and objects that were refused because of a limit.
    pub(super) refused: u64,
    /// Objects that somebody waits for and nobody has announced, and until when.
    pub(super) expected: BTreeMap<ObjectId, Instant>,
    /// Objects that are being fetched, from where and until when.
    pub(super) fetching: BTreeMap<ObjectId, (TaskIndex, Instant)>,
    /// Objects of other tasks that calls here use.
    pub(super) replicas: Replicas,
    /// How often another task was asked for an object, and the bytes that came.
    pub(super) fetches: u64,
    pub(super) fetched_bytes: u64,
    /// Puts that have their memory and not all of their bytes.
    pub(super) parts: BTreeMap<ObjectId, Parts>,
    /// When the store began, once it is known, what time it is, and the whole seconds between: for the ages of objects.
    pub(super) began: Option<Instant>,
    pub(super) clock: Option<Instant>,
    pub(super) now: u32,
    pub(super) tokens: Tokens,
    /// Counts that sessions took over with tokens and have not released.
    pub(super) imported: BTreeMap<(SessionId, ObjectId), u32>,
    /// No deadline of a job is earlier. It may be long over: then a sweep finds nothing.
    pub(super) earliest: Option<Instant>,
    pub(super) closed: Option<Error>,
    /// What is still to be looked at. A queue and not recursion: a pipeline may be as long as it likes.
    pub(super) events: VecDeque<Event>,
    pub(super) effects: Vec<Effect>,
    /// What is to be handed to the executor.
    pub(super) runs: Vec<Task>,
    /// What was offered to the executor, by the last one that it is behind; and what of it that has ended.
    pub(super) offered: BTreeMap<JobId, SmallVec<[JobId; 2]>>,
    pub(super) left: Vec<JobId>,
}

impl Store {
    pub(crate) fn new(
        task: impl Into<String>,
        seed: u64,
        account: Account,
        limits: ObjectLimits,
        chance: Chance,
    ) -> Self {
        let disk = account.disk();
        Self {
            task: task.into(),
            spills: disk.is_some(),
            disk,
            reads: 0,
            table: Table::new(seed),
            jobs: Jobs::default(),
            compiling: BTreeMap::new(),
            puts: BTreeMap::new(),
            account,
            limits,
            line: BTreeMap::new(),
            held_back: BTreeMap::new(),
            refused: 0,
            expected: BTreeMap::new(),
            fetching: BTreeMap::new(),
            replicas: Replicas::default(),
            fetches: 0,
            fetched_bytes: 0,
            parts: BTreeMap::new(),
            began: None,
            clock: None,
            now: 0,
            tokens: Tokens::new(chance),
            imported: BTreeMap::new(),
            earliest: None,
            closed: None,
            events: VecDeque::new(),
            effects: Vec::new(),
            runs: Vec::new(),
            offered: BTreeMap::new(),
            left: Vec::new(),
        }
    }

    /// Stores a value that is there from the beginning (the ready chain).
    pub(crate) fn store(&mut self, id: ObjectId, value: Held) {
        self.table.reserve(id, self.made(None));
        self.settle(id, Ok(value));
    }

    /// Carries out one step of a session's batch.
    pub(crate) fn step(&mut self, session: SessionId, step: Step) {
        let caller = |call| Caller::new(session, call);
        match step {
            Step::Run(run) => self.run(session, run),
            Step::Refuse { call, kind, outputs, error } => self.refuse(caller(call), kind, &outputs, error),
            Step::Await { call, object, origin, part, deadline } => {
                self.fetch(caller(call), object, origin, part, deadline);
            }
            Step::Begin { call, object, metadata, patience } => {
                self.put(caller(call), object, metadata, None, Some(patience));
            }
            Step::Part { call, object, offset, data, at } => self.put_part(caller(call), object, offset, &data, at),
            Step::Put { call, object, metadata, data } => self.put(caller(call), object, metadata, data, None),
            Step::Payload { call, data } => self.payload(caller(call), data),
            Step::Delete { call, objects, mode } => self.delete(caller(call), &objects, mode),
            Step::Release { objects } => _ = self.give_up(session, &objects, DeleteMode::Release),
            Step::Fail { call, objects, cause } => self.fail_objects(caller(call), objects, cause),
            Step::Pin { call, objects, mode } => self.pin(caller(call), objects, mode),
            Step::Export { call, object, at } => self.export(caller(call), object, at),
            Step::Import { call, object, secret, at } => self.import(caller(call), object, secret, at),
            Step::Cancel { call } => {
                self.cancel(caller(call));
            }
        }
        self.look_at_events();
    }

    /// What is to be done, in order.
    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What is to be run, in order. Apart from the effects: a batch has one for each call, and boxing them would cost each an
    /// allocation.
    pub(crate) fn take_runs(&mut self) -> Vec<Task> {
        std::mem::take(&mut self.runs)
    }

    /// So many calls come in one batch: most of them will run. To grow step by step would move them over and over.
    pub(crate) fn expect_runs(&mut self, calls: usize) {
        self.runs.reserve(calls);
    }

    /// So many runs have ended: most of them will be answered.
    pub(crate) fn expect_answers(&mut self, runs: usize) {
        self.effects.reserve(runs);
    }

    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    pub(crate) fn stats(&self) -> super::Stats {
        super::Stats {
            objects: self.table.len(),
            tombstones: self.table.tombstones(),
            pinned: self.table.pinned(),
            tokens: self.tokens.len(),
            jobs: self.jobs.len(),
            refused: self.refused,
            fetches: self.fetches,
            fetched_bytes: self.fetched_bytes,
        }
    }

    fn fetch(&mut self, caller: Caller, object: ObjectId, origin: Origin, part: Option<Part>, deadline: Instant) {
        let kind = part.map_or(FetchObjectRequest::KIND, |_| FetchPartRequest::KIND);
        let checked = self.check_jobs().and_then(|()| self.check_named(0, [object]));
        let input = checked.and_then(|()| self.input(object, origin));
        match input {
            Err(error) => self.answer_with(caller, kind, error),
            Ok(input) => {
                let missing = u32::from(matches!(input, Input::Waiting(_)));
                let inputs = [input].into_iter().collect();
                let job = Job { caller, deadline, inputs, missing, room: None, work: Work::Fetch(part) };
                let id = self.add(job, [InputRef { object, origin }].iter());
                if missing == 0 {
                    self.start(id);
                } else {
                    self.line_up(id);
                }
                self.foretell(id);
            }
        }
    }

    fn fail_objects(&mut self, caller: Caller, objects: Vec<ObjectId>, cause: Error) {
        let mut failures = Vec::new();
        for object in objects {
            match self.unusable(object).or_else(|| self.check_objects(1).err()) {
                Some(error) => failures.push(DeleteFailure { object, error: error.remote().clone() }),
                None => self.poison(object, &cause),
            }
        }
        self.answer(caller, Reply::FailObjects(FailObjectsReply { failures }), Bytes::new());
    }

    /// An object fails before anybody began to make it. Its id is not taken.
    pub(super) fn poison(&mut self, object: ObjectId, cause: &Error) {
        self.expected.remove(&object);
        let waiters = self.table.poison(object, cause.clone(), self.now);
        self.notify(waiters, Err(cause.clone()));
    }

    /// An object that another task was asked for has come, or will not.
    pub(crate) fn fetched(&mut self, object: ObjectId, outcome: Result<Tensor, Error>) {
        let Some((owner, until)) = self.fetching.remove(&object) else { return };
        let waits = |(_, job): &(JobId, &Job)| {
            job.inputs.iter().any(|input| matches!(input, Input::Waiting(id) if *id == object))
        };
        let latest = self.jobs.iter().filter(waits).map(|(_, job)| job.deadline).max();
        // Whoever came later has more time than the one for whom it was asked for.
        let expired = outcome.as_ref().is_err_and(|error| error.code() == ErrorCode::DeadlineExceeded);
        if let Some(deadline) = latest.filter(|latest| expired && *latest > until) {
            return self.want(object, owner, deadline);
        }
        match outcome {
            Ok(tensor) => {
                self.fetched_bytes += tensor.bytes().len() as u64;
                self.fetched_whole(object, owner, tensor);
            }
            Err(error) => self.end_fetch(object, Err(error)),
        }
        self.look_at_events();
    }

    /// A fetch is over. Whoever waited has the object; the copy in the table is kept for as long as one of them uses it.
    pub(super) fn end_fetch(&mut self, object: ObjectId, outcome: Result<Held, Error>) {
        let came = outcome.is_ok();
        self.settle(object, outcome);
        if !came || !self.replicas.keep(object) {
            self.table.forget(object);
        }
    }

    /// A job is over: copies that nobody else uses go with it.
    pub(super) fn leave_replicas(&mut self, id: JobId) {
        for object in self.replicas.leave(id) {
            self.table.forget(object);
        }
    }

    /// The owner of an object that was asked for says what it will be.
    pub(crate) fn foreseen(&mut self, object: ObjectId, metadata: TensorMetadata) {
        if self.fetching.contains_key(&object) {
            self.know(object, metadata);
            self.look_at_events();
        }
    }

    pub(super) fn want(&mut self, object: ObjectId, owner: TaskIndex, deadline: Instant) {
        self.fetches += 1;
        self.fetching.insert(object, (owner, deadline));
        self.effects.push(Effect::Want(Want { object, owner, deadline }));
    }

    /// Why an id cannot be given to a new object.
    pub(super) fn unusable(&self, id: ObjectId) -> Option<Error> {
        if let Some(error) = &self.closed {
            return Some(error.clone());
        }
        let taken = || RemoteError::new(ErrorCode::AlreadyExists, format!("object {id} exists: use another id"));
        let invalid = || RemoteError::new(ErrorCode::InvalidArgument, format!("{id} is not an id: numbers begin at 1"));
        match (id.is_valid(), self.table.is_taken(id)) {
            (false, _) => Some(self.here(invalid())),
            (true, true) => Some(self.here(taken())),
            (true, false) => None,
        }
    }

    pub(super) fn reserve(&mut self, id: ObjectId, by: Option<&Arc<str>>) {
        self.expected.remove(&id);
        self.table.reserve(id, self.made(by));
    }

    /// It is so late for what is made from now on.
    pub(crate) fn set_now(&mut self, now: Instant) {
        self.began.get_or_insert(now);
        self.clock = Some(now);
        self.now = self.seconds(now);
    }

    /// Whole seconds since the store began.
    pub(super) fn seconds(&self, now: Instant) -> u32 {
        let passed = self.began.map_or(0, |began| now.saturating_duration_since(began).as_secs());
        u32::try_from(passed).unwrap_or(u32::MAX)
    }

    pub(super) fn made(&self, by: Option<&Arc<str>>) -> Made {
        Made { at: self.now, by: by.cloned() }
    }

    pub(super) fn settle(&mut self, id: ObjectId, outcome: Result<Held, Error>) {
        let waiters = self.table.settle(id, outcome.clone());
        self.notify(waiters, outcome);
    }

    pub(super) fn notify(&mut self, waiters: Vec<Waiter>, outcome: Result<Held, Error>) {
        self.events.extend(waiters.into_iter().map(|waiter| Event::Settled(waiter, outcome.clone())));
    }

    pub(super) fn know(&mut self, id: ObjectId, metadata: TensorMetadata) {
        let waiters = self.table.know(id, metadata);
        self.events.extend(waiters.into_iter().map(Event::Known));
    }

    pub(super) fn not_found(&self, object: ObjectId) -> RemoteError {
        let message = format!("there is no object {object} here: it was deleted, or never made on this task");
        RemoteError::new(ErrorCode::NotFound, message).on_task(&self.task)
    }

    pub(super) fn here(&self, error: RemoteError) -> Error {
        error.on_task(&self.task).into()
    }

    pub(super) fn answer(&mut self, caller: Caller, reply: Reply, payload: Bytes) {
        let frame = Frame::new(caller.call, Body::Completed(reply)).with_payload(payload);
        self.effects.push(Effect::Answer(caller.session, frame));
    }

    pub(super) fn answer_failed<R: Rpc>(&mut self, caller: Caller, error: Error) {
        self.answer_with(caller, R::KIND, error);
    }

    /// A call of this kind failed.
    pub(super) fn answer_with(&mut self, caller: Caller, kind: u8, error: Error) {
        let error = Box::new(error.remote().clone().of_call(caller.call));
        let frame = Frame::new(caller.call, Body::Failed { kind, error });
        self.effects.push(Effect::Answer(caller.session, frame));
    }

    pub(super) fn run_job(&mut self, id: JobId) -> Option<&mut RunJob> {
        match &mut self.jobs.get_mut(id)?.work {
            Work::Run(run) => Some(run),
            Work::Fetch(_) => None,
        }
    }
}
