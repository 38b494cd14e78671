//! What keeps objects in the store: pins, and counts that go from hand to hand.

use std::time::Instant;

use bytes::Bytes;
use remex_protocol::{
    Effect, ErrorCode, RemoteError, Reply,
    calls::*,
    ids::{ObjectId, ObjectPrefix, TokenSecret},
};

use super::{
    jobs::Caller,
    store::Store,
    table::NotGivenUp,
    tokens::{LEASE, Refused},
};
use crate::{Error, session::SessionId};

impl Store {
    pub(super) fn delete(&mut self, caller: Caller, objects: &[ObjectId], mode: DeleteMode) {
        let failures = self.give_up(caller.session, objects, mode);
        self.answer(caller, Reply::DeleteObjects(DeleteObjectsReply { failures }), Bytes::new());
    }

    /// Says which could not be given up, and why.
    pub(super) fn give_up(&mut self, session: SessionId, objects: &[ObjectId], mode: DeleteMode) -> Vec<DeleteFailure> {
        let mut failures = Vec::new();
        for &object in objects {
            match self.table.give_up(object, mode) {
                // Nearly always: nothing is said to nobody.
                Ok(waiters) if waiters.is_empty() => {}
                Ok(waiters) => {
                    let message = format!("object {object} was deleted before it was ready");
                    let error = self.here(RemoteError::new(ErrorCode::Cancelled, message));
                    self.notify(waiters, Err(error));
                }
                Err(NotGivenUp::Nothing) => failures.push(DeleteFailure { object, error: self.not_found(object) }),
                Err(NotGivenUp::Pinned) => {
                    let message = format!("object {object} is pinned: unpin it first");
                    let error = RemoteError::new(ErrorCode::FailedPrecondition, message).on_task(&self.task);
                    failures.push(DeleteFailure { object, error });
                }
            }
            if !self.imported.is_empty() {
                self.count_less(session, object, mode);
            }
        }
        if !self.parts.is_empty() {
            self.end_parts_of(objects);
        }
        failures
    }

    /// A session gave up an object of which it may have imported counts.
    fn count_less(&mut self, session: SessionId, object: ObjectId, mode: DeleteMode) {
        let key = (session, object);
        match self.imported.get_mut(&key) {
            Some(count) if *count > 1 && mode == DeleteMode::Release => *count -= 1,
            Some(_) => _ = self.imported.remove(&key),
            None => {}
        }
    }

    pub(super) fn pin(&mut self, caller: Caller, objects: Vec<ObjectId>, mode: PinMode) {
        let mut failures = Vec::new();
        for object in objects {
            let done = match mode {
                PinMode::Pin => self.pin_one(object),
                PinMode::Unpin => self.unpin_one(object),
                PinMode::Keep => {
                    if self.table.keep_for_good(object) {
                        Ok(())
                    } else {
                        Err(self.not_found(object))
                    }
                }
            };
            failures.extend(done.err().map(|error| DeleteFailure { object, error: error.on_task(&self.task) }));
        }
        self.answer(caller, Reply::PinObjects(PinObjectsReply { failures }), Bytes::new());
    }

    fn pin_one(&mut self, object: ObjectId) -> Result<(), RemoteError> {
        let pinned = self.table.is_pinned(object).ok_or_else(|| self.not_found(object))?;
        if !pinned && self.table.pinned() >= self.limits.pins {
            self.refused += 1;
            let message = format!("{} objects are pinned here, which is the limit: unpin some", self.limits.pins);
            return Err(RemoteError::new(ErrorCode::ResourceExhausted, message).with_effect(Effect::NotRun));
        }
        self.table.pin(object);
        Ok(())
    }

    fn unpin_one(&mut self, object: ObjectId) -> Result<(), RemoteError> {
        match self.table.is_pinned(object) {
            None => Err(self.not_found(object)),
            Some(false) => {
                let message = format!("object {object} is not pinned: it was unpinned before, or never pinned");
                Err(RemoteError::new(ErrorCode::FailedPrecondition, message))
            }
            Some(true) => {
                self.table.unpin(object);
                Ok(())
            }
        }
    }

    pub(super) fn export(&mut self, caller: Caller, object: ObjectId, at: Instant) {
        self.end_leases(at);
        if self.tokens.len() >= self.limits.tokens {
            self.refused += 1;
            let message = format!(
                "{} tokens were made here within two minutes, which is the limit: hand over fewer objects, or later",
                self.limits.tokens
            );
            let error = RemoteError::new(ErrorCode::ResourceExhausted, message).with_effect(Effect::NotRun);
            return self.answer_failed::<ExportObjectRequest>(caller, self.here(error));
        }
        if !self.table.count_more(object) {
            return self.answer_failed::<ExportObjectRequest>(caller, self.not_found(object).into());
        }
        let secret = self.tokens.make(object, at);
        let next = self.tokens.earliest();
        self.earliest = self.earliest.into_iter().chain(next).min();
        self.answer(caller, Reply::ExportObject(ExportObjectReply { secret }), Bytes::new());
    }

    pub(super) fn import(&mut self, caller: Caller, object: ObjectId, secret: TokenSecret, at: Instant) {
        self.end_leases(at);
        let taken = self.tokens.take(object, secret).map_err(|why| self.here(refused(object, why)));
        let there = taken.and_then(|()| match self.table.is_pinned(object) {
            Some(_) => Ok(()),
            None => Err(Error::from(self.not_found(object))),
        });
        if let Err(error) = there {
            return self.answer_failed::<ImportObjectRequest>(caller, error);
        }
        *self.imported.entry((caller.session, object)).or_default() += 1;
        let metadata = self.table.metadata(object).cloned();
        self.answer(caller, Reply::ImportObject(ImportObjectReply { metadata }), Bytes::new());
    }

    /// Tokens that nobody used in time give their counts back.
    pub(super) fn end_leases(&mut self, now: Instant) {
        for object in self.tokens.expire(now) {
            self.count_back(object);
        }
    }

    /// A session was lost: nobody refers any more to what it made, but for what others were told of.
    pub(super) fn let_go_of(&mut self, prefix: ObjectPrefix) {
        for object in self.table.made_with(prefix) {
            self.count_back(object);
        }
    }

    /// A session is over: what it imported and did not release is given back.
    pub(super) fn end_imports(&mut self, session: SessionId) {
        let imported: Vec<_> = self.imported.extract_if(.., |(of, _), _| *of == session).collect();
        for ((_, object), count) in imported {
            (0..count).for_each(|_| self.count_back(object));
        }
    }

    /// Nobody is told: of an object that was deleted meanwhile there is nothing to give back.
    fn count_back(&mut self, object: ObjectId) {
        let _ = self.table.give_up(object, DeleteMode::Release);
    }
}

fn refused(object: ObjectId, why: Refused) -> RemoteError {
    let lease = LEASE.as_secs();
    let (code, why) = match why {
        Refused::Unknown => {
            let why = "is unknown here: it is another task's or object's, or its lease is long over";
            (ErrorCode::NotFound, why.to_owned())
        }
        Refused::Used => (ErrorCode::FailedPrecondition, "was used before: each hands an object over once".to_owned()),
        Refused::Expired => (ErrorCode::DeadlineExceeded, format!("has expired: it can be used for {lease} s")),
    };
    RemoteError::new(code, format!("the token for object {object} {why}; ask for another one"))
}
