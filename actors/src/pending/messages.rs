//! What a tracker of pending results is told.

use std::time::Instant;

use actix::Message;
use bytes::Bytes;
use remex_protocol::{
    ErrorCode, Frame, Reply,
    ids::{CallId, ObjectId},
    tensor::TensorMetadata,
};

use crate::{
    Error,
    client::Admission,
    handles::ObjectRef,
    promise::{CallWriter, Writer},
};

// From contexts and whoever makes a control call. Always before the call is given to `RemoteClient`.

/// Calls that are about to be sent.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Expect(pub Vec<Expectation>);

/// One call that is about to be sent, and everything that is settled or given back when it is answered.
#[derive(Debug)]
pub struct Expectation {
    /// The call.
    pub call: CallId,
    /// What is called.
    pub name: &'static str,
    /// When to give up on it.
    pub deadline: Instant,
    /// What was promised.
    pub promised: Promised,
    /// Its credits: used again when the reply has come, not before.
    pub admission: Option<Admission>,
    /// Objects that must not be given up before it is answered.
    pub holds: Vec<ObjectRef>,
}

/// What was promised to the caller.
#[derive(Debug)]
pub enum Promised {
    /// A chain, metadata and tensors.
    Call(CallWriter),
    /// The reply and its payload.
    Answer(Writer<(Reply, Bytes)>),
    /// The same of a fetch, and before that what will come.
    Foreseen(Box<Ahead>),
    /// Nothing: nobody waits.
    Nothing,
}

/// What was promised to who fetches an object.
#[derive(Debug)]
pub struct Ahead {
    /// The object.
    pub object: ObjectId,
    /// Its metadata, if the receiver says it before the data is there.
    pub early: Option<Writer<TensorMetadata>>,
    /// The reply and its payload.
    pub answer: Writer<(Reply, Bytes)>,
}

impl Ahead {
    /// The receiver says what will come. Only the first time counts.
    pub(crate) fn tell(&mut self, metadata: TensorMetadata) {
        if let Some(early) = self.early.take() {
            early.settle(Ok(metadata));
        }
    }
}

impl Promised {
    /// The call will not be made.
    pub(crate) fn fail(self, error: Error) {
        match self {
            Promised::Call(writer) => writer.complete(Err(error)),
            Promised::Answer(writer) => writer.settle(Err(error)),
            Promised::Foreseen(ahead) => ahead.answer.settle(Err(error)),
            Promised::Nothing => {}
        }
    }
}

/// Give up on a call: its promises settle now, the receiver is told.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Cancelled {
    /// The call; one that is answered stays as it is.
    pub call: CallId,
    /// What its promises fail with.
    pub error: Error,
}

impl Cancelled {
    /// Because its caller wants it no more.
    pub fn by_caller(call: CallId) -> Self {
        Self { call, error: Error::new(ErrorCode::Cancelled, "the caller cancelled the call") }
    }
}

// From `RemoteClient`.

/// Frames that came back, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Replies(pub Vec<Frame>);

/// The link is gone: no call that was expected so far will be answered.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Lost(pub Error);
