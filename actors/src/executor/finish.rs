//! Who is told how runs and compilations ended, whatever becomes of them.

use std::sync::Arc;

use actix::Recipient;
use remex_protocol::{ErrorCode, tensor::Tensor};

use super::Compiled;
use crate::{
    Error, Result,
    envelope::post,
    objects::{Account, Finished, Fulfil},
    programs::Executable,
};

/// Counts what a run gave, as soon as it is there: nobody begins beyond the budget because a message is on its way.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) account: Account,
    pub(super) reserved: u64,
}

impl Made {
    pub(super) fn finished(&self, job: u64, outcome: Result<Vec<Tensor>>) -> Finished {
        let size: u64 = outcome.iter().flatten().map(|tensor| tensor.bytes().len() as u64).sum();
        let beyond = size.saturating_sub(self.reserved);
        let lease = (beyond > 0).then(|| self.account.take(beyond));
        Finished { lease, ..Finished::new(job, outcome) }
    }
}

/// Who is told how a run ended. Dropped before, it says that the executor is gone (I1).
#[derive(Debug)]
pub(super) struct Finish {
    pub(super) done: Arc<Recipient<Fulfil>>,
    pub(super) job: u64,
    pub(super) made: Made,
    pub(super) told: bool,
}

impl Finish {
    pub(super) fn tell(self, outcome: Result<Vec<Tensor>>) {
        let done = self.done.clone();
        post(&done, Fulfil(vec![self.told(outcome)]));
    }

    /// Somebody else tells it.
    pub(super) fn told(mut self, outcome: Result<Vec<Tensor>>) -> Finished {
        self.told = true;
        self.made.finished(self.job, outcome)
    }
}

impl Drop for Finish {
    fn drop(&mut self) {
        if !self.told {
            post(&self.done, Fulfil(vec![Finished::new(self.job, Err(gone()))]));
        }
    }
}

/// The same for a compilation.
#[derive(Debug)]
pub(super) struct Reported {
    pub(super) compilation: u64,
    pub(super) done: Option<Recipient<Compiled>>,
}

impl Reported {
    pub(super) fn tell(mut self, program: Result<Arc<Executable>>) {
        if let Some(done) = self.done.take() {
            post(&done, Compiled { compilation: self.compilation, program });
        }
    }
}

impl Drop for Reported {
    fn drop(&mut self) {
        if let Some(done) = self.done.take() {
            post(&done, Compiled { compilation: self.compilation, program: Err(gone()) });
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorCode::Internal, "the task's executor ended before the program was done: must not happen")
}
