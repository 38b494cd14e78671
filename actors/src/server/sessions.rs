//! The sessions of a task that can be resumed, by who has begun them.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, time::Duration};

use actix::Recipient;
use remex_protocol::{RemoteError, cluster::TaskName, handshake::Hello, ids::Incarnation};

use super::lanes::no_lane;
use crate::{
    link::{HEARTBEAT, Point},
    session::{Attach, Door, Resume, Shut},
};

/// A session lives so long without a connection at most because its task asks for it.
const LONGEST_LEASE: Duration = Duration::from_secs(600);

/// How long a session lives without a connection: `own` says how long on this task, and its task tries to connect again for
/// `window`, after it has noticed.
pub(super) fn lease(own: Duration, window: Duration) -> Duration {
    own.max(window.saturating_add(3 * HEARTBEAT).min(LONGEST_LEASE))
}

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

    /// The session whose connection a lane is dialled for.
    pub(super) fn of_lane(&self, hello: &Hello) -> Result<Known, RemoteError> {
        let known = self.find(hello, hello.session);
        known.filter(|known| known.door.is_lane(hello.epoch, hello.lane)).ok_or_else(no_lane)
    }

    pub(super) fn insert(&self, hello: &Hello, known: Known) {
        let mut sessions = self.0.borrow_mut();
        sessions.retain(|_, known| known.resume.connected());
        sessions.insert(key(hello, hello.session), known);
    }

    fn find(&self, hello: &Hello, name: u64) -> Option<Known> {
        self.0.borrow().get(&key(hello, name)).filter(|known| known.resume.connected()).cloned()
    }
}

fn key(hello: &Hello, name: u64) -> Key {
    (hello.task.clone(), hello.incarnation, name)
}

#[cfg(test)]
mod tests {
    use actix::Actor;
    use remex_protocol::handshake::{Limits, MAGIC, VERSION};

    use super::*;
    use crate::{
        session::{Session, SessionId, Upstream},
        testing::Probe,
    };

    fn hello(session: u64) -> Hello {
        Hello {
            magic: MAGIC.to_owned(),
            version: VERSION,
            oldest: VERSION,
            incarnation: Incarnation(1),
            task: "/job:client/task:0".parse().unwrap(),
            epoch: 1,
            session,
            replaces: 0,
            window_ms: 5_000,
            resume: 0,
            unfinished: Vec::new(),
            lane: 0,
            limits: Limits::default(),
            credentials: Vec::new(),
        }
    }

    fn begin(hello: &Hello) -> Known {
        let (_, control) = Probe::start();
        let (_, exchange) = Probe::start();
        let (_, ended) = Probe::start();
        let (credits, observers) = Default::default();
        let (door, upstream) = (Rc::new(Door::default()), Upstream { control, exchange, ended, credits, observers });
        let lease = Some(Duration::from_secs(30));
        let session = Session::new(SessionId(1), hello.task.clone(), 1, door.clone(), lease, upstream).start();
        Known {
            resume: session.clone().recipient(),
            attach: session.clone().recipient(),
            shut: session.recipient(),
            door,
        }
    }

    /// I8: a task that would be waited for for ever is not.
    #[test]
    fn no_task_can_ask_for_an_endless_lease() {
        let seconds = Duration::from_secs;
        assert_eq!(lease(seconds(30), seconds(5)), seconds(30));
        assert_eq!(lease(seconds(30), seconds(60)), seconds(63));
        assert_eq!(lease(seconds(30), Duration::MAX), LONGEST_LEASE);
        assert_eq!(lease(seconds(3600), Duration::MAX), seconds(3600), "this task's own is as long as it likes");
    }

    /// I6: a session is resumed by the run of the task that has begun it and knows its name, and by nobody else.
    #[actix::test]
    async fn nobody_else_can_resume_a_session() {
        let sessions = Sessions::default();
        sessions.insert(&hello(7), begin(&hello(7)));
        let (task, incarnation) = ("/job:client/task:1".parse().unwrap(), Incarnation(2));
        for other in [
            Hello { epoch: 2, ..hello(8) },
            Hello { epoch: 2, incarnation, ..hello(7) },
            Hello { epoch: 2, task, ..hello(7) },
        ] {
            assert!(sessions.resume(&other).await.unwrap().is_none());
        }
        let own = Hello { epoch: 2, ..hello(7) };
        assert_eq!(sessions.resume(&own).await.unwrap().unwrap().1, Point::default());
        assert!(sessions.resume(&own).await.is_err(), "that connection was there already");
    }

    /// A session that was given up is ended by the one that stands for it.
    #[actix::test]
    async fn a_session_that_was_given_up_is_ended() {
        let sessions = Sessions::default();
        sessions.insert(&hello(7), begin(&hello(7)));
        sessions.end_replaced(&hello(8)).await;
        assert!(sessions.find(&hello(7), 7).is_some());
        sessions.end_replaced(&Hello { replaces: 7, ..hello(8) }).await;
        assert!(sessions.resume(&Hello { epoch: 2, ..hello(7) }).await.unwrap().is_none());
    }
}
