//! The life of a job in the store: from its inputs to its answer.

use std::sync::Arc;

use remex_protocol::{
    Body, ErrorCode, Frame, RemoteError,
    calls::*,
    ids::{CallId, ObjectId},
    tensor::TensorMetadata,
};
use smallvec::SmallVec;

use super::{
    Binding, Run,
    jobs::{Caller, Input, Job, JobId, Output, RunJob, Work},
    memory::{Held, Holds, Room},
    reserving::outputs,
    store::{Effect, Event, Store},
    table::{Found, Value, Waiter},
};
use crate::{Error, executor::Task, programs::Executable, session::SessionId};

impl Store {
    /// Looks up the inputs and reserves the outputs of a call; runs it when all is there.
    pub(super) fn run(&mut self, session: SessionId, run: Box<Run>) {
        let caller = Caller::new(session, run.call);
        let inputs = match self.check_made(&run).and_then(|()| self.inputs(&run)) {
            Ok(inputs) => inputs,
            Err(error) => {
                let made: Vec<_> = run.made().collect();
                return self.refuse(caller, run.kind, &made, in_program(error, &run));
            }
        };
        for object in run.made() {
            self.reserve(object, Some(&run.name));
        }
        let run = *run;
        let (program, compilation) = match run.program {
            Binding::Ready(program) => (Some(program), None),
            Binding::Compiling(compilation) => (None, Some(compilation)),
        };
        let waiting = inputs.iter().filter(|input| matches!(input, Input::Waiting(_))).count() as u32;
        let missing = waiting + u32::from(compilation.is_some());
        let work = Work::Run(RunJob {
            kind: run.kind,
            name: run.name,
            program,
            lane: run.lane,
            outputs: run.outputs.iter().map(|output| Output::new(*output)).collect(),
            in_chains: run.in_chains.len() as u32,
            out_chain: run.out_chain,
            baggage: run.baggage,
            readers: run.readers,
            running: false,
            ahead: false,
            inferred: false,
        });
        let job = Job { caller, deadline: run.deadline, inputs, missing, room: None, work };
        let id = self.add(job, run.inputs.iter().chain(&run.in_chains));
        if let Some(compilation) = compilation {
            self.compiling.entry(compilation).or_default().push(id);
        }
        if missing == 0 {
            self.start(id);
        } else {
            self.infer(id);
            self.line_up(id);
        }
    }

    fn check_made(&mut self, run: &Run) -> Result<(), Error> {
        self.check_jobs()?;
        self.check_named(run.made().count(), run.taken().map(|input| input.object))?;
        for (i, output) in run.made().enumerate() {
            if let Some(error) = self.unusable(output) {
                return Err(error);
            }
            let invalid = |why: &str| {
                let message = format!("object {output} {why}");
                Err(self.here(RemoteError::new(ErrorCode::InvalidArgument, message)))
            };
            if run.made().take(i).any(|other| other == output) {
                return invalid("is named for two outputs of the call");
            }
            if run.taken().any(|input| input.object == output) {
                return invalid("is named both as input and as output of the call");
            }
        }
        Ok(())
    }

    fn inputs(&self, run: &Run) -> Result<SmallVec<[Input; 3]>, Error> {
        let mut inputs = SmallVec::with_capacity(run.inputs.len() + run.in_chains.len());
        for input in run.taken() {
            inputs.push(self.input(input.object, input.origin)?);
        }
        Ok(inputs)
    }

    /// Where an input is (I4a): here, still to come, or an error.
    pub(super) fn input(&self, object: ObjectId, origin: Origin) -> Result<Input, Error> {
        if let Some(error) = &self.closed {
            return Err(error.clone());
        }
        match self.table.find(object) {
            Found::Ready(held) if self.spills && held.lease.is_some() => Ok(Input::Kept(object)),
            Found::Ready(held) => Ok(Input::Here(held.clone())),
            Found::Spilled => Ok(Input::Kept(object)),
            Found::Failed(error) => Err(error.clone()),
            Found::Wait => Ok(Input::Waiting(object)),
            Found::Nothing if !object.is_valid() || self.table.is_taken(object) => Err(self.not_found(object).into()),
            Found::Nothing => match origin {
                Origin::Here => Err(self.not_found(object).into()),
                Origin::Anywhere | Origin::Owner(_) => Ok(Input::Waiting(object)),
            },
        }
    }

    /// Keeps a job whose inputs have been looked up, and waits for those that are not there.
    pub(super) fn add<'a>(&mut self, job: Job, from: impl Iterator<Item = &'a InputRef> + Clone) -> JobId {
        let deadline = job.deadline;
        self.earliest = Some(self.earliest.map_or(deadline, |at| at.min(deadline)));
        if self.spills {
            self.keep_inputs(&job);
        }
        let waiting: SmallVec<[usize; 8]> = job.waits().collect();
        let id = self.jobs.insert(job);
        for input in from.clone() {
            if let Origin::Owner(_) = input.origin {
                self.replicas.enter(id, input.object);
            }
        }
        let mut from = from.enumerate();
        for place in waiting {
            let Some((i, &InputRef { object, origin })) = from.find(|(i, _)| *i == place) else { break };
            if matches!(self.table.find(object), Found::Nothing) {
                match origin {
                    Origin::Owner(owner) => {
                        self.table.reserve(object, self.made(None));
                        self.want(object, owner, deadline);
                    }
                    Origin::Here | Origin::Anywhere => self.table.expect(object),
                }
            }
            if !self.table.is_pending(object) {
                let until = self.expected.entry(object).or_insert(deadline);
                *until = (*until).max(deadline);
            }
            self.table.wait(object, Waiter { job: id, input: i as u32 });
        }
        id
    }

    /// Poisons those outputs of a refused call that are unused, and answers it (I7).
    pub(super) fn refuse(&mut self, caller: Caller, kind: u8, outputs: &[ObjectId], error: Error) {
        let error = error.map(|error| error.of_call(caller.call));
        for &output in outputs {
            let is_room = self.table.len() < self.limits.objects;
            if is_room && output.is_valid() && !self.table.is_taken(output) && self.closed.is_none() {
                self.poison(output, &error);
            }
        }
        self.answer_with(caller, kind, error);
    }

    pub(super) fn look_at_events(&mut self) {
        while let Some(event) = self.events.pop_front() {
            match event {
                Event::Known(waiter) => self.known(waiter),
                Event::Settled(waiter, Ok(held)) => self.input_is_there(waiter, held),
                Event::Settled(waiter, Err(error)) => {
                    let step = self.run_job(waiter.job).map(|run| run.name.clone());
                    let error = match step {
                        Some(name) => error.map(|error| error.through(&*name)),
                        None => error,
                    };
                    self.fail(waiter.job, error);
                }
            }
        }
    }

    fn input_is_there(&mut self, waiter: Waiter, held: Held) {
        let Some(job) = self.jobs.get_mut(waiter.job) else { return };
        let Some(&Input::Waiting(object)) = job.inputs.get(waiter.input as usize) else { return };
        let has_room = matches!(job.room, Some(Room::Got(_)));
        let held = self.held_or_kept(object, held, has_room);
        let Some(job) = self.jobs.get_mut(waiter.job) else { return };
        job.inputs[waiter.input as usize] = held;
        job.missing -= 1;
        if job.missing > 0 {
            self.infer(waiter.job);
            self.line_up(waiter.job);
        } else if !matches!(&job.work, Work::Run(run) if run.ahead) {
            self.start(waiter.job);
        }
        // What was offered to the executor may have run already: what it says of those before tells.
    }

    fn known(&mut self, waiter: Waiter) {
        let Some(job) = self.jobs.get_mut(waiter.job) else { return };
        let (caller, fetch) = (job.caller, matches!(job.work, Work::Fetch(_)));
        // Of a job that runs the inputs are with the program.
        let Some(&(Input::Waiting(object) | Input::Kept(object))) = job.inputs.get(waiter.input as usize) else {
            return;
        };
        if !fetch {
            return self.infer(waiter.job);
        }
        if let Some(metadata) = self.table.metadata(object).cloned() {
            let body = Body::Metadata { output: 0, metadata };
            self.effects.push(Effect::Answer(caller.session, Frame::new(caller.call, body)));
        }
    }

    /// A compilation ended: calls that wait for the program go on, or fail.
    pub(crate) fn bound(&mut self, compilation: u64, program: Result<Arc<Executable>, Error>) {
        for id in self.compiling.remove(&compilation).unwrap_or_default() {
            match &program {
                Err(error) => self.fail(id, error.clone()),
                Ok(program) => {
                    let Some(job) = self.jobs.get_mut(id) else { continue };
                    job.missing -= 1;
                    let (missing, inputs) = (job.missing, job.given());
                    let Work::Run(run) = &mut job.work else { continue };
                    run.program = Some(program.clone());
                    if let Err(message) = program.check_arity(inputs, run.outputs.len()) {
                        let error = RemoteError::new(ErrorCode::InvalidArgument, message);
                        self.fail(id, self.here(error));
                    } else if missing == 0 {
                        self.start(id);
                    } else {
                        self.infer(id);
                        self.line_up(id);
                    }
                }
            }
        }
        self.look_at_events();
    }

    /// Everything that a job waits for is there.
    pub(super) fn start(&mut self, id: JobId) {
        self.infer(id);
        if !self.has_room(id) || !self.gather(id) {
            return;
        }
        let Some(job) = self.jobs.get_mut(id) else { return };
        job.inputs.truncate(job.given());
        let mut holds = Holds::new();
        let mut tensors = Vec::with_capacity(job.inputs.len());
        let mut chain = None;
        for (i, input) in job.inputs.drain(..).enumerate() {
            match input {
                Input::Here(Held { value: Value::Tensor(tensor), lease }) => {
                    holds.extend(lease);
                    tensors.push(tensor);
                }
                Input::Here(Held { value: Value::Chain, .. }) | Input::Waiting(_) | Input::Kept(_) => {
                    chain.get_or_insert(i);
                }
            }
        }
        if let Some(input) = chain {
            let message = format!("input {input} is a chain and has no data: give a tensor");
            let error = self.here(RemoteError::new(ErrorCode::InvalidArgument, message));
            return self.fail(id, error);
        }
        let reserved = outputs(job);
        match &mut job.work {
            Work::Run(run) => {
                run.running = true;
                let Some(program) = run.program.clone() else { return };
                let output_ids = match program.is_async() {
                    true => run.outputs.iter().map(|output| output.id).collect(),
                    false => Vec::new(),
                };
                self.runs.push(Task {
                    job: id.0,
                    name: run.name.clone(),
                    program,
                    inputs: tensors,
                    outputs: run.outputs.len(),
                    output_ids,
                    baggage: std::mem::take(&mut run.baggage),
                    deadline: job.deadline,
                    lane: run.lane,
                    holds,
                    reserved,
                });
            }
            Work::Fetch(part) => {
                let (caller, part) = (job.caller, *part);
                self.jobs.remove(id);
                self.leave_replicas(id);
                tensors.iter().for_each(|tensor| self.answer_fetch(caller, tensor, part, &holds));
            }
        }
    }

    /// Asks the program's inference, once, when the metadata of all inputs is known: checks the inputs, and settles the
    /// metadata of those outputs that follow from them.
    pub(super) fn infer(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let (missing, given) = (job.missing, job.given());
        let Work::Run(run) = &mut job.work else { return };
        let unasked = |program: &Arc<Executable>| program.infers() && !run.inferred;
        let Some(program) = run.program.clone().filter(unasked) else { return };
        let table = &self.table;
        let metadata = job.inputs[..given].iter().map(|input| match input {
            Input::Here(Held { value: Value::Tensor(tensor), .. }) => Some(tensor.metadata().clone()),
            Input::Here(Held { value: Value::Chain, .. }) => None,
            Input::Waiting(object) | Input::Kept(object) => table.metadata(*object).cloned(),
        });
        let Some(metadata) = metadata.collect::<Option<Vec<_>>>() else { return };
        run.inferred = true;
        let name = run.name.clone();
        let inferred = match program.infer(&metadata) {
            Ok(inferred) => inferred,
            Err(error) => {
                let error = self.here(error.of_program(&name));
                return self.fail(id, error);
            }
        };
        // What can never fit is refused before anything is made for it.
        let sizes = inferred.iter().flatten().map(|metadata| metadata.size_bytes().unwrap_or(u64::MAX));
        if let Err(error) = self.account.check(sizes.fold(0, u64::saturating_add)) {
            let error = error.map(|error| error.on_task(&self.task));
            return self.fail(id, error);
        }
        // What runs inline is done in this turn: its metadata comes with its completion.
        let soon = missing == 0 && program.is_inline(&metadata);
        for (output, metadata) in inferred.into_iter().enumerate() {
            let Some(metadata) = metadata else { continue };
            if let Some(output) = self.run_job(id).and_then(|run| run.outputs.get_mut(output)) {
                output.inferred = Some(Box::new(metadata.clone()));
            }
            if !soon {
                self.tell_metadata(id, output, metadata);
            }
        }
    }

    pub(super) fn tell_metadata(&mut self, id: JobId, output: usize, metadata: TensorMetadata) {
        let Some(job) = self.jobs.get_mut(id) else { return };
        let caller = job.caller;
        let Work::Run(run) = &mut job.work else { return };
        let Some(slot) = run.outputs.get_mut(output) else { return };
        let object = slot.id;
        if slot.need_metadata && !std::mem::replace(&mut slot.told, true) {
            let body = Body::Metadata { output: output as u32, metadata: metadata.clone() };
            self.effects.push(Effect::Answer(caller.session, Frame::new(caller.call, body)));
        }
        for (_, session) in run.readers.extract_if(.., |(of, _)| *of as usize == output) {
            let body = Body::Foreseen { object, metadata: Box::new(metadata.clone()) };
            self.effects.push(Effect::Answer(session, Frame::new(CallId::default(), body)));
        }
        self.know(object, metadata);
    }
}

impl Output {
    fn new(output: OutputRef) -> Self {
        Self { id: output.object, need_metadata: output.need_metadata, inferred: None, told: false }
    }
}

/// Names the program, unless the cause is another one's.
fn in_program(error: Error, run: &Run) -> Error {
    match error.program() {
        None => error.map(|error| error.in_program(&run.name)),
        Some(_) => error.map(|error| error.through(&*run.name)),
    }
}
