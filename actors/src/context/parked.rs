//! Calls that are sent only when others are done (I5, `after`).
//!
//! Such a call is expected from the beginning, so that its deadline and a cancel settle its promises as any other's; its
//! slot, its credits and its objects stay taken until it is sent or given up.

use std::{collections::BTreeMap, future::Future, sync::Arc};

use remex_protocol::{
    Body, Call, Frame,
    calls::{DeleteMode, DeleteObjectsRequest, FailObjectsRequest},
    ids::{CallId, ContextIndex, ObjectId},
};
use tokio::time::Instant;

use super::{ContextShared, draft::Draft};
use crate::{
    Error, Result,
    client::{Admission, Outgoing, Receiver},
    envelope::post,
    pending::{Expect, Expectation, Promised, Replies},
    promise::CallCell,
};

/// A call that waits for others.
#[derive(Debug)]
pub(crate) struct ParkedCall {
    pub(crate) draft: Draft,
    pub(crate) call: CallId,
    /// The call's own promises: settled before it is sent, it is not sent.
    pub(crate) own: CallCell,
    pub(crate) promised: Promised,
    pub(crate) admission: Option<Admission>,
}

impl ParkedCall {
    /// What is to be sent, its own promises, and what is to be expected of it.
    pub(super) fn expected(self) -> (Draft, CallCell, Expectation) {
        let ParkedCall { draft, call, own, promised, admission } = self;
        let (kind, deadline) = (draft.kind(), draft.deadline.into_std());
        let expectation = Expectation { call, kind, deadline, promised, admission, holds: draft.holds() };
        (draft, own, expectation)
    }
}

/// All calls of a context that wait for others.
#[derive(Debug, Default)]
pub(super) struct Parked {
    calls: BTreeMap<u64, Kept>,
    next: u64,
}

#[derive(Debug)]
struct Kept {
    draft: Draft,
    call: CallId,
}

impl Parked {
    /// Keeps a call. Gives its name here, what is to be expected of it, and a future that ends when the call is to be
    /// sent, or is not to be: because a call before it failed, or its own promises are settled.
    pub(super) fn park(&mut self, parked: ParkedCall) -> (u64, Expectation, impl Future<Output = Result<()>> + use<>) {
        let call = parked.call;
        let (mut draft, own, expectation) = parked.expected();
        let after = std::mem::take(&mut draft.after);
        let name = draft.name.clone();
        let key = self.next;
        self.next += 1;
        self.calls.insert(key, Kept { draft, call });
        let all_done = async move {
            for chain in after {
                chain.done().await.map_err(|error| error.map(|error| error.through(&*name)))?;
            }
            Ok(())
        };
        let wait = async move {
            tokio::select! {
                biased;
                done = own.done() => done,
                done = all_done => done,
            }
        };
        (key, expectation, wait)
    }

    /// The wait for a call's predecessors is over: it is sent, or what it promised fails, and what it would have made.
    pub(super) fn go_on(&mut self, key: u64, shared: &Arc<ContextShared>, outcome: Result<()>) {
        let Some(Kept { mut draft, call }) = self.calls.remove(&key) else { return };
        let Ok(link) = shared.link(draft.to) else {
            // The tracker was told that the link is lost; the objects went with their task.
            return if let Some(link) = shared.peers[draft.to.position()].last_link() {
                let closed = shared.link(draft.to).err().unwrap_or_else(super::actor::closed);
                withhold(&link.receiver, &draft, call, closed);
            };
        };
        let (receiver, index) = (&link.receiver, link.index);
        match outcome {
            Ok(()) => {
                let body = draft.call(shared, index);
                post(&receiver.outgoing, Outgoing(vec![Frame::new(call, Body::Call(body))]));
                let deleted = draft.made().filter(|object| !object.set_named()).map(|object| object.id()).collect();
                delete(receiver, index, deleted);
            }
            Err(error) => {
                withhold(receiver, &draft, call, error.clone());
                let deleted = draft.made().filter(|object| !object.set_named()).map(|object| object.id()).collect();
                fail_objects(receiver, index, draft.made().map(|object| object.id()).collect(), &error);
                // Nobody will release these.
                delete(receiver, index, deleted);
            }
        }
    }

    /// The context is over: nothing that waits will be sent.
    pub(super) fn close(&mut self, shared: &ContextShared, error: &Error) {
        for Kept { draft, call } in std::mem::take(&mut self.calls).into_values() {
            if let Some(link) = shared.peers[draft.to.position()].last_link() {
                withhold(&link.receiver, &draft, call, error.clone());
            }
        }
    }
}

/// A call is not sent: the tracker hears of it as if it had been answered, so that slot and credits are free again.
fn withhold(receiver: &Receiver, draft: &Draft, call: CallId, error: Error) {
    let error = Box::new(error.remote().clone());
    post(&receiver.replies, Replies(vec![Frame::new(call, Body::Failed { kind: draft.kind(), error })]));
}

/// What was deleted before the call that makes it was sent, or given up, is deleted behind it.
fn delete(receiver: &Receiver, context: ContextIndex, objects: Vec<ObjectId>) {
    if !objects.is_empty() {
        let request = DeleteObjectsRequest { context, objects, mode: DeleteMode::Release };
        tell(receiver, Call::DeleteObjects(Box::new(request)));
    }
}

/// Whoever waits on the worker for what the call would have made hears why it will not come (I3).
fn fail_objects(receiver: &Receiver, context: ContextIndex, objects: Vec<ObjectId>, error: &Error) {
    if !objects.is_empty() {
        let request = FailObjectsRequest { context, objects, cause: error.remote().clone() };
        tell(receiver, Call::FailObjects(Box::new(request)));
    }
}

/// A call whose answer nobody waits for.
fn tell(receiver: &Receiver, body: Call) {
    let (call, kind) = (receiver.edge.ticket(), body.kind());
    let deadline = Instant::now().into_std();
    let (promised, admission, holds) = (Promised::Nothing, None, Box::default());
    post(&receiver.expect, Expect(vec![Expectation { call, kind, deadline, promised, admission, holds }]));
    post(&receiver.outgoing, Outgoing(vec![Frame::new(call, Body::Call(body))]));
}
