//! The dialling end of a link, as an actor.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, ResponseFuture, WrapFuture,
};
use remex_protocol::{
    Body, Effect, ErrorCode, Frame, RemoteError,
    cluster::{Address, TaskName},
    handshake::Welcome,
    ids::CallId,
};

use super::{Connect, Hangup, LinkEvent, LinkUp, Outgoing, Subscribe};
use crate::{
    Error, Result,
    envelope::post,
    fabric::{Connection, Fabric, FabricError},
    link::{self, Arrived, Identity, Link, LinkLost, Refusal},
    observe::{Event, Observers, What},
    pending::{Lost, Replies},
    promise::{Writer, promise},
};

/// A peer that has not answered after so long is not there.
const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

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
    who: Identity,
    /// The task that should answer, where it is known.
    expected: Option<TaskName>,
    address: Address,
    route: Route,
    replies: Recipient<Replies>,
    lost: Recipient<Lost>,
    watchers: Vec<Recipient<LinkEvent>>,
    observers: Observers,
    /// Counts the connections.
    epoch: u64,
    state: State,
    /// Who asked to be told when the link is up.
    callers: Vec<Writer<LinkUp>>,
}

#[derive(Debug)]
enum State {
    Idle,
    Dialling { waiting: Vec<Frame> },
    Up { link: Link, up: LinkUp },
    HungUp,
}

impl RemoteClient {
    /// A client of whoever listens at `address`; `expected` is its name, if it is known. Nothing is dialled yet.
    pub fn new(
        who: Identity,
        expected: Option<TaskName>,
        address: Address,
        route: Route,
        replies: Recipient<Replies>,
        lost: Recipient<Lost>,
        observers: Observers,
    ) -> Self {
        let (watchers, callers) = (Vec::new(), Vec::new());
        Self {
            who,
            expected,
            address,
            route,
            replies,
            lost,
            watchers,
            observers,
            epoch: 0,
            state: State::Idle,
            callers,
        }
    }

    fn dial(&mut self, waiting: Vec<Frame>, ctx: &mut Context<Self>) {
        self.state = State::Dialling { waiting };
        self.epoch += 1;
        let (route, address, who) = (self.route.clone(), self.address.clone(), self.who.clone());
        let (expected, epoch) = (self.expected.clone(), self.epoch);
        let connect = async move {
            let unreachable = |error: FabricError| Refusal::Unreachable(error.to_string());
            let mut connection = match &route {
                Route::Fabric(fabric) => fabric.dial(&address).await.map_err(unreachable)?,
                Route::Own(connect) => connect(),
            };
            let welcome = link::dial(&mut connection, &who, expected.as_ref(), epoch).await?;
            Ok((connection, welcome))
        };
        let bounded = async move {
            let silent = || Refusal::Unreachable(format!("no answer within {} s", DIAL_TIMEOUT.as_secs()));
            tokio::time::timeout(DIAL_TIMEOUT, connect).await.unwrap_or_else(|_| Err(silent()))
        };
        ctx.spawn(bounded.into_actor(self).map(|dialled, act, ctx| act.dialled(dialled, ctx)));
    }

    fn dialled(&mut self, dialled: Result<(Connection, Welcome), Refusal>, ctx: &mut Context<Self>) {
        let waiting = match &mut self.state {
            State::Dialling { waiting } => std::mem::take(waiting),
            State::Idle | State::Up { .. } | State::HungUp => return,
        };
        let (connection, welcome) = match dialled {
            Ok(dialled) => dialled,
            Err(refusal) => {
                let error = self.not_reached(refusal);
                self.answer(waiting, &error);
                return self.down(error);
            }
        };
        let address = ctx.address();
        let link = Link::open(connection, self.epoch, address.clone().recipient(), address.recipient());
        Self::push(&link, waiting, &self.replies);
        let up = LinkUp { task: welcome.task, incarnation: welcome.incarnation, address: self.address.clone() };
        tracing::debug!(task = %up.task, address = %up.address, "link up");
        self.callers.drain(..).for_each(|caller| caller.settle(Ok(up.clone())));
        self.tell(&LinkEvent::Up(up.clone()));
        self.state = State::Up { link, up };
    }

    fn not_reached(&self, refusal: Refusal) -> Error {
        let error = match refusal {
            Refusal::Said(error) => {
                RemoteError { message: format!("{} refused this task: {}", self.peer(), error.message), ..error }
            }
            Refusal::Unreachable(why) => {
                let message = format!("{} cannot be reached: {why}", self.peer());
                RemoteError::new(ErrorCode::RpcUnavailable, message)
            }
        };
        self.naming(error.with_effect(Effect::NotSent)).into()
    }

    fn naming(&self, error: RemoteError) -> RemoteError {
        match &self.expected {
            Some(task) => error.on_task(task),
            None => error,
        }
    }

    /// The task and where it is, for people.
    fn peer(&self) -> String {
        match (&self.expected, &self.state) {
            (Some(task), _) | (None, State::Up { up: LinkUp { task, .. }, .. }) => {
                format!("{task} at {}", self.address)
            }
            (None, _) => self.address.to_string(),
        }
    }

    /// Sends calls; one that cannot be sent fails alone.
    fn push(link: &Link, frames: Vec<Frame>, replies: &Recipient<Replies>) {
        for frame in frames {
            let (call, kind) = (frame.call, if let Body::Call(request) = &frame.body { request.kind() } else { 0 });
            if let Err(error) = link.push(frame) {
                let error = RemoteError::new(ErrorCode::InvalidArgument, error.to_string());
                let error = Box::new(error.with_effect(Effect::NotSent));
                post(replies, Replies(vec![Frame::new(call, Body::Failed { kind, error })]));
            }
        }
    }

    /// Answers calls that were not sent.
    fn answer(&self, frames: Vec<Frame>, error: &Error) {
        let failed = frames.into_iter().filter_map(|Frame { call, body, .. }| match body {
            Body::Call(request) => {
                let error = Box::new(error.remote().clone());
                Some(Frame::new(call, Body::Failed { kind: request.kind(), error }))
            }
            _ => None,
        });
        post(&self.replies, Replies(failed.collect()));
    }

    /// There is no link. The next call dials again.
    fn down(&mut self, error: Error) {
        tracing::debug!(address = %self.address, %error, "link down");
        if !matches!(self.state, State::HungUp) {
            self.state = State::Idle;
        }
        self.callers.drain(..).for_each(|caller| caller.settle(Err(error.clone())));
        self.tell(&LinkEvent::Down { address: self.address.clone(), error });
    }

    fn tell(&mut self, event: &LinkEvent) {
        if !self.observers.is_empty() {
            let what = match event {
                LinkEvent::Up(_) => What::LinkUp,
                LinkEvent::Down { error, .. } => What::LinkDown(error.clone()),
            };
            let name = self.expected.as_ref().map_or_else(|| self.address.to_string(), TaskName::to_string);
            let (task, at) = (name.into(), tokio::time::Instant::now());
            self.observers.tell(vec![Event { task, at, call: CallId::default(), name: "", what }]);
        }
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
        post(&self.lost, Lost(error.clone()));
        self.down(error);
    }
}

impl Handler<Outgoing> for RemoteClient {
    type Result = ();

    fn handle(&mut self, Outgoing(frames): Outgoing, ctx: &mut Context<Self>) {
        match &mut self.state {
            State::Up { link, .. } => Self::push(link, frames, &self.replies),
            State::Dialling { waiting } => waiting.extend(frames),
            State::Idle => self.dial(frames, ctx),
            State::HungUp => {
                let error = RemoteError::new(ErrorCode::Unavailable, "this server was stopped");
                self.answer(frames, &error.with_effect(Effect::NotSent).into());
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
        if let State::Up { up, .. } = &self.state {
            let up = up.clone();
            return Box::pin(async move { Ok(up) });
        }
        let (writer, answer) = promise();
        if !matches!(self.state, State::HungUp) {
            self.callers.push(writer);
        }
        if matches!(self.state, State::Idle) {
            self.dial(Vec::new(), ctx);
        }
        Box::pin(async move { answer.get().await })
    }
}

impl Handler<Hangup> for RemoteClient {
    type Result = ();

    fn handle(&mut self, _: Hangup, ctx: &mut Context<Self>) {
        if let State::Up { link, .. } = &self.state {
            link.close();
        }
        self.state = State::HungUp;
        let error = Error::from(self.naming(RemoteError::new(ErrorCode::Cancelled, "this server was stopped")));
        post(&self.lost, Lost(error.clone()));
        self.down(error);
        ctx.stop();
    }
}

impl Handler<Arrived> for RemoteClient {
    type Result = ();

    fn handle(&mut self, Arrived { epoch, mut frames }: Arrived, _: &mut Context<Self>) {
        if epoch != self.epoch {
            return;
        }
        frames.retain(|frame| match &frame.body {
            Body::Goodbye(why) => {
                tracing::info!(address = %self.address, %why, "the peer says goodbye");
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

    fn handle(&mut self, LinkLost { epoch, error }: LinkLost, _: &mut Context<Self>) {
        if epoch == self.epoch && matches!(self.state, State::Up { .. }) {
            let peer = self.peer();
            let message = format!("the link to {peer} was lost: {}", error.message());
            let task = if let State::Up { up, .. } = &self.state { Some(up.task.clone()) } else { None };
            let error = self.naming(RemoteError::new(ErrorCode::RpcUnavailable, message));
            let error = Error::from(task.into_iter().fold(error, |error, task| error.on_task(task)));
            post(&self.lost, Lost(error.clone()));
            self.down(error);
        }
    }
}
