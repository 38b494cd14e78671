//! ExportObject: make a token with which somebody else takes over a count of an object.

use serde::{Deserialize, Serialize};

use crate::ids::{ContextIndex, ObjectId, TokenSecret};

/// Adds a count to an object that lives on the receiving task, and gives a token for it.
///
/// Sent by `ObjectRef::export`, served by the `ObjectManager`, in the link's order; the object need not be ready. The count
/// is the token's until an [`ImportObject`](super::ImportObjectRequest) takes it over or 60 seconds are over; then it is given
/// back. Refused with `NotFound` (there is no such object), `ResourceExhausted` (too many tokens). Sent again it makes
/// another token.
///
/// ```text
/// [context u16, object [prefix u64, local u64, device u16]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportObjectRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The object.
    pub object: ObjectId,
}

/// The object is kept for whoever has this.
///
/// ```text
/// [secret [high u64, low u64]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportObjectReply {
    /// 128 random bits.
    pub secret: TokenSecret,
}
