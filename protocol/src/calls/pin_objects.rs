//! PinObjects: let objects stay though nobody refers to them.

use serde::{Deserialize, Serialize};

use super::DeleteFailure;
use crate::ids::{ContextIndex, ObjectId};

/// What becomes of the pins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum PinMode {
    /// 0: they go.
    Unpin,
    /// 1: they are set.
    Pin,
    /// 2: they stay as they are. The objects stay when the session that made them is lost.
    Keep,
}

impl From<PinMode> for u8 {
    fn from(mode: PinMode) -> u8 {
        match mode {
            PinMode::Unpin => 0,
            PinMode::Pin => 1,
            PinMode::Keep => 2,
        }
    }
}

impl TryFrom<u8> for PinMode {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(PinMode::Unpin),
            1 => Ok(PinMode::Pin),
            2 => Ok(PinMode::Keep),
            _ => Err(format!("{number} is none of unpin (0), pin (1) and keep (2)")),
        }
    }
}

/// Sets or takes away the pins of objects that live on the receiving task, or lets them outlive their session.
///
/// Served by the `ObjectManager`, in the link's order. A pinned object stays though no session refers to it, until it is
/// unpinned or its context ends, and an explicit delete of it fails with `FailedPrecondition`. A pin is the object's, not the
/// session's, and there is one at most: to pin what is pinned changes nothing. Unpinned, an object that nobody refers to is
/// freed. An unknown id is reported with `NotFound`, one to unpin that is not pinned with `FailedPrecondition`, one more
/// than the task pins with `ResourceExhausted`; the others are done all the same.
///
/// When a session that only joined its context is lost, the references that it had to what it made are given back. What was
/// *kept* is not: somebody else was told of it.
///
/// ```text
/// [context u16, objects [[prefix u64, local u64, device u16]], mode u8 (0 unpin, 1 pin, 2 keep)]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinObjectsRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The objects; at most `MAX_DELETES`.
    #[serde(deserialize_with = "crate::bounded::deletes")]
    pub objects: Vec<ObjectId>,
    /// What becomes of their pins.
    pub mode: PinMode,
}

/// The objects are pinned, or not any more, but for those that are listed.
///
/// ```text
/// [failures [[object [..], error RemoteError]]]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinObjectsReply {
    /// Those that could not be pinned or unpinned, in the order of the request.
    #[serde(deserialize_with = "crate::bounded::deletes")]
    pub failures: Vec<DeleteFailure>,
}
