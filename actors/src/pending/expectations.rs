//! The promises of the calls in flight to one receiver. Pure: time is passed in.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use bytes::Bytes;
use remex_protocol::{
    ErrorCode, RemoteError, Reply,
    ids::{CallId, ObjectId},
    tensor::TensorMetadata,
};

use super::{Expectation, Promised};
use crate::{Error, promise::OutputMetadata};

/// Calls by the slot that their ticket names.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    /// Whose calls, for errors.
    receiver: Arc<str>,
    slots: Vec<Option<Expectation>>,
    live: usize,
    /// Fetches that were not answered, by their object.
    fetches: BTreeMap<ObjectId, CallId>,
    /// No deadline of a call that is waited for is earlier. It may be long over: then a sweep finds nothing.
    earliest: Option<Instant>,
}

impl Expectations {
    pub(crate) fn of(receiver: Arc<str>) -> Self {
        Self { receiver, ..Self::default() }
    }

    /// A call is about to be sent. Its slot is free: tickets are given back only by what these functions return.
    pub(crate) fn expect(&mut self, expectation: Expectation) {
        let index = expectation.call.index as usize;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if !matches!(expectation.promised, Promised::Nothing) {
            self.earliest = Some(self.earliest.map_or(expectation.deadline, |at| at.min(expectation.deadline)));
        }
        if let Promised::Foreseen(ahead) = &expectation.promised {
            self.fetches.insert(ahead.object, expectation.call);
        }
        self.live += 1;
        self.slots[index] = Some(expectation);
    }

    /// Metadata of one output came ahead of the reply. An error if something else was known of it: the call is to be given up.
    pub(crate) fn metadata(&mut self, call: CallId, output: u32, metadata: TensorMetadata) -> Result<(), Error> {
        match self.find_mut(call).map(|expectation| &mut expectation.promised) {
            Some(Promised::Call(writer)) => return writer.metadata(output as usize, metadata),
            Some(Promised::Foreseen(ahead)) => ahead.tell(metadata),
            Some(Promised::Answer(_) | Promised::Nothing) | None => {}
        }
        Ok(())
    }

    /// The receiver says what an object of its will be. It says so to whom it was told will fetch it, and may be asked later, or
    /// never.
    pub(crate) fn foreseen(&mut self, object: ObjectId, metadata: TensorMetadata) {
        let Some(&call) = self.fetches.get(&object) else { return };
        if let Some(Promised::Foreseen(ahead)) = self.find_mut(call).map(|expectation| &mut expectation.promised) {
            ahead.tell(metadata);
        }
    }

    /// The reply came (I1: what was promised settles here, unless it did before). False if no such call was in flight:
    /// it is the late reply to one of a lost link.
    pub(crate) fn complete(&mut self, call: CallId, answer: Result<(Reply, Bytes), Error>) -> bool {
        let Some(expectation) = self.take(call) else { return false };
        settle(expectation.promised, answer, &|error| error.on_task(&self.receiver).of_call(call));
        true
    }

    /// Gives up on a call: its promises settle, its slot and credits stay taken until it is answered. False if there was
    /// nothing to give up.
    pub(crate) fn give_up(&mut self, call: CallId, error: Error) -> bool {
        let Some(expectation) = self.find_mut(call) else { return false };
        match std::mem::replace(&mut expectation.promised, Promised::Nothing) {
            Promised::Nothing => false,
            promised => {
                promised.fail(error);
                true
            }
        }
    }

    /// Gives up on every call whose deadline has passed, and says which.
    pub(crate) fn expire(&mut self, now: Instant, error: impl Fn(&Expectation) -> Error) -> Vec<CallId> {
        let mut expired = Vec::new();
        self.earliest = None;
        for expectation in self.slots.iter_mut().flatten() {
            if matches!(expectation.promised, Promised::Nothing) {
                continue;
            }
            if expectation.deadline <= now {
                expired.push(expectation.call);
                let error = error(expectation);
                std::mem::replace(&mut expectation.promised, Promised::Nothing).fail(error);
            } else {
                self.earliest = Some(self.earliest.map_or(expectation.deadline, |at| at.min(expectation.deadline)));
            }
        }
        expired
    }

    /// The link is gone: everything fails, and all slots are free.
    pub(crate) fn lose(&mut self, error: &Error) -> Vec<CallId> {
        self.live = 0;
        self.earliest = None;
        self.fetches.clear();
        let lost = self.slots.iter_mut().filter_map(Option::take);
        lost.map(|expectation| {
            expectation.promised.fail(error.clone());
            expectation.call
        })
        .collect()
    }

    /// What a call that is in flight is; empty if it is not.
    pub(crate) fn name(&self, call: CallId) -> &'static str {
        self.find(call).map_or("", |expectation| expectation.name)
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    fn find(&self, call: CallId) -> Option<&Expectation> {
        self.slots.get(call.index as usize)?.as_ref().filter(|expectation| expectation.call == call)
    }

    fn find_mut(&mut self, call: CallId) -> Option<&mut Expectation> {
        self.slots.get_mut(call.index as usize)?.as_mut().filter(|expectation| expectation.call == call)
    }

    fn take(&mut self, call: CallId) -> Option<Expectation> {
        let taken = self.slots.get_mut(call.index as usize)?.take_if(|expectation| expectation.call == call)?;
        if let Promised::Foreseen(ahead) = &taken.promised
            && self.fetches.get(&ahead.object) == Some(&call)
        {
            self.fetches.remove(&ahead.object);
        }
        self.live -= 1;
        if self.live == 0 {
            // So that an idle tracker has no timer.
            self.earliest = None;
        }
        Some(taken)
    }
}

/// `here` says of an error that is found here whose it is.
fn settle(promised: Promised, answer: Result<(Reply, Bytes), Error>, here: &dyn Fn(RemoteError) -> RemoteError) {
    match promised {
        Promised::Call(writer) => {
            let outcome = answer.and_then(|(reply, _)| metadata_of(reply));
            let outcome =
                outcome.and_then(|given| writer.check(&given).map(|()| given).map_err(|error| error.map(here)));
            writer.complete(outcome);
        }
        Promised::Answer(writer) => writer.settle(answer),
        Promised::Foreseen(ahead) => ahead.answer.settle(answer),
        Promised::Nothing => {}
    }
}

fn metadata_of(reply: Reply) -> Result<OutputMetadata, Error> {
    match reply {
        Reply::RemoteExecute(reply) => Ok(reply.metadata),
        Reply::RemoteExecuteOp(reply) => Ok(reply.metadata),
        other => {
            let message = format!("RemoteExecute was answered with the reply of call number {}", other.kind());
            Err(Error::new(ErrorCode::Internal, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use remex_protocol::calls::RemoteExecuteReply;

    use super::*;
    use crate::{
        promise::{CallCell, call_cell},
        testing::instant as now,
    };

    fn expect(state: &mut Expectations, index: u32, deadline: Instant) -> CallCell {
        let (writer, cell) = call_cell(1);
        let promised = Promised::Call(writer);
        state.expect(Expectation {
            call: CallId::new(index, 0),
            name: "RemoteExecute",
            deadline,
            promised,
            admission: None,
            holds: Vec::new(),
        });
        cell
    }

    fn done() -> Result<(Reply, Bytes), Error> {
        Ok((Reply::RemoteExecute(RemoteExecuteReply::default()), Bytes::new()))
    }

    fn failure(code: ErrorCode) -> Error {
        Error::new(code, "x")
    }

    /// I1: reply, expiry, cancel and loss race, and the first wins.
    #[test]
    fn the_first_of_two_ends_is_the_one() {
        let (start, second) = (now(), Duration::from_secs(1));
        let mut state = Expectations::default();
        let cell = expect(&mut state, 0, start + second);
        assert_eq!(state.expire(start, |_| failure(ErrorCode::DeadlineExceeded)), []);
        assert_eq!(state.earliest(), Some(start + second));
        assert_eq!(state.expire(start + second, |_| failure(ErrorCode::DeadlineExceeded)), [CallId::new(0, 0)]);
        assert!(!state.give_up(CallId::new(0, 0), failure(ErrorCode::Cancelled)));
        assert!(state.complete(CallId::new(0, 0), done()), "the slot waits for the reply");
        assert!(!state.complete(CallId::new(0, 0), done()), "and then for nothing");
        assert_eq!(cell.try_done().unwrap().unwrap_err().code(), ErrorCode::DeadlineExceeded);
    }

    /// I1: a lost link settles all that was expected.
    #[test]
    fn loss_fails_every_call() {
        let mut state = Expectations::default();
        let cells: Vec<_> = (0..3).map(|i| expect(&mut state, i, now())).collect();
        assert!(state.complete(CallId::new(1, 0), done()));
        assert_eq!(state.lose(&failure(ErrorCode::RpcUnavailable)).len(), 2);
        let codes: Vec<_> = cells.iter().map(|cell| cell.try_done().unwrap().err().map(|e| e.code())).collect();
        assert_eq!(codes, [Some(ErrorCode::RpcUnavailable), None, Some(ErrorCode::RpcUnavailable)]);
        assert_eq!(state.earliest(), None);
    }

    /// I2: a reply that contradicts what was said before fails its call; the first value stands.
    #[test]
    fn metadata_that_changes_fails_the_call() {
        let f32 = |len: u64| TensorMetadata::new(remex_protocol::tensor::DType::F32, [len]);
        let mut state = Expectations::default();
        let cell = expect(&mut state, 0, now());
        state.metadata(CallId::new(0, 0), 0, f32(1)).unwrap();
        state.metadata(CallId::new(0, 9), 0, f32(7)).unwrap();
        assert_eq!(state.metadata(CallId::new(0, 0), 0, f32(2)).unwrap_err().code(), ErrorCode::Internal);
        let reply = RemoteExecuteReply { metadata: [Some(f32(2))].into_iter().collect() };
        assert!(state.complete(CallId::new(0, 0), Ok((Reply::RemoteExecute(reply), Bytes::new()))));
        assert_eq!(cell.try_done().unwrap().unwrap_err().code(), ErrorCode::Internal);
        assert_eq!(cell.try_metadata(0), Some(Ok(f32(1))));
    }

    #[test]
    fn a_reply_to_a_former_use_of_the_slot_is_known() {
        let mut state = Expectations::default();
        let cell = expect(&mut state, 0, now());
        assert!(!state.complete(CallId::new(0, 9), done()));
        assert!(!state.complete(CallId::new(7, 0), done()));
        assert!(cell.try_done().is_none());
    }
}
