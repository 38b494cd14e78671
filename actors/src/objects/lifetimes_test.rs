//! Pins and tokens, step by step.

use std::time::Duration;

use remex_protocol::{
    ErrorCode, Reply,
    calls::{DeleteFailure, DeleteMode, Origin, PinMode},
    ids::{ObjectPrefix, TokenSecret},
};

use super::{
    MemoryLimits, Step,
    rig::{Rig, SESSION, failure, id, vector},
    tokens::LEASE,
};
use crate::{limits::ObjectLimits, session::SessionId};

const OTHER: SessionId = SessionId(2);
const MILLI: Duration = Duration::from_millis(1);

impl Rig {
    fn pin(&mut self, call: u32, objects: &[u64], mode: PinMode) -> Vec<DeleteFailure> {
        let objects = objects.iter().copied().map(id).collect();
        self.step(Step::Pin { call: Self::call(call), objects, mode });
        match self.outcome(call) {
            Some(Ok(Reply::PinObjects(reply))) => reply.failures.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn release(&mut self, call: u32, object: u64) -> &mut Self {
        self.delete(call, &[object], DeleteMode::Release)
    }

    fn export_at(&mut self, call: u32, object: u64, after: Duration) -> &mut Self {
        let at = self.start + after;
        self.step(Step::Export { call: Self::call(call), object: id(object), at })
    }

    fn secret(&self, call: u32) -> TokenSecret {
        match self.outcome(call) {
            Some(Ok(Reply::ExportObject(reply))) => reply.secret,
            other => panic!("{other:?}"),
        }
    }

    fn export(&mut self, call: u32, object: u64) -> TokenSecret {
        self.export_at(call, object, Duration::ZERO).secret(call)
    }

    /// By this session; answered on it.
    fn import_at(&mut self, session: SessionId, call: u32, object: u64, secret: TokenSecret, after: Duration) {
        let at = self.start + after;
        self.store.step(session, Step::Import { call: Self::call(call), object: id(object), secret, at });
        self.collect();
    }

    fn import(&mut self, call: u32, object: u64, secret: TokenSecret) -> &mut Self {
        self.import_at(SESSION, call, object, secret, Duration::ZERO);
        self
    }

    fn objects(&self) -> usize {
        self.stats().objects
    }
}

#[test]
fn a_pinned_object_stays_until_it_is_unpinned() {
    let mut rig = Rig::new();
    rig.put(1, 1).put(2, 2);
    assert_eq!(rig.pin(3, &[1], PinMode::Pin), []);
    assert_eq!(rig.pin(4, &[1], PinMode::Pin), [], "once more changes nothing");
    rig.release(5, 1).release(6, 2).fetch(7, 1, Origin::Here);
    assert_eq!((rig.data(7), rig.stats().pinned, rig.objects()), (vector(1).bytes().clone(), 1, 1));
    rig.release(8, 1);
    assert!(rig.is_done(8) && rig.objects() == 1, "what nobody refers to is not released twice");
    assert_eq!(rig.pin(9, &[1], PinMode::Unpin), []);
    assert_eq!((rig.stats().pinned, rig.objects(), rig.used()), (0, 0, 0));
}

#[test]
fn what_a_call_releases_is_released_and_nothing_is_answered() {
    let mut rig = Rig::new();
    rig.put(1, 1).put(2, 2).fetch(3, 1, Origin::Here);
    let answers = rig.answers.len();
    rig.step(Step::Release { objects: [1, 99, 1].map(id).to_vec() });
    assert_eq!((rig.objects(), rig.answers.len()), (1, answers), "what is not there is passed over");
}

#[test]
fn what_is_still_referred_to_survives_its_pin() {
    let mut rig = Rig::new();
    rig.put(1, 1);
    assert_eq!((rig.pin(2, &[1], PinMode::Pin), rig.pin(3, &[1], PinMode::Unpin)), (vec![], vec![]));
    assert_eq!(rig.objects(), 1);
    rig.release(4, 1);
    assert_eq!(rig.objects(), 0);
}

/// I4: a pending object can be pinned; it is there when it is made, and as a failed one if it is not.
#[test]
fn what_is_pinned_while_it_is_made_stays_too() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]).run(2, &[], &[20]);
    assert_eq!(rig.pin(3, &[10, 20], PinMode::Pin), []);
    rig.release(4, 10).release(5, 20).finish(1, Ok(vec![vector(9)])).finish(2, Err(failure("boom")));
    rig.fetch(6, 10, Origin::Here).fetch(7, 20, Origin::Here);
    assert_eq!(rig.data(6), *vector(9).bytes());
    assert!(rig.error(7).message.contains("boom"));
    assert_eq!(rig.stats().tombstones, 0);
}

/// I8.
#[test]
fn pins_that_cannot_be_are_reported_one_by_one() {
    let limits = ObjectLimits { pins: 1, ..ObjectLimits::default() };
    let mut rig = Rig::with(MemoryLimits::default(), limits);
    rig.put(1, 1).put(2, 2).fetch(3, 99, Origin::Anywhere);
    let codes = |failures: Vec<DeleteFailure>| {
        failures.iter().map(|failure| (failure.object.local, failure.error.code)).collect::<Vec<_>>()
    };
    let failed = codes(rig.pin(4, &[1, 2, 77, 99], PinMode::Pin));
    let expected = [(2, ErrorCode::ResourceExhausted), (77, ErrorCode::NotFound), (99, ErrorCode::NotFound)];
    assert_eq!(failed, expected, "one that is only waited for is none");
    let failed = codes(rig.pin(5, &[1, 2, 77], PinMode::Unpin));
    assert_eq!(failed, [(2, ErrorCode::FailedPrecondition), (77, ErrorCode::NotFound)]);
    assert_eq!(codes(rig.pin(6, &[2], PinMode::Pin)), [], "there is room again");
    rig.delete(7, &[1, 2], DeleteMode::Delete);
    let Some(Ok(Reply::DeleteObjects(reply))) = rig.outcome(7) else { panic!("{:?}", rig.outcome(7)) };
    assert_eq!(codes(reply.failures.clone()), [(2, ErrorCode::FailedPrecondition)]);
    assert!(reply.failures[0].error.message.contains("is pinned: unpin it first"));
    assert_eq!((rig.stats().pinned, rig.stats().refused), (1, 1));
}

#[test]
fn a_token_keeps_its_object_and_hands_it_over_once() {
    let mut rig = Rig::new();
    rig.put(1, 1);
    let secret = rig.export(2, 1);
    rig.release(3, 1);
    assert_eq!(rig.objects(), 1, "the token's count");
    rig.import_at(OTHER, 4, 1, secret, LEASE - MILLI);
    rig.import_at(SESSION, 5, 1, secret, LEASE - MILLI);
    let error = rig.error(5);
    assert_eq!(error.code, ErrorCode::FailedPrecondition);
    assert!(error.message.contains("was used before"), "{error}");
    rig.expire(LEASE);
    assert_eq!(rig.objects(), 1, "it is the importer's: the end of the lease takes nothing");
    rig.store.step(OTHER, Step::Delete { call: Rig::call(6), objects: vec![id(1)], mode: DeleteMode::Release });
    assert_eq!(rig.objects(), 0);
    rig.store.end_session(OTHER, None);
    assert_eq!(rig.used(), 0);
}

/// I8: nobody refers any more to what a lost session made; what was kept, pinned or handed over stays.
#[test]
fn what_a_lost_session_made_goes_with_it() {
    let mut rig = Rig::new();
    rig.put(1, 1).put(2, 2).put(3, 3).put(4, 4).put(5, 5);
    assert_eq!(rig.pin(6, &[2], PinMode::Keep).len() + rig.pin(7, &[3], PinMode::Pin).len(), 0);
    let secret = rig.export(8, 4);
    assert_eq!(rig.pin(9, &[77], PinMode::Keep)[0].error.code, ErrorCode::NotFound);
    rig.store.end_session(SESSION, None);
    assert_eq!(rig.objects(), 5, "it has left, and refers to them");
    rig.store.end_session(SESSION, Some(ObjectPrefix(8)));
    assert_eq!(rig.objects(), 5, "another's");
    rig.store.end_session(SESSION, Some(id(1).prefix));
    assert_eq!(rig.objects(), 3, "1 and 5 are gone");
    rig.import_at(OTHER, 10, 4, secret, LEASE - MILLI);
    rig.pin(11, &[3], PinMode::Unpin);
    rig.store.step(OTHER, Step::Delete { call: Rig::call(12), objects: vec![id(4)], mode: DeleteMode::Release });
    assert_eq!(rig.objects(), 1);
    rig.delete(13, &[2], DeleteMode::Release);
    assert_eq!((rig.objects(), rig.used()), (0, 0));
}

#[test]
fn a_token_that_nobody_uses_gives_its_count_back() {
    let mut rig = Rig::new();
    rig.put(1, 1);
    let secret = rig.export(2, 1);
    rig.release(3, 1);
    assert_eq!(rig.store.earliest(), Some(rig.start + LEASE), "there is something to wake up for");
    rig.expire(LEASE - MILLI);
    assert_eq!(rig.objects(), 1);
    rig.expire(LEASE);
    assert_eq!((rig.objects(), rig.used()), (0, 0));
    rig.import_at(SESSION, 4, 1, secret, LEASE);
    assert_eq!(rig.error(4).code, ErrorCode::DeadlineExceeded);
    assert!(rig.error(4).message.contains("has expired: it can be used for 60 s"), "{}", rig.error(4));
    rig.expire(2 * LEASE);
    assert_eq!((rig.stats().tokens, rig.store.earliest()), (0, None), "and is forgotten in the end");
    rig.import_at(SESSION, 5, 1, secret, 2 * LEASE);
    assert_eq!(rig.error(5).code, ErrorCode::NotFound);
}

/// The clock of the import counts, not that of the timer.
#[test]
fn a_token_expires_though_no_timer_has_rung() {
    let mut rig = Rig::new();
    rig.put(1, 1);
    let secret = rig.export(2, 1);
    rig.import_at(SESSION, 3, 1, secret, LEASE);
    assert_eq!(rig.error(3).code, ErrorCode::DeadlineExceeded);
}

#[test]
fn tokens_that_fit_nothing_are_refused() {
    let mut rig = Rig::new();
    rig.put(1, 1).put(2, 2);
    let (one, two) = (rig.export(3, 1), rig.export(4, 2));
    assert_ne!(one, two);
    rig.import(5, 2, one).import(6, 1, TokenSecret { low: one.low ^ 1, ..one });
    for call in [5, 6] {
        assert_eq!(rig.error(call).code, ErrorCode::NotFound);
        assert!(rig.error(call).message.contains("is unknown here"), "{}", rig.error(call));
    }
    rig.delete(7, &[1], DeleteMode::Delete).import(8, 1, one);
    assert_eq!(rig.error(8).code, ErrorCode::NotFound);
    assert!(rig.error(8).message.contains("was deleted"), "{}", rig.error(8));
    rig.import(9, 2, two);
    assert!(rig.is_done(9), "what was tried in vain harms no other token");
    rig.export_at(10, 1, Duration::ZERO).export_at(11, 77, Duration::ZERO);
    assert_eq!((rig.error(10).code, rig.error(11).code), (ErrorCode::NotFound, ErrorCode::NotFound));
}

/// I8.
#[test]
fn tokens_are_bounded_and_make_room_when_they_are_over() {
    let limits = ObjectLimits { tokens: 2, ..ObjectLimits::default() };
    let mut rig = Rig::with(MemoryLimits::default(), limits);
    rig.put(1, 1).export_at(2, 1, Duration::ZERO).export_at(3, 1, MILLI).export_at(4, 1, 2 * LEASE - MILLI);
    let error = rig.error(4);
    assert_eq!((error.code, rig.stats().refused), (ErrorCode::ResourceExhausted, 1));
    assert!(error.message.contains("2 tokens were made"), "{error}");
    rig.export_at(5, 1, 2 * LEASE).release(6, 1);
    assert!(rig.is_done(5) && rig.objects() == 1);
}

/// What a session imported goes with it; what others hold stays.
#[test]
fn the_end_of_a_session_gives_back_what_it_imported() {
    let mut rig = Rig::new();
    rig.put(1, 1).put(2, 2);
    let secrets = [rig.export(3, 1), rig.export(4, 1), rig.export(5, 2)];
    for (i, (object, secret)) in [1, 1, 2].into_iter().zip(secrets).enumerate() {
        rig.import_at(OTHER, 10 + i as u32, object, secret, Duration::ZERO);
    }
    rig.release(6, 1);
    assert_eq!(rig.objects(), 2);
    rig.store.end_session(OTHER, None);
    assert_eq!(rig.objects(), 1, "the first had no others, the second has its maker");
    rig.release(7, 2);
    assert_eq!(rig.objects(), 0);
}

/// A seed gives the same tokens again, which is for simulations; without one they are the system's.
#[test]
fn tokens_are_drawn_from_the_source_of_chance() {
    let draw = |chance: crate::chance::Chance| {
        let mut tokens = super::tokens::Tokens::new(chance);
        let now = crate::testing::instant();
        [tokens.make(id(1), now), tokens.make(id(1), now)]
    };
    let seeded = || crate::chance::Chance::seeded(7);
    assert_eq!(draw(seeded()), draw(seeded()));
    let system = draw(crate::chance::Chance::of_system());
    assert_ne!(system, draw(crate::chance::Chance::of_system()));
    assert!(system.iter().all(|secret| secret.high != 0 && secret.low != 0), "all 128 bits are drawn");
}
