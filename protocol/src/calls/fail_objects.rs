//! FailObjects: say that nobody will make certain objects.

use serde::{Deserialize, Serialize};

use super::DeleteFailure;
use crate::{
    RemoteError,
    ids::{ContextIndex, ObjectId},
};

/// Poisons ids on the receiving task that were promised and that nobody will make.
///
/// Sent for the outputs of a call that is never made because a chain that it was to come after failed, and by a caller
/// who gave ids away and cannot keep his word; served by the `ObjectManager`, in the link's order. Whoever waits for such
/// an id fails with the cause, and so does whoever uses it later, until it is deleted. An id in use is reported with
/// `AlreadyExists` and not touched; one that is none with `InvalidArgument`; the others are poisoned all the same.
///
/// ```text
/// [context u16, objects [[prefix u64, local u64, device u16]], cause RemoteError]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailObjectsRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The objects; at most `MAX_DELETES`.
    #[serde(deserialize_with = "crate::bounded::deletes")]
    pub objects: Vec<ObjectId>,
    /// What they fail with.
    pub cause: RemoteError,
}

/// The objects are failed, but for those that are listed.
///
/// ```text
/// [failures [[object [..], error RemoteError]]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailObjectsReply {
    /// Those that could not be poisoned, in the order of the request.
    #[serde(deserialize_with = "crate::bounded::deletes")]
    pub failures: Vec<DeleteFailure>,
}
