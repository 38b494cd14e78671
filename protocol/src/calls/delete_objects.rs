//! DeleteObjects: give up objects.

use serde::{Deserialize, Serialize};

use crate::{
    RemoteError,
    ids::{ContextIndex, ObjectId},
};

/// Gives up objects on the receiving task.
///
/// Sent for `ObjectRef`s that were dropped and for explicit deletes; served by the `ObjectManager`, in the link's order.
/// A ready or failed object is freed at once: hidden from later calls, its memory given back by the last call that uses
/// it. A pending one leaves a tombstone until its producer ends, and whoever waits on it fails with `Cancelled`. An
/// unknown id is reported and the others are deleted all the same. Sent again, ids are unknown then.
///
/// ```text
/// [context u16, objects [[prefix u64, local u64, device u16]]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteObjectsRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The objects; at most `MAX_DELETES`.
    pub objects: Vec<ObjectId>,
}

/// The objects are hidden from every later call, but for those that are listed.
///
/// ```text
/// [failures [[object [..], error RemoteError]]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteObjectsReply {
    /// Those that could not be deleted, in the order of the request.
    pub failures: Vec<DeleteFailure>,
}

/// An object that could not be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteFailure {
    /// Which.
    pub object: ObjectId,
    /// Why.
    pub error: RemoteError,
}
