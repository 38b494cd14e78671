//! What a `Session` is told and what it tells.

use std::{fmt, sync::Arc, time::Instant};

use actix::{Message, Recipient};
use bytes::Bytes;
use remex_protocol::{
    Body, Call, Effect, ErrorCode, Frame, Payload, RemoteError,
    calls::SendReadyChainsRequest,
    cluster::TaskName,
    ids::{CallId, ContextIndex, ObjectPrefix, TaskIndex},
};

use crate::{Result, envelope::post, link::Point};

/// Names a session among those of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

// From object managers and contexts.

/// Frames to send to the caller, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Answers(pub Vec<Frame>);

// To contexts.

/// What one read of the link gave for one context, in order.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Calls {
    /// The session.
    pub session: SessionId,
    /// The task at the other end, if it is one of the context.
    pub from: Option<TaskIndex>,
    /// Who is answered.
    pub answers: Arc<Recipient<Answers>>,
    /// When the calls came.
    pub at: Instant,
    /// What came.
    pub calls: Vec<Incoming>,
}

impl Drop for Calls {
    /// A context that is gone drops its mailbox: what it did not serve is answered all the same.
    fn drop(&mut self) {
        let unserved = std::mem::take(&mut self.calls).into_iter().filter_map(|incoming| match incoming {
            Incoming::Call { call, body, .. } => {
                let message = "the context was closed before the call was served";
                let error = RemoteError::new(ErrorCode::InvalidDistributedContextId, message);
                let error = Box::new(error.of_call(call).with_effect(Effect::NotRun));
                Some(Frame::new(call, Body::Failed { kind: body.kind(), error }))
            }
            Incoming::Payload { .. } | Incoming::Cancel { .. } => None,
        });
        let unserved: Vec<_> = unserved.collect();
        if !unserved.is_empty() {
            post(&self.answers, Answers(unserved));
        }
    }
}

/// Something that came for a context.
#[derive(Debug)]
pub enum Incoming {
    /// A call.
    Call {
        /// Its name.
        call: CallId,
        /// What is asked.
        body: Call,
        /// The bytes beside it; perhaps only announced.
        payload: Payload,
    },
    /// The payload of an earlier call, whole.
    Payload {
        /// The call.
        call: CallId,
        /// Its bytes.
        data: Bytes,
    },
    /// The caller gives up on a call.
    Cancel {
        /// The call.
        call: CallId,
    },
}

// To the server.

/// A call that concerns the server. The session handles nothing more until it is answered with [`Controlled`], so that
/// what follows finds what this made.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Control {
    /// The session.
    pub session: SessionId,
    /// Who calls.
    pub peer: TaskName,
    /// Whether the caller is on this machine.
    pub is_local: bool,
    /// The call.
    pub call: CallId,
    /// What is asked.
    pub body: Call,
    /// The context that the call's index stands for, where there is one.
    pub context: Option<Opened>,
    /// Gets the answer.
    pub answer: Recipient<Controlled>,
}

/// A task wants to take part in a context that several make together. Answered when all are there, or by deadline; the
/// session goes on meanwhile.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Exchange {
    /// The session.
    pub session: SessionId,
    /// The call.
    pub call: CallId,
    /// What the task says of itself.
    pub request: Box<SendReadyChainsRequest>,
    /// Gets the answer.
    pub answers: Recipient<Answers>,
}

/// The answer to a [`Control`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Controlled {
    /// What the caller is told.
    pub frame: Frame,
    /// What it means for the session.
    pub change: Change,
}

/// What an answered call means for the session.
#[derive(Debug)]
pub enum Change {
    /// Nothing.
    None,
    /// From now on the index stands for a context.
    Opened(ContextIndex, Opened),
    /// From now on the index stands for nothing.
    Closed(ContextIndex),
}

/// A context that a session may use.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Which.
    pub id: remex_protocol::ids::ContextId,
    /// Takes calls.
    pub calls: Recipient<Calls>,
    /// Is told when the session is over.
    pub ended: Recipient<crate::objects::SessionEnded>,
    /// The session's task, if it is one of the context.
    pub peer: Option<TaskIndex>,
    /// What the ids of objects that it makes begin with.
    pub prefix: ObjectPrefix,
    /// Whether the session made it: then it lives no longer than the session.
    pub is_creator: bool,
}

/// A session is over, with the contexts that it made.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Ended {
    /// Which.
    pub session: SessionId,
    /// How it came to that.
    pub how: End,
}

/// How a session came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was left, given up, or broke the protocol.
    Over,
    /// Its peer sent more than anybody keeps for it (I8).
    Flooded,
    /// Its actor died: a bug of the runtime (I9).
    Died,
}

// From whoever accepts connections.

/// The peer has dialled again: give up the connection that there is and say how far this side is. Refused for a connection
/// that is older than another one was.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Result<Point>")]
pub struct Resume {
    /// Which connection it is.
    pub epoch: u64,
}

/// A connection stands at the door.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Attach;

// From the server.

/// End the session: the connection ends when all answers are written.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Shut;
