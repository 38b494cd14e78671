//! What a link tells its owner.

use actix::Message;
use remex_protocol::Frame;

use crate::Error;

// From the link's reader.

/// Frames that one read of the stream gave, in order; numbers and acks have been seen to.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Arrived {
    /// The connection that they came on; frames of an older one are dropped.
    pub epoch: u64,
    /// What was said.
    pub frames: Vec<Frame>,
}

/// The connection is gone, with everything that was under way on it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LinkLost {
    /// Which connection.
    pub epoch: u64,
    /// Why.
    pub error: Error,
}
