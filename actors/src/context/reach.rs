//! The way to tasks that this one has no link to yet: the context is joined there when it is used first, and again after
//! a link was lost. Calls and fetches take the same way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock, atomic::Ordering},
    time::Duration,
};

use actix::{Message, Recipient};
use bytes::Bytes;
use remex_protocol::{
    Effect, ErrorCode, RemoteError,
    calls::{CloseContextRequest, ContextMode, CreateContextRequest},
    cluster::Address,
    ids::{ContextIndex, TaskIndex},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{ContextShared, Link, PeerLink};
use crate::{
    Error, Result,
    client::{LinkEvent, Receiver, Subscribe, is_unanswered},
    deadline,
    envelope::post,
    promise::{Promise, Writer, promise},
    server::{Directory, Trust, own_address},
};

/// A task may take so long to let a context join.
const JOIN_TIMEOUT: Duration = Duration::from_secs(10);
/// A task that has not noticed yet that the last link is gone is asked again after so long.
const AGAIN: Duration = Duration::from_millis(200);
/// A task that does not answer is left without a word.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Sees to it that there is a link to a task. Sent by whoever shares the context to its actor, which alone can dial.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Reach {
    pub(super) task: TaskIndex,
    pub(super) reached: Writer<Arc<PeerLink>>,
}

/// The actor that joins.
#[derive(Debug, Default)]
pub(crate) struct Reaching(OnceLock<Recipient<Reach>>);

impl Reaching {
    pub(super) fn attach(&self, actor: Recipient<Reach>) {
        let _ = self.0.set(actor);
    }
}

impl ContextShared {
    /// The link to a task, joining the context there if this is the first use, or the first after a loss. A link that is
    /// there is found as by [`link`](Self::link).
    ///
    /// Fails with nothing sent: `Unavailable` if the task has no address, `PermissionDenied` if this task may not dial it,
    /// `DeadlineExceeded` at `until`, and with what kept it from being reached.
    pub(crate) async fn reach(&self, task: TaskIndex, until: Instant) -> Result<Link<'_>> {
        if let Some(link) = self.find(task)? {
            return Ok(link);
        }
        let (reached, joined) = promise();
        if let Some(actor) = self.reaching.0.get() {
            post(actor, Reach { task, reached });
        }
        let joined = timeout_at(until, joined.get()).await.unwrap_or_else(|_| {
            let message = "the task was not reached by the deadline of the call";
            let error = RemoteError::new(ErrorCode::DeadlineExceeded, message);
            Err(error.on_task(self.task_name(task)).with_effect(Effect::NotSent).into())
        });
        match (joined, self.closed.get()) {
            (Ok(link), _) => Ok(Link::Joined(link)),
            (Err(_), Some(closed)) => Err(closed.clone().map(|error| error.with_effect(Effect::NotSent))),
            (Err(error), None) => Err(error),
        }
    }

    /// The same for a call that may take `limit`: what stands for the context there, and what is left of the time.
    pub(crate) async fn enter(&self, task: TaskIndex, limit: Option<Duration>) -> Result<(ContextIndex, Duration)> {
        let limit = limit.unwrap_or(self.default_deadline);
        if let Some(link) = self.find(task)? {
            return Ok((link.index, limit));
        }
        let until = deadline::from_now(limit);
        let index = self.reach(task, until).await?.index;
        Ok((index, until.saturating_duration_since(Instant::now())))
    }
}

/// The tasks where this one joined the context.
#[derive(Debug)]
pub(super) struct Joins {
    own: TaskIndex,
    directory: Directory,
    trust: Trust,
    tasks: BTreeMap<TaskIndex, Joined>,
    /// Whose links this context has asked for news of. Once each, or a loss would be told twice and the second time end
    /// the link that came after.
    watched: BTreeSet<Address>,
}

/// A task that was joined, or is being joined.
#[derive(Debug)]
struct Joined {
    receiver: Arc<Receiver>,
    /// What stands for the context on every link to the task. It is given back when the context ends and not when a link
    /// is lost: a call that was made just before must not meet another context.
    index: ContextIndex,
    link: Arc<PeerLink>,
    joined: Promise<Arc<PeerLink>>,
}

impl Joined {
    fn is_over(&self) -> bool {
        self.link.lost.get().is_some() || self.joined.try_get().is_some_and(|joined| joined.is_err())
    }
}

impl Joins {
    pub(super) fn new(own: TaskIndex, directory: Directory, trust: Trust) -> Self {
        Self { own, directory, trust, tasks: BTreeMap::new(), watched: BTreeSet::new() }
    }

    /// Joins the context on a task, unless that was done. `events` is told when the link is lost.
    pub(super) fn join(
        &mut self,
        shared: &Arc<ContextShared>,
        events: Recipient<LinkEvent>,
        task: TaskIndex,
    ) -> Result<Promise<Arc<PeerLink>>> {
        let fixed = shared.peers[task.position()].link.as_ref();
        let (receiver, index, generation) = match (self.tasks.get(&task), fixed) {
            (Some(known), _) if !known.is_over() => return Ok(known.joined.clone()),
            (Some(known), _) => (known.receiver.clone(), known.index, known.link.generation + 1),
            (None, Some(fixed)) => {
                // Its news are told already.
                shared.peers[task.position()].made_again.store(true, Ordering::Release);
                self.watched.insert(fixed.receiver.address.clone());
                (fixed.receiver.clone(), fixed.index, fixed.generation + 1)
            }
            (None, None) => {
                let receiver = self.receiver(shared, task)?;
                let index = receiver.indexes.take()?;
                (receiver, index, 0)
            }
        };
        if self.watched.insert(receiver.address.clone()) {
            post(&receiver.subscribe, Subscribe(events));
        }
        let link = Arc::new(PeerLink::new(receiver.clone(), index, generation));
        let (writer, joined) = promise();
        let (shared, made) = (shared.clone(), link.clone());
        let before = self.tasks.get(&task).map(|known| known.joined.clone());
        actix::spawn(async move {
            if let Some(before) = before {
                // One that is over may still be leaving, and would take the index from under this one.
                let _ = before.get().await;
            }
            let joined = join(&shared, &made, task).await;
            if joined.is_ok() {
                // Before anybody hears of it: who does finds the link.
                shared.peers[task.position()].set_joined(made.clone());
            }
            writer.settle(joined.map(|()| made));
        });
        self.tasks.insert(task, Joined { receiver, index, link, joined: joined.clone() });
        Ok(joined)
    }

    fn receiver(&self, shared: &ContextShared, task: TaskIndex) -> Result<Arc<Receiver>> {
        let peer = &shared.peers[task.position()].info;
        if task == self.own {
            return self.directory.receiver(Some(&peer.name), &own_address());
        }
        let address = peer.address.as_ref().ok_or_else(|| {
            let error = RemoteError::new(ErrorCode::Unavailable, "the task has no address and cannot be called");
            Error::from(error.on_task(&peer.name).with_effect(Effect::NotSent))
        })?;
        let not_sent = |error: Error| error.map(|error| error.with_effect(Effect::NotSent));
        self.directory.may_dial(address, self.trust).map_err(not_sent)?;
        self.directory.receiver(Some(&peer.name), address)
    }

    /// A link is gone, and with it what was said on it: the next use joins again. Gives the tasks at its other end.
    pub(super) fn lost(&mut self, address: &Address, error: &Error) -> Vec<TaskIndex> {
        let mut lost = Vec::new();
        for (task, joined) in self.tasks.iter().filter(|(_, joined)| joined.receiver.address == *address) {
            if joined.link.lost.set(error.clone()).is_ok() {
                lost.push(*task);
            }
        }
        lost
    }

    /// The context is over on this task: it leaves where it was only joined.
    pub(super) fn leave(&mut self) {
        for Joined { receiver, index, link, joined } in std::mem::take(&mut self.tasks).into_values() {
            actix::spawn(async move {
                let left = match joined.get().await {
                    // The index has ended with the link.
                    Ok(_) if link.lost.get().is_some() => Ok(()),
                    Ok(_) => leave(&receiver, index).await,
                    Err(error) => Err(error),
                };
                receiver.indexes.ended(index, &left);
            });
        }
    }
}

/// Says that an index stands for the context no more.
async fn leave(receiver: &Receiver, index: ContextIndex) -> Result<()> {
    receiver.call(CloseContextRequest { context: index }, Bytes::new(), LEAVE_TIMEOUT).await.map(drop)
}

/// A task that has not answered in time may make the context known all the same. It is told behind that call that it is not
/// wanted; nobody waits for it.
pub(crate) fn leave_unanswered(link: &PeerLink) {
    let (receiver, index) = (link.receiver.clone(), link.index);
    actix::spawn(async move {
        let left = leave(&receiver, index).await;
        receiver.indexes.ended(index, &left);
    });
}

/// What makes the context known on the link to a task: by making it, where this task does that, and by joining it elsewhere.
fn request(shared: &ContextShared, link: &PeerLink, task: TaskIndex) -> CreateContextRequest {
    let request = CreateContextRequest {
        index: link.index,
        context: shared.id,
        mode: ContextMode::Join,
        prefix: shared.prefix,
        tasks: Vec::new(),
        devices: Vec::new(),
        idle_timeout_ms: 0,
        groups: Vec::new(),
    };
    match shared.makes(task) {
        None => request,
        Some(idle_timeout) => CreateContextRequest {
            mode: ContextMode::Create,
            tasks: shared.tasks().cloned().collect(),
            devices: shared.devices.clone(),
            idle_timeout_ms: idle_timeout.as_millis() as u64,
            groups: shared.groups().to_vec(),
            ..request
        },
    }
}

/// Makes the context known on the link to a task.
async fn join(shared: &ContextShared, link: &PeerLink, task: TaskIndex) -> Result<()> {
    let until = deadline::from_now(JOIN_TIMEOUT);
    let held = |code| matches!(code, ErrorCode::AlreadyExists | ErrorCode::DistributedContextAlreadyExists);
    let joined = loop {
        let left = until.saturating_duration_since(Instant::now());
        match link.receiver.call(request(shared, link, task), Bytes::new(), left).await {
            // There a session of a link that is gone still holds the prefix of this task's ids, or the context itself.
            Err(error) if held(error.code()) && Instant::now() + AGAIN < until => {
                sleep(AGAIN).await;
            }
            joined => break joined,
        }
    };
    let joined = match (joined, link.lost.get()) {
        (Err(error), _) => {
            if is_unanswered(&error) {
                // Behind the call that may make it known. The index stays this context's.
                let receiver = link.receiver.clone();
                let index = link.index;
                actix::spawn(async move { leave(&receiver, index).await });
            }
            Err(error)
        }
        (Ok((reply, _)), None) => {
            let _ = link.ready_chain.set(reply.ready_chain);
            Ok(())
        }
        // It may be the next link on which the context was joined: there nobody would leave it.
        (Ok(_), Some(lost)) => match leave(&link.receiver, link.index).await {
            Err(error) if is_unanswered(&error) => Err(error),
            Ok(()) | Err(_) => Err(lost.clone()),
        },
    };
    let (name, address) = (shared.task_name(task), &link.receiver.address);
    joined.map_err(|error| {
        let message = format!("the context was not joined on {name} at {address}: {}", error.message());
        error.map(|error| RemoteError { message, ..error }.on_task(name).with_effect(Effect::NotSent))
    })
}
