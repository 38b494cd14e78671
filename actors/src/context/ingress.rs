//! Where callers, on any thread, leave what the context is to send.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use actix::Recipient;
use bytes::Bytes;
use remex_protocol::{
    Call,
    ids::{CallId, ObjectId, TaskIndex},
};

use super::{ContextShared, Drain, actor::died, outgoing, parked::ParkedCall};
use crate::{
    client::{Admission, Edge},
    envelope::post,
    handles::ObjectRef,
    pending::Promised,
};

/// Something to send.
#[derive(Debug)]
pub(crate) enum Queued {
    Call(Box<QueuedCall>),
    /// A call that is to be sent when others are done.
    Parked(Box<ParkedCall>),
    /// The last reference to an object is gone.
    Release {
        to: TaskIndex,
        object: ObjectId,
    },
    /// An object is to outlive the session that made it.
    Keep {
        to: TaskIndex,
        object: ObjectId,
    },
    /// Nobody wants a call any more that was queued before.
    Cancel {
        to: TaskIndex,
        call: CallId,
    },
}

/// A call to send.
#[derive(Debug)]
pub(crate) struct QueuedCall {
    pub(crate) to: TaskIndex,
    pub(crate) call: CallId,
    pub(crate) body: Call,
    pub(crate) payload: Bytes,
    pub(crate) deadline: std::time::Instant,
    pub(crate) promised: Promised,
    pub(crate) admission: Option<Admission>,
    pub(crate) holds: Box<[ObjectRef]>,
}

/// A queue and the actor that empties it. The actor is told only when the queue was empty.
#[derive(Debug, Default)]
pub(crate) struct Ingress {
    queue: Mutex<Vec<Queued>>,
    drain: OnceLock<(Recipient<Drain>, Weak<ContextShared>)>,
}

impl Ingress {
    /// The actor that empties the queue is there.
    pub(crate) fn attach(&self, drain: Recipient<Drain>, context: &Arc<ContextShared>) {
        let _ = self.drain.set((drain, Arc::downgrade(context)));
        self.tell();
    }

    /// Queues a call. Its ticket is taken under the lock of the queue, so that the order of admission is the order on
    /// the wire (I5).
    pub(crate) fn push_call(&self, edge: &Edge, make: impl FnOnce(CallId) -> Queued) -> CallId {
        let mut queue = self.lock();
        let was_empty = queue.is_empty();
        let call = edge.ticket();
        queue.push(make(call));
        drop(queue);
        if was_empty {
            self.tell();
        }
        call
    }

    pub(crate) fn push_release(&self, to: TaskIndex, object: ObjectId) {
        self.push(Queued::Release { to, object });
    }

    pub(crate) fn push_keep(&self, to: TaskIndex, object: ObjectId) {
        self.push(Queued::Keep { to, object });
    }

    /// The same for many releases, in order, and all in one message to each task.
    pub(crate) fn push_releases(&self, released: impl IntoIterator<Item = (TaskIndex, ObjectId)>) {
        let mut queue = self.lock();
        let before = queue.len();
        queue.extend(released.into_iter().map(|(to, object)| Queued::Release { to, object }));
        let tell = before == 0 && !queue.is_empty();
        drop(queue);
        if tell {
            self.tell();
        }
    }

    /// Goes the way of the call, behind it: a cancel that came first would find nothing.
    pub(crate) fn push_cancel(&self, to: TaskIndex, call: CallId) {
        self.push(Queued::Cancel { to, call });
    }

    fn push(&self, queued: Queued) {
        let mut queue = self.lock();
        let was_empty = queue.is_empty();
        queue.push(queued);
        drop(queue);
        if was_empty {
            self.tell();
        }
    }

    pub(crate) fn take(&self) -> Vec<Queued> {
        let mut queue = self.lock();
        // As much is likely to come next, and to grow step by step would move it over and over.
        let room = Vec::with_capacity(queue.len());
        std::mem::replace(&mut *queue, room)
    }

    fn tell(&self) {
        let Some((drain, context)) = self.drain.get() else { return };
        if drain.connected() {
            post(drain, Drain);
        } else if let Some(context) = context.upgrade() {
            // The actor ended after the caller had found the context open: nobody will send it (I1). Not by `close`,
            // which takes the locks of the chains: the caller may hold one.
            let _ = context.closed.set(died());
            outgoing::refuse(&context);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Queued>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
