//! RemoteExecuteOp: run a single op that every task knows by its name.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::{InputRef, OutputRef};
use crate::{
    attrs::Attrs,
    ids::{ContextIndex, DeviceIndex, ObjectId},
    tensor::TensorMetadata,
};

/// Runs an op on a device of the receiving task.
///
/// Sent by the client's op handler of a device, served by `DistributedContext`. The reply means *done*, as that of
/// `RemoteExecute`; metadata known earlier travels before it. Refused with `InvalidDistributedContextId`, `NotFound` (no
/// such op), `InvalidArgument` (attributes, arity), `DeviceNotFound`, `AlreadyExists`: those of its outputs that are unused,
/// and its chain, are poisoned with that error, nothing else changes.
///
/// ```text
/// [context u16, op str, device u16, attrs [[name str, type u8, value]], inputs [[prefix u64, local u64, device u16, origin u32]],
///  outputs [[prefix u64, local u64, device u16, need_metadata bool]],
///  in_chains [[prefix u64, local u64, device u16, origin u32]], out_chain nil or [prefix u64, local u64, device u16],
///  time_left_ms u64]
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RemoteExecuteOpRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The op's name, at most `MAX_NAME` bytes.
    #[serde(deserialize_with = "crate::bounded::name")]
    pub op: String,
    /// Where it runs: a device of the receiver.
    pub device: DeviceIndex,
    /// What it is told besides its inputs; at most `MAX_ATTRS`.
    pub attrs: Attrs,
    /// In the op's order; at most `MAX_ARGS`; need not be ready yet.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub inputs: SmallVec<[InputRef; 3]>,
    /// In the op's order; at most `MAX_ARGS`; ids made by the sender.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub outputs: SmallVec<[OutputRef; 2]>,
    /// Objects of the receiver, mostly chains, that must be ready before the op runs; at most `MAX_ARGS`.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub in_chains: SmallVec<[InputRef; 1]>,
    /// A chain to make ready when the op is done, or to poison when it fails; an id made by the sender.
    pub out_chain: Option<ObjectId>,
    /// How long the sender will wait from now, in milliseconds.
    pub time_left_ms: u64,
}

/// Every output is ready.
///
/// ```text
/// [metadata [nil or [dtype u8, shape [u64]]]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteExecuteOpReply {
    /// Element type and shape of each output, in order; nil where it was not asked for.
    #[serde(deserialize_with = "crate::bounded::args")]
    pub metadata: SmallVec<[Option<TensorMetadata>; 1]>,
}
