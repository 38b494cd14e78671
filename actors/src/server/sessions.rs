//! The sessions of a task that can be resumed, by who has begun them.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix::Recipient;
use remex_protocol::{ErrorCode, RemoteError, cluster::TaskName, handshake::Hello, ids::Incarnation};

use crate::{
    link::Point,
    session::{Attach, Door, Resume, Shut},
};

/// Most sessions of a task that can be resumed.
pub const MAX_SESSIONS: usize = 4096;
/// A session lives so long without a connection at most because its task asks for it.
pub(super) const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// Who may resume a session: the run of the task that has begun it, which alone knows the name.
type Key = (TaskName, Incarnation, u64);

/// What is held of a session.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) resume: Recipient<Resume>,
    pub(super) attach: Recipient<Attach>,
    pub(super) shut: Recipient<Shut>,
    pub(super) door: Rc<Door>,
}

#[derive(Debug, Default)]
pub(super) struct Sessions(RefCell<BTreeMap<Key, Known>>);

impl Sessions {
    /// The session that a Hello names, and how far it is; it has given up its connection. `None`: it is gone, or was never
    /// there. An error: the connection comes late.
    pub(super) async fn resume(&self, hello: &Hello) -> Result<Option<(Known, Point)>, RemoteError> {
        let Some(known) = self.find(hello, hello.session) else { return Ok(None) };
        match known.resume.send(Resume { epoch: hello.epoch }).await {
            Ok(Ok(point)) => Ok(Some((known, point))),
            Ok(Err(error)) => Err(error.remote().clone()),
            // It ends in this moment.
            Err(_) => Ok(None),
        }
    }

    /// Ends the session that the one to begin stands for, with what it made.
    pub(super) async fn end_replaced(&self, hello: &Hello) {
        if let Some(old) = self.find(hello, hello.replaces) {
            let _ = old.shut.send(Shut).await;
        }
    }

    /// Whether another session may begin.
    pub(super) fn check_room(&self) -> Result<(), RemoteError> {
        let mut sessions = self.0.borrow_mut();
        sessions.retain(|_, known| known.resume.connected());
        if sessions.len() < MAX_SESSIONS {
            return Ok(());
        }
        let message = format!("this task has {MAX_SESSIONS} sessions, which is the limit: end some");
        Err(RemoteError::new(ErrorCode::ResourceExhausted, message))
    }

    pub(super) fn insert(&self, hello: &Hello, known: Known) {
        self.0.borrow_mut().insert(key(hello, hello.session), known);
    }

    fn find(&self, hello: &Hello, name: u64) -> Option<Known> {
        self.0.borrow().get(&key(hello, name)).filter(|known| known.resume.connected()).cloned()
    }
}

fn key(hello: &Hello, name: u64) -> Key {
    (hello.task.clone(), hello.incarnation, name)
}
