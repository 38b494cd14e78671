//! Puts in the store whose bytes come part by part, and fetches of parts.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use remex_protocol::{
    ErrorCode, RemoteError, Reply,
    calls::*,
    ids::ObjectId,
    tensor::{AlignedBuf, Tensor, TensorMetadata},
};

use super::{jobs::Caller, memory::Lease, store::Store};
use crate::{Error, session::SessionId};

/// Some bytes of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The first one.
    pub offset: u64,
    /// How many, or as many as there are.
    pub len: u32,
}

/// A put that has its memory and not all of its bytes.
#[derive(Debug)]
pub(super) struct Parts {
    session: SessionId,
    metadata: TensorMetadata,
    buffer: AlignedBuf,
    filled: usize,
    lease: Lease,
    patience: Duration,
    /// When the next part must be here.
    until: Instant,
}

impl Store {
    /// A put that was begun has its memory.
    pub(super) fn begin_parts(
        &mut self,
        caller: Caller,
        object: ObjectId,
        metadata: TensorMetadata,
        lease: Lease,
        patience: Duration,
    ) {
        let size = metadata.size_bytes().and_then(|size| usize::try_from(size).ok());
        let Some(buffer) = size.and_then(AlignedBuf::zeroed) else {
            let message = format!("the system has no memory for {metadata}: work on smaller pieces");
            let error = self.here(RemoteError::new(ErrorCode::ResourceExhausted, message));
            self.settle(object, Err(error.clone()));
            return self.answer_failed::<BeginPutRequest>(caller, error);
        };
        let Some(now) = self.clock else { return };
        let until = now + patience;
        let parts = Parts { session: caller.session, metadata, buffer, filled: 0, lease, patience, until };
        self.parts.insert(object, parts);
        self.earliest = self.earliest.into_iter().chain([until]).min();
        self.answer(caller, Reply::BeginPut(BeginPutReply {}), Bytes::new());
        self.end_if_whole(object);
    }

    pub(super) fn put_part(&mut self, caller: Caller, object: ObjectId, offset: u64, data: &[u8], at: Instant) {
        let found = self.parts.get_mut(&object).filter(|parts| parts.session == caller.session);
        let error = match found {
            None => {
                let message = format!("no put of object {object} is under way on this link: it ended, or never began");
                RemoteError::new(ErrorCode::NotFound, message)
            }
            Some(parts) => match parts.take(offset, data, at) {
                Ok(()) => {
                    self.answer(caller, Reply::PutPart(PutPartReply {}), Bytes::new());
                    return self.end_if_whole(object);
                }
                Err(message) => RemoteError::new(ErrorCode::InvalidArgument, format!("object {object}: {message}")),
            },
        };
        let error = self.here(error);
        self.answer_failed::<PutPartRequest>(caller, error);
    }

    fn end_if_whole(&mut self, object: ObjectId) {
        let whole = |parts: &Parts| parts.filled as u64 == parts.metadata.size_bytes().unwrap_or(u64::MAX);
        if !self.parts.get(&object).is_some_and(whole) {
            return;
        }
        let Some(Parts { metadata, buffer, lease, .. }) = self.parts.remove(&object) else { return };
        let tensor = Tensor::from_bytes(metadata, buffer.freeze());
        let outcome = tensor.map(|tensor| self.hold(object, tensor, lease));
        let wrong = |message| self.here(RemoteError::new(ErrorCode::InvalidArgument, message));
        let outcome = outcome.map_err(|error| wrong(error.to_string()));
        self.settle(object, outcome);
    }

    /// Puts of which somebody gave the object up end.
    pub(super) fn end_parts_of(&mut self, objects: &[ObjectId]) {
        for object in objects {
            if self.table.is_pinned(*object).is_none() && self.parts.remove(object).is_some() {
                let message = format!("object {object} was given up before all of its bytes were here");
                let error = self.here(RemoteError::new(ErrorCode::Cancelled, message));
                self.settle(*object, Err(error));
            }
        }
    }

    pub(super) fn end_parts_of_session(&mut self, session: SessionId, error: &Error) {
        let ended: Vec<_> = self.parts.extract_if(.., |_, parts| parts.session == session).collect();
        ended.into_iter().for_each(|(object, _)| self.settle(object, Err(error.clone())));
    }

    /// Puts whose next part did not come in time fail.
    pub(super) fn expire_parts(&mut self, now: Instant) {
        let late: Vec<_> = self.parts.extract_if(.., |_, parts| parts.until <= now).collect();
        for (object, Parts { patience, filled, .. }) in late {
            let message =
                format!("object {object} did not come whole: no part behind {filled} bytes within {patience:?}");
            let error = self.here(RemoteError::new(ErrorCode::DeadlineExceeded, message));
            self.settle(object, Err(error));
        }
    }

    pub(super) fn next_part_until(&self) -> Option<Instant> {
        self.parts.values().map(|parts| parts.until).min()
    }

    /// An object that was asked for is here: it, or some of it, is sent.
    pub(super) fn answer_fetch(&mut self, caller: Caller, tensor: &Tensor, part: Option<Part>, holds: &[Arc<Lease>]) {
        let (metadata, bytes) = (tensor.metadata().clone(), self.on_its_way(tensor, holds));
        let Some(Part { offset, len }) = part else {
            return self.answer(caller, Reply::FetchObject(FetchObjectReply { metadata }), bytes);
        };
        let begin = usize::try_from(offset).ok().filter(|begin| *begin <= bytes.len());
        let Some(begin) = begin else {
            let message = format!("byte {offset} was asked for, {metadata} has {}", bytes.len());
            let error = self.here(RemoteError::new(ErrorCode::OutOfRange, message));
            return self.answer_failed::<FetchPartRequest>(caller, error);
        };
        let end = bytes.len().min(begin.saturating_add(len as usize));
        self.answer(caller, Reply::FetchPart(FetchPartReply { metadata }), bytes.slice(begin..end));
    }
}

impl Parts {
    /// The next bytes, or why they are not.
    fn take(&mut self, offset: u64, data: &[u8], at: Instant) -> Result<(), String> {
        if offset != self.filled as u64 {
            return Err(format!("bytes from {offset} on came, those from {} on are next", self.filled));
        }
        let end = self.filled + data.len();
        let len = self.buffer.as_ref().len();
        let Some(place) = self.buffer.as_mut_slice().get_mut(self.filled..end) else {
            return Err(format!("{} bytes from {offset} on go beyond its end at {len}", data.len()));
        };
        place.copy_from_slice(data);
        self.filled = end;
        self.until = at + self.patience;
        Ok(())
    }
}
