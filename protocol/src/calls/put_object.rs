//! PutObject: give a task a tensor.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{ContextIndex, ObjectId},
    tensor::TensorMetadata,
};

/// Stores a tensor under an id that the sender made; its data is the frame's payload.
///
/// Served by the `ObjectManager`. The id is reserved at the frame's place in the order, its metadata known from then; the
/// object is ready when the payload is whole. Refused with `AlreadyExists` (the id is in use, and stays as it is),
/// `InvalidArgument` (payload and metadata do not fit), `DeviceNotFound`.
///
/// ```text
/// [context u16, object [prefix u64, local u64, device u16], metadata [dtype u8, shape [u64]]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutObjectRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
    /// The id.
    pub object: ObjectId,
    /// Element type and shape.
    pub metadata: TensorMetadata,
}

/// The object is ready.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutObjectReply {}
