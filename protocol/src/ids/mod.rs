//! One newtype for each thing that is named by a number, each with a short `Display`.

mod call_id;
mod context_id;
mod incarnation;
mod indexes;
mod instance_key;
mod object_id;
mod object_token;

pub use call_id::CallId;
pub use context_id::ContextId;
pub use incarnation::Incarnation;
pub use indexes::{ContextIndex, DeviceIndex, ProgramIndex, TaskIndex};
pub use instance_key::{InstanceKey, InstanceKeyError};
pub use object_id::{ObjectId, ObjectPrefix};
pub use object_token::{ObjectToken, TokenError, TokenSecret};
