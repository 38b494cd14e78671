//! What others hold of a receiver: its name, its edge, and the way to its two actors.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use actix::Recipient;
use bytes::Bytes;
use remex_protocol::{
    Body, Effect, ErrorCode, Frame, RemoteError, Reply, Rpc,
    calls::{FetchObjectReply, FetchObjectRequest},
    cluster::Address,
    ids::{CallId, ContextIndex},
    tensor::TensorMetadata,
};

use super::{Connect, Edge, Hangup, LinkUp, Outgoing, Subscribe};
use crate::{
    Error, Result, deadline,
    envelope::{ask, post},
    pending::{Ahead, Cancelled, Early, Expect, Expectation, Promised, Replies},
    promise::{Promise, promise},
};

/// A task that calls are sent to.
#[derive(Debug)]
pub struct Receiver {
    /// Where it listens.
    pub address: Address,
    /// Where calls to it are admitted.
    pub edge: Arc<Edge>,
    /// Takes what is expected of it.
    pub expect: Recipient<Expect>,
    /// Takes what calls are answered with. `RemoteClient` tells it of what came; a context, of calls that it does not send.
    pub replies: Recipient<Replies>,
    /// Gives up on calls.
    pub cancel: Recipient<Cancelled>,
    /// Takes what is to be sent.
    pub outgoing: Recipient<Outgoing>,
    /// Dials.
    pub connect: Recipient<Connect>,
    /// Takes who wants news.
    pub subscribe: Recipient<Subscribe>,
    /// Ends the link.
    pub hangup: Recipient<Hangup>,
    /// What contexts are called on the link.
    pub(crate) indexes: Indexes,
}

/// Small integers that stand for contexts on a link.
#[derive(Debug, Default)]
pub(crate) struct Indexes(Mutex<BTreeSet<u16>>);

impl Indexes {
    /// The smallest one that stands for nothing.
    pub(crate) fn take(&self) -> Result<ContextIndex> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = (0..u16::MAX).find(|index| !taken.contains(index)).ok_or_else(|| {
            Error::new(ErrorCode::ResourceExhausted, "the link has no index left for another context: close some")
        })?;
        taken.insert(free);
        Ok(ContextIndex(free))
    }

    /// The peer was told that an index stands for nothing any more. Where it did not answer, it may still think otherwise:
    /// the index is not used again.
    pub(crate) fn ended<T>(&self, index: ContextIndex, answer: &Result<T>) {
        if !answer.as_ref().is_err_and(is_unanswered) {
            self.give_back(index);
        }
    }

    pub(crate) fn give_back(&self, index: ContextIndex) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&index.0);
    }
}

impl Receiver {
    /// Whether its two actors are there. What is sent to one that is not would never be answered.
    pub(crate) fn is_alive(&self) -> bool {
        self.outgoing.connected() && self.expect.connected()
    }

    /// Who answers there.
    pub async fn connect(&self) -> Result<LinkUp> {
        ask(&self.connect, Connect).await
    }

    /// Makes a control call, which takes no credits: what it refers to bounds it. Sent behind what was sent before.
    pub async fn call<R: Rpc>(&self, request: R, payload: Bytes, timeout: Duration) -> Result<(R::Reply, Bytes)> {
        let (writer, answer) = promise();
        self.make(request, payload, timeout, Promised::Answer(writer), answer).await
    }

    /// Fetches an object without taking credits, for a call here that waits for it. `known` is told what it will be, if its
    /// owner says so before it is there.
    pub(crate) async fn fetch(
        &self,
        request: FetchObjectRequest,
        timeout: Duration,
        known: impl FnOnce(TensorMetadata),
    ) -> Result<(FetchObjectReply, Bytes)> {
        let ((early, foreseen), (writer, answer)) = (promise(), promise());
        let ahead = Ahead { object: request.object, early: Early::Awaited(early), answer: writer };
        let fetched = self.make(request, Bytes::new(), timeout, Promised::Foreseen(Box::new(ahead)), answer);
        let told = async {
            if let Ok(metadata) = foreseen.get().await {
                known(metadata);
            }
        };
        futures_util::future::join(fetched, told).await.0
    }

    async fn make<R: Rpc>(
        &self,
        request: R,
        payload: Bytes,
        timeout: Duration,
        promised: Promised,
        answer: Promise<(Reply, Bytes)>,
    ) -> Result<(R::Reply, Bytes)> {
        if !self.is_alive() {
            return Err(died());
        }
        let call = self.edge.ticket();
        post(
            &self.expect,
            Expect(vec![Expectation {
                call,
                kind: R::KIND,
                deadline: deadline::from_now(timeout).into_std(),
                promised,
                admission: None,
                holds: Box::default(),
            }]),
        );
        post(&self.outgoing, Outgoing(vec![Frame::new(call, Body::Call(request.into_call())).with_payload(payload)]));
        let mut guard = CancelOnDrop { receiver: self, call, answered: false };
        let answer = answer.get().await;
        guard.answered = true;
        let (reply, payload): (Reply, Bytes) = answer?;
        R::reply(reply).map(|reply| (reply, payload)).ok_or_else(|| {
            let message = format!("{} was answered with another call's reply", R::NAME);
            Error::new(ErrorCode::Internal, message)
        })
    }
}

/// Whether a call may have been done, or may be done yet, though it was not answered.
pub(crate) fn is_unanswered(error: &Error) -> bool {
    let lost = error.code() == ErrorCode::RpcUnavailable && error.effect() == Effect::Unknown;
    lost || error.code() == ErrorCode::DeadlineExceeded
}

/// What calls fail with that nobody would send.
pub(crate) fn died() -> Error {
    let message = "the actor that sends calls to the task is gone: the server was stopped, or it died";
    RemoteError::new(ErrorCode::Internal, message).with_effect(Effect::NotSent).into()
}

/// Gives up on a control call whose caller has gone.
struct CancelOnDrop<'a> {
    receiver: &'a Receiver,
    call: CallId,
    answered: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if !self.answered {
            post(&self.receiver.cancel, Cancelled::by_caller(self.call));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I8.
    #[test]
    fn the_contexts_of_a_link_are_bounded() {
        let indexes = Indexes(Mutex::new((0..u16::MAX).collect()));
        assert_eq!(indexes.take().unwrap_err().code(), ErrorCode::ResourceExhausted);
        indexes.give_back(ContextIndex(700));
        assert_eq!(indexes.take().unwrap(), ContextIndex(700));
    }
}
