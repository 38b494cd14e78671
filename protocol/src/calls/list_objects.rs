//! ListObjects: which objects does a task have.

use serde::{Deserialize, Serialize};

use crate::{ids::ObjectId, tensor::TensorMetadata};

/// Where an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
#[non_exhaustive]
pub enum ObjectState {
    /// 0: somebody is making it, or it is being fetched from its task.
    Pending,
    /// 1: it is there.
    Ready,
    /// 2: whoever made it failed.
    Failed,
    /// 3: it was given up while it was pending, and its producer has not ended yet.
    GivenUp,
    /// 4: it is there, on disk.
    Spilled,
}

impl From<ObjectState> for u8 {
    fn from(state: ObjectState) -> u8 {
        match state {
            ObjectState::Pending => 0,
            ObjectState::Ready => 1,
            ObjectState::Failed => 2,
            ObjectState::GivenUp => 3,
            ObjectState::Spilled => 4,
        }
    }
}

impl TryFrom<u8> for ObjectState {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(ObjectState::Pending),
            1 => Ok(ObjectState::Ready),
            2 => Ok(ObjectState::Failed),
            3 => Ok(ObjectState::GivenUp),
            4 => Ok(ObjectState::Spilled),
            _ => Err(format!("{number} is not the state of an object: 0 to 3 are")),
        }
    }
}

/// Asks a task for its objects, those of all contexts, a page at a time.
///
/// Sent for `remex objects`, served by the `Server`, which asks the `ObjectManager` of each context. Changes nothing;
/// repeating it is safe. Objects are in the order of contexts and ids; those that come and go between two pages are in the
/// second if they lie behind the first. A context is told by its place among those that the task ever had: its id opens it,
/// and is not said.
///
/// ```text
/// [after [context u64, [prefix u64, local u64, device u16]] or nil, most u32]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListObjectsRequest {
    /// The last object of the page before; nil begins.
    pub after: Option<(u64, ObjectId)>,
    /// How many are wanted; more than `MAX_LISTED` are not given, and with 0 they are only counted.
    pub most: u32,
}

/// A page of objects.
///
/// ```text
/// [objects [object], rest u64]
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListObjectsReply {
    /// At most `MAX_LISTED`, in the order of contexts and ids.
    #[serde(deserialize_with = "crate::bounded::listed")]
    pub objects: Vec<ListedObject>,
    /// How many lie behind the last of them.
    pub rest: u64,
}

/// What a task says of an object.
///
/// ```text
/// [context u64, object [..], metadata [dtype u8, shape [u64]] or nil, size_bytes u64, state u8, holders u32, pinned bool, age_ms u64, program str or nil]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedObject {
    /// Its context's place among those that the task ever had, from 1.
    pub context: u64,
    /// Its id.
    pub object: ObjectId,
    /// Element type and shape, as far as they are known; a chain has none.
    pub metadata: Option<TensorMetadata>,
    /// Bytes of its data; 0 while it has none.
    pub size_bytes: u64,
    /// Where it stands.
    pub state: ObjectState,
    /// References to it, those of tokens among them.
    pub holders: u32,
    /// Whether it stays without any.
    pub pinned: bool,
    /// How long the task has known it, in milliseconds, in steps of a second.
    pub age_ms: u64,
    /// The program or op whose output it is; nil for what was put, fetched or only failed.
    pub program: Option<String>,
}
