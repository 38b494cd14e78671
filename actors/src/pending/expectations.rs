//! The promises of the calls in flight to one receiver. Pure: time is passed in.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;
use remex_protocol::{
    Call, ErrorCode, Reply,
    ids::{CallId, ObjectId},
    tensor::TensorMetadata,
};

use super::{Expectation, Promised};
use crate::{Error, client::Admission, handles::ObjectRef, promise::OutputMetadata};

/// Calls by the slot that their ticket names.
#[derive(Debug, Default)]
pub(crate) struct Expectations {
    slots: Vec<Option<Slot>>,
    live: usize,
    /// What deadlines are counted from: any time.
    epoch: Option<Instant>,
    /// Fetches that were not answered, by their object.
    fetches: BTreeMap<ObjectId, CallId>,
    /// No deadline of a call that is waited for is earlier. It may be long over: then a sweep finds nothing.
    earliest: Option<Instant>,
}

/// An [`Expectation`], in as few bytes as may be: there are a hundred thousand of them.
#[derive(Debug)]
struct Slot {
    generation: u32,
    kind: u8,
    /// Nanoseconds from the epoch.
    deadline: i64,
    promised: Promised,
    /// Given back with the slot.
    _admission: Option<Admission>,
    holds: Box<[ObjectRef]>,
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
        let Expectation { call, kind, deadline, promised, admission, holds } = expectation;
        let deadline = since(*self.epoch.get_or_insert(deadline), deadline);
        let generation = call.generation;
        self.slots[index] = Some(Slot { generation, kind, deadline, promised, _admission: admission, holds });
    }

    /// Metadata of one output came ahead of the reply. An error says what is wrong with it; then it has changed nothing (I2).
    pub(crate) fn metadata(&mut self, call: CallId, output: u32, metadata: TensorMetadata) -> Result<(), String> {
        match self.find_mut(call).map(|slot| &mut slot.promised) {
            Some(Promised::Call(writer)) => writer.metadata(output as usize, metadata),
            Some(Promised::Foreseen(ahead)) => ahead.tell(metadata),
            Some(Promised::Answer(_) | Promised::Nothing) | None => Ok(()),
        }
    }

    /// Whether a reply is one that the call may have: an error says what is wrong with it.
    pub(crate) fn check(&self, call: CallId, reply: &Reply) -> Result<(), String> {
        match (self.find(call).map(|slot| &slot.promised), reply) {
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
        match self.find_mut(call).map(|slot| &mut slot.promised) {
            Some(Promised::Foreseen(ahead)) => ahead.tell(metadata).map_err(|why| (call, why)),
            _ => Ok(()),
        }
    }

    /// The reply came (I1: what was promised settles here, unless it did before). False if no such call was in flight:
    /// it is the late reply to one of a lost link.
    pub(crate) fn complete(&mut self, call: CallId, answer: Result<(Reply, Bytes), Error>) -> bool {
        let Some(slot) = self.take(call) else { return false };
        settle(slot.promised, answer);
        true
    }

    /// Gives up on a call: its promises settle, its slot and credits stay taken until it is answered. False if there was
    /// nothing to give up.
    pub(crate) fn give_up(&mut self, call: CallId, error: Error) -> bool {
        let slot = self.slots.get_mut(call.index as usize).and_then(Option::as_mut);
        let Some(slot) = slot.filter(|slot| slot.generation == call.generation) else { return false };
        give_up(call, slot, &mut self.fetches, error)
    }

    /// Gives up on every call whose deadline has passed, and says which. `error` is asked why, with what the call holds.
    pub(crate) fn expire(&mut self, now: Instant, error: impl Fn(CallId, &[ObjectRef]) -> Error) -> Vec<CallId> {
        let mut expired = Vec::new();
        self.earliest = None;
        let Some(epoch) = self.epoch else { return expired };
        let (now, mut earliest) = (since(epoch, now), i64::MAX);
        for (call, slot) in in_flight(&mut self.slots) {
            if matches!(slot.promised, Promised::Nothing) {
                continue;
            }
            if slot.deadline <= now {
                expired.push(call);
                let error = error(call, &slot.holds);
                give_up(call, slot, &mut self.fetches, error);
            } else {
                earliest = earliest.min(slot.deadline);
            }
        }
        self.earliest = (earliest < i64::MAX).then(|| at(epoch, earliest)).flatten();
        expired
    }

    /// Gives up on every call, and says which.
    pub(crate) fn give_up_all(&mut self, error: &Error) -> Vec<CallId> {
        self.earliest = None;
        let mut given_up = Vec::new();
        for (call, slot) in in_flight(&mut self.slots) {
            if give_up(call, slot, &mut self.fetches, error.clone()) {
                given_up.push(call);
            }
        }
        given_up
    }

    /// The link is gone: everything fails, and all slots are free.
    pub(crate) fn lose(&mut self, error: &Error) -> Vec<CallId> {
        self.live = 0;
        self.earliest = None;
        self.fetches.clear();
        let mut lost = Vec::new();
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if let Some(slot) = slot.take() {
                lost.push(CallId::new(index as u32, slot.generation));
                slot.promised.fail(error.clone());
            }
        }
        lost
    }

    /// What a call that is in flight is; empty if it is not.
    pub(crate) fn name(&self, call: CallId) -> &'static str {
        self.find(call).and_then(|slot| Call::name_of(slot.kind)).unwrap_or_default()
    }

    /// When to call [`expire`](Self::expire) next.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.earliest
    }

    fn find(&self, call: CallId) -> Option<&Slot> {
        self.slots.get(call.index as usize)?.as_ref().filter(|slot| slot.generation == call.generation)
    }

    fn find_mut(&mut self, call: CallId) -> Option<&mut Slot> {
        self.slots.get_mut(call.index as usize)?.as_mut().filter(|slot| slot.generation == call.generation)
    }

    fn take(&mut self, call: CallId) -> Option<Slot> {
        let slot = self.slots.get_mut(call.index as usize)?;
        let taken = slot.take_if(|slot| slot.generation == call.generation)?;
        forget_fetch(call, &taken, &mut self.fetches);
        self.live -= 1;
        if self.live == 0 {
            // So that an idle tracker has no timer.
            self.earliest = None;
        }
        Some(taken)
    }
}

/// The calls that have a slot.
fn in_flight(slots: &mut [Option<Slot>]) -> impl Iterator<Item = (CallId, &mut Slot)> {
    let slots = slots.iter_mut().enumerate();
    slots.filter_map(|(index, slot)| slot.as_mut().map(|slot| (CallId::new(index as u32, slot.generation), slot)))
}

/// Nanoseconds from `epoch` to `at`, as far as a number goes: 292 years.
fn since(epoch: Instant, at: Instant) -> i64 {
    let nanos = |from: Instant, to: Instant| i64::try_from(to.duration_since(from).as_nanos()).unwrap_or(i64::MAX);
    if at >= epoch { nanos(epoch, at) } else { -nanos(at, epoch) }
}

/// The other way. `None` where the clock does not go so far.
fn at(epoch: Instant, nanos: i64) -> Option<Instant> {
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    if nanos >= 0 { epoch.checked_add(distance) } else { epoch.checked_sub(distance) }
}

/// Settles what was promised of a call that is not answered. False if that was done before.
fn give_up(call: CallId, slot: &mut Slot, fetches: &mut BTreeMap<ObjectId, CallId>, error: Error) -> bool {
    forget_fetch(call, slot, fetches);
    match std::mem::replace(&mut slot.promised, Promised::Nothing) {
        Promised::Nothing => false,
        promised => {
            promised.fail(error);
            true
        }
    }
}

fn forget_fetch(call: CallId, slot: &Slot, fetches: &mut BTreeMap<ObjectId, CallId>) {
    if let Promised::Foreseen(ahead) = &slot.promised
        && fetches.get(&ahead.object) == Some(&call)
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
    use remex_protocol::{
        Rpc,
        calls::{RemoteExecuteReply, RemoteExecuteRequest},
    };

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
            kind: RemoteExecuteRequest::KIND,
            deadline,
            promised,
            admission: None,
            holds: Box::default(),
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
        assert_eq!(state.expire(start, |_, _| failure(ErrorCode::DeadlineExceeded)), []);
        assert_eq!(state.earliest(), Some(start + second));
        assert_eq!(state.expire(start + second, |_, _| failure(ErrorCode::DeadlineExceeded)), [CallId::new(0, 0)]);
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
            calls::{FetchObjectReply, FetchObjectRequest},
            ids::{DeviceIndex, ObjectPrefix},
            tensor::DType,
        };

        let metadata = |len: u64| TensorMetadata::new(DType::U8, [len]);
        let mut state = Expectations::default();
        let ((early, foreseen), (writer, answer)) = (promise(), promise());
        let (call, kind) = (CallId::new(0, 0), FetchObjectRequest::KIND);
        let object = ObjectId { prefix: ObjectPrefix(1), local: 2, device: DeviceIndex(0) };
        let ahead = Ahead { object, early: Early::Awaited(early), answer: writer };
        let promised = Promised::Foreseen(Box::new(ahead));
        state.expect(Expectation { call, kind, deadline: now(), promised, admission: None, holds: Box::default() });
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
    fn a_call_in_flight_takes_few_bytes() {
        assert!(size_of::<Option<Slot>>() <= 72, "{} bytes", size_of::<Option<Slot>>());
    }

    /// A deadline may be before the one that came first.
    #[test]
    fn deadlines_come_in_any_order() {
        let (start, second) = (now(), Duration::from_secs(1));
        let mut state = Expectations::default();
        let _cells = [3, 1, 2].map(|at| expect(&mut state, at, start + at * second));
        let late = |state: &mut Expectations, at| {
            state.expire(start + at * second, |_, _| failure(ErrorCode::DeadlineExceeded))
        };
        assert_eq!((late(&mut state, 0), state.earliest()), (vec![], Some(start + second)));
        assert_eq!((late(&mut state, 1), state.earliest()), (vec![CallId::new(1, 0)], Some(start + 2 * second)));
        assert_eq!((late(&mut state, 3).len(), state.earliest()), (2, None));
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
