//! The calling side of a context: what was queued, made into frames and expectations, one message per receiver.

use std::sync::Arc;

use remex_protocol::{
    Body, Call, Frame,
    calls::{DeleteMode, DeleteObjectsRequest},
    frame::MAX_DELETES,
    ids::{CallId, ObjectId, TaskIndex},
};

use super::{
    ContextShared, Link,
    ingress::{Queued, QueuedCall},
    parked::ParkedCall,
};
use crate::{
    Result,
    client::{Outgoing, died},
    envelope::post,
    pending::{Cancelled, Expect, Expectation, Promised},
};

/// What goes to one receiver.
#[derive(Debug, Default)]
struct Batch {
    expect: Vec<Expectation>,
    frames: Vec<Frame>,
    released: Vec<ObjectId>,
    cancelled: Vec<CallId>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.expect.is_empty() && self.released.is_empty() && self.cancelled.is_empty()
    }
}

/// Sends everything that was queued, in order. `park` keeps calls that are to be sent later and says what is expected
/// of them.
pub(super) fn send(shared: &Arc<ContextShared>, mut park: impl FnMut(ParkedCall) -> Expectation) {
    let queued = shared.ingress.take();
    let mut batches: Vec<Batch> = Vec::new();
    batches.resize_with(shared.peers.len(), Batch::default);
    for item in queued {
        match item {
            Queued::Release { to, object } => batches[to.position()].released.push(object),
            Queued::Cancel { to, call } => batches[to.position()].cancelled.push(call),
            Queued::Parked(parked) => {
                let to = parked.draft.to;
                batches[to.position()].expect.push(park(*parked));
            }
            Queued::Call(call) => {
                let QueuedCall { to, call, body, payload, deadline, promised, admission, holds } = *call;
                let batch = &mut batches[to.position()];
                let name = body.name();
                batch.expect.push(Expectation { call, name, deadline, promised, admission, holds });
                batch.frames.push(Frame::new(call, Body::Call(body)).with_payload(payload));
            }
        }
    }
    for (task, batch) in batches.into_iter().enumerate() {
        send_to(shared, TaskIndex(task as u16), batch);
    }
}

/// The context is closed, and nothing that was queued will be sent: it fails with that, and its slots and credits are free
/// again.
pub(super) fn refuse(shared: &Arc<ContextShared>) {
    send(shared, |parked| parked.expected().2);
}

fn send_to(shared: &ContextShared, task: TaskIndex, mut batch: Batch) {
    if batch.is_empty() {
        return;
    }
    release(shared, task, &mut batch);
    let link = match shared.link(task).and_then(alive) {
        Ok(link) => link,
        Err(error) => {
            if let Some(link) = shared.peers[task.position()].last_link() {
                link.receiver.edge.give_back(batch.expect.iter().map(|expectation| expectation.call));
            }
            batch.expect.into_iter().for_each(|expectation| expectation.promised.fail(error.clone()));
            return;
        }
    };
    if !batch.expect.is_empty() {
        // The reply cannot come before what is expected of it: this goes first, on the same arbiter.
        post(&link.receiver.expect, Expect(batch.expect));
        if !batch.frames.is_empty() {
            post(&link.receiver.outgoing, Outgoing(batch.frames));
        }
    }
    batch.cancelled.into_iter().for_each(|call| post(&link.receiver.cancel, Cancelled::by_caller(call)));
}

/// What is given to a dead actor would never be answered.
fn alive(link: Link<'_>) -> Result<Link<'_>> {
    if link.receiver.is_alive() { Ok(link) } else { Err(died()) }
}

/// Objects whose last reference is gone go behind everything that was queued with them: no call names them any more.
fn release(shared: &ContextShared, task: TaskIndex, batch: &mut Batch) {
    let Ok(link) = shared.link(task) else { return };
    for objects in batch.released.chunks(MAX_DELETES) {
        let call = link.receiver.edge.ticket();
        let request =
            DeleteObjectsRequest { context: link.index, objects: objects.to_vec(), mode: DeleteMode::Release };
        batch.expect.push(Expectation {
            call,
            name: "DeleteObjects",
            deadline: tokio::time::Instant::now().into_std(),
            promised: Promised::Nothing,
            admission: None,
            holds: Vec::new(),
        });
        batch.frames.push(Frame::new(call, Body::Call(Call::DeleteObjects(Box::new(request)))));
    }
}
