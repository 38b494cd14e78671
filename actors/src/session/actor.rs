//! The accepting end of a link, as an actor.

use std::collections::{BTreeMap, VecDeque};

use actix::{Actor, ActorContext, AsyncContext, Context, Handler, Recipient};
use remex_protocol::{
    Body, Call, ErrorCode, Frame, Payload, RemoteError, Reply,
    calls::{CancelReply, ContextMode},
    cluster::TaskName,
    ids::{CallId, ContextIndex},
};
use tokio::time::Instant;

use super::{Answers, Calls, Change, Control, Controlled, Ended, Exchange, Incoming, Opened, SessionId, Shut};
use crate::{
    envelope::post,
    fabric::Connection,
    link::{Arrived, Link, LinkLost},
    objects::SessionEnded,
};

/// Serves one caller.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    peer: TaskName,
    is_local: bool,
    epoch: u64,
    /// The connection, until the session runs.
    connection: Option<Connection>,
    link: Option<Link>,
    server: Upstream,
    contexts: BTreeMap<ContextIndex, Opened>,
    /// Calls whose payload is on its way, and where it goes.
    announced: BTreeMap<CallId, ContextIndex>,
    /// Frames that wait until the server has answered.
    held: Option<VecDeque<Frame>>,
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
}

impl Session {
    /// Serves the task at the other end of a connection whose handshake is over.
    pub fn new(id: SessionId, peer: TaskName, epoch: u64, connection: Connection, server: Upstream) -> Self {
        Self {
            id,
            peer,
            is_local: connection.is_local,
            epoch,
            connection: Some(connection),
            link: None,
            server,
            contexts: BTreeMap::new(),
            announced: BTreeMap::new(),
            held: None,
        }
    }

    /// Hands frames on, those for one context together, until one concerns the server.
    fn take(&mut self, mut frames: VecDeque<Frame>, ctx: &mut Context<Self>) {
        let mut batch: Option<(ContextIndex, Vec<Incoming>)> = None;
        while let Some(frame) = frames.pop_front() {
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
                        self.held = Some(frames);
                        return self.ask_server(call, body, index, ctx);
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
                Body::Goodbye(_) => continue,
                other => {
                    tracing::warn!(session = %self.id, peer = %self.peer, ?other, "not what a caller may say");
                    return self.end(ctx);
                }
            };
            match &mut batch {
                Some((last, calls)) if *last == index => calls.push(incoming),
                _ => {
                    self.hand_on(batch.take(), ctx);
                    batch = Some((index, vec![incoming]));
                }
            }
        }
        self.hand_on(batch, ctx);
    }

    fn hand_on(&self, batch: Option<(ContextIndex, Vec<Incoming>)>, ctx: &mut Context<Self>) {
        let Some((index, calls)) = batch else { return };
        let at = Instant::now().into_std();
        match self.contexts.get(&index) {
            Some(context) => {
                let answers = ctx.address().recipient();
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
        let unknown = !matches!(&body, Call::CreateContext(_) | Call::GetDevices(_)) && context.is_none();
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
    fn cancel(&self, cancel: CallId, call: CallId, ctx: &mut Context<Self>) {
        for context in self.contexts.values() {
            let (at, answers) = (Instant::now().into_std(), ctx.address().recipient());
            let calls = vec![Incoming::Cancel { call }];
            post(&context.calls, Calls { session: self.id, from: context.peer, answers, at, calls });
        }
        self.push(Frame::new(cancel, Body::Completed(Reply::Cancel(CancelReply {}))));
    }

    fn push(&self, frame: Frame) {
        let Some(link) = &self.link else { return };
        let (call, kind) = match &frame.body {
            Body::Completed(reply) => (frame.call, reply.kind()),
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

    fn end(&mut self, ctx: &mut Context<Self>) {
        for context in std::mem::take(&mut self.contexts).into_values() {
            post(&context.ended, SessionEnded { session: self.id, lost: true });
        }
        post(&self.server.ended, Ended { session: self.id });
        if let Some(link) = self.link.take() {
            link.close();
        }
        ctx.stop();
    }
}

impl Actor for Session {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let address = ctx.address();
        let connection = self.connection.take();
        self.link = connection
            .map(|connection| Link::open(connection, self.epoch, address.clone().recipient(), address.recipient()));
    }
}

impl Handler<Arrived> for Session {
    type Result = ();

    fn handle(&mut self, Arrived { frames, .. }: Arrived, ctx: &mut Context<Self>) {
        match &mut self.held {
            Some(held) => held.extend(frames),
            None => self.take(frames.into(), ctx),
        }
    }
}

impl Handler<LinkLost> for Session {
    type Result = ();

    fn handle(&mut self, LinkLost { error, .. }: LinkLost, ctx: &mut Context<Self>) {
        tracing::debug!(session = %self.id, peer = %self.peer, %error, "session over");
        self.end(ctx);
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
                    post(&context.ended, SessionEnded { session: self.id, lost: false });
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
        self.end(ctx);
    }
}

/// The context that a call names.
fn context_of(body: &Call) -> Option<ContextIndex> {
    match body {
        Call::GetDevices(_) | Call::Cancel(_) | Call::SendReadyChains(_) => None,
        Call::CreateContext(request) => Some(request.index),
        Call::CloseContext(request) => Some(request.context),
        Call::KeepAlive(request) => Some(request.context),
        Call::RegisterFunction(request) => Some(request.context),
        Call::UnregisterFunction(request) => Some(request.context),
        Call::RemoteExecute(request) => Some(request.context),
        Call::RemoteExecuteOp(request) => Some(request.context),
        Call::DeleteObjects(request) => Some(request.context),
        Call::FailObjects(request) => Some(request.context),
        Call::FetchObject(request) => Some(request.context),
        Call::PutObject(request) => Some(request.context),
        Call::SendData(request) => Some(request.context),
    }
}

/// Whether a call is served by its context, not by the server.
fn is_for_context(body: &Call) -> bool {
    match body {
        Call::GetDevices(_)
        | Call::CreateContext(_)
        | Call::CloseContext(_)
        | Call::KeepAlive(_)
        | Call::SendReadyChains(_)
        | Call::Cancel(_) => false,
        Call::RegisterFunction(_)
        | Call::UnregisterFunction(_)
        | Call::RemoteExecute(_)
        | Call::RemoteExecuteOp(_)
        | Call::DeleteObjects(_)
        | Call::FailObjects(_)
        | Call::FetchObject(_)
        | Call::PutObject(_)
        | Call::SendData(_) => true,
    }
}

fn refused(body: &Call, call: CallId, index: ContextIndex) -> Body {
    let message = format!("{index} stands for no context on this link: it was closed, collected or never made");
    let error = RemoteError::new(ErrorCode::InvalidDistributedContextId, message).of_call(call);
    Body::Failed { kind: body.kind(), error: Box::new(error) }
}

fn index_taken(body: &Call, call: CallId, index: ContextIndex) -> Body {
    let message = format!("{index} stands for a context on this link already: choose another index");
    let error = RemoteError::new(ErrorCode::AlreadyExists, message).of_call(call);
    Body::Failed { kind: body.kind(), error: Box::new(error) }
}
