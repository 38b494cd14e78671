//! Cancel: give up on a call that was sent earlier on the same link.

use serde::{Deserialize, Serialize};

use crate::ids::CallId;

/// Gives up on a call.
///
/// Sent by the caller's tracker when a user cancels or a deadline passes; served by the session. A call that waits does
/// not run and its outputs are poisoned with `Cancelled`; of one that runs the outputs are poisoned now and the result is
/// thrown away; one that is done, or unknown, stays as it is. Sending it again is safe.
///
/// ```text
/// [call [index u32, generation u32]]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelRequest {
    /// The call to give up on.
    pub call: CallId,
}

/// The cancel was taken note of; the call itself is answered by its own frame.
///
/// ```text
/// []
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelReply {}
