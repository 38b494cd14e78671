//! A running collective as an actor.

use std::sync::Arc;

use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Recipient, WrapFuture};
use bytes::Bytes;
use remex_protocol::{
    ErrorCode,
    collective::{ChunkHeader, CollectiveOp},
    ids::TaskIndex,
    tensor::Tensor,
};
use tokio::time::Instant;

use super::{
    Chunks, Ended, GiveUp, SendChunk, cause,
    member::{Effect, Member},
    runs::{Arrived, RunKey},
};
use crate::{
    Error, Result,
    envelope::{ask, post},
    promise::Writer,
    rendezvous::Answer,
};

/// One run of a collective on this task.
#[derive(Debug)]
pub(super) struct Collective {
    pub(super) key: RunKey,
    /// This task, for messages.
    pub(super) task: Arc<str>,
    pub(super) member: Member,
    /// The tasks of the members, in their order.
    pub(super) members: Arc<[TaskIndex]>,
    pub(super) until: Instant,
    /// Gone when the caller has been told.
    pub(super) to: Option<Writer<Option<Tensor>>>,
    /// What came before the join.
    pub(super) early: Vec<Arrived<Answer>>,
    pub(super) send: Recipient<SendChunk>,
    pub(super) ended: Recipient<Ended>,
}

impl Collective {
    fn take(&mut self, Arrived { from, header, payload, answer }: Arrived<Answer>) {
        match header.op {
            CollectiveOp::Abort { member } => self.member.aborted(cause::from_bytes(&payload, member)),
            _ => self.member.chunk(from, &header, payload),
        }
        if let Some(answer) = answer {
            answer.give(Ok(()), &self.task);
        }
    }

    fn message(&self, to: u16, header: &ChunkHeader, payload: Bytes) -> Result<SendChunk> {
        let internal = |message: String| Error::new(ErrorCode::Internal, message);
        let to = self.members.get(usize::from(to)).copied();
        let to = to.ok_or_else(|| internal("a chunk for a member that there is not: must not happen".to_owned()))?;
        let header = header.to_bytes().map_err(|error| internal(error.to_string()))?.into();
        Ok(SendChunk { to, name: self.key.name.clone(), header, payload, until: self.until.into_std() })
    }

    fn carry_out(&mut self, ctx: &mut Context<Self>) {
        for effect in self.member.take_effects() {
            match effect {
                Effect::Send { to, header, payload } => match self.message(to, &header, payload) {
                    Ok(message) => {
                        let send = self.send.clone();
                        let sent = async move { ask(&send, message).await }.into_actor(self);
                        ctx.spawn(sent.map(|result, act, ctx| {
                            match result {
                                Ok(()) => act.member.sent(),
                                Err(error) => act.member.fail(error),
                            }
                            act.carry_out(ctx);
                        }));
                    }
                    Err(error) => ctx.notify(GiveUp(error)),
                },
                Effect::Abort(error) => self.tell_all(&error),
                Effect::Finished(result) => {
                    if let Some(to) = self.to.take() {
                        to.settle(result);
                    }
                }
            }
        }
        if self.member.is_over() {
            post(&self.ended, Ended(self.key.clone()));
            ctx.stop();
        }
    }

    /// Tells all others that it failed. Not waited for: who is not reached learns it by loss or deadline.
    fn tell_all(&self, error: &Error) {
        let (header, payload) = (self.member.abort_header(), cause::to_bytes(error));
        for (to, _) in
            (0u16..).zip(self.members.iter()).filter(|(to, _)| CollectiveOp::Abort { member: *to } != header.op)
        {
            let Ok(message) = self.message(to, &header, payload.clone()) else { continue };
            let until = (Instant::now() + ABORT_TIME).max(self.until).into_std();
            let (send, message) = (self.send.clone(), SendChunk { until, ..message });
            actix::spawn(async move {
                if let Err(error) = ask(&send, message).await {
                    tracing::debug!(%error, "a member was not told that a collective failed");
                }
            });
        }
    }
}

/// An abort is worth keeping at least so long, however late it is: a member that joins later is to learn of it.
const ABORT_TIME: std::time::Duration = std::time::Duration::from_secs(60);

impl Actor for Collective {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        for arrived in std::mem::take(&mut self.early) {
            self.take(arrived);
        }
        ctx.run_later(self.until.saturating_duration_since(Instant::now()), |act, ctx| {
            act.member.expire();
            act.carry_out(ctx);
        });
        self.carry_out(ctx);
    }
}

impl Handler<Chunks> for Collective {
    type Result = ();

    fn handle(&mut self, mut chunks: Chunks, ctx: &mut Context<Self>) {
        for arrived in std::mem::take(&mut chunks.0) {
            self.take(arrived);
        }
        self.carry_out(ctx);
    }
}

impl Handler<GiveUp> for Collective {
    type Result = ();

    fn handle(&mut self, GiveUp(error): GiveUp, ctx: &mut Context<Self>) {
        self.member.fail(error);
        self.carry_out(ctx);
    }
}
