//! What is offered to the executor behind other runs, and what becomes of it.

use std::sync::Arc;

use remex_protocol::{ErrorCode, calls::Origin};

use super::{
    Binding, Step,
    rig::{Rig, failure, vector},
};
use crate::{
    executor::{Behind, Given, Task},
    programs::{Executable, native},
};

fn inline() -> Arc<Executable> {
    Arc::new(native(|_| Ok(Vec::new())).inline())
}

/// Calls 1, 2, … of which each takes what the one before makes; the first takes object 1, call `n` makes `10 + n`.
fn chain(rig: &mut Rig, programs: &[Arc<Executable>]) {
    rig.put(90, 1);
    for (i, program) in programs.iter().enumerate() {
        let (call, input) = (i as u32 + 1, if i == 0 { 1 } else { 10 + i as u64 });
        let run = rig.run_of(Binding::Ready(program.clone()), call, &[(input, Origin::Here)], &[11 + i as u64]);
        rig.step(Step::Run(Box::new(run)));
    }
}

/// What the actor would offer with what is to be run now.
fn offer(rig: &mut Rig) -> Vec<Behind> {
    let tasks: Vec<Task> = std::mem::take(&mut rig.tasks);
    let behind = rig.store.behind(&tasks);
    rig.tasks = tasks;
    behind
}

fn names(behind: &[Behind]) -> Vec<&str> {
    behind.iter().map(|behind| &*behind.task.name).collect()
}

/// I6: what went behind another run and has ended with it is answered, and does not begin again.
#[test]
fn a_chain_of_inline_calls_goes_in_one_message() {
    let mut rig = Rig::new();
    chain(&mut rig, &[inline(), inline(), inline()]);
    let behind = offer(&mut rig);
    assert_eq!((rig.tasks.len(), names(&behind)), (1, vec!["p2", "p3"]));
    for (place, behind) in behind.iter().enumerate() {
        let [Given::Output { task, output: 0 }] = behind.inputs[..] else { panic!("{behind:?}") };
        assert_eq!(task as usize, place);
    }
    assert!(offer(&mut rig).is_empty(), "it is offered once");
    let jobs: Vec<_> = behind.iter().map(|behind| behind.task.job).collect();
    rig.finish(1, Ok(vec![vector(11)]));
    jobs.iter().for_each(|job| rig.store.finished(*job, Ok(vec![vector(*job)])));
    rig.store.look_again();
    rig.collect();
    assert!((1..4).all(|call| rig.is_done(call)));
    assert_eq!((rig.tasks.len(), rig.stats().jobs), (1, 0));
}

/// What an executor does not take up runs when its inputs are there, once; whatever else ends before.
#[test]
fn what_was_left_is_run_later() {
    let mut rig = Rig::new();
    chain(&mut rig, &[inline(), inline()]);
    rig.run(9, &[(1, Origin::Here)], &[50]);
    assert_eq!(names(&offer(&mut rig)), ["p2"]);
    // The first says early what it makes, and another run ends: whether the second ran is not known yet.
    rig.publish(1, 0, vector(11)).finish(9, Ok(vec![vector(50)]));
    rig.store.look_again();
    rig.collect();
    assert_eq!(rig.tasks.iter().filter(|task| &*task.name == "p2").count(), 0);
    rig.finish(1, Ok(vec![vector(11)]));
    rig.store.look_again();
    rig.collect();
    assert_eq!(rig.task(2).inputs, [vector(11)]);
    rig.finish(2, Ok(vec![vector(12)]));
    assert!(rig.is_done(1) && rig.is_done(2));
}

/// I2, I3: what goes behind a run that fails fails with it, and has its outputs poisoned.
#[test]
fn what_goes_behind_a_failure_fails() {
    let mut rig = Rig::new();
    chain(&mut rig, &[inline(), inline(), inline()]);
    assert_eq!(offer(&mut rig).len(), 2);
    rig.finish(1, Err(failure("no")));
    rig.store.look_again();
    rig.collect().fetch(20, 13, Origin::Here);
    for call in [1, 2, 3, 20] {
        assert_eq!(rig.error(call).code, ErrorCode::Aborted, "call {call}");
    }
    assert_eq!((rig.tasks.len(), rig.stats().jobs), (1, 0));
}

/// Cancelled before the executor says anything, a call behind another one is not run by the store, and is answered once.
#[test]
fn a_call_that_was_offered_can_be_cancelled() {
    let mut rig = Rig::new();
    chain(&mut rig, &[inline(), inline()]);
    let job = offer(&mut rig)[0].task.job;
    rig.step(Step::Cancel { call: Rig::call(2) });
    assert_eq!(rig.error(2).code, ErrorCode::Cancelled);
    rig.finish(1, Ok(vec![vector(11)]));
    rig.store.finished(job, Ok(vec![vector(12)]));
    rig.store.look_again();
    rig.collect();
    assert_eq!((rig.error(2).code, rig.is_done(1), rig.tasks.len()), (ErrorCode::Cancelled, true, 1));
}

/// Only what could begin at once is offered.
#[test]
fn what_lacks_more_or_runs_elsewhere_is_not_offered() {
    let mut rig = Rig::new();
    let pool = Arc::new(native(|_| Ok(Vec::new())));
    chain(&mut rig, &[inline(), pool.clone(), inline()]);
    // Takes something that nobody has made as well.
    let inputs = [(11, Origin::Here), (60, Origin::Anywhere)];
    let run = rig.run_of(Binding::Ready(inline()), 7, &inputs, &[61]);
    rig.step(Step::Run(Box::new(run)));
    assert_eq!(names(&offer(&mut rig)), Vec::<&str>::new());
    // Takes the same output twice, and one that is here.
    let inputs = [(11, Origin::Here), (1, Origin::Here), (11, Origin::Here)];
    let run = rig.run_of(Binding::Ready(inline()), 8, &inputs, &[62]);
    rig.step(Step::Run(Box::new(run)));
    let behind = offer(&mut rig);
    assert_eq!(names(&behind), ["p8"]);
    let given = &behind[0].inputs[..];
    let output = |given: &Given| matches!(given, Given::Output { task: 0, output: 0 });
    assert!(output(&given[0]) && matches!(&given[1], Given::Here(_)) && output(&given[2]), "{given:?}");
    let mut rig = Rig::new();
    chain(&mut rig, &[pool, inline()]);
    assert!(offer(&mut rig).is_empty(), "behind the pool there is no turn");
}

/// A chain orders as an output does, and is not given to the program.
#[test]
fn a_call_may_come_after_one_of_the_same_turn() {
    let mut rig = Rig::new();
    let run = rig.run_of(Binding::Ready(inline()), 1, &[], &[11, 12]);
    rig.step(Step::Run(Box::new(run)));
    let mut run = rig.run_of(Binding::Ready(inline()), 2, &[], &[13]);
    run.in_chains.push(remex_protocol::calls::InputRef { object: super::rig::id(12), origin: Origin::Here });
    rig.step(Step::Run(Box::new(run)));
    let behind = offer(&mut rig);
    assert_eq!((names(&behind), behind[0].inputs.len(), &behind[0].after[..]), (vec!["p2"], 0, &[0][..]));
}
