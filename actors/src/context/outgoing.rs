//! The calling side of a context: what was queued, made into frames and expectations, one message per receiver.

use std::{collections::BTreeMap, sync::Arc};

use remex_protocol::{
    Body, Call, Frame,
    calls::{DeleteMode, DeleteObjectsRequest, Origin, PinMode, PinObjectsRequest, Reader, RemoteExecuteRequest},
    frame::{MAX_ARGS, MAX_DELETES},
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
    kept: Vec<ObjectId>,
    cancelled: Vec<CallId>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.expect.is_empty() && self.released.is_empty() && self.kept.is_empty() && self.cancelled.is_empty()
    }
}

/// Sends everything that was queued, in order. `park` keeps calls that are to be sent later and says what is expected
/// of them.
pub(super) fn send(shared: &Arc<ContextShared>, mut park: impl FnMut(ParkedCall) -> Expectation) {
    let queued = shared.ingress.take();
    let mut batches: Vec<Batch> = Vec::new();
    batches.resize_with(shared.peers.len(), Batch::default);
    // Counted first: a batch of a thousand calls is large, and to grow step by step would copy it over and over.
    let mut calls = vec![0; shared.peers.len()];
    for item in &queued {
        if let Queued::Call(call) = item {
            calls[call.to.position()] += 1;
        }
    }
    for (batch, calls) in batches.iter_mut().zip(calls).filter(|(_, calls)| *calls > 0) {
        batch.expect.reserve(calls + 1);
        batch.frames.reserve(calls + 1);
    }
    for item in queued {
        match item {
            Queued::Release { to, object } => batches[to.position()].released.push(object),
            Queued::Keep { to, object } => batches[to.position()].kept.push(object),
            Queued::Cancel { to, call } => batches[to.position()].cancelled.push(call),
            Queued::Parked(parked) => {
                let to = parked.draft.to;
                batches[to.position()].expect.push(park(*parked));
            }
            Queued::Call(call) => {
                let QueuedCall { to, call, body, payload, deadline, promised, admission, holds } = *call;
                let batch = &mut batches[to.position()];
                let kind = body.kind();
                batch.expect.push(Expectation { call, kind, deadline, promised, admission, holds });
                batch.frames.push(Frame::new(call, Body::Call(body)).with_payload(payload));
            }
        }
    }
    tell_readers(&mut batches);
    for (task, batch) in batches.into_iter().enumerate() {
        send_to(shared, TaskIndex(task as u16), batch);
    }
}

/// Of calls that go out together, those whose outputs other tasks will fetch name these tasks: metadata goes there as soon as it
/// is known, and does not wait for the fetch to arrive.
fn tell_readers(batches: &mut [Batch]) {
    if batches.iter().filter(|batch| !batch.frames.is_empty()).count() < 2 {
        return;
    }
    let mut wanted: Vec<Vec<(ObjectId, TaskIndex)>> = Vec::new();
    for (task, batch) in batches.iter().enumerate() {
        for input in batch.frames.iter().filter_map(executed).flat_map(|request| &request.inputs) {
            if let Origin::Owner(owner) = input.origin {
                wanted.resize_with(batches.len(), Vec::new);
                wanted[owner.position()].push((input.object, TaskIndex(task as u16)));
            }
        }
    }
    for (batch, wanted) in batches.iter_mut().zip(wanted).filter(|(_, wanted)| !wanted.is_empty()) {
        let made = |(frame, request): (usize, &RemoteExecuteRequest)| {
            let outputs = request.outputs.iter().enumerate();
            outputs.map(move |(output, of)| (of.object, (frame, output as u32))).collect::<Vec<_>>()
        };
        let frames = batch.frames.iter().enumerate().filter_map(|(i, frame)| Some((i, executed(frame)?)));
        let makers: BTreeMap<_, _> = frames.flat_map(made).collect();
        for (object, task) in wanted {
            let Some(&(frame, output)) = makers.get(&object) else { continue };
            let Body::Call(Call::RemoteExecute(request)) = &mut batch.frames[frame].body else { continue };
            let reader = Reader { output, task };
            if request.readers.len() < MAX_ARGS && !request.readers.contains(&reader) {
                request.readers.push(reader);
            }
        }
    }
}

fn executed(frame: &Frame) -> Option<&RemoteExecuteRequest> {
    match &frame.body {
        Body::Call(Call::RemoteExecute(request)) => Some(request),
        _ => None,
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
    let_go(shared, task, &mut batch);
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

/// Released objects go with the last call, if it can take them and no frame is behind it, which might name one of them (I5): a frame
/// of their own, and its answer, would cost a small call a third as much again. Says whether they do.
fn carry(released: &mut Vec<ObjectId>, frames: &mut [Frame]) -> bool {
    let Some(Frame { body: Body::Call(Call::RemoteExecute(request)), .. }) = frames.last_mut() else { return false };
    let fits = released.len() <= MAX_DELETES;
    if fits {
        request.released = std::mem::take(released);
    }
    fits
}

/// What is kept, and objects whose last reference is gone, go behind everything that was queued with them: no call names them
/// any more.
fn let_go(shared: &ContextShared, task: TaskIndex, batch: &mut Batch) {
    let Ok(link) = shared.link(task) else { return };
    let (context, edge) = (link.index, &link.receiver.edge);
    let keep = |objects: &[ObjectId]| {
        let request = PinObjectsRequest { context, objects: objects.to_vec(), mode: PinMode::Keep };
        Call::PinObjects(Box::new(request))
    };
    let release = |objects: &[ObjectId]| {
        let request = DeleteObjectsRequest { context, objects: objects.to_vec(), mode: DeleteMode::Release };
        Call::DeleteObjects(Box::new(request))
    };
    if batch.kept.is_empty() && carry(&mut batch.released, &mut batch.frames) {
        return;
    }
    let kept = batch.kept.chunks(MAX_DELETES).map(keep);
    for body in kept.chain(batch.released.chunks(MAX_DELETES).map(release)) {
        let call = edge.ticket();
        batch.expect.push(Expectation {
            call,
            kind: body.kind(),
            deadline: tokio::time::Instant::now().into_std(),
            promised: Promised::Nothing,
            admission: None,
            holds: Box::default(),
        });
        batch.frames.push(Frame::new(call, Body::Call(body)));
    }
}

#[cfg(test)]
mod tests {
    use remex_protocol::ids::{ContextIndex, DeviceIndex, ObjectPrefix, ProgramIndex};

    use super::*;

    fn object(local: u64) -> ObjectId {
        ObjectId { prefix: ObjectPrefix(1), local, device: DeviceIndex(0) }
    }

    fn call(index: u32) -> Frame {
        let request = RemoteExecuteRequest {
            context: ContextIndex(0),
            program: ProgramIndex(0),
            inputs: Default::default(),
            outputs: Default::default(),
            in_chains: Default::default(),
            out_chain: None,
            time_left_ms: 1,
            baggage: Vec::new(),
            readers: Vec::new(),
            released: Vec::new(),
        };
        Frame::new(CallId::new(index, 0), Body::Call(Call::RemoteExecute(Box::new(request))))
    }

    fn delete(index: u32) -> Frame {
        let request =
            DeleteObjectsRequest { context: ContextIndex(0), objects: vec![object(9)], mode: DeleteMode::Delete };
        Frame::new(CallId::new(index, 0), Body::Call(Call::DeleteObjects(Box::new(request))))
    }

    /// I5: no call that was queued before a release comes behind it.
    #[test]
    fn released_objects_go_with_the_last_call_or_behind_it() {
        let mut frames = vec![call(1), call(2)];
        let mut released = vec![object(1), object(2)];
        assert!(carry(&mut released, &mut frames) && released.is_empty());
        let carried: Vec<_> = frames.iter().map(|frame| executed(frame).unwrap().released.clone()).collect();
        assert_eq!(carried, [vec![], vec![object(1), object(2)]]);
        let (mut frames, mut released) = (vec![call(1), delete(2)], vec![object(3)]);
        assert!(!carry(&mut released, &mut frames) && executed(&frames[0]).unwrap().released.is_empty());
        assert!(!carry(&mut released, &mut []) && released == [object(3)]);
    }

    #[test]
    fn more_than_a_call_may_take_along_go_by_themselves() {
        let mut frames = vec![call(1)];
        let mut released = vec![object(1); MAX_DELETES + 1];
        assert!(!carry(&mut released, &mut frames) && released.len() == MAX_DELETES + 1);
        released.pop();
        assert!(carry(&mut released, &mut frames));
    }
}
