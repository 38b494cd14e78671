//! FetchObject: ask for an object's data.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContextIndex, ObjectId},
    tensor::TensorMetadata,
};

use super::Origin;

/// Asks for the data of an object that lives on the receiving task.
///
/// Sent by a client's `fetch()` and by a worker whose call has an input on another; served by the `ObjectManager`. An
/// object that is pending is waited for until `time_left_ms`; its metadata travels ahead in a Metadata frame when it is
/// known first. Changes nothing; repeating it is safe.
///
/// ```text
/// [context u16, object [..], origin u32, time_left_ms u64]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchObjectRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The object.
    pub object: ObjectId,
    /// `Here` if it was named earlier on this link, else `Anywhere`.
    pub origin: Origin,
    /// How long the sender will wait from now, in milliseconds.
    pub time_left_ms: u64,
}

/// The object's element type and shape; its data is the frame's payload.
///
/// ```text
/// [metadata [dtype u8, shape [u64]]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FetchObjectReply {
    /// Element type and shape.
    pub metadata: TensorMetadata,
}
