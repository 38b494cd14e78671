//! Ends in the store: of a session, of all, at deadlines, and of a job: what its program says and gives, or why it failed.

use std::time::Instant;

use bytes::Bytes;
use remex_protocol::{
    ErrorCode, RemoteError, Reply, Rpc,
    calls::{FetchObjectRequest, FetchPartRequest, RemoteExecuteOpReply, RemoteExecuteOpRequest, RemoteExecuteReply},
    ids::ObjectPrefix,
    tensor::{Tensor, TensorMetadata},
};
use smallvec::SmallVec;

use super::{
    jobs::{Caller, Job, JobId, Work},
    memory::Held,
    store::{Effect, Store},
    table::Table,
};
use crate::{Error, programs::Early, session::SessionId};

impl Store {
    /// Everything that a session wanted is given up. If it was `lost`, so are its references to what was made with its prefix.
    pub(crate) fn end_session(&mut self, session: SessionId, lost: Option<ObjectPrefix>) {
        let error = self.here(RemoteError::new(ErrorCode::Cancelled, "the caller's session is over"));
        let of_session = |(id, job): (JobId, &Job)| (job.caller.session == session).then_some(id);
        let jobs: Vec<_> = self.jobs.iter().filter_map(of_session).collect();
        jobs.into_iter().for_each(|job| self.fail(job, error.clone()));
        let puts: Vec<_> = self.puts.keys().filter(|(of, _)| *of == session).copied().collect();
        puts.into_iter().for_each(|(session, call)| self.fail_put(Caller::new(session, call), &error));
        self.end_parts_of_session(session, &error);
        self.end_imports(session);
        if let Some(prefix) = lost {
            self.let_go_of(prefix);
        }
        self.look_at_events();
    }

    /// Everything fails with `error`, now and from now on.
    pub(crate) fn close(&mut self, error: Error) {
        let jobs: Vec<_> = self.jobs.iter().map(|(id, _)| id).collect();
        jobs.into_iter().for_each(|job| self.fail(job, error.clone()));
        let puts: Vec<_> = self.puts.keys().copied().collect();
        puts.into_iter().for_each(|(session, call)| self.fail_put(Caller::new(session, call), &error));
        self.look_at_events();
        self.table = Table::new(0);
        self.parts.clear();
        self.held_back.clear();
        self.closed = Some(error);
    }

    /// The caller gives up on a call, or on a put; one that is answered stays as it is.
    pub(super) fn cancel(&mut self, caller: Caller) {
        let error = self.here(RemoteError::new(ErrorCode::Cancelled, "the caller cancelled the call"));
        let job = self.jobs.iter().find(|(_, job)| job.caller == caller).map(|(id, _)| id);
        if let Some(job) = job {
            self.fail(job, error);
        } else {
            self.fail_put(caller, &error);
        }
    }

    /// Gives up on every job whose deadline has passed.
    pub(crate) fn expire(&mut self, now: Instant) {
        let late = |(id, job): (JobId, &Job)| (job.deadline <= now).then_some(id);
        let jobs: Vec<_> = self.jobs.iter().filter_map(late).collect();
        let message = "the call was not done by its deadline";
        let error = self.here(RemoteError::new(ErrorCode::DeadlineExceeded, message));
        jobs.into_iter().for_each(|job| self.fail(job, error.clone()));
        self.expire_parts(now);
        self.look_at_events();
        let late: Vec<_> = self.expected.extract_if(.., |_, until| *until <= now).map(|(id, _)| id).collect();
        late.into_iter().for_each(|id| self.table.forget_expected(id));
        self.end_leases(now);
        let jobs = self.jobs.iter().map(|(_, job)| job.deadline);
        let others = self.tokens.earliest().into_iter().chain(self.next_part_until());
        self.earliest = jobs.chain(self.expected.values().copied()).chain(others).min();
    }

    /// The program says something of an output before it is done. What it says binds it, as its signature does.
    pub(crate) fn published(&mut self, job: u64, output: usize, what: Early) {
        let id = JobId(job);
        let (metadata, tensor) = match what {
            Early::Metadata(metadata) => (metadata, None),
            Early::Tensor(tensor) => (tensor.metadata().clone(), Some(tensor)),
        };
        let Some(slot) = self.run_job(id).and_then(|run| run.outputs.get_mut(output)) else { return };
        let object = slot.id;
        let said = slot.inferred.get_or_insert_with(|| Box::new(metadata.clone()));
        if **said == metadata {
            self.tell_metadata(id, output, metadata);
            if let Some(tensor) = tensor {
                let lease = self.lease_of_output(id, &tensor);
                let held = self.hold(object, tensor, lease);
                self.settle(object, Ok(held));
            }
        } else {
            let error = differs(output, &metadata, said);
            self.fail(id, error);
        }
        self.look_at_events();
    }

    /// A run ended. One that was given up is not known any more: its result is thrown away.
    pub(crate) fn finished(&mut self, job: u64, outcome: Result<Vec<Tensor>, Error>) {
        let id = JobId(job);
        match outcome.and_then(|tensors| self.check_results(id, &tensors).map(|()| tensors)) {
            Err(error) => self.fail(id, error),
            Ok(tensors) => self.complete(id, tensors),
        }
        if !self.offered.is_empty() {
            self.left.extend(self.offered.remove(&id).unwrap_or_default());
        }
        self.look_at_events();
    }

    fn check_results(&mut self, id: JobId, tensors: &[Tensor]) -> Result<(), Error> {
        let Some(run) = self.run_job(id) else { return Ok(()) };
        if tensors.len() != run.outputs.len() {
            let message = format!("the program gave {} outputs, the call names {}", tensors.len(), run.outputs.len());
            return Err(Error::new(ErrorCode::Internal, message));
        }
        for (i, (output, tensor)) in run.outputs.iter().zip(tensors).enumerate() {
            if let Some(inferred) = output.inferred.as_deref().filter(|inferred| *inferred != tensor.metadata()) {
                return Err(differs(i, tensor.metadata(), inferred));
            }
        }
        // Of outputs whose size nobody knew before.
        let unknown = run.outputs.iter().zip(tensors).filter(|(output, _)| output.inferred.is_none());
        let bytes = unknown.map(|(_, tensor)| tensor.bytes().len() as u64).sum();
        self.account.check(bytes)
    }

    fn complete(&mut self, id: JobId, tensors: Vec<Tensor>) {
        let Some(Job { caller, work: Work::Run(run), mut room, .. }) = self.jobs.remove(id) else { return };
        self.leave_replicas(id);
        let mut metadata = SmallVec::with_capacity(tensors.len());
        for (output, tensor) in run.outputs.iter().zip(tensors) {
            metadata.push(output.need_metadata.then(|| tensor.metadata().clone()));
            let lease = self.cut(&mut room, tensor.bytes().len() as u64);
            let held = self.hold(output.id, tensor, lease);
            self.settle(output.id, Ok(held));
        }
        if let Some(chain) = run.out_chain {
            self.settle(chain, Ok(Held::chain()));
        }
        let reply = match run.kind {
            RemoteExecuteOpRequest::KIND => Reply::RemoteExecuteOp(RemoteExecuteOpReply { metadata }),
            _ => Reply::RemoteExecute(RemoteExecuteReply { metadata }),
        };
        self.answer(caller, reply, Bytes::new());
    }

    /// A job will not be done: poisons its outputs and answers its caller with one cause (I2, I3).
    pub(super) fn fail(&mut self, id: JobId, error: Error) {
        let Some(job) = self.jobs.remove(id) else { return };
        let caller = job.caller;
        self.leave_line(&job);
        self.leave_replicas(id);
        match job.work {
            Work::Fetch(None) => self.answer_failed::<FetchObjectRequest>(caller, error),
            Work::Fetch(Some(_)) => self.answer_failed::<FetchPartRequest>(caller, error),
            Work::Run(run) => {
                let error = error.map(|error| error.on_task(&self.task).in_program(&run.name).of_call(caller.call));
                if run.running {
                    self.effects.push(Effect::Abort(id.0));
                }
                let made = run.outputs.iter().map(|output| output.id).chain(run.out_chain);
                made.for_each(|object| self.settle(object, Err(error.clone())));
                self.answer_with(caller, run.kind, error);
            }
        }
    }
}

/// An output is not what was promised of it (I2).
fn differs(output: usize, actual: &TensorMetadata, said: &TensorMetadata) -> Error {
    let message = format!("output {output} is {actual}, but its program, or the program's signature, says {said}");
    Error::new(ErrorCode::Internal, message)
}
