//! CloseContext: end a context on a task.

use serde::{Deserialize, Serialize};

use crate::ids::ContextIndex;

/// Ends a context on the receiving task.
///
/// Sent by the client that made it, served by the `Server`. Queued and running calls fail with `Cancelled`, objects and
/// programs are freed. The reply means that nothing of it is left in the tables. Of an unknown context:
/// `InvalidDistributedContextId`. Repeating it is safe.
///
/// ```text
/// [context u16]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseContextRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
}

/// The context is gone.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloseContextReply {}
