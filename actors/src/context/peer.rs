//! A task of a context, as another task of it sees it, and the link to it.

use std::{
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use remex_protocol::{
    cluster::TaskInfo,
    ids::{ContextIndex, ObjectId, ProgramIndex},
};

use crate::{Error, client::Receiver};

/// A task of a context, as this task sees it.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) info: TaskInfo,
    /// The link that was made with the context. Once lost it stays so; the next use makes another one.
    pub(crate) link: Option<PeerLink>,
    /// The link that was made at the first use, or in place of one that was lost: the last one, which may be lost.
    joined: Mutex<Option<Arc<PeerLink>>>,
    /// Counts how often all that lived there was lost, and why the last time.
    life: AtomicU32,
    ended: Mutex<Option<Error>>,
    /// Whether the link that was made with the context has been made again, so that its index is not its own any more.
    pub(super) made_again: AtomicBool,
    /// The chain that is ready there from the beginning, where it is known without having been there.
    pub(super) ready_chain: Option<ObjectId>,
    next_program: AtomicU32,
}

/// How a task is reached, and what stands for the context on the link to it.
#[derive(Debug)]
pub(crate) struct PeerLink {
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) index: ContextIndex,
    /// The chain that is ready there from the beginning; set when the task has answered `CreateContext`.
    pub(crate) ready_chain: OnceLock<ObjectId>,
    /// Set when `CreateContext` was not answered in time: the context may be there.
    pub(crate) unanswered: OnceLock<()>,
    /// Set when the link is lost, and with it all that was said on it: programs, calls.
    pub(crate) lost: OnceLock<Error>,
    /// Which of the links of this context to this task: programs are registered on a link and end with it.
    pub(crate) generation: u32,
}

/// A link that is there. Looking one up that was made with the context takes no lock.
#[derive(Debug)]
pub(crate) enum Link<'a> {
    Fixed(&'a PeerLink),
    Joined(Arc<PeerLink>),
}

impl Deref for Link<'_> {
    type Target = PeerLink;

    fn deref(&self) -> &PeerLink {
        match self {
            Link::Fixed(link) => link,
            Link::Joined(link) => link,
        }
    }
}

impl PeerLink {
    pub(crate) fn new(receiver: Arc<Receiver>, index: ContextIndex, generation: u32) -> Self {
        Self {
            receiver,
            index,
            ready_chain: OnceLock::new(),
            unanswered: OnceLock::new(),
            lost: OnceLock::new(),
            generation,
        }
    }
}

impl Peer {
    pub(crate) fn new(info: TaskInfo, link: Option<PeerLink>) -> Self {
        Self {
            info,
            link,
            joined: Mutex::default(),
            life: AtomicU32::new(0),
            ended: Mutex::default(),
            made_again: AtomicBool::new(false),
            ready_chain: None,
            next_program: AtomicU32::new(0),
        }
    }

    pub(crate) fn with_ready_chain(mut self, chain: ObjectId) -> Self {
        self.ready_chain = Some(chain);
        self
    }

    pub(crate) fn next_program(&self) -> ProgramIndex {
        ProgramIndex(self.next_program.fetch_add(1, Ordering::Relaxed))
    }

    /// The last link that there was, lost or not.
    pub(crate) fn last_link(&self) -> Option<Link<'_>> {
        match &self.link {
            Some(link) if link.lost.get().is_none() => Some(Link::Fixed(link)),
            fixed => self.joined().clone().map(Link::Joined).or(fixed.as_ref().map(Link::Fixed)),
        }
    }

    /// Whether the link that was made with the context is made again, or has been.
    pub(crate) fn is_made_again(&self) -> bool {
        self.made_again.load(Ordering::Acquire)
    }

    /// Counts how often all that lived there was lost.
    pub(crate) fn life(&self) -> u32 {
        self.life.load(Ordering::Acquire)
    }

    /// All that lived there is lost.
    pub(super) fn end_life(&self, why: &Error) {
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.clone());
        self.life.fetch_add(1, Ordering::AcqRel);
    }

    /// Why what lived there before is lost.
    pub(crate) fn ended(&self) -> Option<Error> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_joined(&self, link: Arc<PeerLink>) {
        *self.joined() = Some(link);
    }

    fn joined(&self) -> MutexGuard<'_, Option<Arc<PeerLink>>> {
        self.joined.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
