//! What a link tells its owner.

use actix::Message;
use remex_protocol::Frame;

use crate::Error;

// From the link's reader.

/// Frames that one read of the stream gave, in order. Numbers and acks are for their owner to see to.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Arrived {
    /// The connection that they came on; frames of an older one are dropped.
    pub epoch: u64,
    /// What was said.
    pub frames: Vec<Frame>,
}

/// The connection is gone. What was under way on it is in the ledger.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LinkLost {
    /// Which connection.
    pub epoch: u64,
    /// Why.
    pub error: Error,
}

/// The other side is silent for longer than it should be, or is heard again.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Silence {
    /// Which connection.
    pub epoch: u64,
    /// How long nothing was heard; `None`: something was.
    pub lasts: Option<std::time::Duration>,
}
