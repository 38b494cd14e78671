//! The end of a job in the store: what its program says and gives, or why it failed.

use bytes::Bytes;
use remex_protocol::{
    ErrorCode, Reply, Rpc,
    calls::{FetchObjectRequest, RemoteExecuteOpReply, RemoteExecuteOpRequest, RemoteExecuteReply},
    tensor::{Tensor, TensorMetadata},
};
use smallvec::SmallVec;

use super::{
    jobs::{Job, JobId, Work},
    memory::Held,
    store::{Effect, Store},
};
use crate::{Error, programs::Early};

impl Store {
    /// The program says something of an output before it is done. What it says binds it, as its signature does.
    pub(crate) fn published(&mut self, job: u64, output: usize, what: Early) {
        let id = JobId(job);
        let (metadata, tensor) = match what {
            Early::Metadata(metadata) => (metadata, None),
            Early::Tensor(tensor) => (tensor.metadata().clone(), Some(tensor)),
        };
        let Some(slot) = self.run_job(id).and_then(|run| run.outputs.get_mut(output)) else { return };
        let object = slot.id;
        let said = slot.inferred.get_or_insert_with(|| metadata.clone());
        if *said == metadata {
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
        self.look_at_events();
    }

    fn check_results(&mut self, id: JobId, tensors: &[Tensor]) -> Result<(), Error> {
        let Some(run) = self.run_job(id) else { return Ok(()) };
        if tensors.len() != run.outputs.len() {
            let message = format!("the program gave {} outputs, the call names {}", tensors.len(), run.outputs.len());
            return Err(Error::new(ErrorCode::Internal, message));
        }
        for (i, (output, tensor)) in run.outputs.iter().zip(tensors).enumerate() {
            if let Some(inferred) = output.inferred.as_ref().filter(|inferred| *inferred != tensor.metadata()) {
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
        match job.work {
            Work::Fetch => self.answer_failed::<FetchObjectRequest>(caller, error),
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
