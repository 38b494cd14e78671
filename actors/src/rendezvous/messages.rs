//! What a `Rendezvous` is told.

use std::time::Instant;

use actix::Message;
use remex_protocol::ids::InstanceKey;
use tokio::sync::oneshot;

use super::{Answer, Datum};
use crate::{Error, Result};

// From the context, for its sessions.

/// Values that other tasks sent, in order of arrival. Each is answered when it was claimed or is kept.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct DataArrived(pub Vec<Arrival>);

/// A value that another task sent.
#[derive(Debug)]
pub struct Arrival {
    /// Who is answered.
    pub answer: Answer,
    /// For whom.
    pub key: InstanceKey,
    /// The value.
    pub datum: Datum,
    /// How long it is worth keeping, as its sender said.
    pub until: Instant,
}

// From callers on this task.

/// Hands over a value for a key on this task. The answer means that it was claimed or is kept.
#[derive(Debug, Message)]
#[rtype(result = "Result<()>")]
pub struct SendData {
    /// For whom.
    pub key: InstanceKey,
    /// The value.
    pub datum: Datum,
    /// How long it is worth keeping.
    pub until: Instant,
}

/// Waits for the value of a key. [`RendezvousRecipients::receive`](super::RendezvousRecipients::receive) sends it.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Receive {
    /// Which.
    pub key: InstanceKey,
    /// Names this receive among those of the key's users.
    pub ticket: u64,
    /// When to give up.
    pub until: Instant,
    /// Gets the value. One whose other end is gone is taken for cancelled.
    pub to: oneshot::Sender<Result<Datum>>,
}

/// A receive is given up; whoever still waits for it gets `Cancelled`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CancelReceive {
    /// Of which key.
    pub key: InstanceKey,
    /// Which one; if another one waits by now, nothing happens.
    pub ticket: u64,
}

/// A value whose receiver was gone before it took it. It is as if it had not been claimed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct GiveBack {
    /// Of which key.
    pub key: InstanceKey,
    /// The value.
    pub datum: Datum,
}

/// The context closes: who waits fails with this error, values are thrown away, and the actor stops.
#[derive(Debug, Message)]
#[rtype(result = "Result<()>")]
pub struct Close(pub Error);

// From the server.

/// What the numbers of a rendezvous are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RendezvousStats {
    /// Receives that wait.
    pub waiting: usize,
    /// Values that nobody has claimed.
    pub values: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Claimed keys that are remembered.
    pub remembered: usize,
    /// Values and receives that were refused because of a limit.
    pub refused: u64,
}

/// Asks for the numbers.
#[derive(Debug, Message)]
#[rtype(result = "Result<RendezvousStats>")]
pub struct Inspect;
