//! What a user's actor may watch: calls that leave, what comes back, links and sessions that come and go.

use std::{sync::Arc, time::Duration};

use actix::{Message, Recipient};
use remex_protocol::{ids::CallId, tensor::TensorMetadata};
use tokio::time::Instant;

use crate::{Error, envelope::post};

/// Things that happened on this task, in order. Sent to every observer; nobody waits for it.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Observed(pub Vec<Event>);

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// The receiver of the call, or the other end of the link: its name, or its address where the name is not known.
    pub task: Arc<str>,
    /// When.
    pub at: Instant,
    /// The call; of links this is not one.
    pub call: CallId,
    /// What was called: `RemoteExecute`; empty of links.
    pub name: &'static str,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum What {
    /// The call was given to its link.
    Sent,
    /// Metadata of one of its outputs came.
    Metadata {
        /// Which output, from 0.
        output: u32,
        /// What it is.
        metadata: TensorMetadata,
    },
    /// It is done.
    Done,
    /// It failed, was given up or lost.
    Failed(Error),
    /// The link has come up.
    LinkUp,
    /// Nothing was heard from the other end for so long, which is longer than two heartbeats: it may be lost.
    Suspected(Duration),
    /// The other end was heard again.
    Heard,
    /// The connection is lost, and dialled again. Nothing has failed yet.
    Reconnecting(Error),
    /// The link is there again, with all that was under way.
    Resumed,
    /// The other end is there and has nothing of what lived there: it was restarted, or has ended the session. All that was
    /// under way has failed with this. `LinkDown` and `LinkUp` follow.
    PeerRestarted(Error),
    /// The link was not there again within the reconnect window. All that was under way has failed with this; what lives
    /// there is kept for a while, and the link is dialled on. `Resumed` or `LinkDown` follows.
    LinkStalled(Error),
    /// The link is gone for good, or could not be made. All that was under way has failed with this.
    LinkDown(Error),
    /// Something happened to the session of a task that calls this one: the other end's links to here are its own.
    Session(SessionEvent),
    /// An actor of the runtime died, on this task: a bug. What it was to do has failed with `Internal`, and so has the
    /// context that it belonged to. Told within a second.
    ActorDied {
        /// Which: `ObjectManager`.
        actor: &'static str,
        /// What it belonged to, for people: a context, a session or an address.
        of: Arc<str>,
    },
}

/// What happened to the session of a task that dialled this one. [`Event::task`] names it. A task's own session with itself is
/// not told.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// The task has connected.
    Begun,
    /// Nothing was heard of it for so long, which is longer than two heartbeats: it may be lost.
    Suspected(Duration),
    /// It was heard again.
    Heard,
    /// Its connection is lost. What it made is kept, and its calls go on, for as long as its lease.
    Away(Error),
    /// It has connected again and found everything.
    Resumed,
    /// The session is over, and the contexts that it made are closed: the task said goodbye, did not come back within its
    /// lease, had no lease, or was thrown out.
    Ended(Error),
}

/// The observers of a server.
#[derive(Clone, Debug, Default)]
pub struct Observers(Arc<[Recipient<Observed>]>);

impl Observers {
    /// These.
    pub fn new(observers: impl IntoIterator<Item = Recipient<Observed>>) -> Self {
        Self(observers.into_iter().collect())
    }

    /// How many watch.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nobody watches: then nothing need be made to be told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn tell(&self, events: Vec<Event>) {
        if events.is_empty() {
            return;
        }
        self.0.iter().for_each(|observer| post(observer, Observed(events.clone())));
    }
}
