//! FetchPart: ask for some of an object's bytes.

use serde::{Deserialize, Serialize};

use super::Origin;
use crate::{
    ids::{ContextIndex, ObjectId},
    tensor::TensorMetadata,
};

/// Asks for some of the bytes of an object that lives on the receiving task: for who does not want all in memory.
///
/// Served by the `ObjectManager` as a [`FetchObject`](super::FetchObjectRequest) is. Refused with `OutOfRange` if the object
/// has fewer bytes than `offset`. Changes nothing; repeating it is safe.
///
/// ```text
/// [context u16, object [..], origin u32, offset u64, len u32, time_left_ms u64]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPartRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The object.
    pub object: ObjectId,
    /// `Here` if it was named earlier on this link, else `Anywhere`.
    pub origin: Origin,
    /// The first byte.
    pub offset: u64,
    /// How many bytes; fewer come where the object ends.
    pub len: u32,
    /// How long the sender will wait from now, in milliseconds.
    pub time_left_ms: u64,
}

/// The object's element type and shape; the bytes are the frame's payload.
///
/// ```text
/// [metadata [dtype u8, shape [u64]]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchPartReply {
    /// Element type and shape of the whole.
    pub metadata: TensorMetadata,
}
