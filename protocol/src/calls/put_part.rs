//! PutPart: the next bytes of a tensor that is put part by part.

use serde::{Deserialize, Serialize};

use crate::ids::{ContextIndex, ObjectId};

/// The next bytes of a tensor that was begun with [`BeginPut`](super::BeginPutRequest) on this link; they are the frame's
/// payload, at most `PIECE_LEN`.
///
/// Served by the `ObjectManager`, in the link's order. Parts come one behind the other, without gaps. Refused with `NotFound`
/// (no put of that id is under way), `InvalidArgument` (the bytes do not follow those before, go beyond the end, or travel in
/// pieces): then nothing is changed. Sent again it is refused.
///
/// ```text
/// [context u16, object [prefix u64, local u64, device u16], offset u64]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutPartRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The object.
    pub object: ObjectId,
    /// Where its first byte belongs.
    pub offset: u64,
}

/// The bytes are stored; if they were the last ones the object is ready.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutPartReply {}
