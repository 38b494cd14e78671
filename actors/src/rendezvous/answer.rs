//! The answer that a call of another task still has to get.

use std::sync::Arc;

use actix::Recipient;
use remex_protocol::{
    Body, ErrorCode, Frame, Reply, Rpc,
    calls::{SendDataReply, SendDataRequest},
    ids::CallId,
};
use tokio::sync::oneshot;

use crate::{Error, Result, envelope::post, session::Answers};

/// Answers one `SendData` of a session, once. Dropped without an answer it says that the context is gone.
#[derive(Debug)]
pub struct Answer(Option<To>);

#[derive(Debug)]
enum To {
    Session(CallId, Arc<Recipient<Answers>>),
    Here(oneshot::Sender<Result<()>>),
}

impl Answer {
    /// The answer to `call`, which goes to the session of `answers`.
    pub fn new(call: CallId, answers: Arc<Recipient<Answers>>) -> Self {
        Self(Some(To::Session(call, answers)))
    }

    /// The answer to somebody on this task.
    pub fn here(to: oneshot::Sender<Result<()>>) -> Self {
        Self(Some(To::Here(to)))
    }

    /// Answers; an error names `task` as where it happened.
    pub fn give(mut self, result: Result<()>, task: &str) {
        self.tell(result.map_err(|error| error.map(|error| error.on_task(task))));
    }

    fn tell(&mut self, result: Result<()>) {
        match self.0.take() {
            Some(To::Session(call, answers)) => {
                let body = match result {
                    Ok(()) => Body::Completed(Reply::SendData(SendDataReply {})),
                    Err(error) => {
                        let error = Box::new(error.remote().clone().of_call(call));
                        Body::Failed { kind: SendDataRequest::KIND, error }
                    }
                };
                post(&answers, Answers(vec![Frame::new(call, body)]));
            }
            // Who has gone needs no answer.
            Some(To::Here(to)) => drop(to.send(result)),
            None => {}
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if self.0.is_none() {
            return;
        }
        let message = "the context was closed before the data was taken";
        self.tell(Err(Error::new(ErrorCode::InvalidDistributedContextId, message)));
    }
}
