//! The answer that a call of another task still has to get.

use actix::Recipient;
use remex_protocol::{
    Body, ErrorCode, Frame, RemoteError, Reply, Rpc,
    calls::{SendDataReply, SendDataRequest},
    ids::CallId,
};

use crate::{Error, Result, envelope::post, session::Answers};

/// Answers one `SendData` of a session, once. Dropped without an answer it says that the context is gone.
#[derive(Debug)]
pub struct Answer(Option<(CallId, Recipient<Answers>)>);

impl Answer {
    /// The answer to `call`, which goes to the session of `answers`.
    pub fn new(call: CallId, answers: Recipient<Answers>) -> Self {
        Self(Some((call, answers)))
    }

    /// An answer that nobody waits for.
    pub fn to_nobody() -> Self {
        Self(None)
    }

    /// Answers; an error names `task` as where it happened.
    pub fn give(mut self, result: Result<()>, task: &str) {
        if let Some((call, answers)) = self.0.take() {
            let body = match result {
                Ok(()) => Body::Completed(Reply::SendData(SendDataReply {})),
                Err(error) => failed(error.remote().clone().on_task(task), call),
            };
            post(&answers, Answers(vec![Frame::new(call, body)]));
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some((call, answers)) = self.0.take() {
            let message = "the context was closed before the data was taken";
            let error = Error::new(ErrorCode::InvalidDistributedContextId, message);
            post(&answers, Answers(vec![Frame::new(call, failed(error.remote().clone(), call))]));
        }
    }
}

fn failed(error: RemoteError, call: CallId) -> Body {
    Body::Failed { kind: SendDataRequest::KIND, error: Box::new(error.of_call(call)) }
}
