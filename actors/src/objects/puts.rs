//! Puts in the store: their bytes may be on their way, and there may be no room for them yet.

use std::time::Duration;

use bytes::Bytes;
use remex_protocol::{
    ErrorCode, RemoteError, Reply, Rpc,
    calls::{BeginPutRequest, PutObjectReply, PutObjectRequest},
    ids::{CallId, ObjectId},
    tensor::{Tensor, TensorMetadata},
};

use super::{
    jobs::Caller,
    memory::{Lease, Room},
    reserving::Waits,
    store::Store,
};
use crate::{Error, session::SessionId};

/// A put that is not done: it lacks its bytes, or room for them, or both.
#[derive(Debug)]
pub(crate) struct Put {
    object: ObjectId,
    metadata: TensorMetadata,
    data: Option<Bytes>,
    room: Room,
    /// Its bytes come in parts, and each is waited for so long.
    patience: Option<Duration>,
}

impl Store {
    /// With `patience` the bytes come in parts when there is room for them.
    pub(super) fn put(
        &mut self,
        caller: Caller,
        object: ObjectId,
        metadata: TensorMetadata,
        data: Option<Bytes>,
        patience: Option<Duration>,
    ) {
        let kind = patience.map_or(PutObjectRequest::KIND, |_| BeginPutRequest::KIND);
        if let Some(error) = self.unusable(object).or_else(|| self.check_objects(1).err()) {
            return self.answer_with(caller, kind, error);
        }
        let room = match self.account.reserve(metadata.size_bytes().unwrap_or(u64::MAX)) {
            Ok(room) => room,
            Err(error) => {
                let error = error.map(|error| error.on_task(&self.task));
                return self.refuse(caller, kind, &[object], error);
            }
        };
        self.reserve(object, None);
        match (data, room) {
            (_, Room::Got(lease)) if patience.is_some() => {
                self.know(object, metadata.clone());
                self.begin_parts(caller, object, metadata, lease, patience.unwrap_or_default());
            }
            (Some(data), Room::Got(lease)) => self.store_put(caller, object, metadata, data, lease),
            (data, room) => {
                self.know(object, metadata.clone());
                let key = (caller.session, caller.call);
                if let Room::InLine(place) = &room {
                    self.line.insert(place.number(), Waits::Put(caller));
                }
                self.puts.insert(key, Put { object, metadata, data, room, patience });
            }
        }
    }

    pub(super) fn payload(&mut self, caller: Caller, data: Bytes) {
        // Of a put that was cancelled or refused the bytes come all the same.
        if let Some(put) = self.puts.get_mut(&(caller.session, caller.call)) {
            put.data = Some(data);
            self.go_on_with_put(caller);
        }
    }

    /// A put has the memory that it waited for.
    pub(super) fn put_has_room(&mut self, caller: Caller) {
        let Some(put) = self.puts.get_mut(&(caller.session, caller.call)) else { return };
        let Room::InLine(place) = &put.room else { return };
        if let Some(lease) = place.claim() {
            put.room = Room::Got(lease);
            self.go_on_with_put(caller);
        }
    }

    fn go_on_with_put(&mut self, caller: Caller) {
        let key = (caller.session, caller.call);
        let ready = match self.puts.get(&key) {
            Some(Put { data, room: Room::Got(_), patience, .. }) => data.is_some() || patience.is_some(),
            Some(_) | None => false,
        };
        let put = if ready { self.puts.remove(&key) } else { None };
        let Some(Put { object, metadata, data, room: Room::Got(lease), patience }) = put else { return };
        match (patience, data) {
            (Some(patience), _) => self.begin_parts(caller, object, metadata, lease, patience),
            (None, Some(data)) => self.store_put(caller, object, metadata, data, lease),
            (None, None) => {}
        }
    }

    fn store_put(&mut self, caller: Caller, object: ObjectId, metadata: TensorMetadata, data: Bytes, lease: Lease) {
        match Tensor::from_bytes(metadata, data) {
            Ok(tensor) => {
                let held = self.hold(object, tensor, lease);
                self.settle(object, Ok(held));
                self.answer(caller, Reply::PutObject(PutObjectReply {}), Bytes::new());
            }
            Err(error) => {
                let error = self.here(RemoteError::new(ErrorCode::InvalidArgument, error.to_string()));
                self.settle(object, Err(error.clone()));
                self.answer_failed::<PutObjectRequest>(caller, error);
            }
        }
    }

    /// A put that is not done will not be.
    pub(super) fn fail_put(&mut self, caller: Caller, error: &Error) {
        let key: (SessionId, CallId) = (caller.session, caller.call);
        let Some(put) = self.puts.remove(&key) else { return };
        if let Room::InLine(place) = &put.room {
            self.line.remove(&place.number());
        }
        self.settle(put.object, Err(error.clone()));
        let kind = put.patience.map_or(PutObjectRequest::KIND, |_| BeginPutRequest::KIND);
        self.answer_with(caller, kind, error.clone());
    }
}
