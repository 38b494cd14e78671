//! The server as an actor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, Addr, AsyncContext, Context, Handler, Recipient, ResponseActFuture,
    ResponseFuture, WrapFuture,
};
use remex_protocol::{
    Body, Call, DeviceName, ErrorCode, Frame, RemoteError, Reply,
    calls::{
        CloseContextReply, ContextMode, CreateContextReply, CreateContextRequest, GetDevicesReply, KeepAliveReply,
    },
    cluster::{Address, TaskName},
    ids::{ContextId, ObjectPrefix, TaskIndex},
};
use tokio::time::Instant;

use super::{
    CloseEverywhere, ContextConfig, CreateContext, Created, Directory, Discover, Discovered, ExecutorRecipients,
    Inspect, ObjectManagerFactory, RendezvousFactory, Stop, bring_up,
    connections::{Connections, Slot},
    contexts::{Contexts, check_tables},
    directory::Trust,
    live::Live,
    multi::Gathering,
};
use crate::{
    Error, Result,
    context::{self, ContextShared, DistributedContext, Peer, Refuse},
    deadline,
    envelope::{ask, post},
    limits::TaskLimits,
    link::Identity,
    objects::MemoryBudget,
    observe::Observers,
    ops::OpRegistry,
    programs::Compilers,
    session::{Change, Control, Controlled, End, Ended, Opened, SessionId, Shut},
};

/// How often idle contexts are looked for.
const IDLE_CHECK: Duration = Duration::from_secs(1);
/// How often memory that is kept for buffers, and was not needed, is given back.
const BUFFER_CHECK: Duration = Duration::from_secs(10);
/// How often is looked whether objects that were in use may go to disk now, if there is a place for them.
const SPILL_CHECK: Duration = Duration::from_millis(100);
/// How often a draining server looks whether its calls are done.
const DRAIN_CHECK: Duration = Duration::from_millis(20);

/// One task: its contexts, its sessions, its receivers.
pub struct Server {
    pub(super) who: Identity,
    pub(super) address: Option<Address>,
    pub(super) devices: Vec<DeviceName>,
    pub(super) directory: Directory,
    pub(super) compilers: Compilers,
    pub(super) ops: Arc<OpRegistry>,
    pub(super) executor: ExecutorRecipients,
    pub(super) object_manager: ObjectManagerFactory,
    pub(super) rendezvous: RendezvousFactory,
    pub(super) memory: MemoryBudget,
    pub(super) limits: TaskLimits,
    pub(super) contexts: Contexts<Live>,
    pub(super) connections: Arc<Connections>,
    pub(super) sessions: BTreeMap<SessionId, Connected>,
    /// Sessions that were ended because their peer sent too much.
    pub(super) flooded: u64,
    pub(super) observers: Observers,
    pub(super) gathering: Gathering,
    pub(super) draining: bool,
}

/// A connection was accepted and its handshake is over.
#[derive(Debug, actix::Message)]
#[rtype(result = "()")]
pub(super) struct Accepted(pub(super) SessionId, pub(super) Connected);

/// A session, as the server holds it.
#[derive(Debug)]
pub(super) struct Connected {
    pub(super) shut: Recipient<Shut>,
    /// Whose it is, and how a test kills it.
    #[cfg(any(test, feature = "testing"))]
    pub(super) die: (TaskName, Recipient<crate::testing::Die>),
    /// It counts among the connections until it is forgotten.
    pub(super) _slot: Slot,
}

impl Server {
    /// A context that another task makes here.
    fn create(
        &mut self,
        session: SessionId,
        peer: &TaskName,
        is_local: bool,
        request: CreateContextRequest,
    ) -> Result<Opened> {
        let id = request.context;
        self.contexts.check_new(id)?;
        let (own, _) = check_tables(&request, &self.who.task, &self.devices)?;
        let peers = request.tasks.into_iter().map(|info| Peer::new(info, None)).collect();
        let limit = context::DEFAULT_DEADLINE;
        let prefix = ObjectPrefix(self.directory.chance().bits());
        let shared = ContextShared::new(id, prefix, own, peers, request.devices, limit)?.with_groups(request.groups);
        let chain = ObjectPrefix(self.directory.chance().bits());
        let trust = if is_local { Trust::Local } else { Trust::Allowed };
        let context = self.start_context(Arc::new(shared), own, chain, trust)?;
        let opened = context.open(id, true, peer, request.prefix);
        let idle = Duration::from_millis(request.idle_timeout_ms);
        self.contexts.insert(id, Some(session), request.prefix, idle, context);
        Ok(opened)
    }

    fn answer(&mut self, control: &mut Control) -> Result<(Reply, Change)> {
        let opened = |context: &Option<Opened>| {
            let gone = || Error::new(ErrorCode::InvalidDistributedContextId, "the context is gone");
            context.clone().ok_or_else(gone)
        };
        match &control.body {
            Call::GetDevices(_) => {
                let (task, incarnation) = (self.who.task.clone(), self.who.incarnation);
                let reply = GetDevicesReply { task, incarnation, devices: self.devices.clone() };
                Ok((Reply::GetDevices(reply), Change::None))
            }
            Call::CreateContext(_) if self.draining => {
                Err(Error::new(ErrorCode::Unavailable, "the task is about to stop and takes no new work"))
            }
            Call::CreateContext(request) => {
                let request = (**request).clone();
                let (index, id) = (request.index, request.context);
                let opened = match request.mode {
                    ContextMode::Create if self.gathering.is_forming(id) => {
                        let message = format!("context {id} is being made by several tasks: take another number");
                        return Err(Error::new(ErrorCode::DistributedContextAlreadyExists, message));
                    }
                    ContextMode::Create => self.create(control.session, &control.peer, control.is_local, request)?,
                    ContextMode::Join => {
                        let joined = self.contexts.join(id, control.session, request.prefix)?;
                        joined.open(id, false, &control.peer, request.prefix)
                    }
                };
                let ready_chain = self.contexts.get(id)?.parts.ready_chain;
                let reply = CreateContextReply { incarnation: self.who.incarnation, ready_chain };
                Ok((Reply::CreateContext(reply), Change::Opened(index, opened)))
            }
            Call::KeepAlive(_) => {
                let id = opened(&control.context)?.id;
                self.contexts.get(id)?.parts.used.set(Instant::now());
                Ok((Reply::KeepAlive(KeepAliveReply {}), Change::None))
            }
            other => {
                Err(Error::new(ErrorCode::Internal, format!("{} is not the server's: must not happen", other.name())))
            }
        }
    }

    /// Ends a context on this task; the future is over when nothing of it is left.
    pub(super) fn close(&mut self, id: ContextId, error: Error) -> Option<impl Future<Output = ()> + use<>> {
        let context = self.contexts.remove(id)?.parts;
        context.shared.close(Error::new(ErrorCode::FailedPrecondition, "the context is closed"));
        Some(context.end(error))
    }

    /// A session is over, and with it the contexts that it made.
    pub(super) fn session_ended(&mut self, session: SessionId) {
        self.sessions.remove(&session);
        self.gathering.left(session);
        for id in self.contexts.end_session(session) {
            self.close_and_forget(id, "the link to the context's client was lost");
        }
    }

    pub(super) fn close_and_forget(&mut self, id: ContextId, why: &str) {
        let error = RemoteError::new(ErrorCode::Cancelled, why).on_task(&self.who.task);
        if let Some(close) = self.close(id, error.into()) {
            actix::spawn(close);
        }
    }

    fn bring_up(&mut self, config: ContextConfig) -> ResponseActFuture<Self, Result<Created>> {
        let own = remex_protocol::cluster::TaskInfo { name: self.who.task.clone(), address: self.address.clone() };
        let (directory, devices) = (self.directory.clone(), self.devices.clone());
        let (id, prefix) = (ContextId(self.directory.chance().bits()), ObjectPrefix(self.directory.chance().bits()));
        let (idle, task) = (config.idle_timeout, self.who.task.clone());
        let tables = async move { bring_up::tables(&directory, own, &devices, &config, id, prefix).await };
        let started = tables.into_actor(self).map(move |shared, act, _| {
            let shared = Arc::new(shared?);
            act.contexts.check_new(id)?;
            let own = TaskIndex(shared.peers.len() as u16 - 1);
            let chain = ObjectPrefix(act.directory.chance().bits());
            let context = act.start_context(shared.clone(), own, chain, Trust::All)?;
            let addr = context.addr.clone();
            act.contexts.insert(id, None, prefix, idle, context);
            Ok((shared, addr))
        });
        let created =
            started.then(move |started: Result<(Arc<ContextShared>, Addr<DistributedContext>)>, act: &mut Self, _| {
                async move {
                    let (shared, context) = started?;
                    for peer in &shared.peers {
                        if let Some(link) = &peer.link {
                            post(&link.receiver.subscribe, crate::client::Subscribe(context.clone().recipient()));
                        }
                    }
                    bring_up::create(&shared, &task, idle).await.map(|()| Created { shared, context })
                }
                .into_actor(act)
            });
        let kept = created.map(move |created: Result<Created>, act, _| {
            match &created {
                Ok(Created { shared, .. }) => bring_up::spawn_keep_alive(shared, idle),
                Err(_) => act.close_and_forget(id, "the context could not be made on every task"),
            }
            created
        });
        Box::pin(kept)
    }
}

impl Actor for Server {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(BUFFER_CHECK, |act, _| {
            act.who.buffers.trim();
            act.directory.forget_unused();
        });
        if self.memory.disk().is_some() {
            ctx.run_interval(SPILL_CHECK, |act, _| act.memory.tick());
        }
        ctx.run_interval(IDLE_CHECK, |act, _| {
            act.check_actors();
            for id in act.contexts.idle(Instant::now().into_std(), |context| context.used.get().into_std()) {
                tracing::info!(context = %id, "collected: no sign of life from its client");
                act.close_and_forget(id, "the context was idle for too long and was collected");
            }
        });
    }
}

impl Handler<Accepted> for Server {
    type Result = ();

    fn handle(&mut self, Accepted(session, connected): Accepted, _: &mut Context<Self>) {
        self.sessions.insert(session, connected);
    }
}

impl Handler<Control> for Server {
    type Result = ();

    fn handle(&mut self, control: Control, _: &mut Context<Self>) {
        let Some(mut control) = self.gathering.hold(control) else { return };
        let (call, kind) = (control.call, control.body.kind());
        if let (Call::CloseContext(request), Some(context)) = (&control.body, &control.context) {
            let reply = Body::Completed(Reply::CloseContext(CloseContextReply {}));
            let answer = Controlled { frame: Frame::new(call, reply), change: Change::Closed(request.context) };
            let error = RemoteError::new(ErrorCode::Cancelled, "the context was closed by its client");
            // Who only joined leaves; who made it ends it.
            let close =
                context.is_creator.then(|| self.close(context.id, error.on_task(&self.who.task).into())).flatten();
            actix::spawn(async move {
                if let Some(close) = close {
                    close.await;
                }
                post(&control.answer, answer);
            });
            return;
        }
        if let Call::ListObjects(request) = &control.body {
            return self.list(&control, request);
        }
        let answer = match self.answer(&mut control) {
            Ok((reply, change)) => Controlled { frame: Frame::new(call, Body::Completed(reply)), change },
            Err(error) => {
                let error = Box::new(error.remote().clone().on_task(&self.who.task).of_call(call));
                Controlled { frame: Frame::new(call, Body::Failed { kind, error }), change: Change::None }
            }
        };
        post(&control.answer, answer);
    }
}

impl Handler<Ended> for Server {
    type Result = ();

    fn handle(&mut self, Ended { session, how }: Ended, _: &mut Context<Self>) {
        match how {
            End::Over => {}
            End::Flooded => self.flooded += 1,
            End::Died => self.tell_death("Session", &session.to_string()),
        }
        self.session_ended(session);
    }
}

impl Handler<CreateContext> for Server {
    type Result = ResponseActFuture<Self, Result<Created>>;

    fn handle(&mut self, CreateContext(config): CreateContext, ctx: &mut Context<Self>) -> Self::Result {
        match config.mode.clone() {
            super::ContextMode::SingleClient => self.bring_up(config),
            super::ContextMode::MultiClient { id, lead } => self.bring_up_together(config, id, lead, ctx),
        }
    }
}

impl Handler<CloseEverywhere> for Server {
    type Result = ResponseFuture<Result<Vec<Error>>>;

    fn handle(&mut self, CloseEverywhere(id): CloseEverywhere, _: &mut Context<Self>) -> Self::Result {
        let shared = match self.contexts.get(id) {
            Ok(context) => context.parts.shared.clone(),
            Err(error) => return Box::pin(async move { Err(error) }),
        };
        shared.close(Error::new(ErrorCode::FailedPrecondition, "the context is closed"));
        let error = RemoteError::new(ErrorCode::Cancelled, "the context was closed").on_task(&self.who.task);
        let close = self.close(id, error.into());
        Box::pin(async move {
            let errors = bring_up::close(&shared).await;
            if let Some(close) = close {
                close.await;
            }
            Ok(errors)
        })
    }
}

impl Handler<Discover> for Server {
    type Result = ResponseFuture<Result<Vec<Discovered>>>;

    fn handle(&mut self, Discover { addresses, wait }: Discover, _: &mut Context<Self>) -> Self::Result {
        let directory = self.directory.clone();
        Box::pin(async move { bring_up::discover(&directory, &addresses, wait).await })
    }
}

impl Handler<Stop> for Server {
    type Result = ResponseActFuture<Self, Result<()>>;

    fn handle(&mut self, Stop { drain }: Stop, ctx: &mut Context<Self>) -> Self::Result {
        self.draining = true;
        let message = "the task is about to stop and takes no new work";
        let error = RemoteError::new(ErrorCode::Unavailable, message).with_effect(remex_protocol::Effect::NotRun);
        for context in self.contexts.iter() {
            post(&context.parts.addr.clone().recipient(), Refuse(error.clone().on_task(&self.who.task).into()));
        }
        let (inspect, deadline) = (ctx.address().recipient(), deadline::from_now(drain));
        let drained = async move {
            while ask(&inspect, Inspect).await.is_ok_and(|stats| stats.jobs > 0) && Instant::now() < deadline {
                tokio::time::sleep(DRAIN_CHECK).await;
            }
        };
        Box::pin(
            drained
                .into_actor(self)
                .then(|(), act, _| {
                    let own: Vec<_> = act
                        .contexts
                        .iter()
                        .filter(|context| context.creator.is_none())
                        .map(|context| context.parts.shared.clone())
                        .collect();
                    let error = RemoteError::new(ErrorCode::Cancelled, "the task was stopped").on_task(&act.who.task);
                    own.iter().for_each(|shared| {
                        shared.close(Error::new(ErrorCode::FailedPrecondition, "the server was stopped"));
                    });
                    let closed: Vec<_> =
                        act.contexts.ids().into_iter().filter_map(|id| act.close(id, error.clone().into())).collect();
                    let disk = act.memory.disk();
                    async move {
                        futures_util::future::join_all(closed).await;
                        futures_util::future::join_all(own.iter().map(bring_up::close)).await;
                        if let Some(disk) = disk {
                            disk.close().await;
                        }
                    }
                    .into_actor(act)
                })
                .map(|(), act, ctx| {
                    std::mem::take(&mut act.sessions).into_values().for_each(|session| post(&session.shut, Shut));
                    act.directory.hang_up();
                    ctx.stop();
                    Ok(())
                }),
        )
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("who", &self.who).field("address", &self.address).finish_non_exhaustive()
    }
}
