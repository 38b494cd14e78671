//! KeepAlive: a context is still wanted.

use serde::{Deserialize, Serialize};

use crate::ids::ContextIndex;

/// Sets a context's idle clock back.
///
/// Sent by the client at half the idle time-out, served by the `Server`. Of an unknown context:
/// `InvalidDistributedContextId`. Repeating it is safe.
///
/// ```text
/// [context u16]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepAliveRequest {
    /// The context, as this link numbers it.
    pub context: ContextIndex,
}

/// The context is there.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeepAliveReply {}
