//! The context as an actor: the calling side empties the queue, the serving side answers sessions.

use std::{cell::Cell, rc::Rc, sync::Arc};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, ResponseFuture, WrapFuture,
};
use remex_protocol::{Call, ErrorCode, RemoteError, Reply, cluster::Address, ids::TaskIndex};
use tokio::time::Instant;

use super::{
    CloseContext, ContextShared, DataRecipients, Drain, Inspect, Refuse, RemoteExecute, RemoteExecuteOp, fetching,
    outgoing,
    parked::Parked,
    reach::{Joins, Reach},
    serving::{Served, Serving},
};
use crate::{
    Error, Result,
    client::LinkEvent,
    collectives::{self, ChunkArrived, SendChunk, TaskLost},
    envelope::{ask, post},
    executor::{Compile, Compiled},
    handles::Execution,
    objects::{Bound, Close, Fetched, Foreseen, Resolve, SessionEnded, Wanted},
    programs::{Compilers, registry::ToCompile},
    rendezvous::{self, DataArrived},
    server::{Directory, Trust},
    session::{Answers, Calls, Incoming},
};

/// One context on one task.
#[derive(Debug)]
pub struct DistributedContext {
    shared: Arc<ContextShared>,
    serving: Serving,
    joins: Joins,
    parked: Parked,
    objects: Objects,
    compile: Recipient<Compile>,
    compilers: Compilers,
    /// When the context was last used, for the server that collects idle ones.
    data: DataRecipients,
    used: Rc<Cell<Instant>>,
    /// Set when the task drains.
    refusing: Option<Error>,
}

/// What a context says to its object manager.
#[derive(Clone, Debug)]
pub struct Objects {
    /// Batches of calls.
    pub resolve: Recipient<Resolve>,
    /// Ends of compilations.
    pub bound: Recipient<Bound>,
    /// Objects from other tasks.
    pub fetched: Recipient<Fetched>,
    /// What is known of such objects before they are here.
    pub foreseen: Recipient<Foreseen>,
    /// Ends of sessions.
    pub ended: Recipient<SessionEnded>,
    /// The end.
    pub close: Recipient<Close>,
    /// Its numbers.
    pub inspect: Recipient<crate::objects::Inspect>,
    /// What it has, for those who look.
    pub list: Recipient<crate::objects::List>,
}

/// What a context is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) shared: Arc<ContextShared>,
    pub(crate) serving: Serving,
    pub(crate) directory: Directory,
    pub(crate) trust: Trust,
    pub(crate) objects: Objects,
    pub(crate) compile: Recipient<Compile>,
    pub(crate) compilers: Compilers,
    pub(crate) data: DataRecipients,
    pub(crate) used: Rc<Cell<Instant>>,
}

impl DistributedContext {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { shared, serving, directory, trust, objects, compile, compilers, data, used } = parts;
        let joins = Joins::new(serving.own(), directory, trust);
        let (parked, refusing) = (Parked::default(), None);
        Self { shared, serving, joins, parked, objects, compile, compilers, data, used, refusing }
    }

    fn start_compilation(&mut self, ToCompile { compilation, format, source }: ToCompile, ctx: &mut Context<Self>) {
        let done = ctx.address().recipient();
        match self.compilers.find(&format) {
            Ok(compiler) => post(&self.compile, Compile { compilation, compiler, source, done }),
            Err(error) => post(&done, Compiled { compilation, program: Err(error) }),
        }
    }

    /// New work is refused while the task drains; what frees something is not.
    fn refuse(&self, calls: &mut Calls) {
        let Some(error) = &self.refusing else { return };
        let mut frames = Vec::new();
        calls.calls.retain(|incoming| match incoming {
            Incoming::Call {
                call,
                body:
                    body @ (Call::RemoteExecute(_)
                    | Call::RemoteExecuteOp(_)
                    | Call::RegisterFunction(_)
                    | Call::PutObject(_)
                    | Call::BeginPut(_)),
                ..
            } => {
                frames.push(self.serving.frame(*call, body.kind(), Err(error.clone())));
                false
            }
            Incoming::Call { .. } | Incoming::Payload { .. } | Incoming::Cancel { .. } => true,
        });
        post(&calls.answers, Answers(frames));
    }

    /// A link is gone. Where this task made the context it is gone with the link; elsewhere it lives on, unless the task
    /// was restarted.
    fn lost(&mut self, address: &Address, error: &Error, restarted: bool) {
        let mut lost = self.joins.lost(address, error);
        for (i, peer) in self.shared.peers.iter().enumerate() {
            let link = peer.link.as_ref().filter(|link| link.receiver.address == *address);
            if link.is_some_and(|link| link.lost.set(error.clone()).is_ok()) {
                lost.push(TaskIndex(i as u16));
            }
        }
        for task in lost {
            if restarted || self.shared.makes(task).is_some() {
                self.shared.end_life(task, error);
            }
            self.lost_task(task, error.clone());
        }
    }

    /// A task is not reached, and what lives there may be again. Who waits for what it does goes on without it.
    fn stalled(&self, address: &Address, error: &Error) {
        for (i, peer) in self.shared.peers.iter().enumerate() {
            if peer.last_link().is_some_and(|link| link.receiver.address == *address) {
                self.lost_task(TaskIndex(i as u16), error.clone());
            }
        }
    }

    /// Collectives that a task takes part in do not wait for it any more.
    fn lost_task(&self, task: TaskIndex, error: Error) {
        let error = error.map(|error| error.on_task(self.shared.task_name(task)));
        post(&self.data.collectives.lost, TaskLost { task, error });
    }
}

impl Actor for DistributedContext {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.shared.ingress.attach(ctx.address().recipient(), &self.shared);
        self.shared.reaching.attach(ctx.address().recipient());
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        // Who ends it in good order closes it first.
        self.shared.close(died());
        self.parked.close(&self.shared, self.shared.closed.get().unwrap_or(&closed()));
        outgoing::refuse(&self.shared);
        self.joins.leave();
        self.shared.registered.clear();
    }
}

impl Handler<Drain> for DistributedContext {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) {
        let mut waits = Vec::new();
        outgoing::send(&self.shared, |call| {
            let (key, expectation, wait) = self.parked.park(call);
            waits.push((key, wait));
            expectation
        });
        for (key, wait) in waits {
            let go_on = move |outcome, context: &mut Self, _: &mut Context<Self>| {
                context.parked.go_on(key, &context.shared, outcome);
            };
            ctx.spawn(wait.into_actor(self).map(go_on));
        }
    }
}

impl Handler<RemoteExecute> for DistributedContext {
    type Result = Result<Execution>;

    fn handle(&mut self, execute: RemoteExecute, _: &mut Context<Self>) -> Self::Result {
        self.shared.try_execute(execute)
    }
}

impl Handler<RemoteExecuteOp> for DistributedContext {
    type Result = Result<Execution>;

    fn handle(&mut self, op: RemoteExecuteOp, _: &mut Context<Self>) -> Self::Result {
        self.shared.try_execute_op(op)
    }
}

impl Handler<Calls> for DistributedContext {
    type Result = ();

    fn handle(&mut self, mut calls: Calls, ctx: &mut Context<Self>) {
        self.used.set(Instant::from_std(calls.at));
        self.refuse(&mut calls);
        let (session, answers) = (calls.session, calls.answers.clone());
        let Served { steps, answers: frames, compile, values, chunks, bound } = self.serving.serve(calls);
        if !values.is_empty() {
            post(&self.data.rendezvous.arrived, DataArrived(values));
        }
        if !chunks.is_empty() {
            post(&self.data.collectives.arrived, ChunkArrived(chunks));
        }
        if !steps.is_empty() {
            post(&self.objects.resolve, Resolve { session, answers: answers.clone(), steps });
        }
        if !frames.is_empty() {
            post(&answers, Answers(frames));
        }
        for (compilation, program) in bound {
            post(&self.objects.bound, Bound { compilation, program });
        }
        compile.into_iter().for_each(|compile| self.start_compilation(compile, ctx));
    }
}

impl Handler<Compiled> for DistributedContext {
    type Result = ();

    fn handle(&mut self, Compiled { compilation, program }: Compiled, _: &mut Context<Self>) {
        let kind = <remex_protocol::calls::RegisterFunctionRequest as remex_protocol::Rpc>::KIND;
        let (program, names, answers) = self.serving.registry.compiled(compilation, program);
        for compilation in names {
            post(&self.objects.bound, Bound { compilation, program: program.clone() });
        }
        for (session, call, answer) in answers {
            let frame = self.serving.frame(call, kind, answer.map(Reply::RegisterFunction));
            if let Some(answers) = self.serving.answers_of(session) {
                post(&answers, Answers(vec![frame]));
            }
        }
    }
}

impl Handler<SessionEnded> for DistributedContext {
    type Result = ();

    fn handle(&mut self, ended: SessionEnded, _: &mut Context<Self>) {
        let from = self.serving.end_session(ended.session);
        if let (Some(task), Some(_)) = (from, ended.lost) {
            let error = RemoteError::new(ErrorCode::RpcUnavailable, "the link to the task was lost");
            self.lost_task(task, error.into());
        }
        post(&self.objects.ended, ended);
    }
}

impl Handler<Wanted> for DistributedContext {
    type Result = ();

    fn handle(&mut self, Wanted(wanted): Wanted, ctx: &mut Context<Self>) {
        for want in wanted {
            let reached = match self.shared.find(want.owner) {
                Ok(Some(_)) => Ok(None),
                Ok(None) => self.joins.join(&self.shared, ctx.address().recipient(), want.owner).map(Some),
                Err(error) => Err(error),
            };
            let fetch = fetching::fetch(self.shared.clone(), reached, want, self.objects.foreseen.clone());
            let fetched = self.objects.fetched.clone();
            actix::spawn(async move {
                let outcome = fetch.await;
                post(&fetched, Fetched { object: want.object, outcome });
            });
        }
    }
}

impl Handler<Reach> for DistributedContext {
    type Result = ();

    fn handle(&mut self, Reach { task, reached }: Reach, ctx: &mut Context<Self>) {
        match self.joins.join(&self.shared, ctx.address().recipient(), task) {
            Err(error) => reached.settle(Err(error)),
            Ok(joined) => {
                actix::spawn(async move { reached.settle(joined.get().await) });
            }
        }
    }
}

impl Handler<LinkEvent> for DistributedContext {
    type Result = ();

    fn handle(&mut self, event: LinkEvent, _: &mut Context<Self>) {
        match event {
            LinkEvent::Down { address, error, restarted } => self.lost(&address, &error, restarted),
            LinkEvent::Stalled { address, error } => self.stalled(&address, &error),
            LinkEvent::Up(_) => {}
        }
    }
}

impl Handler<SendChunk> for DistributedContext {
    type Result = ResponseFuture<Result<()>>;

    fn handle(&mut self, chunk: SendChunk, _: &mut Context<Self>) -> Self::Result {
        // Polled in this order, and admission is first come, first served: chunks for a task keep theirs.
        Box::pin(self.shared.clone().send_chunk(chunk))
    }
}

impl Handler<Refuse> for DistributedContext {
    type Result = ();

    fn handle(&mut self, Refuse(error): Refuse, _: &mut Context<Self>) {
        self.refusing = Some(error);
    }
}

impl Handler<Inspect> for DistributedContext {
    type Result = Result<(usize, usize, u64)>;

    fn handle(&mut self, _: Inspect, _: &mut Context<Self>) -> Self::Result {
        Ok(self.serving.registry.counts())
    }
}

impl Handler<CloseContext> for DistributedContext {
    type Result = ResponseFuture<Result<()>>;

    fn handle(&mut self, CloseContext(error): CloseContext, ctx: &mut Context<Self>) -> Self::Result {
        self.serving.close(&error);
        ctx.stop();
        let (close, data) = (self.objects.close.clone(), self.data.clone());
        Box::pin(async move {
            // Those who wait for data have their answer before the objects go. An actor that is gone has given it.
            let _ = ask(&data.rendezvous.close, rendezvous::Close(error.clone())).await;
            let _ = ask(&data.collectives.close, collectives::Close(error.clone())).await;
            ask(&close, Close(error)).await
        })
    }
}

/// What calls fail with when the context's actor is gone and nobody closed the context.
pub(super) fn died() -> Error {
    Error::new(ErrorCode::Internal, "the actor of the context died on this task, which is a bug: make the context anew")
}

/// What is not sent any more fails with this.
pub(super) fn closed() -> Error {
    Error::new(ErrorCode::FailedPrecondition, "the context is closed")
}
