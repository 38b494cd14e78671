//! The dialling end of a link, as an actor.

use std::{cell::RefCell, collections::BTreeSet, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, ActorContext, Context, Handler, Recipient, ResponseFuture, SpawnHandle};
use remex_protocol::{
    Body, Effect, ErrorCode, Frame, RemoteError,
    cluster::{Address, TaskName},
    ids::{CallId, ContextIndex},
};
use tokio::time::Instant;

use super::{Connect, Hangup, LinkEvent, LinkUp, Outgoing, Subscribe, backoff::Backoff};
use crate::{
    Error, Result,
    envelope::post,
    fabric::{Connection, Fabric},
    link::{Arrived, Identity, Ledger, Link, LinkLost, Silence},
    observe::{Event, Observers, What},
    pending::{Lost, Replies},
    promise::{Writer, promise},
};

/// How a receiver is reached.
#[derive(Clone)]
pub enum Route {
    /// Over a fabric.
    Fabric(Arc<dyn Fabric>),
    /// It is this task itself: frames are handed over without being encoded.
    Own(Rc<dyn Fn() -> Connection>),
}

impl std::fmt::Debug for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Route::Fabric(fabric) => write!(f, "Route({fabric:?})"),
            Route::Own(_) => f.write_str("Route(own task)"),
        }
    }
}

/// Sends to one receiver, for all contexts of a server.
#[derive(Debug)]
pub struct RemoteClient {
    pub(super) who: Identity,
    /// The task that should answer, where it is known.
    pub(super) expected: Option<TaskName>,
    pub(super) address: Address,
    pub(super) route: Route,
    pub(super) replies: Recipient<Replies>,
    pub(super) lost: Recipient<Lost>,
    watchers: Vec<Recipient<LinkEvent>>,
    observers: Observers,
    /// How long a lost connection is dialled again; zero: not at all.
    pub(super) window: Duration,
    /// Counts the connections, and the attempts to make one.
    pub(super) epoch: u64,
    pub(super) state: State,
    /// The last attempt, and when it begins, or began.
    pub(super) attempt: Option<(Instant, SpawnHandle)>,
    /// The session that the peer knows of, connected or not.
    pub(super) session: Option<Lasting>,
    /// The name of the session that is being begun; 0: it has none yet.
    pub(super) fresh: u64,
    /// The name of the session that was given up last, for the peer to end it; 0: none.
    pub(super) replaces: u64,
    /// Why the last session was lost, and the contexts that were made known since: what names another one was meant for the
    /// session before.
    pub(super) lost_before: Option<Error>,
    pub(super) known: BTreeSet<ContextIndex>,
    /// What is to be sent when there is a connection.
    pub(super) waiting: Vec<Frame>,
    /// Who asked to be told when the link is up.
    pub(super) callers: Vec<Writer<LinkUp>>,
}

#[derive(Debug)]
pub(super) enum State {
    /// There is no session.
    Idle,
    /// There may be a session, and there will be a connection.
    Dialling,
    /// There are a session and a connection.
    Up(Link),
    HungUp,
}

/// What outlives a connection.
#[derive(Debug)]
pub(super) struct Lasting {
    /// 0: the session ends with its connection.
    pub(super) name: u64,
    pub(super) up: LinkUp,
    pub(super) ledger: Rc<RefCell<Ledger>>,
    pub(super) backoff: Backoff,
    /// How long the peer keeps it without a connection.
    pub(super) lease: Duration,
    /// The window is over, what was under way has failed, and the peer may still keep the session.
    pub(super) stalled: bool,
    /// When the connection was made.
    pub(super) since: Instant,
    /// Why it was lost.
    pub(super) cause: Option<String>,
    /// The peer has said that it ends the session.
    pub(super) farewell: Option<Box<RemoteError>>,
}

impl RemoteClient {
    /// A client of whoever listens at `address`; `expected` is its name, if it is known. Nothing is dialled yet. A
    /// connection that is lost is dialled again for as long as `window`.
    #[allow(clippy::too_many_arguments, reason = "made in one place")]
    pub fn new(
        who: Identity,
        expected: Option<TaskName>,
        address: Address,
        route: Route,
        replies: Recipient<Replies>,
        lost: Recipient<Lost>,
        observers: Observers,
        window: Duration,
    ) -> Self {
        Self {
            who,
            expected,
            address,
            route,
            replies,
            lost,
            watchers: Vec::new(),
            observers,
            window,
            epoch: 0,
            state: State::Idle,
            attempt: None,
            session: None,
            fresh: 0,
            replaces: 0,
            lost_before: None,
            known: BTreeSet::new(),
            waiting: Vec::new(),
            callers: Vec::new(),
        }
    }

    /// Whether somebody waits for a link.
    pub(super) fn is_wanted(&self) -> bool {
        !self.callers.is_empty() || !self.waiting.is_empty()
    }

    /// Names the task.
    pub(super) fn naming(&self, error: RemoteError) -> RemoteError {
        let answered = self.session.as_ref().map(|session| &session.up.task);
        match self.expected.as_ref().or(answered) {
            Some(task) => error.on_task(task),
            None => error,
        }
    }

    /// The task and where it is, for people.
    pub(super) fn peer(&self) -> String {
        let answered = self.session.as_ref().map(|session| &session.up.task);
        match self.expected.as_ref().or(answered) {
            Some(task) => format!("{task} at {}", self.address),
            None => self.address.to_string(),
        }
    }

    /// Sends calls; one that cannot be sent fails alone.
    pub(super) fn push(link: &Link, frames: Vec<Frame>, replies: &Recipient<Replies>) {
        for frame in frames {
            let (call, kind) = (frame.call, if let Body::Call(request) = &frame.body { request.kind() } else { 0 });
            if let Err(error) = link.push(frame) {
                let error = RemoteError::new(ErrorCode::InvalidArgument, error.to_string());
                let error = Box::new(error.with_effect(Effect::NotSent));
                post(replies, Replies(vec![Frame::new(call, Body::Failed { kind, error })]));
            }
        }
    }

    /// There is no session any more.
    pub(super) fn down(&mut self, error: Error, restarted: bool) {
        tracing::debug!(address = %self.address, %error, "link down");
        self.lost_before = Some(error.clone());
        self.known.clear();
        self.observe(What::LinkDown(error.clone()));
        self.tell(&LinkEvent::Down { address: self.address.clone(), error, restarted });
    }

    /// Tells observers.
    pub(super) fn observe(&self, what: What) {
        if !self.observers.is_empty() {
            let name = self.expected.as_ref().map_or_else(|| self.address.to_string(), TaskName::to_string);
            let (task, at) = (name.into(), Instant::now());
            self.observers.tell(vec![Event { task, at, call: CallId::default(), name: "", what }]);
        }
    }

    /// Tells who subscribed.
    pub(super) fn tell(&mut self, event: &LinkEvent) {
        self.watchers.retain(Recipient::connected);
        self.watchers.iter().for_each(|watcher| post(watcher, event.clone()));
    }
}

impl Actor for RemoteClient {
    type Context = Context<Self>;
}

impl Drop for RemoteClient {
    /// One that was hung up has told everybody. This one died: nobody else knows what it was to send (I1).
    fn drop(&mut self) {
        if matches!(self.state, State::HungUp) {
            return;
        }
        let message = format!("the actor that holds the link to {} died", self.address);
        let error = Error::from(self.naming(RemoteError::new(ErrorCode::Internal, message)));
        post(&self.lost, Lost { error: error.clone(), may_resume: false });
        self.down(error, false);
    }
}

impl Handler<Outgoing> for RemoteClient {
    type Result = ();

    fn handle(&mut self, Outgoing(mut frames): Outgoing, ctx: &mut Context<Self>) {
        self.refuse_belated(&mut frames);
        match &self.state {
            State::Up(link) => Self::push(link, frames, &self.replies),
            State::Dialling => {
                self.waiting.extend(frames);
                self.hurry(ctx);
            }
            State::Idle => {
                self.waiting = frames;
                self.dial(Duration::ZERO, ctx);
            }
            State::HungUp => {
                let error = RemoteError::new(ErrorCode::Unavailable, "this server was stopped");
                self.waiting = frames;
                self.answer_waiting(&error.into());
            }
        }
    }
}

impl Handler<Subscribe> for RemoteClient {
    type Result = ();

    fn handle(&mut self, Subscribe(watcher): Subscribe, _: &mut Context<Self>) {
        self.watchers.retain(Recipient::connected);
        self.watchers.push(watcher);
    }
}

impl Handler<Connect> for RemoteClient {
    type Result = ResponseFuture<Result<LinkUp>>;

    fn handle(&mut self, _: Connect, ctx: &mut Context<Self>) -> Self::Result {
        if let (State::Up(_), Some(session)) = (&self.state, &self.session) {
            let up = session.up.clone();
            return Box::pin(async move { Ok(up) });
        }
        let (writer, answer) = promise();
        if !matches!(self.state, State::HungUp) {
            self.callers.push(writer);
        }
        match self.state {
            State::Idle => self.dial(Duration::ZERO, ctx),
            State::Dialling => self.hurry(ctx),
            State::Up(_) | State::HungUp => {}
        }
        Box::pin(async move { answer.get().await })
    }
}

impl Handler<Hangup> for RemoteClient {
    type Result = ();

    fn handle(&mut self, _: Hangup, ctx: &mut Context<Self>) {
        if let State::Up(link) = &self.state {
            // The peer need not wait for this task to come back.
            let error = RemoteError::new(ErrorCode::Cancelled, "the task hangs up").on_task(&self.who.task);
            let _ = link.push(Frame::new(CallId::default(), Body::Goodbye(Box::new(error))));
            link.close();
        }
        let error = Error::from(self.naming(RemoteError::new(ErrorCode::Cancelled, "this server was stopped")));
        (self.state, self.session) = (State::HungUp, None);
        self.waiting.clear();
        post(&self.lost, Lost { error: error.clone(), may_resume: false });
        self.callers.drain(..).for_each(|caller| caller.settle(Err(error.clone())));
        self.down(error, false);
        ctx.stop();
    }
}

impl Handler<Arrived> for RemoteClient {
    type Result = ();

    fn handle(&mut self, Arrived { epoch, mut frames }: Arrived, _: &mut Context<Self>) {
        let (State::Up(link), true, Some(session)) = (&self.state, epoch == self.epoch, &mut self.session) else {
            // Of an older connection: what was not accepted comes again (I6).
            return;
        };
        link.accept(&mut frames);
        frames.retain_mut(|frame| match &mut frame.body {
            Body::Goodbye(why) => {
                tracing::info!(address = %self.address, %why, "the peer says goodbye");
                session.farewell = Some(why.clone());
                false
            }
            _ => true,
        });
        if !frames.is_empty() {
            post(&self.replies, Replies(frames));
        }
    }
}

impl Handler<LinkLost> for RemoteClient {
    type Result = ();

    fn handle(&mut self, LinkLost { epoch, error }: LinkLost, ctx: &mut Context<Self>) {
        if epoch == self.epoch && matches!(self.state, State::Up(_)) {
            self.broken(&error, ctx);
        }
    }
}

impl Handler<Silence> for RemoteClient {
    type Result = ();

    fn handle(&mut self, Silence { epoch, lasts }: Silence, _: &mut Context<Self>) {
        if epoch == self.epoch && matches!(self.state, State::Up(_)) {
            self.observe(lasts.map_or(What::Heard, What::Suspected));
        }
    }
}
