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
    /// The number of its kind.
    pub kind: u8,
    /// When to give up on it.
    pub deadline: Instant,
    /// What was promised.
    pub promised: Promised,
    /// Its credits: used again when the reply has come, not before.
    pub admission: Option<Admission>,
    /// Objects that must not be given up before it is answered.
    pub holds: Box<[ObjectRef]>,
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

/// What is known of an object before it has come.
#[derive(Debug)]
pub enum Early {
    /// Nothing yet.
    Awaited(Writer<TensorMetadata>),
    /// Its metadata.
    Known(TensorMetadata),
}

/// What was promised to who fetches an object.
#[derive(Debug)]
pub struct Ahead {
    /// The object.
    pub object: ObjectId,
    /// Its metadata, which the receiver may say before the data is there.
    pub early: Early,
    /// The reply and its payload.
    pub answer: Writer<(Reply, Bytes)>,
}

impl Ahead {
    /// The receiver says what will come. An error if it said something else before (I2).
    pub(crate) fn tell(&mut self, metadata: TensorMetadata) -> Result<(), String> {
        self.check(&metadata)?;
        if let Early::Awaited(writer) = std::mem::replace(&mut self.early, Early::Known(metadata.clone())) {
            writer.settle(Ok(metadata));
        }
        Ok(())
    }

    /// Whether what has come is what was said.
    pub(crate) fn check(&self, metadata: &TensorMetadata) -> Result<(), String> {
        match &self.early {
            Early::Known(said) if said != metadata => Err(format!("the object as {metadata}, it said {said} before")),
            Early::Known(_) | Early::Awaited(_) => Ok(()),
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

/// The link is gone: the promises of all calls that were expected so far fail.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Lost {
    /// What they fail with.
    pub error: Error,
    /// Whether the calls may still be answered, because their session is kept: slots and credits stay taken.
    pub may_resume: bool,
}
