//! Memory in the store: who gets it, who waits, and that nothing is counted that is not there.

use std::sync::Arc;

use remex_protocol::{
    ErrorCode,
    calls::{DeleteMode, Origin},
    ids::TaskIndex,
    tensor::{DType, Tensor, TensorMetadata},
};

use super::{
    Binding, MemoryLimits, Step, WhenFull,
    rig::{Rig, failure, vector},
};
use crate::{
    limits::ObjectLimits,
    programs::{Early, Executable, native},
};

/// What a `vector` takes.
const ONE: u64 = 8;

fn rig(vectors: u64) -> Rig {
    Rig::with(MemoryLimits { bytes: vectors * ONE, ..MemoryLimits::default() }, ObjectLimits::default())
}

fn failing(vectors: u64) -> Rig {
    let limits = MemoryLimits { bytes: vectors * ONE, when_full: WhenFull::Fail, ..MemoryLimits::default() };
    Rig::with(limits, ObjectLimits::default())
}

/// A program with one output of so many elements, whatever it is given.
fn gives(elements: u64) -> Arc<Executable> {
    let metadata = TensorMetadata::new(DType::F32, [elements]);
    Arc::new(native(|_| Ok(Vec::new())).infer_by(move |_| Ok(vec![Some(metadata.clone())])))
}

fn run(rig: &mut Rig, program: Arc<Executable>, call: u32, inputs: &[(u64, Origin)], output: u64) {
    let run = rig.run_of(Binding::Ready(program), call, inputs, &[output]);
    rig.step(Step::Run(Box::new(run)));
}

fn owner() -> Origin {
    Origin::Owner(TaskIndex(1))
}

/// I8: a put waits for memory with its bytes, which its sender's credits bound, and goes on when there is some.
#[test]
fn a_put_waits_until_there_is_room() {
    let mut rig = rig(2);
    rig.put(1, 10).put(2, 11).put(3, 12);
    assert!(rig.is_done(1) && rig.is_done(2) && rig.is_open(3));
    rig.delete(4, &[10], DeleteMode::Delete).freed();
    assert!(rig.is_done(3));
    assert_eq!((rig.used(), rig.memory.usage().peak), (2 * ONE, 2 * ONE));
    rig.fetch(5, 12, Origin::Here);
    assert_eq!(rig.data(5), vector(12).bytes());
}

/// I8: room may come before the bytes, and the bytes before the room.
#[test]
fn a_put_needs_its_bytes_and_its_room() {
    let mut rig = rig(1);
    rig.put(1, 10).announce(2, 11).announce(3, 12);
    rig.step(Step::Payload { call: Rig::call(2), data: vector(11).bytes().clone() });
    assert!(rig.is_open(2));
    rig.delete(4, &[10], DeleteMode::Delete).freed();
    assert!(rig.is_done(2) && rig.is_open(3));
    rig.delete(5, &[11], DeleteMode::Delete).freed();
    assert!(rig.is_open(3), "its bytes are still on their way");
    rig.step(Step::Payload { call: Rig::call(3), data: vector(12).bytes().clone() });
    assert!(rig.is_done(3));
}

/// I8: by choice nobody waits; and what can never fit fails at once, whatever the choice.
#[test]
fn what_does_not_fit_fails_if_it_may_not_wait() {
    let mut rig = failing(1);
    rig.put(1, 10).put(2, 11);
    assert_eq!(
        (rig.error(2).code, rig.error(2).task.as_deref()),
        (ErrorCode::ResourceExhausted, Some("/job:t/task:0"))
    );
    rig.fetch(3, 11, Origin::Here);
    assert_eq!(rig.error(3).code, ErrorCode::ResourceExhausted, "its object has failed");
    run(&mut rig, gives(2), 4, &[], 20);
    assert_eq!(rig.error(4).code, ErrorCode::ResourceExhausted);

    let mut rig = self::rig(1);
    let program = gives(1 << 40);
    run(&mut rig, program, 1, &[], 20);
    assert!(rig.tasks.is_empty(), "nothing was made for it");
    assert_eq!((rig.error(1).code, rig.used()), (ErrorCode::ResourceExhausted, 0));
    assert!(rig.error(1).message.contains("more than the memory budget of 8"), "{}", rig.error(1));
}

/// I8: outputs whose size is known are reserved before the program runs; what it gives takes their place.
#[test]
fn a_run_waits_for_the_memory_of_its_outputs() {
    let mut rig = rig(2);
    rig.put(1, 10);
    run(&mut rig, gives(2), 2, &[(10, Origin::Here)], 20);
    run(&mut rig, gives(2), 3, &[(10, Origin::Here)], 21);
    assert_eq!((rig.tasks.len(), rig.used()), (1, 2 * ONE));
    rig.finish(2, Ok(vec![vector(1)]));
    assert_eq!((rig.tasks.len(), rig.used()), (1, 2 * ONE));
    rig.delete(4, &[20], DeleteMode::Release).freed();
    assert_eq!((rig.tasks.len(), rig.used()), (2, 2 * ONE));
    rig.finish(3, Err(failure("no")));
    assert_eq!(rig.used(), ONE, "what was reserved and not made is free");
}

/// I8: outputs of unknown size are counted when they are there; one that can never fit fails its call.
#[test]
fn outputs_of_unknown_size_are_counted_when_they_are_made() {
    let mut rig = rig(2);
    rig.run(1, &[], &[20]).run(2, &[], &[21]).run(3, &[], &[22]);
    for call in 1..3 {
        rig.finish(call, Ok(vec![vector(1)]));
    }
    rig.finish(3, Ok(vec![vector(1)]));
    assert!(rig.is_done(3) && rig.memory.is_over());
    assert_eq!(rig.used(), 3 * ONE);
    rig.run(4, &[], &[23]).finish(4, Ok(vec![Tensor::from_slice([5], &[0f32; 5]).unwrap()]));
    assert_eq!((rig.error(4).code, rig.used()), (ErrorCode::ResourceExhausted, 3 * ONE));
    let mut rig = failing(1);
    rig.run(1, &[], &[20]).run(2, &[], &[21]);
    rig.finish(1, Ok(vec![vector(1)])).finish(2, Ok(vec![vector(1)]));
    rig.run(3, &[], &[22]);
    assert_eq!(rig.error(3).code, ErrorCode::ResourceExhausted, "it would begin beyond the budget");
}

/// I8: an object is counted until nobody here holds it: not the table, not a call that waits, not the program.
#[test]
fn an_object_is_counted_until_its_last_user_is_done() {
    let mut rig = rig(9);
    rig.put(1, 10).announce(2, 11);
    rig.run(3, &[(10, Origin::Here), (11, Origin::Here)], &[20]);
    rig.delete(4, &[10], DeleteMode::Delete);
    assert_eq!(rig.used(), 2 * ONE, "the call holds it");
    rig.step(Step::Payload { call: Rig::call(2), data: vector(11).bytes().clone() });
    rig.delete(5, &[11], DeleteMode::Delete);
    assert_eq!(rig.used(), 2 * ONE, "the program does");
    rig.tasks.clear();
    assert_eq!(rig.used(), 0);
}

#[test]
fn an_output_that_is_published_is_counted_once() {
    let mut rig = rig(2);
    run(&mut rig, gives(2), 1, &[], 20);
    rig.publish(1, 0, vector(1));
    assert_eq!(rig.used(), ONE);
    rig.finish(1, Ok(vec![vector(1)]));
    assert_eq!(rig.used(), ONE);
    rig.run(2, &[], &[21]).early(2, 0, Early::Tensor(vector(2)));
    assert_eq!(rig.used(), 2 * ONE);
}

/// I8: an input from elsewhere that finds no room is fetched again when its call has room for all that it lacks.
#[test]
fn inputs_from_elsewhere_wait_for_room() {
    let mut rig = rig(3);
    rig.put(1, 10).put(2, 11);
    run(&mut rig, gives(2), 3, &[(30, owner()), (31, owner())], 20);
    assert_eq!(rig.wants.len(), 2);
    rig.fetched(30, Ok(vector(30)));
    assert_eq!(rig.used(), 3 * ONE, "there was room for one");
    rig.fetched(31, Ok(vector(31)));
    assert_eq!((rig.used(), rig.tasks.len(), rig.wants.len()), (3 * ONE, 0, 2));
    rig.delete(4, &[10], DeleteMode::Delete).freed();
    assert_eq!(rig.wants.len(), 2, "its output needs room too");
    rig.delete(5, &[11], DeleteMode::Delete).freed();
    assert_eq!((rig.used(), rig.wants.len()), (3 * ONE, 3));
    rig.fetched(31, Ok(vector(31)));
    assert_eq!((rig.tasks.len(), rig.used()), (1, 3 * ONE));
    rig.tasks.truncate(1);
    rig.finish(3, Ok(vec![vector(1)]));
    rig.tasks.clear();
    assert_eq!(rig.used(), ONE, "copies of inputs are not kept");
}

/// I8: one transfer for all who wait, and what nobody waits for any more is not asked for again.
#[test]
fn an_object_that_was_held_back_is_forgotten_with_its_last_waiter() {
    let mut rig = rig(1);
    rig.put(1, 10);
    rig.run(2, &[(30, owner())], &[20]).run(3, &[(30, owner())], &[21]);
    rig.fetched(30, Ok(vector(30)));
    assert_eq!((rig.wants.len(), rig.memory.usage().waiting), (1, 2));
    rig.step(Step::Cancel { call: Rig::call(2) });
    assert_eq!(rig.memory.usage().waiting, 1);
    rig.step(Step::Cancel { call: Rig::call(3) });
    assert_eq!(rig.memory.usage().waiting, 0);
    // The two outputs that failed, and the put.
    assert_eq!(rig.stats().objects, 3);
    rig.run(4, &[(30, owner())], &[22]);
    assert_eq!(rig.wants.len(), 2, "asked for anew");
}

/// I8: the room of one call serves all who wait for the same object.
#[test]
fn two_calls_that_wait_for_one_object_share_a_transfer() {
    let mut rig = rig(1);
    rig.put(1, 10);
    rig.run(2, &[(30, owner())], &[20]).run(3, &[(30, owner())], &[21]);
    rig.fetched(30, Ok(vector(30))).delete(4, &[10], DeleteMode::Delete).freed();
    assert_eq!(rig.wants.len(), 2);
    rig.fetched(30, Ok(vector(30)));
    assert_eq!((rig.tasks.len(), rig.used(), rig.memory.usage().waiting), (2, ONE, 0));
}

/// I1, I8: a call that waits for memory ends by its deadline, and its place is free.
#[test]
fn waiting_for_memory_ends_by_the_deadline() {
    let mut rig = rig(1);
    rig.put(1, 10);
    run(&mut rig, gives(2), 2, &[], 20);
    rig.expire(Rig::LIMIT);
    assert_eq!(rig.error(2).code, ErrorCode::DeadlineExceeded);
    assert_eq!(rig.memory.usage().waiting, 0);
    rig.delete(3, &[10], DeleteMode::Delete).freed();
    assert!(rig.tasks.is_empty());
    assert_eq!(rig.used(), 0);
}

/// I8: with the session, or the context, goes all that it held or waited for.
#[test]
fn the_end_gives_everything_back() {
    let mut rig = rig(1);
    rig.put(1, 10).put(2, 11);
    run(&mut rig, gives(2), 3, &[], 20);
    rig.store.end_session(super::rig::SESSION, None);
    rig.collect();
    assert_eq!((rig.error(2).code, rig.error(3).code), (ErrorCode::Cancelled, ErrorCode::Cancelled));
    assert_eq!(rig.memory.usage().waiting, 0);
    rig.store.close(failure("closed"));
    assert_eq!(rig.used(), 0);
}

/// I8: objects, tombstones and calls have limits, and a refusal leaves nothing behind.
#[test]
fn objects_tombstones_and_calls_are_bounded() {
    let limits = ObjectLimits { objects: 3, tombstones: 1, jobs: 2, ..ObjectLimits::default() };
    let mut rig = Rig::with(MemoryLimits::default(), limits);
    rig.run(1, &[], &[20]).run(2, &[], &[21]).run(3, &[], &[22]);
    assert_eq!(rig.error(3).code, ErrorCode::Overloaded);
    assert_eq!(rig.stats().objects, 3, "the refused call's output is poisoned");
    rig.put(4, 10);
    assert_eq!(rig.error(4).code, ErrorCode::ResourceExhausted);
    rig.finish(1, Ok(vec![vector(1)]));
    rig.fetch(5, 20, Origin::Here).fetch(6, 40, Origin::Anywhere);
    assert!(rig.is_done(5), "what is there can be had");
    assert_eq!(rig.error(6).code, ErrorCode::ResourceExhausted);
    rig.delete(7, &[20, 22], DeleteMode::Delete).delete(8, &[21], DeleteMode::Release);
    assert_eq!((rig.stats().objects, rig.stats().tombstones), (1, 1));
    rig.put(9, 11);
    assert!(rig.error(9).message.contains("given up before they were ready"), "{}", rig.error(9));
    rig.finish(2, Ok(vec![vector(2)])).put(10, 12);
    assert!(rig.is_done(10));
    assert_eq!((rig.stats().tombstones, rig.stats().refused), (0, 4));
}

/// I8: what an executor counted is not counted again, unless it counted for another budget.
#[test]
fn outputs_that_the_executor_counted_are_counted_once() {
    use super::{MemoryBudget, memory::Account};
    let mut rig = rig(9);
    let other = MemoryBudget::new(MemoryLimits::default());
    for (call, budget) in [(1, rig.memory.clone()), (2, other.clone())] {
        rig.run(call, &[], &[u64::from(call) + 20]);
        let (job, before) = (rig.job(call), rig.used());
        rig.store.counted(job, Some(Account::new(budget, 1).take(ONE)));
        rig.finish(call, Ok(vec![vector(1)]));
        assert_eq!((rig.used() - before, other.usage().used), (ONE, 0), "call {call}");
    }
    assert_eq!(rig.memory.usage().peak, 2 * ONE);
}
