//! What `Collectives` and a running `Collective` are told, and what they tell the links.

use std::time::Instant;

use actix::Message;
use bytes::Bytes;
use remex_protocol::{
    collective::CollectiveOp,
    ids::{InstanceKey, TaskIndex},
    tensor::Tensor,
};

use super::runs::{Arrived, RunKey};
use crate::{Error, Result, promise::Writer, rendezvous::Answer};

// To `Collectives`, from callers on this task. `Group` sends it.

/// Joins the next run of a collective.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Join {
    /// The name of the group; this task must be a member.
    pub group: String,
    /// The name of the collective, the same at all members.
    pub name: InstanceKey,
    /// What is done.
    pub op: CollectiveOp,
    /// This member's tensor, if the operation takes one.
    pub input: Option<Tensor>,
    /// When to give up.
    pub until: Instant,
    /// Gets the result; none of a barrier.
    pub to: Writer<Option<Tensor>>,
}

// To `Collectives`, from the context.

/// Chunks that other members sent, in order of arrival. Each is answered when its run has taken it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct ChunkArrived(pub Vec<ArrivedChunk>);

/// A `SendData` of purpose `Collective`.
#[derive(Debug)]
pub struct ArrivedChunk {
    /// Who is answered.
    pub answer: Answer,
    /// The task that sent it.
    pub from: TaskIndex,
    /// The key of the call: the collective's name.
    pub name: InstanceKey,
    /// The header of the call: a `ChunkHeader`.
    pub header: Bytes,
    /// Its data.
    pub payload: Bytes,
    /// How long its sender waits.
    pub until: Instant,
}

/// The link to a task is lost: collectives that it takes part in fail.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TaskLost {
    /// Which.
    pub task: TaskIndex,
    /// Why.
    pub error: Error,
}

/// The context closes: what runs fails with this error, and the actor stops.
#[derive(Debug, Message)]
#[rtype(result = "Result<()>")]
pub struct Close(pub Error);

// From a `Collective`, to the links.

/// Sends a chunk to a task, as a `SendData` of purpose `Collective`. The answer comes when the receiver has taken it.
#[derive(Debug, Message)]
#[rtype(result = "Result<()>")]
pub struct SendChunk {
    /// The task.
    pub to: TaskIndex,
    /// The key of the call.
    pub name: InstanceKey,
    /// The header of the call.
    pub header: Bytes,
    /// The one buffer of the call; at most 256 KiB.
    pub payload: Bytes,
    /// When its time is over.
    pub until: Instant,
}

// Between `Collectives` and a `Collective`.

/// Chunks and aborts for one run, in order of arrival.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Chunks(pub(crate) Vec<Arrived<Answer>>);

impl Drop for Chunks {
    /// The run was over before it could look at them: they are as good as taken, as those that come later are. An error
    /// would reach their sender before the cause does.
    fn drop(&mut self) {
        for answer in self.0.drain(..).filter_map(|arrived| arrived.answer) {
            answer.give(Ok(()), "");
        }
    }
}

/// The run is given up, and why.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct GiveUp(pub(crate) Error);

/// The run is over on this task.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Ended(pub(crate) RunKey);

// From the server.

/// What the numbers of a context's collectives on a task are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CollectiveStats {
    /// Those that run.
    pub running: usize,
    /// Chunks that are kept for those that the task has not joined.
    pub chunks: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Joins and chunks that were refused because of a limit.
    pub refused: u64,
}

/// Asks for the numbers.
#[derive(Debug, Message)]
#[rtype(result = "Result<CollectiveStats>")]
pub struct Inspect;
