//! BeginPut: give a task a tensor, part by part.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContextIndex, ObjectId},
    tensor::TensorMetadata,
};

/// Reserves an id, and memory for a tensor whose data follow in [`PutPart`](super::PutPartRequest)s: for one that its sender
/// does not have in memory.
///
/// Served by the `ObjectManager`. The id is reserved at the frame's place in the order, its metadata known from then. It is
/// answered when there is memory; the object is ready with its last part, at once if it has no bytes. It fails with
/// `DeadlineExceeded` when no part comes for `patience_ms`, with `Cancelled` when it is released or deleted, or its session
/// ends. Refused as a [`PutObject`](super::PutObjectRequest) is.
///
/// ```text
/// [context u16, object [prefix u64, local u64, device u16], metadata [dtype u8, shape [u64]], patience_ms u64]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginPutRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The id.
    pub object: ObjectId,
    /// Element type and shape.
    pub metadata: TensorMetadata,
    /// How long the receiver waits for the next part, in milliseconds.
    pub patience_ms: u64,
}

/// There is memory for the parts.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginPutReply {}
