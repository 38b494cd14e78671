//! DeleteObjects: give up objects.

use serde::{Deserialize, Serialize};

use crate::{
    RemoteError,
    ids::{ContextIndex, ObjectId},
};

/// What becomes of calls that wait for a pending object that is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum DeleteMode {
    /// 0: they get it when it is ready. For references that were dropped.
    Release,
    /// 1: they fail with `Cancelled`.
    Delete,
}

impl From<DeleteMode> for u8 {
    fn from(mode: DeleteMode) -> u8 {
        match mode {
            DeleteMode::Release => 0,
            DeleteMode::Delete => 1,
        }
    }
}

impl TryFrom<u8> for DeleteMode {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(DeleteMode::Release),
            1 => Ok(DeleteMode::Delete),
            _ => Err(format!("{number} is neither release (0) nor delete (1)")),
        }
    }
}

/// Gives up objects on the receiving task.
///
/// Sent for `ObjectRef`s that were dropped (`Release`) and for explicit deletes (`Delete`); served by the
/// `ObjectManager`, in the link's order. A ready or failed object is freed at once: hidden from later calls, its memory
/// given back by the last call that uses it. A pending one leaves a tombstone until its producer ends; what becomes of
/// calls that wait for it is the mode's. An unknown id is reported and the others are given up all the same. Sent again,
/// ids are unknown then.
///
/// ```text
/// [context u16, objects [[prefix u64, local u64, device u16]], mode u8 (0 release, 1 delete)]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteObjectsRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The objects; at most `MAX_DELETES`.
    #[serde(deserialize_with = "crate::bounded::deletes")]
    pub objects: Vec<ObjectId>,
    /// What becomes of calls that wait for them.
    pub mode: DeleteMode,
}

/// The objects are hidden from every later call, but for those that are listed.
///
/// ```text
/// [failures [[object [..], error RemoteError]]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteObjectsReply {
    /// Those that could not be deleted, in the order of the request.
    #[serde(deserialize_with = "crate::bounded::deletes")]
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
