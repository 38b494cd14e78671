//! A store with everything that it wants done kept for a test to look at.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use remex_protocol::{
    Body, ErrorCode, Frame, RemoteError, Reply, Rpc,
    calls::{DeleteMode, InputRef, Origin, OutputRef, RemoteExecuteRequest},
    ids::{CallId, DeviceIndex, ObjectId, ObjectPrefix},
    tensor::{Tensor, TensorMetadata},
};

use super::{
    Binding, MemoryBudget, MemoryLimits, Run, Stats, Step, Want,
    disk::{ReadBack, WriteOut},
    memory::Account,
    store::{Effect, Store},
};
use crate::{
    Error,
    chance::Chance,
    executor::Task,
    limits::ObjectLimits,
    programs::{Early, Executable, native},
    session::SessionId,
    testing::instant,
};

pub(super) const SESSION: SessionId = SessionId(1);

/// An object by its number.
pub(super) fn id(local: u64) -> ObjectId {
    ObjectId { prefix: ObjectPrefix(7), local, device: DeviceIndex(0) }
}

/// A tensor that is told from others by its number.
pub(super) fn vector(n: u64) -> Tensor {
    Tensor::from_slice([2], &[n as f32, 0.5]).unwrap()
}

pub(super) fn failure(words: &str) -> Error {
    Error::new(ErrorCode::Aborted, words)
}

pub(super) struct Rig {
    pub(super) store: Store,
    pub(super) memory: MemoryBudget,
    pub(super) start: Instant,
    pub(super) tasks: Vec<Task>,
    pub(super) aborted: Vec<u64>,
    pub(super) wants: Vec<Want>,
    pub(super) answers: Vec<(SessionId, Frame)>,
    pub(super) writes: Vec<WriteOut>,
    pub(super) reads: Vec<ReadBack>,
    program: Arc<Executable>,
}

impl Rig {
    /// Every call has so long, unless it says otherwise.
    pub(super) const LIMIT: Duration = Duration::from_secs(10);

    pub(super) fn new() -> Self {
        Self::with(MemoryLimits::default(), ObjectLimits::default())
    }

    pub(super) fn with(memory: MemoryLimits, limits: ObjectLimits) -> Self {
        Self::on(MemoryBudget::new(memory), limits)
    }

    /// On a budget that it may share.
    pub(super) fn on(memory: MemoryBudget, limits: ObjectLimits) -> Self {
        let account = Account::new(memory.clone(), 1);
        let program = Arc::new(native(|_| Ok(Vec::new())));
        Self {
            store: Store::new("/job:t/task:0", 3, account, limits, Chance::seeded(3)),
            memory,
            start: instant(),
            tasks: Vec::new(),
            aborted: Vec::new(),
            wants: Vec::new(),
            answers: Vec::new(),
            writes: Vec::new(),
            reads: Vec::new(),
            program,
        }
    }

    pub(super) fn call(n: u32) -> CallId {
        CallId::new(n, 0)
    }

    /// A run of `program`, called after its call: `p1`.
    pub(super) fn run_of(&self, program: Binding, call: u32, inputs: &[(u64, Origin)], outputs: &[u64]) -> Run {
        let input = |(local, origin): &(u64, Origin)| InputRef { object: id(*local), origin: *origin };
        Run {
            call: Self::call(call),
            kind: RemoteExecuteRequest::KIND,
            name: format!("p{call}").into(),
            program,
            lane: 0,
            inputs: inputs.iter().map(input).collect(),
            outputs: outputs.iter().map(|local| OutputRef { object: id(*local), need_metadata: true }).collect(),
            in_chains: Default::default(),
            out_chain: None,
            deadline: self.start + Self::LIMIT,
            baggage: Vec::new(),
            readers: Vec::new(),
        }
    }

    pub(super) fn run(&mut self, call: u32, inputs: &[(u64, Origin)], outputs: &[u64]) -> &mut Self {
        self.run_by(Self::LIMIT, call, inputs, outputs)
    }

    pub(super) fn run_by(
        &mut self,
        limit: Duration,
        call: u32,
        inputs: &[(u64, Origin)],
        outputs: &[u64],
    ) -> &mut Self {
        let run = self.run_of(Binding::Ready(self.program.clone()), call, inputs, outputs);
        let deadline = self.start + limit;
        self.step(Step::Run(Box::new(Run { deadline, ..run })))
    }

    /// A run that comes after chains and makes one.
    pub(super) fn run_in_chains(
        &mut self,
        call: u32,
        inputs: &[(u64, Origin)],
        in_chains: &[(u64, Origin)],
        outputs: &[u64],
        out_chain: u64,
    ) -> &mut Self {
        let run = self.run_of(Binding::Ready(self.program.clone()), call, inputs, outputs);
        let in_chain = |(local, origin): &(u64, Origin)| InputRef { object: id(*local), origin: *origin };
        let in_chains = in_chains.iter().map(in_chain).collect();
        self.step(Step::Run(Box::new(Run { in_chains, out_chain: Some(id(out_chain)), ..run })))
    }

    pub(super) fn fetch(&mut self, call: u32, object: u64, origin: Origin) -> &mut Self {
        let deadline = self.start + Self::LIMIT;
        self.step(Step::Await { call: Self::call(call), object: id(object), origin, part: None, deadline })
    }

    /// Puts the vector of its number.
    pub(super) fn put(&mut self, call: u32, object: u64) -> &mut Self {
        self.put_step(call, object, Some(vector(object).bytes().clone()))
    }

    /// Puts it, its bytes still to come.
    pub(super) fn announce(&mut self, call: u32, object: u64) -> &mut Self {
        self.put_step(call, object, None)
    }

    fn put_step(&mut self, call: u32, object: u64, data: Option<Bytes>) -> &mut Self {
        let metadata = vector(object).metadata().clone();
        self.step(Step::Put { call: Self::call(call), object: id(object), metadata, data })
    }

    pub(super) fn delete(&mut self, call: u32, objects: &[u64], mode: DeleteMode) -> &mut Self {
        let objects = objects.iter().copied().map(id).collect();
        self.step(Step::Delete { call: Self::call(call), objects, mode })
    }

    pub(super) fn step(&mut self, step: Step) -> &mut Self {
        self.store.step(SESSION, step);
        self.collect()
    }

    /// The run of a call ends.
    pub(super) fn finish(&mut self, call: u32, outcome: Result<Vec<Tensor>, Error>) -> &mut Self {
        let job = self.job(call);
        self.store.finished(job, outcome);
        self.collect()
    }

    /// The writes that were wanted are done, in order.
    pub(super) fn write(&mut self) -> &mut Self {
        for write in std::mem::take(&mut self.writes) {
            let (victim, file) = write.run();
            self.store.written(victim, true, file);
        }
        self.collect()
    }

    /// The reads that were wanted are done, in order.
    pub(super) fn read(&mut self) -> &mut Self {
        for read in std::mem::take(&mut self.reads) {
            self.store.read_back(read.object, read.number, read.run());
        }
        self.collect()
    }

    pub(super) fn publish(&mut self, call: u32, output: usize, tensor: Tensor) -> &mut Self {
        self.early(call, output, Early::Tensor(tensor))
    }

    pub(super) fn early(&mut self, call: u32, output: usize, what: Early) -> &mut Self {
        let job = self.job(call);
        self.store.published(job, output, what);
        self.collect()
    }

    pub(super) fn fetched(&mut self, object: u64, outcome: Result<Tensor, Error>) -> &mut Self {
        self.store.fetched(id(object), outcome);
        self.collect()
    }

    /// So much time has passed since the beginning.
    pub(super) fn expire(&mut self, after: Duration) -> &mut Self {
        self.store.expire(self.start + after);
        self.collect()
    }

    pub(super) fn collect(&mut self) -> &mut Self {
        self.tasks.extend(self.store.take_runs());
        for effect in self.store.take_effects() {
            match effect {
                Effect::Abort(job) => self.aborted.push(job),
                Effect::Answer(session, frame) => self.answers.push((session, frame)),
                Effect::Want(want) => self.wants.push(want),
                Effect::Write(write) => self.writes.push(write),
                Effect::Read(read) => self.reads.push(read),
            }
        }
        self
    }

    /// What a call handed to the executor.
    pub(super) fn task(&self, call: u32) -> &Task {
        let name = format!("p{call}");
        self.tasks.iter().find(|task| *task.name == *name).unwrap_or_else(|| panic!("call {call} does not run"))
    }

    pub(super) fn job(&self, call: u32) -> u64 {
        self.task(call).job
    }

    fn frames(&self, call: u32) -> impl Iterator<Item = &Frame> {
        let of_call =
            move |(session, frame): &&(SessionId, Frame)| *session == SESSION && frame.call == Self::call(call);
        self.answers.iter().filter(of_call).map(|(_, frame)| frame)
    }

    /// How a call ended, if it has. It is answered once.
    pub(super) fn outcome(&self, call: u32) -> Option<Result<&Reply, &RemoteError>> {
        let mut ends = self.frames(call).filter_map(|frame| match &frame.body {
            Body::Completed(reply) => Some(Ok(reply)),
            Body::Failed { error, .. } => Some(Err(&**error)),
            _ => None,
        });
        let end = ends.next();
        assert!(ends.next().is_none(), "call {call} was answered twice");
        end
    }

    pub(super) fn is_open(&self, call: u32) -> bool {
        self.outcome(call).is_none()
    }

    pub(super) fn is_done(&self, call: u32) -> bool {
        matches!(self.outcome(call), Some(Ok(_)))
    }

    pub(super) fn error(&self, call: u32) -> RemoteError {
        match self.outcome(call) {
            Some(Err(error)) => error.clone(),
            other => panic!("call {call} did not fail: {other:?}"),
        }
    }

    /// Metadata that came ahead of the end of a call.
    pub(super) fn metadata(&self, call: u32) -> Vec<(u32, TensorMetadata)> {
        let early = self.frames(call).filter_map(|frame| match &frame.body {
            Body::Metadata { output, metadata } => Some((*output, metadata.clone())),
            _ => None,
        });
        early.collect()
    }

    /// What a fetch brought.
    pub(super) fn data(&self, call: u32) -> Bytes {
        assert!(self.is_done(call), "{:?}", self.outcome(call));
        self.frames(call).last().unwrap().payload.clone().into_bytes()
    }

    /// What waited for memory looks whether there is some.
    pub(super) fn freed(&mut self) -> &mut Self {
        self.store.freed();
        self.collect()
    }

    /// Bytes of the budget that are used.
    pub(super) fn used(&self) -> u64 {
        self.memory.usage().used
    }

    pub(super) fn stats(&self) -> Stats {
        self.store.stats()
    }
}
