//! The promises of the calls in flight to one receiver. Pure: time is passed in.

use std::{collections::BTreeMap, time::Instant};

use bytes::Bytes;
use remex_protocol::{
    ErrorCode, Reply,
    ids::{CallId, ObjectId},
    tensor::TensorMetadata,
};

use super::{Expectation, Promised};
use crate::{Error, promise::OutputMetadata};

/// Calls by the slot that their ticket names.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    slots: Vec<Option<Expectation>>,
    live: usize,
    /// Fetches that were not answered, by their object.
    fetches: BTreeMap<ObjectId, CallId>,
    /// No deadline of a call that is waited for is earlier. It may be long over: then a sweep finds nothing.
    earliest: Option<Instant>,
}

impl Expectations {
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

    /// Metadata of one output came ahead of the reply. An error says what is wrong with it; then it has changed nothing (I2).
    pub(crate) fn metadata(&mut self, call: CallId, output: u32, metadata: TensorMetadata) -> Result<(), String> {
        match self.find_mut(call).map(|expectation| &mut expectation.promised) {
            Some(Promised::Call(writer)) => writer.metadata(output as usize, metadata),
            Some(Promised::Foreseen(ahead)) => ahead.tell(metadata),
            Some(Promised::Answer(_) | Promised::Nothing) | None => Ok(()),
        }
    }

    /// Whether a reply is one that the call may have: an error says what is wrong with it.
    pub(crate) fn check(&self, call: CallId, reply: &Reply) -> Result<(), String> {
        match (self.find(call).map(|expectation| &expectation.promised), reply) {
            (Some(Promised::Call(writer)), Reply::RemoteExecute(reply)) => writer.check(&reply.metadata),
            (Some(Promised::Call(writer)), Reply::RemoteExecuteOp(reply)) => writer.check(&reply.metadata),
            (Some(Promised::Call(_)), other) => Err(format!("the reply of call number {}", other.kind())),
            (Some(Promised::Foreseen(ahead)), Reply::FetchObject(reply)) => ahead.check(&reply.metadata),
            _ => Ok(()),
        }
    }

    /// The receiver says what an object of its will be. It says so to whom it was told will fetch it, and may be asked later, or
    /// never. An error names the call that it contradicts.
    pub(crate) fn foreseen(&mut self, object: ObjectId, metadata: TensorMetadata) -> Result<(), (CallId, String)> {
        let Some(&call) = self.fetches.get(&object) else { return Ok(()) };
        match self.find_mut(call).map(|expectation| &mut expectation.promised) {
            Some(Promised::Foreseen(ahead)) => ahead.tell(metadata).map_err(|why| (call, why)),
            _ => Ok(()),
        }
    }

    /// The reply came (I1: what was promised settles here, unless it did before). False if no such call was in flight:
    /// it is the late reply to one of a lost link.
    pub(crate) fn complete(&mut self, call: CallId, answer: Result<(Reply, Bytes), Error>) -> bool {
        let Some(expectation) = self.take(call) else { return false };
        settle(expectation.promised, answer);
        true
    }

    /// Gives up on a call: its promises settle, its slot and credits stay taken until it is answered. False if there was
    /// nothing to give up.
    pub(crate) fn give_up(&mut self, call: CallId, error: Error) -> bool {
        let expectation = self.slots.get_mut(call.index as usize).and_then(Option::as_mut);
        let Some(expectation) = expectation.filter(|expectation| expectation.call == call) else { return false };
        give_up(expectation, &mut self.fetches, error)
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
                give_up(expectation, &mut self.fetches, error);
            } else {
                self.earliest = Some(self.earliest.map_or(expectation.deadline, |at| at.min(expectation.deadline)));
            }
        }
        expired
    }

    /// Gives up on every call, and says which.
    pub(crate) fn give_up_all(&mut self, error: &Error) -> Vec<CallId> {
        self.earliest = None;
        let mut given_up = Vec::new();
        for expectation in self.slots.iter_mut().flatten() {
            if give_up(expectation, &mut self.fetches, error.clone()) {
                given_up.push(expectation.call);
            }
        }
        given_up
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
        forget_fetch(&taken, &mut self.fetches);
        self.live -= 1;
        if self.live == 0 {
            // So that an idle tracker has no timer.
            self.earliest = None;
        }
        Some(taken)
    }
}

/// Settles what was promised of a call that is not answered. False if that was done before.
fn give_up(expectation: &mut Expectation, fetches: &mut BTreeMap<ObjectId, CallId>, error: Error) -> bool {
    forget_fetch(expectation, fetches);
    match std::mem::replace(&mut expectation.promised, Promised::Nothing) {
        Promised::Nothing => false,
        promised => {
            promised.fail(error);
            true
        }
    }
}

fn forget_fetch(expectation: &Expectation, fetches: &mut BTreeMap<ObjectId, CallId>) {
    if let Promised::Foreseen(ahead) = &expectation.promised
        && fetches.get(&ahead.object) == Some(&expectation.call)
    {
        fetches.remove(&ahead.object);
    }
}

fn settle(promised: Promised, answer: Result<(Reply, Bytes), Error>) {
    match promised {
        Promised::Call(writer) => writer.complete(answer.and_then(|(reply, _)| metadata_of(reply))),
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

    use super::{
        super::{Ahead, Early},
        *,
    };
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

    /// I2: a reply that contradicts what was said before is refused; the first value stands.
    #[test]
    fn metadata_that_changes_is_refused() {
        let f32 = |len: u64| TensorMetadata::new(remex_protocol::tensor::DType::F32, [len]);
        let mut state = Expectations::default();
        let (call, cell) = (CallId::new(0, 0), expect(&mut state, 0, now()));
        state.metadata(call, 0, f32(1)).unwrap();
        state.metadata(CallId::new(0, 9), 0, f32(7)).unwrap();
        state.metadata(call, 0, f32(2)).unwrap_err();
        let reply = RemoteExecuteReply { metadata: [Some(f32(2))].into_iter().collect() };
        state.check(call, &Reply::RemoteExecute(reply)).unwrap_err();
        assert_eq!(cell.try_metadata(0), Some(Ok(f32(1))));
        assert!(cell.try_done().is_none());
    }

    /// I2: a first value stands, whatever the owner of an object says afterwards.
    #[test]
    fn an_object_that_is_not_what_was_said_of_it_is_refused() {
        use crate::promise::promise;
        use remex_protocol::{
            calls::FetchObjectReply,
            ids::{DeviceIndex, ObjectPrefix},
            tensor::DType,
        };

        let metadata = |len: u64| TensorMetadata::new(DType::U8, [len]);
        let mut state = Expectations::default();
        let ((early, foreseen), (writer, answer)) = (promise(), promise());
        let (call, name) = (CallId::new(0, 0), "FetchObject");
        let object = ObjectId { prefix: ObjectPrefix(1), local: 2, device: DeviceIndex(0) };
        let ahead = Ahead { object, early: Early::Awaited(early), answer: writer };
        let promised = Promised::Foreseen(Box::new(ahead));
        state.expect(Expectation { call, name, deadline: now(), promised, admission: None, holds: Vec::new() });
        let fetched = |len| Reply::FetchObject(FetchObjectReply { metadata: metadata(len) });
        assert_eq!(state.check(call, &fetched(9)), Ok(()), "nothing was said yet");
        state.metadata(call, 0, metadata(1)).unwrap();
        assert!(state.metadata(call, 0, metadata(2)).unwrap_err().contains("u8[2], it said u8[1] before"));
        assert_eq!(state.foreseen(object, metadata(3)).unwrap_err().0, call);
        assert!(state.check(call, &fetched(2)).is_err());
        assert_eq!(state.check(call, &fetched(1)), Ok(()));
        assert_eq!(foreseen.try_get().unwrap().unwrap(), metadata(1));
        assert!(answer.try_get().is_none());
        assert!(state.give_up(call, failure(ErrorCode::Cancelled)) && state.fetches.is_empty());
    }

    /// I6: a session that may be resumed keeps the slots of its calls, which may still be answered.
    #[test]
    fn calls_that_were_given_up_with_their_link_keep_their_slots() {
        let mut state = Expectations::default();
        let cells: Vec<_> = (0..2).map(|i| expect(&mut state, i, now())).collect();
        assert!(state.give_up(CallId::new(1, 0), failure(ErrorCode::Cancelled)));
        assert_eq!(state.give_up_all(&failure(ErrorCode::RpcUnavailable)), [CallId::new(0, 0)]);
        let codes: Vec<_> = cells.iter().map(|cell| cell.try_done().unwrap().unwrap_err().code()).collect();
        assert_eq!(codes, [ErrorCode::RpcUnavailable, ErrorCode::Cancelled]);
        assert!((0..2).all(|i| state.complete(CallId::new(i, 0), done())));
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
