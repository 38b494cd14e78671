//! Puts and fetches part by part, step by step.

use std::time::Duration;

use bytes::Bytes;
use remex_protocol::{
    ErrorCode,
    calls::{DeleteMode, Origin},
    tensor::{Tensor, TensorMetadata},
};

use super::{
    MemoryLimits, Part, Step,
    rig::{Rig, SESSION, id, vector},
};
use crate::{limits::ObjectLimits, session::SessionId};

const PATIENCE: Duration = Duration::from_secs(3);

impl Rig {
    fn begin(&mut self, call: u32, object: u64, metadata: &TensorMetadata) -> &mut Self {
        self.store.set_now(self.start);
        let metadata = metadata.clone();
        self.step(Step::Begin { call: Self::call(call), object: id(object), metadata, patience: PATIENCE })
    }

    fn part(&mut self, call: u32, object: u64, offset: u64, data: &[u8]) -> &mut Self {
        self.part_at(call, object, offset, data, Duration::ZERO)
    }

    fn part_at(&mut self, call: u32, object: u64, offset: u64, data: &[u8], after: Duration) -> &mut Self {
        let (data, at) = (Bytes::copy_from_slice(data), self.start + after);
        self.step(Step::Part { call: Self::call(call), object: id(object), offset, data, at })
    }

    fn fetch_part(&mut self, call: u32, object: u64, offset: u64, len: u32) -> &mut Self {
        let (part, deadline) = (Some(Part { offset, len }), self.start + Self::LIMIT);
        self.step(Step::Await { call: Self::call(call), object: id(object), origin: Origin::Here, part, deadline })
    }
}

/// I4: pending from the beginning, ready with the last part; whoever waits has it then.
#[test]
fn parts_make_a_tensor() {
    let mut rig = Rig::new();
    let whole = vector(1);
    rig.begin(1, 1, whole.metadata()).fetch(2, 1, Origin::Here);
    assert!(rig.is_done(1) && rig.is_open(2));
    assert_eq!((rig.metadata(2)[0].1.to_string(), rig.used()), ("f32[2]".to_owned(), 8));
    rig.part(3, 1, 0, &whole.bytes()[..5]).part(4, 1, 5, &[]).part(5, 1, 5, &whole.bytes()[5..]);
    assert!([3, 4, 5].into_iter().all(|call| rig.is_done(call)));
    assert_eq!(rig.data(2), *whole.bytes());
    rig.part(6, 1, 8, &[0]).delete(7, &[1], DeleteMode::Release);
    assert_eq!((rig.error(6).code, rig.used(), rig.stats().objects), (ErrorCode::NotFound, 0, 0));
}

#[test]
fn a_tensor_without_bytes_is_ready_at_once() {
    let mut rig = Rig::new();
    let empty = Tensor::from_slice([0], &[0f32; 0]).unwrap();
    rig.begin(1, 1, empty.metadata()).fetch(2, 1, Origin::Here);
    assert!(rig.is_done(1) && rig.data(2).is_empty());
}

/// I7: what does not fit changes nothing, and the right part may still come.
#[test]
fn parts_that_do_not_fit_are_refused() {
    let mut rig = Rig::new();
    let whole = vector(1);
    rig.begin(1, 1, whole.metadata()).part(2, 1, 0, &whole.bytes()[..4]);
    rig.part(3, 1, 0, &[1]).part(4, 1, 5, &[1]).part(5, 1, 4, &[1; 5]).part(6, 2, 0, &[1]);
    let (other, at) = (SessionId(9), rig.start);
    let foreign = Step::Part { call: Rig::call(7), object: id(1), offset: 4, data: Bytes::from_static(&[9; 4]), at };
    rig.store.step(other, foreign);
    let words = [(3, "those from 4 on are next"), (4, "those from 4 on are next"), (5, "beyond its end at 8")];
    for (call, words) in words {
        let error = rig.error(call);
        assert!(error.code == ErrorCode::InvalidArgument && error.message.contains(words), "{error}");
    }
    assert_eq!(rig.error(6).code, ErrorCode::NotFound);
    rig.part(8, 1, 4, &whole.bytes()[4..]).fetch(9, 1, Origin::Here).begin(10, 1, whole.metadata());
    assert_eq!((rig.data(9), rig.error(10).code), (whole.bytes().clone(), ErrorCode::AlreadyExists));
}

/// I4: an object that does not come whole fails: by time, by release, with its session.
#[test]
fn a_put_that_does_not_go_on_fails_and_frees() {
    let mut rig = Rig::new();
    let whole = vector(1);
    rig.begin(1, 1, whole.metadata()).fetch(2, 1, Origin::Here);
    assert_eq!(rig.store.earliest(), Some(rig.start + PATIENCE));
    rig.part_at(3, 1, 0, &whole.bytes()[..4], PATIENCE / 2).expire(PATIENCE);
    assert!(rig.is_open(2), "a part came in time");
    rig.expire(PATIENCE * 3 / 2);
    let error = rig.error(2);
    assert_eq!((error.code, rig.used()), (ErrorCode::DeadlineExceeded, 0));
    assert!(error.message.contains("no part behind 4 bytes"), "{error}");
    rig.begin(4, 2, whole.metadata()).delete(5, &[2], DeleteMode::Release).part(6, 2, 0, &[1]);
    assert_eq!((rig.error(6).code, rig.stats().tombstones, rig.used()), (ErrorCode::NotFound, 0, 0));
    rig.begin(7, 3, whole.metadata());
    rig.store.end_session(SESSION, None);
    rig.collect();
    assert_eq!(rig.used(), 0);
}

/// I8: it waits for memory before a part is sent.
#[test]
fn a_put_in_parts_waits_for_memory() {
    let limits = MemoryLimits { bytes: 12, ..MemoryLimits::default() };
    let mut rig = Rig::with(limits, ObjectLimits::default());
    rig.put(1, 1).begin(2, 2, vector(2).metadata());
    assert!(rig.is_open(2));
    rig.delete(3, &[1], DeleteMode::Release).freed();
    assert!(rig.is_done(2));
    rig.part(4, 2, 0, vector(2).bytes()).fetch(5, 2, Origin::Here);
    assert_eq!(rig.data(5), *vector(2).bytes());
}

#[test]
fn parts_of_an_object_are_fetched() {
    let mut rig = Rig::new();
    rig.put(1, 1).fetch_part(2, 1, 0, 3).fetch_part(3, 1, 6, 100).fetch_part(4, 1, 8, 1).fetch_part(5, 1, 9, 1);
    let bytes = vector(1).bytes().clone();
    assert_eq!((rig.data(2), rig.data(3), rig.data(4)), (bytes.slice(..3), bytes.slice(6..), Bytes::new()));
    assert_eq!(rig.error(5).code, ErrorCode::OutOfRange);
    rig.fetch_part(6, 77, 0, 1);
    assert_eq!(rig.error(6).code, ErrorCode::NotFound);
}
