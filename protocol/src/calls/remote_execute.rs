//! RemoteExecute: run a registered program.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{
    ids::{ContextIndex, ObjectId, ProgramIndex, TaskIndex},
    tensor::TensorMetadata,
};

/// Runs a registered program on the receiving task.
///
/// Sent by `RemoteClient`, served by `DistributedContext`. The reply means *done*: every output is Ready or Failed;
/// metadata known earlier travels before it. Refused with `InvalidDistributedContextId`, `NotFound`, `InvalidArgument`,
/// `DeviceNotFound`, `AlreadyExists`: those of its outputs that are unused are poisoned with that error, nothing else
/// changes.
///
/// ```text
/// [context u16, program u32, inputs [[prefix u64, local u64, device u16, origin u32]],
///  outputs [[prefix u64, local u64, device u16, need_metadata bool]],
///  in_chains [[prefix u64, local u64, device u16, origin u32]], out_chain nil or [prefix u64, local u64, device u16],
///  time_left_ms u64, baggage [[key str, value str]], readers [[output u32, task u16]],
///  released [[prefix u64, local u64, device u16]] or left out if there are none]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteExecuteRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The program, as this link numbers it.
    pub program: ProgramIndex,
    /// In the program's order; at most `MAX_ARGS`; need not be ready yet.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub inputs: SmallVec<[InputRef; 3]>,
    /// In the program's order; at most `MAX_ARGS`; ids made by the sender.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub outputs: SmallVec<[OutputRef; 2]>,
    /// Objects of the receiver, mostly chains, that must be ready before the program runs; it is not given them. At most
    /// `MAX_ARGS`.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub in_chains: SmallVec<[InputRef; 1]>,
    /// A chain to make ready when the call is done, or to poison when it fails; an id made by the sender.
    pub out_chain: Option<ObjectId>,
    /// How long the sender will wait from now, in milliseconds.
    pub time_left_ms: u64,
    /// The caller's key-values, handed to the program; at most `MAX_BAGGAGE` bytes.
    #[serde(deserialize_with = "crate::bounded::baggage")]
    pub baggage: Vec<(String, String)>,
    /// Other tasks that will fetch an output for calls that were made with this one: they are told its metadata as soon as it is
    /// known, and need not ask first. A hint: one that means nothing to the receiver is passed over. At most `MAX_ARGS`.
    #[serde(default, deserialize_with = "crate::bounded::args")]
    pub readers: Vec<Reader>,
    /// Objects of the receiver of which the sender gives one count back once this call has its inputs, whatever becomes of the
    /// call: as [`DeleteObjects`](super::DeleteObjectsRequest) of mode release does, but nobody is told how that went. At most
    /// `MAX_DELETES`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "crate::bounded::deletes")]
    pub released: Vec<ObjectId>,
}

/// A task that will fetch an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reader {
    /// Which output, from 0.
    pub output: u32,
    /// Who will fetch it.
    pub task: TaskIndex,
}

/// An object that a call takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u64, u64, u16, u32)", from = "(u64, u64, u16, u32)")]
pub struct InputRef {
    /// Which.
    pub object: ObjectId,
    /// Where it comes from.
    pub origin: Origin,
}

/// An object that a call makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(u64, u64, u16, bool)", from = "(u64, u64, u16, bool)")]
pub struct OutputRef {
    /// The id to fill or to poison.
    pub object: ObjectId,
    /// Whether the sender wants to know its element type and shape.
    pub need_metadata: bool,
}

/// Where a named object comes from. Travels as one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u32", from = "u32")]
pub enum Origin {
    /// 0: named by an earlier call on this link. Unknown is `NotFound` at once.
    Here,
    /// 1: someone will make it on this task. Unknown is waited for until the call's deadline.
    Anywhere,
    /// 2 + task: it lives on that task and is fetched from there.
    Owner(TaskIndex),
}

impl From<Origin> for u32 {
    fn from(origin: Origin) -> u32 {
        match origin {
            Origin::Here => 0,
            Origin::Anywhere => 1,
            Origin::Owner(task) => 2 + u32::from(task.0),
        }
    }
}

impl From<u32> for Origin {
    fn from(number: u32) -> Self {
        match number {
            0 => Origin::Here,
            1 => Origin::Anywhere,
            // A task beyond the table's last is refused where the table is known.
            task => Origin::Owner(TaskIndex(u16::try_from(task - 2).unwrap_or(u16::MAX))),
        }
    }
}

impl From<InputRef> for (u64, u64, u16, u32) {
    fn from(input: InputRef) -> Self {
        let ObjectId { prefix, local, device } = input.object;
        (prefix.0, local, device.0, input.origin.into())
    }
}

impl From<(u64, u64, u16, u32)> for InputRef {
    fn from((prefix, local, device, origin): (u64, u64, u16, u32)) -> Self {
        Self { object: object(prefix, local, device), origin: origin.into() }
    }
}

impl From<OutputRef> for (u64, u64, u16, bool) {
    fn from(output: OutputRef) -> Self {
        let ObjectId { prefix, local, device } = output.object;
        (prefix.0, local, device.0, output.need_metadata)
    }
}

impl From<(u64, u64, u16, bool)> for OutputRef {
    fn from((prefix, local, device, need_metadata): (u64, u64, u16, bool)) -> Self {
        Self { object: object(prefix, local, device), need_metadata }
    }
}

fn object(prefix: u64, local: u64, device: u16) -> ObjectId {
    ObjectId { prefix: crate::ids::ObjectPrefix(prefix), local, device: crate::ids::DeviceIndex(device) }
}

/// Every output is ready.
///
/// ```text
/// [metadata [nil or [dtype u8, shape [u64]]]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteExecuteReply {
    /// Element type and shape of each output, in order; nil where it was not asked for or the output is no tensor.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub metadata: SmallVec<[Option<TensorMetadata>; 1]>,
}
