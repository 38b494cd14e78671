//! ImportObject: take over a count of an object that somebody else handed on.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContextIndex, ObjectId, TokenSecret},
    tensor::TensorMetadata,
};

/// Takes over the count of a token that [`ExportObject`](super::ExportObjectRequest) made on the receiving task.
///
/// Sent by any task of the context, served by the `ObjectManager`. The count is the session's from then on: released by
/// `DeleteObjects`, or given back when the session ends. Refused with `NotFound` (nobody made this token for this object, or
/// its lease is long over, or the object was deleted), `FailedPrecondition` (it was used before), `DeadlineExceeded` (its
/// lease is over). A token is used once: sent again it is refused.
///
/// ```text
/// [context u16, object [prefix u64, local u64, device u16], secret [high u64, low u64]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportObjectRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The object.
    pub object: ObjectId,
    /// What the exporter was given.
    pub secret: TokenSecret,
}

/// The sender holds the object.
///
/// ```text
/// [metadata [dtype u8, shape [u64]] or nil]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportObjectReply {
    /// Element type and shape, if they are known by now.
    pub metadata: Option<TensorMetadata>,
}
