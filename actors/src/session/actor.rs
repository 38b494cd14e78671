//! The accepting end of a link, as an actor.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc, time::Duration};

use actix::{Actor, AsyncContext, Context, Handler, Recipient, SpawnHandle};
use remex_protocol::{
    Body, Call, ErrorCode, Frame, Payload, RemoteError, Reply,
    calls::{CancelReply, ContextMode},
    cluster::TaskName,
    handshake::Credits,
    ids::{CallId, ContextIndex},
};
use tokio::time::Instant;

use super::{
    Answers, Attach, Calls, Change, Control, Controlled, Ended, Exchange, Incoming, Opened, Resume, SessionId, Shut,
    door::Door,
    ending::unavailable,
    held::{Held, HeldLimits, most_kept},
    routing::{context_of, index_taken, is_for_context, refused},
};
use crate::{
    Error, Result,
    envelope::post,
    link::{Arrived, Ends, Ledger, Link, LinkLost, Point, Silence},
    objects::SessionEnded,
    observe::{Observers, SessionEvent},
};

/// Serves one caller.
#[derive(Debug)]
pub struct Session {
    pub(super) id: SessionId,
    pub(super) peer: TaskName,
    pub(super) is_local: bool,
    pub(super) epoch: u64,
    /// Where its connections come from.
    pub(super) door: Rc<Door>,
    pub(super) link: Option<Link>,
    /// What outlives a connection (I6).
    pub(super) ledger: Rc<RefCell<Ledger>>,
    /// Answers that wait for a connection.
    pub(super) waiting: Vec<Frame>,
    /// Most of both that are kept (I8).
    pub(super) most_kept: usize,
    /// How long it lives without a connection; `None`: not at all.
    pub(super) lease: Option<Duration>,
    /// Since when it has none, and the timer for when it has had none for too long.
    pub(super) expiry: Option<(Instant, SpawnHandle)>,
    pub(super) server: Upstream,
    pub(super) contexts: BTreeMap<ContextIndex, Opened>,
    /// Calls whose payload is on its way, and where it goes.
    pub(super) announced: BTreeMap<CallId, ContextIndex>,
    /// Frames that wait until the server has answered.
    pub(super) held: Option<Held>,
    pub(super) most_held: HeldLimits,
    /// Where answers go: made once, since each batch of calls has it.
    answers: Option<Arc<Recipient<Answers>>>,
    /// Observers were told that it has begun.
    pub(super) has_begun: bool,
    pub(super) has_ended: bool,
}

/// The server, as its sessions see it.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Takes calls that concern it.
    pub control: Recipient<Control>,
    /// Takes members of contexts that several tasks make together.
    pub exchange: Recipient<Exchange>,
    /// Is told when the session is over.
    pub ended: Recipient<Ended>,
    /// What it lets a caller have in flight.
    pub credits: Credits,
    /// Who watches sessions.
    pub observers: Observers,
}

impl Session {
    /// Serves `peer` over the connections that come through `door`, one after the other. Without one it lives for as long as
    /// `lease`; `None`: it ends with its first connection.
    pub fn new(
        id: SessionId,
        peer: TaskName,
        epoch: u64,
        door: Rc<Door>,
        lease: Option<Duration>,
        server: Upstream,
    ) -> Self {
        Self {
            id,
            peer,
            is_local: true,
            epoch,
            door,
            link: None,
            ledger: Rc::new(RefCell::new(Ledger::new(lease.is_some()))),
            waiting: Vec::new(),
            most_kept: most_kept(server.credits),
            lease,
            expiry: None,
            most_held: HeldLimits::of(server.credits),
            server,
            contexts: BTreeMap::new(),
            announced: BTreeMap::new(),
            held: None,
            answers: None,
            has_begun: false,
            has_ended: false,
        }
    }

    /// Other bounds for what is kept, and for what waits for the server.
    #[cfg(test)]
    pub(super) fn with_most(mut self, kept: usize, held: HeldLimits) -> Self {
        (self.most_kept, self.most_held) = (kept, held);
        self
    }

    /// Hands frames on, those for one context together, until one concerns the server.
    fn take(&mut self, mut frames: Held, ctx: &mut Context<Self>) {
        let mut batch: Option<(ContextIndex, Vec<Incoming>)> = None;
        while let Some(frame) = frames.next() {
            let Frame { call, body, payload, .. } = frame;
            let (index, incoming) = match body {
                Body::Call(Call::Cancel(cancel)) => {
                    self.hand_on(batch.take(), ctx);
                    self.cancel(call, cancel.call, ctx);
                    continue;
                }
                Body::Call(Call::SendReadyChains(request)) => {
                    self.hand_on(batch.take(), ctx);
                    let (session, answers) = (self.id, ctx.address().recipient());
                    post(&self.server.exchange, Exchange { session, call, request, answers });
                    continue;
                }
                Body::Call(body) => match context_of(&body) {
                    Some(index) if is_for_context(&body) => {
                        if let Payload::Announced(_) = payload {
                            self.announced.insert(call, index);
                        }
                        (index, Incoming::Call { call, body, payload })
                    }
                    index => {
                        self.hand_on(batch.take(), ctx);
                        self.ask_server(call, body, index, ctx);
                        self.held = Some(frames);
                        return self.hold([], ctx);
                    }
                },
                Body::PayloadArrived => match self.announced.remove(&call) {
                    Some(index) => (index, Incoming::Payload { call, data: payload.into_bytes() }),
                    None => continue,
                },
                Body::Undecodable { kind, error } => {
                    self.push(Frame::new(call, Body::Failed { kind, error }));
                    continue;
                }
                Body::Goodbye(why) => {
                    tracing::debug!(session = %self.id, peer = %self.peer, %why, "the peer says goodbye");
                    self.hand_on(batch.take(), ctx);
                    return self.end((*why).into(), ctx);
                }
                other => {
                    tracing::warn!(session = %self.id, peer = %self.peer, ?other, "not what a caller may say");
                    let message = "a frame came that no caller may send: the session is ended";
                    return self.end(Error::new(ErrorCode::FailedPrecondition, message), ctx);
                }
            };
            match &mut batch {
                Some((last, calls)) if *last == index => calls.push(incoming),
                _ => {
                    self.hand_on(batch.take(), ctx);
                    let mut calls = Vec::with_capacity(1 + frames.len());
                    calls.push(incoming);
                    batch = Some((index, calls));
                }
            }
        }
        self.hand_on(batch, ctx);
    }

    fn hand_on(&mut self, batch: Option<(ContextIndex, Vec<Incoming>)>, ctx: &mut Context<Self>) {
        let Some((index, calls)) = batch else { return };
        let at = Instant::now().into_std();
        match self.contexts.get(&index) {
            Some(context) => {
                let answers = self.answers.get_or_insert_with(|| Arc::new(ctx.address().recipient())).clone();
                post(&context.calls, Calls { session: self.id, from: context.peer, answers, at, calls });
            }
            None => {
                for incoming in calls {
                    if let Incoming::Call { call, body, .. } = incoming {
                        self.push(Frame::new(call, refused(&body, call, index)));
                    }
                }
            }
        }
    }

    fn ask_server(&self, call: CallId, body: Call, index: Option<ContextIndex>, ctx: &mut Context<Self>) {
        let context = index.and_then(|index| self.contexts.get(&index)).cloned();
        let taken = context.as_ref().is_some_and(|context| match &body {
            // To join what one has joined changes nothing.
            Call::CreateContext(request) => {
                let again = request.mode == ContextMode::Join && request.context == context.id;
                context.is_creator || !again
            }
            _ => false,
        });
        let free = matches!(&body, Call::CreateContext(_) | Call::GetDevices(_) | Call::ListObjects(_));
        let unknown = !free && context.is_none();
        if taken || unknown {
            let index = index.unwrap_or_default();
            let body = if taken { index_taken(&body, call, index) } else { refused(&body, call, index) };
            let answer = Controlled { frame: Frame::new(call, body), change: Change::None };
            return post(&ctx.address().recipient(), answer);
        }
        let (session, peer, is_local) = (self.id, self.peer.clone(), self.is_local);
        let answer = ctx.address().recipient();
        post(&self.server.control, Control { session, peer, is_local, call, body, context, answer });
    }

    /// Which context knows the call is not said, so all are told.
    fn cancel(&mut self, cancel: CallId, call: CallId, ctx: &mut Context<Self>) {
        let answers = self.answers.get_or_insert_with(|| Arc::new(ctx.address().recipient()));
        for context in self.contexts.values() {
            let (at, answers) = (Instant::now().into_std(), answers.clone());
            let calls = vec![Incoming::Cancel { call }];
            post(&context.calls, Calls { session: self.id, from: context.peer, answers, at, calls });
        }
        self.push(Frame::new(cancel, Body::Completed(Reply::Cancel(CancelReply {}))));
    }

    /// Sends an answer, or keeps it until there is a connection. Early metadata is said again at the end and not kept.
    fn push(&mut self, frame: Frame) {
        let Some(link) = &self.link else {
            if frame.is_numbered() {
                self.waiting.push(frame);
            }
            return;
        };
        let (call, kind) = match &frame.body {
            Body::Completed(reply) => (frame.call, reply.kind()),
            Body::Failed { kind, .. } => (frame.call, *kind),
            _ => (frame.call, 0),
        };
        if let Err(error) = link.push(frame) {
            // An answer that is over a limit; the call is answered with that.
            let error = Box::new(RemoteError::new(ErrorCode::ResourceExhausted, error.to_string()).of_call(call));
            if let Err(error) = link.push(Frame::new(call, Body::Failed { kind, error })) {
                tracing::error!(session = %self.id, %error, "a call could not be answered");
            }
        }
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.lease.is_some() {
            self.wait_for_connection(unavailable("no connection has come"), ctx);
        }
    }
}

impl Handler<Resume> for Session {
    type Result = Result<Point>;

    /// A newer connection takes the place of the one that there is, which may be half open; what that still has to say is
    /// not accepted any more (I6).
    fn handle(&mut self, Resume { epoch }: Resume, ctx: &mut Context<Self>) -> Result<Point> {
        if epoch <= self.epoch {
            let message = format!("connection {epoch} of the session comes late: there was connection {}", self.epoch);
            return Err(Error::new(ErrorCode::FailedPrecondition, message));
        }
        self.epoch = epoch;
        self.wait_for_connection(unavailable("it has dialled again"), ctx);
        Ok(self.ledger.borrow_mut().point())
    }
}

impl Handler<Attach> for Session {
    type Result = ();

    fn handle(&mut self, _: Attach, ctx: &mut Context<Self>) {
        if let (Some(lane), Some(link)) = (self.door.take_lane(self.epoch), &self.link) {
            link.add_lane(lane);
        }
        let Some((connection, epoch, point)) = self.door.take().filter(|(_, epoch, _)| *epoch == self.epoch) else {
            return;
        };
        let resumed = self.ledger.borrow_mut().resume(&point);
        if let Err(error) = resumed {
            tracing::warn!(session = %self.id, peer = %self.peer, %error, "a session cannot go on");
            return self.end(Error::new(ErrorCode::DataLoss, format!("the session cannot go on: {error}")), ctx);
        }
        if let Some((_, expiry)) = self.expiry.take() {
            ctx.cancel_future(expiry);
        }
        self.is_local &= connection.is_local;
        let me = ctx.address();
        let (arrived, lost) = (me.clone().recipient(), me.clone().recipient());
        let silence = (!self.server.observers.is_empty()).then(|| me.recipient());
        self.link = Some(Link::open(connection, epoch, self.ledger.clone(), Ends { arrived, lost, silence }));
        let again = std::mem::replace(&mut self.has_begun, true);
        self.observe(if again { SessionEvent::Resumed } else { SessionEvent::Begun });
        std::mem::take(&mut self.waiting).into_iter().for_each(|frame| self.push(frame));
    }
}

impl Handler<Arrived> for Session {
    type Result = ();

    fn handle(&mut self, Arrived { epoch, mut frames }: Arrived, ctx: &mut Context<Self>) {
        let Some(link) = self.link.as_ref().filter(|_| epoch == self.epoch) else {
            // Of an older connection: what was not accepted comes again (I6).
            return;
        };
        link.accept(&mut frames);
        let kept = self.ledger.borrow().held() + self.waiting.len();
        if kept > self.most_kept {
            let most = self.most_kept;
            return self
                .flooded(format!("{kept} replies are not acknowledged, which is over the limit of {most}"), ctx);
        }
        match self.held {
            Some(_) => self.hold(frames, ctx),
            None => self.take(Held::of(frames), ctx),
        }
    }
}

impl Handler<LinkLost> for Session {
    type Result = ();

    fn handle(&mut self, LinkLost { epoch, error }: LinkLost, ctx: &mut Context<Self>) {
        if epoch == self.epoch && self.link.is_some() {
            tracing::debug!(session = %self.id, peer = %self.peer, %error, "connection lost");
            self.wait_for_connection(error, ctx);
        }
    }
}

impl Handler<Silence> for Session {
    type Result = ();

    fn handle(&mut self, Silence { epoch, lasts }: Silence, _: &mut Context<Self>) {
        if epoch == self.epoch && self.link.is_some() {
            self.observe(lasts.map_or(SessionEvent::Heard, SessionEvent::Suspected));
        }
    }
}

impl Handler<Answers> for Session {
    type Result = ();

    fn handle(&mut self, Answers(frames): Answers, _: &mut Context<Self>) {
        frames.into_iter().for_each(|frame| self.push(frame));
    }
}

impl Handler<Controlled> for Session {
    type Result = ();

    fn handle(&mut self, Controlled { frame, change }: Controlled, ctx: &mut Context<Self>) {
        match change {
            Change::None => {}
            Change::Opened(index, context) => {
                self.contexts.insert(index, context);
            }
            Change::Closed(index) => {
                if let Some(context) = self.contexts.remove(&index) {
                    post(&context.ended, SessionEnded { session: self.id, lost: None });
                }
            }
        }
        self.push(frame);
        if let Some(held) = self.held.take() {
            self.take(held, ctx);
        }
    }
}

impl Handler<Shut> for Session {
    type Result = ();

    fn handle(&mut self, _: Shut, ctx: &mut Context<Self>) {
        self.end(unavailable("the task is about to stop, or another session took its place"), ctx);
    }
}
