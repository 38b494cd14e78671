//! What a `RemoteClient` is told.

use actix::Message;
use remex_protocol::{
    Frame,
    cluster::{Address, TaskName},
    ids::Incarnation,
};

use crate::{Error, Result};

// From contexts and the server.

/// Call frames to send, in this order, behind those that were given before. The link is dialled if there is none.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Outgoing(pub Vec<Frame>);

/// Ask for news of the link, from now on.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Subscribe(pub actix::Recipient<LinkEvent>);

/// Who is there? Dials if there is no link.
#[derive(Debug, Message)]
#[rtype(result = "Result<LinkUp>")]
pub struct Connect;

/// End the link when all that was given is sent; nothing can be sent afterwards.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Hangup;

// To whoever subscribed.

/// A link has come up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkUp {
    /// Who answered.
    pub task: TaskName,
    /// Which run of that task.
    pub incarnation: Incarnation,
    /// Where.
    pub address: Address,
}

/// News of a link.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
#[non_exhaustive]
pub enum LinkEvent {
    /// It has come up, or goes on after it was stalled.
    Up(LinkUp),
    /// It is gone for longer than the reconnect window: all calls on it have failed, what lives there is kept for a while,
    /// and it is tried to reach it.
    Stalled {
        /// Where the peer was.
        address: Address,
        /// Why, naming task and address.
        error: Error,
    },
    /// It is gone for longer than the lease of its session, or could not be made, or has come back without its session; all
    /// calls on it have failed.
    Down {
        /// Where the peer was.
        address: Address,
        /// Why, naming task and address. `DataLoss`: the peer is there and what lived there in this session is not.
        error: Error,
        /// The peer is another run of its task: nothing of the one before is there any more.
        restarted: bool,
    },
}
