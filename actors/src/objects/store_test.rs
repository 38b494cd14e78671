//! The store, step by step: states, origins, deadlines, ends.

use std::time::Duration;

use remex_protocol::{
    ErrorCode, Reply,
    calls::{DeleteMode, Origin},
    ids::TaskIndex,
};

use super::{
    Step, Want,
    rig::{Rig, SESSION, failure, id, vector},
};
use crate::session::SessionId;

const MILLI: Duration = Duration::from_millis(1);
const OWNER: Origin = Origin::Owner(TaskIndex(2));

/// I3: outputs are taken from the beginning, and seen together at the end.
#[test]
fn outputs_are_reserved_and_become_ready_together() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10, 11]).fetch(2, 10, Origin::Here).fetch(3, 11, Origin::Here);
    assert_eq!((rig.stats().objects, rig.tasks.len()), (2, 1));
    assert!(rig.is_open(2) && rig.is_open(3));
    rig.finish(1, Ok(vec![vector(1), vector(2)]));
    assert!(rig.is_done(1) && rig.is_done(2) && rig.is_done(3));
    assert_eq!((rig.stats().objects, rig.stats().jobs), (2, 0));
}

/// I3, I2: a failed call poisons each of its outputs with one cause, which reaches everyone who waits.
#[test]
fn outputs_are_poisoned_together() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10, 11]).run(2, &[(10, Origin::Here)], &[20]).fetch(3, 20, Origin::Here).fetch(
        4,
        11,
        Origin::Here,
    );
    rig.finish(1, Err(failure("boom")));
    let cause = rig.error(1);
    assert_eq!(
        (cause.task.as_deref(), cause.program.as_deref(), cause.call),
        (Some("/job:t/task:0"), Some("p1"), Some(Rig::call(1)))
    );
    for (call, via) in [(2, vec!["p2"]), (3, vec!["p2"]), (4, vec![])] {
        let error = rig.error(call);
        assert_eq!(
            (&error.message, &error.program, error.call, error.via),
            (&cause.message, &cause.program, cause.call, via.into_iter().map(String::from).collect())
        );
    }
    rig.fetch(5, 11, Origin::Here);
    assert_eq!(rig.error(5).message, cause.message, "a failed object gives its cause at once");
}

/// I3, I5: a call waits for its chains too, is not given them, and its own chain settles with its outputs.
#[test]
fn a_run_waits_for_its_chains_and_makes_one() {
    let mut rig = Rig::new();
    rig.put(1, 1).run_in_chains(2, &[(1, Origin::Here)], &[], &[20], 30);
    rig.run_in_chains(3, &[(1, Origin::Here)], &[(30, Origin::Here)], &[21], 31);
    rig.run_in_chains(4, &[], &[(31, Origin::Here)], &[22], 32);
    assert_eq!((rig.tasks.len(), rig.stats().objects), (1, 7));
    rig.finish(2, Ok(vec![vector(2)]));
    assert_eq!((rig.tasks.len(), rig.task(3).inputs.len()), (2, 1));
    rig.finish(3, Err(failure("boom")));
    assert_eq!(rig.tasks.len(), 2);
    let error = rig.error(4);
    assert_eq!((&*error.message, error.via), ("boom", vec!["p4".to_owned()]));
    rig.fetch(5, 32, Origin::Here);
    assert_eq!(rig.error(5).message, "boom");
}

/// TFRT §3.2-11: a call whose chain and inputs fail, at once or later, is answered once, with the first cause.
#[test]
fn a_run_whose_chain_and_input_fail_is_answered_once() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]).run(2, &[], &[11]);
    rig.run_in_chains(3, &[(10, Origin::Here)], &[(11, Origin::Here)], &[20], 30);
    rig.finish(2, Err(failure("second"))).finish(1, Err(failure("first")));
    assert_eq!(rig.error(3).message, "second");
    rig.run_in_chains(4, &[(20, Origin::Here)], &[(30, Origin::Here)], &[21], 31);
    assert_eq!((rig.error(4).message, rig.tasks.len()), ("second".to_owned(), 2));
}

/// I3: an id that nobody will make fails who waits for it; one in use is not touched.
#[test]
fn ids_can_be_failed_from_outside() {
    let mut rig = Rig::new();
    rig.put(1, 1).fetch(2, 9, Origin::Anywhere).run(3, &[], &[10]);
    let objects = [1, 9, 10, 0].map(id).to_vec();
    rig.step(Step::Fail { call: Rig::call(4), objects, cause: failure("dry") });
    assert_eq!(rig.error(2).message, "dry");
    let Some(Ok(Reply::FailObjects(reply))) = rig.outcome(4) else { panic!("{:?}", rig.outcome(4)) };
    let failed: Vec<_> = reply.failures.iter().map(|failure| (failure.object, failure.error.code)).collect();
    use ErrorCode::{AlreadyExists, InvalidArgument};
    assert_eq!(failed, [(id(1), AlreadyExists), (id(10), AlreadyExists), (id(0), InvalidArgument)]);
    rig.finish(3, Ok(vec![vector(3)])).fetch(5, 10, Origin::Here);
    assert!(rig.is_done(3) && rig.is_done(5));
}

/// I3: what the program published stays, whatever becomes of the rest.
#[test]
fn a_published_output_is_seen_before_the_others_and_outlives_a_failure() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10, 11]).fetch(2, 10, Origin::Here).publish(1, 0, vector(7));
    assert!(rig.is_done(2) && rig.is_open(1));
    rig.finish(1, Err(failure("late")));
    rig.fetch(3, 10, Origin::Here).fetch(4, 11, Origin::Here);
    assert!(rig.is_done(3));
    assert_eq!(rig.error(4).message, "late");
}

/// I4: the second end of a run changes nothing.
#[test]
fn fulfilling_twice_changes_nothing() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]);
    let job = rig.job(1);
    rig.finish(1, Ok(vec![vector(3)]));
    let answers = rig.answers.len();
    rig.store.finished(job, Ok(vec![vector(4)]));
    rig.store.finished(job, Err(failure("no")));
    rig.collect();
    assert_eq!(rig.answers.len(), answers);
    rig.fetch(2, 10, Origin::Here);
    assert_eq!(rig.data(2), vector(3).bytes());
}

/// I4: using a failed object gives its cause at once, and poisons what the user would have made.
#[test]
fn a_failed_object_fails_its_users_at_once() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]).finish(1, Err(failure("boom")));
    rig.run(2, &[(10, Origin::Here)], &[20]).fetch(3, 20, Origin::Here);
    assert_eq!((rig.error(2).message, rig.error(2).via), ("boom".to_owned(), vec!["p2".to_owned()]));
    assert_eq!(rig.error(3).message, "boom");
    assert_eq!(rig.tasks.len(), 1, "only the first ran");
}

/// I4: delete frees what is there, leaves a tombstone of what is pending, and says what there is not.
#[test]
fn delete_knows_every_state() {
    let mut rig = Rig::new();
    rig.put(1, 10).run(2, &[], &[11]).run(3, &[], &[12]).fetch(4, 12, Origin::Here).fetch(5, 99, Origin::Anywhere);
    rig.finish(2, Err(failure("boom")));
    rig.delete(6, &[10, 11, 12, 98, 99], DeleteMode::Delete);
    let Some(Ok(Reply::DeleteObjects(reply))) = rig.outcome(6) else { panic!("not answered") };
    let failed: Vec<_> = reply.failures.iter().map(|failure| (failure.object.local, failure.error.code)).collect();
    assert_eq!(failed, [(98, ErrorCode::NotFound), (99, ErrorCode::NotFound)]);
    assert_eq!(rig.error(4).code, ErrorCode::Cancelled);
    // The tombstone of 12, and 99, which somebody waits for.
    assert_eq!(rig.stats().objects, 2);
    rig.delete(7, &[12], DeleteMode::Delete).fetch(8, 12, Origin::Anywhere).run(9, &[], &[12]);
    let Some(Ok(Reply::DeleteObjects(reply))) = rig.outcome(7) else { panic!("not answered") };
    assert_eq!(reply.failures[0].error.code, ErrorCode::NotFound);
    assert_eq!(rig.error(8).code, ErrorCode::NotFound, "a tombstone hides");
    assert_eq!(rig.error(9).code, ErrorCode::AlreadyExists, "a tombstone stands until its producer ends");
    rig.finish(3, Ok(vec![vector(1)]));
    assert!(rig.is_done(3));
    assert_eq!(rig.stats().objects, 1);
    rig.run(10, &[], &[12]);
    assert!(rig.is_open(10), "the id is free again");
}

/// I4: whoever asked before a release is still served; who asks later is not.
#[test]
fn a_released_object_feeds_those_who_wait() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]).run(2, &[(10, Origin::Here)], &[20]).delete(3, &[10], DeleteMode::Release);
    rig.run(4, &[(10, Origin::Here)], &[30]);
    assert_eq!(rig.error(4).code, ErrorCode::NotFound);
    rig.finish(1, Ok(vec![vector(5)]));
    assert_eq!(rig.task(2).inputs, [vector(5)]);
    rig.finish(2, Ok(vec![vector(6)]));
    // 20 and the poisoned 30.
    assert_eq!(rig.stats().objects, 2);
}

/// I4a: what should be here and is not is an error at once; what will be made here is waited for, until the deadline.
#[test]
fn an_unknown_input_is_refused_or_waited_for() {
    let mut rig = Rig::new();
    rig.run(1, &[(10, Origin::Here)], &[20]);
    assert_eq!(rig.error(1).code, ErrorCode::NotFound);
    rig.run(2, &[(10, Origin::Anywhere)], &[21]).run(3, &[(11, Origin::Anywhere)], &[22]);
    assert!(rig.is_open(2) && rig.is_open(3));
    rig.run(4, &[], &[10]).finish(4, Ok(vec![vector(1)]));
    assert_eq!(rig.task(2).inputs, [vector(1)]);
    rig.expire(Rig::LIMIT - MILLI);
    assert!(rig.is_open(3));
    rig.expire(Rig::LIMIT);
    assert_eq!(rig.error(3).code, ErrorCode::DeadlineExceeded);
    // 11, which nobody made, is forgotten; 10 and the poisoned 20, 21 and 22 are there.
    assert_eq!(rig.stats().objects, 4);
    assert_eq!(rig.store.earliest(), None);
}

/// I4a: of an object elsewhere one transfer serves all, and is asked for again when a later waiter has more time.
#[test]
fn an_object_of_another_task_is_wanted_once() {
    let mut rig = Rig::new();
    rig.run(1, &[(10, OWNER)], &[20]).run_by(2 * Rig::LIMIT, 2, &[(10, OWNER)], &[21]).fetch(3, 10, OWNER);
    let want = |limit| Want { object: id(10), owner: TaskIndex(2), deadline: rig.start + limit };
    let (first, second) = (want(Rig::LIMIT), want(2 * Rig::LIMIT));
    assert_eq!(rig.wants, [first]);
    rig.expire(Rig::LIMIT);
    assert_eq!(rig.error(1).code, ErrorCode::DeadlineExceeded);
    rig.fetched(10, Err(crate::Error::new(ErrorCode::DeadlineExceeded, "late")));
    assert_eq!(rig.wants, [first, second]);
    assert!(rig.is_open(2));
    rig.fetched(10, Ok(vector(4)));
    assert_eq!(rig.task(2).inputs, [vector(4)]);
    rig.fetched(10, Ok(vector(5)));
    assert_eq!(rig.task(2).inputs, [vector(4)]);
    assert_eq!((rig.wants.len(), rig.stats().fetches, rig.stats().fetched_bytes), (2, 2, 8));
    // The copy is kept while a call uses it, and serves another one; 20, which is poisoned, and 21 stay.
    rig.run(4, &[(10, OWNER), (10, OWNER)], &[22]);
    assert_eq!((rig.task(4).inputs.len(), rig.stats().objects), (2, 4));
    rig.finish(2, Ok(vec![vector(6)]));
    assert_eq!(rig.stats().objects, 4);
    rig.finish(4, Ok(vec![vector(7)]));
    assert_eq!(rig.stats().objects, 3);
    rig.run(5, &[(10, OWNER)], &[23]);
    assert_eq!(rig.wants.len(), 3, "the next one asks anew");
}

/// I4a: an owner that cannot give it fails all who wait.
#[test]
fn a_failed_transfer_fails_all_who_wait() {
    let mut rig = Rig::new();
    rig.run(1, &[(10, OWNER)], &[20]).run(2, &[(10, OWNER)], &[21]).fetched(10, Err(failure("gone")));
    assert_eq!((rig.error(1).message, rig.error(2).message), ("gone".to_owned(), "gone".to_owned()));
}

/// I7: what can never be right is refused before anything is stored.
#[test]
fn a_call_that_contradicts_itself_is_refused() {
    let mut rig = Rig::new();
    let mut check = |call, inputs: &[(u64, Origin)], outputs: &[u64], code, words: &str| {
        rig.run(call, inputs, outputs);
        let error = rig.error(call);
        assert!(error.code == code && error.message.contains(words), "{error}");
    };
    check(1, &[(10, Origin::Anywhere)], &[10], ErrorCode::InvalidArgument, "both as input and as output");
    check(2, &[], &[11, 11], ErrorCode::InvalidArgument, "for two outputs");
    check(3, &[], &[0], ErrorCode::InvalidArgument, "not an id");
    check(4, &[(0, Origin::Anywhere)], &[12], ErrorCode::NotFound, "no object");
    // 0 is no id; the unused outputs are poisoned.
    assert_eq!((rig.stats().objects, rig.stats().jobs), (3, 0));
}

/// I7: an id in use refuses the call and is not touched; the other outputs of the call are poisoned.
#[test]
fn an_object_that_exists_is_not_touched() {
    let mut rig = Rig::new();
    rig.put(1, 10).run(2, &[], &[10, 11]).put(3, 10).fetch(4, 10, Origin::Here).fetch(5, 11, Origin::Here);
    assert_eq!((rig.error(2).code, rig.error(3).code), (ErrorCode::AlreadyExists, ErrorCode::AlreadyExists));
    assert_eq!(rig.data(4), vector(10).bytes());
    assert_eq!(rig.error(5).code, ErrorCode::AlreadyExists);
}

/// I4: at its deadline a call fails, running or waiting, and its outputs with it.
#[test]
fn a_call_ends_at_its_deadline() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]).run_by(2 * Rig::LIMIT, 2, &[(10, Origin::Here)], &[20]);
    assert_eq!(rig.store.earliest(), Some(rig.start + Rig::LIMIT));
    rig.expire(Rig::LIMIT - MILLI);
    assert!(rig.is_open(1) && rig.aborted.is_empty());
    rig.expire(Rig::LIMIT);
    assert_eq!(rig.aborted, [rig.job(1)]);
    for call in [1, 2] {
        assert_eq!(
            (rig.error(call).code, rig.error(call).program.as_deref()),
            (ErrorCode::DeadlineExceeded, Some("p1"))
        );
    }
    let job = rig.job(1);
    rig.store.finished(job, Ok(vec![vector(1)]));
    rig.fetch(3, 10, Origin::Here);
    assert_eq!(rig.error(3).code, ErrorCode::DeadlineExceeded, "the late result is thrown away");
}

#[test]
fn a_cancelled_call_poisons_its_outputs() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]).run(2, &[(10, Origin::Here)], &[20]).step(Step::Cancel { call: Rig::call(2) });
    assert_eq!((rig.error(2).code, rig.aborted.len()), (ErrorCode::Cancelled, 0));
    rig.step(Step::Cancel { call: Rig::call(1) }).step(Step::Cancel { call: Rig::call(1) });
    assert_eq!((rig.error(1).code, rig.aborted.len()), (ErrorCode::Cancelled, 1));
    rig.fetch(3, 10, Origin::Here).fetch(4, 20, Origin::Here);
    assert_eq!((rig.error(3).code, rig.error(4).code), (ErrorCode::Cancelled, ErrorCode::Cancelled));
    assert_eq!(rig.stats().jobs, 0);
}

#[test]
fn a_put_whose_bytes_are_on_their_way_can_be_cancelled() {
    let mut rig = Rig::new();
    rig.announce(1, 10).fetch(2, 10, Origin::Here).step(Step::Cancel { call: Rig::call(1) });
    assert_eq!((rig.error(1).code, rig.error(2).code), (ErrorCode::Cancelled, ErrorCode::Cancelled));
    let answers = rig.answers.len();
    rig.step(Step::Payload { call: Rig::call(1), data: vector(10).bytes().clone() });
    assert_eq!(rig.answers.len(), answers, "its bytes come all the same, and are thrown away");
    rig.announce(3, 11).fetch(4, 11, Origin::Here);
    rig.step(Step::Payload { call: Rig::call(3), data: vector(11).bytes().clone() });
    assert!(rig.is_done(3));
    assert_eq!(rig.data(4), vector(11).bytes());
}

#[test]
fn a_session_that_ends_gives_up_its_calls_only() {
    let mut rig = Rig::new();
    rig.run(1, &[], &[10]).announce(2, 11);
    rig.store.step(
        SessionId(9),
        Step::Await {
            call: Rig::call(1),
            object: id(10),
            origin: Origin::Here,
            part: None,
            deadline: rig.start + Rig::LIMIT,
        },
    );
    rig.store.end_session(SESSION, None);
    rig.collect();
    assert_eq!((rig.stats().jobs, rig.aborted.len()), (0, 1));
    let told = |session| rig.answers.iter().filter(|(to, _)| *to == session).count();
    assert_eq!(told(SessionId(9)), 1, "whoever waited for its outputs is told");
    assert_eq!(told(SESSION), 2, "so is who may have left only: each of its calls is answered");
    assert_eq!(rig.error(2).code, ErrorCode::Cancelled);
    rig.fetch(3, 11, Origin::Here);
    assert_eq!(rig.error(3).code, ErrorCode::Cancelled);
}

#[test]
fn a_closed_store_fails_everything_and_takes_nothing() {
    let mut rig = Rig::new();
    rig.put(1, 10).run(2, &[], &[11]).run(3, &[(99, Origin::Anywhere)], &[12]).announce(4, 13).fetch(
        5,
        11,
        Origin::Here,
    );
    rig.store.close(failure("closed"));
    rig.collect();
    rig.put(6, 20).run(7, &[], &[21]).fetch(8, 10, Origin::Here);
    for call in 2..9 {
        assert_eq!(rig.error(call).message, "closed", "of call {call}");
    }
    assert_eq!((rig.stats().objects, rig.stats().jobs, rig.aborted.len()), (0, 0, 1));
}
