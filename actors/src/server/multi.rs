//! Bring-up of a context by several tasks: each says to the lead what it has, and all get the same tables.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use actix::{ActorFutureExt, Context, Handler, Recipient, ResponseActFuture, WrapFuture};
use bytes::Bytes;
use remex_protocol::{
    Body, Call, ErrorCode, Frame, RemoteError, Reply, Rpc,
    calls::{ContextMode, SendReadyChainsReply, SendReadyChainsRequest},
    cluster::{TaskInfo, TaskName, resolve_groups},
    ids::{CallId, ContextId, ObjectPrefix, TaskIndex},
};
use tokio::time::Instant;

use super::{
    ContextConfig, Created, Directory, Server, bring_up,
    directory::{Trust, own_address},
    gathering::{Gatherings, Told},
};
use crate::{
    Error, Result,
    alarm::Alarm,
    client::Subscribe,
    context::{ContextShared, Peer},
    deadline,
    envelope::post,
    promise::{Promise, Writer, promise},
    session::{Answers, Control, Exchange, SessionId},
};

/// A follower that cannot reach its lead tries again after so long.
const AGAIN: Duration = Duration::from_millis(100);
/// So much earlier than a follower the lead gives up, at most, so that its answer still comes.
const ANSWER_TIME: Duration = Duration::from_millis(500);

/// What a server keeps of contexts that are being made by several tasks.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    led: Gatherings<Waiting>,
    /// Contexts that this task takes part in and that are not made yet, with those who want to use them already.
    forming: BTreeMap<ContextId, Vec<Control>>,
    alarm: Alarm,
}

/// A member, and how it is answered.
#[derive(Debug)]
enum Waiting {
    /// This task.
    Here(Writer<SendReadyChainsReply>),
    There {
        session: SessionId,
        call: CallId,
        answers: Recipient<Answers>,
    },
}

impl Gathering {
    pub(super) fn is_forming(&self, context: ContextId) -> bool {
        self.forming.contains_key(&context)
    }

    /// Keeps the call of a task that has heard sooner than this one that the context is there.
    pub(super) fn hold(&mut self, control: Control) -> Option<Control> {
        if let Call::CreateContext(request) = &control.body
            && request.mode == ContextMode::Join
            && let Some(held) = self.forming.get_mut(&request.context)
        {
            held.push(control);
            return None;
        }
        Some(control)
    }

    /// A session is over.
    pub(super) fn left(&mut self, session: SessionId) {
        self.led.retain(|waiting| !matches!(waiting, Waiting::There { session: of, .. } if *of == session));
        self.forming.values_mut().for_each(|held| held.retain(|control| control.session != session));
    }
}

impl Server {
    /// Takes part in a context that all tasks of the cluster make.
    pub(super) fn bring_up_together(
        &mut self,
        config: ContextConfig,
        id: ContextId,
        lead: TaskName,
        ctx: &mut Context<Self>,
    ) -> ResponseActFuture<Self, Result<Created>> {
        let (until, idle) = (deadline::from_now(config.wait), config.idle_timeout);
        let prepared = self.check_together(&config, id, &lead, until);
        let (request, own) = match prepared {
            Ok(prepared) => prepared,
            Err(error) => return Box::pin(async move { Err(error) }.into_actor(self)),
        };
        self.gathering.forming.insert(id, Vec::new());
        let tables = self.tables(request.clone(), until, ctx);
        let made = tables.into_actor(self).map(move |tables, act, ctx| {
            let made = tables.and_then(|tables| act.make(tables, &request, own, &config));
            for control in act.gathering.forming.remove(&id).unwrap_or_default() {
                Handler::<Control>::handle(act, control, ctx);
            }
            made
        });
        let joined = made.then(move |made: Result<Created>, act: &mut Self, _| {
            let task = act.who.task.clone();
            async move {
                let created = made?;
                bring_up::create(&created.shared, &task, idle).await.map(|()| created)
            }
            .into_actor(act)
        });
        Box::pin(joined.map(move |created: Result<Created>, act, _| {
            if created.is_err() {
                act.close_and_forget(id, "the context could not be made");
            }
            created
        }))
    }

    /// What this task says of itself, and its place among the tasks.
    fn check_together(
        &self,
        config: &ContextConfig,
        id: ContextId,
        lead: &TaskName,
        until: Instant,
    ) -> Result<(SendReadyChainsRequest, TaskIndex)> {
        let invalid = |message: String| Err(Error::new(ErrorCode::InvalidArgument, message));
        if self.gathering.is_forming(id) || self.contexts.get(id).is_ok() {
            let message =
                format!("context {id} is there already, or being made: close it first, or take another number");
            let error = RemoteError::new(ErrorCode::DistributedContextAlreadyExists, message);
            return Err(error.on_task(&self.who.task).into());
        }
        let tasks = config.cluster.tasks().to_vec();
        let names: Vec<_> = tasks.iter().map(|task| task.name.clone()).collect();
        let Some(own) = names.iter().position(|name| *name == self.who.task) else {
            return invalid(format!("{} is not among the tasks of the cluster: add it", self.who.task));
        };
        match tasks.iter().find(|task| task.name == *lead) {
            None => return invalid(format!("the lead, {lead}, is not among the tasks of the cluster")),
            Some(TaskInfo { address: None, .. }) => {
                return invalid(format!("the lead, {lead}, has no address: the others could not reach it"));
            }
            Some(_) => {}
        }
        let groups = resolve_groups(&config.groups, &names)
            .map_err(|error| Error::new(ErrorCode::InvalidArgument, error.to_string()))?;
        let request = SendReadyChainsRequest {
            context: id,
            lead: lead.clone(),
            member: self.who.task.clone(),
            tasks,
            groups,
            devices: self.devices.clone(),
            chain_prefix: ObjectPrefix(self.directory.chance().bits()),
            time_left_ms: deadline::left_ms(until),
        };
        Ok((request, TaskIndex(own as u16)))
    }

    /// Waits until all are there, at the lead or with it.
    fn tables(
        &mut self,
        request: SendReadyChainsRequest,
        until: Instant,
        ctx: &mut Context<Self>,
    ) -> impl Future<Output = Result<SendReadyChainsReply>> + use<> {
        let leads = request.lead == self.who.task;
        let mut here: Option<Promise<SendReadyChainsReply>> = None;
        if leads {
            let (writer, promise) = promise();
            here = Some(promise);
            let told = self.gathering.led.lead(request.clone(), Waiting::Here(writer), until.into_std());
            self.tell_members(told, ctx);
        }
        let directory = self.directory.clone();
        async move {
            match here {
                Some(here) => here.get().await,
                None => follow(&directory, request, until).await,
            }
        }
    }

    /// Starts the context here, with the tables that all have.
    fn make(
        &mut self,
        tables: SendReadyChainsReply,
        request: &SendReadyChainsRequest,
        own: TaskIndex,
        config: &ContextConfig,
    ) -> Result<Created> {
        let SendReadyChainsReply { devices, ready_chains } = tables;
        if ready_chains.len() != request.tasks.len() {
            let message = format!("the lead, {}, answered with tables of another cluster", request.lead);
            return Err(Error::new(ErrorCode::Internal, message));
        }
        self.contexts.check_new(request.context)?;
        let own_link = self.directory.receiver(Some(&self.who.task), &own_address()).and_then(bring_up::link)?;
        let mut own_link = Some(own_link);
        let tasks = request.tasks.iter().zip(ready_chains).enumerate();
        let peers = tasks.map(|(i, (info, chain))| {
            let link = if i == own.position() { own_link.take() } else { None };
            Peer::new(info.clone(), link).with_ready_chain(chain)
        });
        let prefix = ObjectPrefix(self.directory.chance().bits());
        let shared =
            ContextShared::new(request.context, prefix, own, peers.collect(), devices, config.default_deadline)?;
        let shared = Arc::new(shared.with_groups(request.groups.clone()));
        let live = self.start_context(shared.clone(), own, request.chain_prefix, Trust::All)?;
        let context = live.addr.clone();
        if let Some(link) = &shared.peers[own.position()].link {
            post(&link.receiver.subscribe, Subscribe(context.clone().recipient()));
        }
        self.contexts.insert(request.context, None, prefix, config.idle_timeout, live);
        Ok(Created { shared, context })
    }

    fn tell_members(&mut self, told: Told<Waiting>, ctx: &mut Context<Self>) {
        for (waiting, outcome) in told {
            match waiting {
                Waiting::Here(writer) => writer.settle(outcome),
                Waiting::There { call, answers, .. } => {
                    let body = match outcome {
                        Ok(reply) => Body::Completed(Reply::SendReadyChains(reply)),
                        Err(error) => {
                            let error = Box::new(error.remote().clone().on_task(&self.who.task).of_call(call));
                            Body::Failed { kind: SendReadyChainsRequest::KIND, error }
                        }
                    };
                    post(&answers, Answers(vec![Frame::new(call, body)]));
                }
            }
        }
        self.gathering.alarm.set(self.gathering.led.earliest(), ctx, Self::ring);
    }

    /// The next deadline of a gathering has passed.
    fn ring(&mut self, ctx: &mut Context<Self>) {
        self.gathering.alarm.rang();
        let told = self.gathering.led.expire(Instant::now().into_std());
        self.tell_members(told, ctx);
    }
}

impl Handler<Exchange> for Server {
    type Result = ();

    fn handle(&mut self, exchange: Exchange, ctx: &mut Context<Self>) {
        let Exchange { session, call, request, answers } = exchange;
        let waiting = Waiting::There { session, call, answers };
        let until = deadline::from_now(Duration::from_millis(request.time_left_ms)).into_std();
        let there = self.contexts.get(request.context).is_ok();
        let told = if there || self.draining {
            let (code, message) = match there {
                true => {
                    (ErrorCode::DistributedContextAlreadyExists, "the context is there already: take another number")
                }
                false => (ErrorCode::Unavailable, "the task is about to stop and takes no new work"),
            };
            vec![(waiting, Err(Error::new(code, message)))]
        } else {
            self.gathering.led.come(*request, waiting, until)
        };
        self.tell_members(told, ctx);
    }
}

/// Says to the lead what this task has; tries again while the lead cannot be reached.
async fn follow(
    directory: &Directory,
    request: SendReadyChainsRequest,
    until: Instant,
) -> Result<SendReadyChainsReply> {
    let lead = request.tasks.iter().find(|task| task.name == request.lead);
    let address = lead.and_then(|lead| lead.address.as_ref());
    let address = address.ok_or_else(|| Error::new(ErrorCode::Unavailable, "the lead has no address"))?;
    let receiver = directory.receiver(Some(&request.lead), address)?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let early = left - ANSWER_TIME.min(left / 10);
        let request = SendReadyChainsRequest { time_left_ms: early.as_millis() as u64, ..request.clone() };
        let named = |error: Error| {
            let message =
                format!("the context was not made with its lead {} at {address}: {}", request.lead, error.message());
            error.map(|error| RemoteError { message, ..error }.on_task(&request.lead))
        };
        match receiver.call(request.clone(), Bytes::new(), left).await {
            Ok((reply, _)) => return Ok(reply),
            Err(error) if error.code() == ErrorCode::RpcUnavailable && Instant::now() + AGAIN < until => {
                tokio::time::sleep(AGAIN).await;
            }
            Err(error) => return Err(named(error)),
        }
    }
}
