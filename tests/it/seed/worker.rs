//! Faults of the worker's side: inputs, outputs, failures, deletes.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use remex::{
    prelude::*,
    protocol::{calls::*, ids::*},
};
use tokio::{sync::Semaphore, time::Instant};

use super::{all_failed, counted, delete, put_object};
use crate::{
    raw::{ELSEWHERE, HERE, Raw, fetch_object, object, remote_execute},
    support::{
        Gate, add, assert_error, builder, cluster, device, elements, end, put, register, same_length,
        same_length_by_function, stats, task, vector,
    },
};

const MILLI: Duration = Duration::from_millis(1);

/// TFRT §3.2-1: an input that is unknown, deleted or of another task fails its call, at once or by its deadline, and
/// leaves no placeholder behind.
#[actix::test]
async fn an_input_that_is_not_there_fails_its_call_and_leaves_nothing() {
    let cluster = cluster(1).await;
    let mut raw = Raw::with_context(&cluster, 0).await;
    raw.register(0, "add").await.unwrap();
    raw.ask_with(put_object(object(50, HERE)), &[0; 4]).await.unwrap();
    assert_eq!(raw.ask(delete(&[object(50, HERE)])).await.unwrap().failures, []);
    let before = stats(&cluster, 0).await;
    let (unknown, deleted, misrouted) = (object(60, HERE), object(50, HERE), object(70, ELSEWHERE));
    let (now, second) = (Duration::ZERO, Duration::from_secs(1));
    let cases = [
        (unknown, Origin::Here, ErrorCode::NotFound, now),
        (deleted, Origin::Here, ErrorCode::NotFound, now),
        (misrouted, Origin::Here, ErrorCode::NotFound, now),
        (unknown, Origin::Anywhere, ErrorCode::DeadlineExceeded, second),
        (deleted, Origin::Anywhere, ErrorCode::DeadlineExceeded, second),
        (misrouted, Origin::Anywhere, ErrorCode::DeadlineExceeded, second),
    ];
    for (n, (input, origin, code, after)) in cases.into_iter().enumerate() {
        let (begin, output) = (Instant::now(), object(1 + n as u64, HERE));
        let error = raw.ask(remote_execute(0, &[(input, origin)], &[output])).await.unwrap_err();
        assert_eq!(error.code, code, "{input} {origin:?}: {error}");
        assert!(begin.elapsed().abs_diff(after) <= MILLI, "{input} {origin:?}: {:?}", begin.elapsed());
        let poison = raw.ask(fetch_object(output, Origin::Here)).await.unwrap_err();
        assert_eq!(poison.message, error.message);
        assert_eq!(raw.ask(delete(&[output])).await.unwrap().failures, []);
        assert_eq!(stats(&cluster, 0).await, before, "{input} {origin:?}");
    }
    cluster.stop().await.unwrap();
}

/// TFRT §3.2-2: however a call ends early, its pre-allocated outputs have its error: for who waits already, for who comes
/// later, and down a pipeline.
#[actix::test]
async fn every_early_end_reaches_the_given_ids() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).program("one", same_length(add())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (here, there) = (register(&context, 1, "add").await, register(&context, 2, "add").await);
    let a = put(&context, 1, &[1.0]).await;
    let unregistered = context.register(&task(1), RegisterFunction::native("x").entry("add")).await.unwrap();
    context.unregister(&unregistered).await.unwrap();
    let deleted = put(&context, 1, &[1.0]).await;
    context.delete(std::slice::from_ref(&deleted)).await.unwrap();
    let [fail, panic, one, gated] = ["fail", "panic", "one", "gate"];
    let (fail, panic) = (register(&context, 1, fail).await, register(&context, 1, panic).await);
    let (one, gated) = (register(&context, 1, one).await, register(&context, 1, gated).await);
    let cases = [
        (RemoteExecute::new(&unregistered).input(&a), ErrorCode::NotFound, "stands for no program"),
        (RemoteExecute::new(&here).input(&deleted), ErrorCode::NotFound, "was deleted, or never made"),
        (RemoteExecute::new(&one).inputs([&a, &a]), ErrorCode::InvalidArgument, "takes 1 inputs, 2 were given"),
        (RemoteExecute::new(&fail), ErrorCode::OutOfRange, "the sky is not the limit"),
        (RemoteExecute::new(&panic), ErrorCode::Internal, "on purpose"),
        (RemoteExecute::new(&gated).deadline(MILLI * 5), ErrorCode::DeadlineExceeded, "by its deadline"),
    ];
    for (call, code, words) in cases {
        let begin = Instant::now();
        let id = context.new_object(&device(1)).unwrap();
        let user = |program, id: &ObjectRef| RemoteExecute::new(program).input(id).handles(1);
        let early = [&here, &there].map(|program| context.try_execute(user(program, &id)).unwrap());
        cluster.settle().await;
        assert!(early.iter().all(|user| user.chain.try_get().is_none()));
        let call = context.execute(call.outputs_into([id.clone()])).await.unwrap();
        let late = context.execute(user(&here, &id)).await.unwrap();
        let last = context.execute(user(&there, &late.outputs[0])).await.unwrap();
        let cause = call.chain.done().await.unwrap_err();
        assert_error(&cause, code, &[words, &task(1)]);
        for user in early.iter().chain([&late, &last]) {
            let error = user.handles[0].tensor().await.unwrap_err();
            assert_error(&error, code, &[words, "via"]);
            assert_eq!(all_failed(user), error);
        }
        assert_error(&context.fetch(&id).await.unwrap_err(), code, &[words]);
        assert!(begin.elapsed() < Duration::from_millis(50), "at once, not by deadline: {:?}", begin.elapsed());
    }
    let (id, call) = (context.new_object(&device(1)).unwrap(), RemoteExecute::new(&gated).input(&a));
    let early = context.execute(RemoteExecute::new(&here).input(&id)).await.unwrap();
    let call = context.execute(call.outputs_into([id])).await.unwrap();
    cluster.settle().await;
    context.cancel(&call.chain);
    assert_error(&early.chain.done().await.unwrap_err(), ErrorCode::Cancelled, &["the caller cancelled", "via add"]);
    end(cluster, context).await;
}

/// TFRT §3.2-3: nothing runs and nothing is stored before all devices and ids of the outputs were looked at.
#[actix::test]
async fn a_call_with_one_wrong_output_does_not_run() {
    let (program, runs) = counted(2);
    let cluster = builder(1).program("two", program).start().await.unwrap();
    let mut raw = Raw::with_context(&cluster, 0).await;
    raw.register(0, "two").await.unwrap();
    raw.ask_with(put_object(object(40, HERE)), &[7; 4]).await.unwrap();
    let cases = [
        (object(41, ELSEWHERE), ErrorCode::InvalidArgument),
        (object(42, DeviceIndex(9)), ErrorCode::DeviceNotFound),
        (object(0, HERE), ErrorCode::InvalidArgument),
        (object(40, HERE), ErrorCode::AlreadyExists),
    ];
    for (n, (wrong, code)) in cases.into_iter().enumerate() {
        let good = object(1 + n as u64, HERE);
        let error = raw.ask(remote_execute(0, &[], &[good, wrong])).await.unwrap_err();
        assert_eq!((error.code, runs.load(Ordering::Relaxed)), (code, 0), "{wrong}: {error}");
        let poison = raw.ask(fetch_object(good, Origin::Here)).await.unwrap_err();
        assert_eq!(poison.message, error.message, "the good output is not published, it has the cause");
    }
    raw.call(fetch_object(object(40, HERE), Origin::Here), &[]).await;
    assert_eq!(raw.next().await.payload.into_bytes()[..], [7; 4], "what was there is untouched");
    raw.ask(remote_execute(0, &[], &[object(10, HERE), object(11, HERE)])).await.unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    cluster.stop().await.unwrap();
}

/// TFRT §3.2-4: a program that fails, panics or gives the wrong outputs is a failed call, whether metadata was asked for
/// or not.
#[actix::test]
async fn a_failed_program_is_never_a_success() {
    struct Half;
    impl remex::Program for Half {
        fn run(&self, call: &mut remex::ProgramCall) -> Result<(), ProgramError> {
            call.outputs.publish(0, vector(&[1.0]))?;
            if call.baggage.is_empty() { Ok(()) } else { Err(ProgramError::new(ErrorCode::DataLoss, "torn")) }
        }
    }
    let cluster = builder(2).program("half", remex::native_program(Half)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    let spec = context.spec(&[&device(1), &device(1)]).unwrap();
    let one = context.spec(&[&device(1)]).unwrap();
    let cases = [
        ("fail", &one, false, ErrorCode::OutOfRange, "the sky is not the limit"),
        ("panic", &one, false, ErrorCode::Internal, "on purpose"),
        ("three", &spec, false, ErrorCode::Internal, "gave 3 outputs, the call names 2"),
        ("half", &spec, false, ErrorCode::Internal, "without giving output 1"),
        ("half", &spec, true, ErrorCode::DataLoss, "torn"),
    ];
    for (name, spec, fails, code, words) in cases {
        let program = register(&context, 1, name).await;
        for handles in 0..=spec.output_devices.len() {
            let call = RemoteExecute::new(&program).input(&a).spec(spec.clone()).handles(handles);
            let call = if fails { call.baggage("fail", "yes") } else { call };
            let call = context.execute(call).await.unwrap();
            let cause = call.chain.done().await.unwrap_err();
            assert_error(&cause, code, &[words, name]);
            for handle in &call.handles {
                assert_eq!(handle.tensor().await.unwrap_err(), cause);
            }
            let last = call.outputs.last().unwrap();
            assert_eq!(
                call.handles.last().map(|handle| handle.try_metadata()),
                (handles > 0).then(|| Some(Err(cause.clone())))
            );
            assert_eq!(context.fetch(last).await.unwrap_err(), cause);
        }
    }
    end(cluster, context).await;
}

/// TFRT §3.2-5: metadata of an output is told when it is known: before other outputs are there, and along a pipeline
/// before anything has run.
#[actix::test]
async fn a_slow_output_delays_no_other_and_no_pipeline() {
    let (open, gate) = (Arc::new(Semaphore::new(0)), Gate::new());
    let inside = open.clone();
    let slow = native_async(move |mut call| {
        let open = inside.clone();
        async move {
            call.outputs.publish(0, vector(&[1.0, 2.0]))?;
            open.acquire().await.unwrap().forget();
            Ok(vec![vector(&[1.0, 2.0]), vector(&[3.0])])
        }
    });
    let cluster = builder(2).program("slow", slow.outputs(2)).program("gate", same_length_by_function(gate.program()));
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let [slow, gated, add] = ["slow", "gate", "add"];
    let (slow, add) = (register(&context, 1, slow).await, register(&context, 1, add).await);
    let gated = register(&context, 1, gated).await;
    let call = context.execute(RemoteExecute::new(&slow).handles(2)).await.unwrap();
    assert_eq!(call.handles[0].metadata().await.unwrap().to_string(), "f32[2]");
    let user = context.execute(RemoteExecute::new(&add).inputs([&call.outputs[0]; 2]).handles(1)).await.unwrap();
    assert_eq!(
        elements(&user.handles[0].fetch().await.unwrap()),
        [2.0, 4.0],
        "the output is used before the other is made"
    );
    let mut calls = vec![context.execute(RemoteExecute::new(&gated).input(&call.outputs[0]).handles(1)).await.unwrap()];
    for i in 0..5 {
        let next = RemoteExecute::new(&gated).input(&calls[i].outputs[0]).handles(1);
        calls.push(context.execute(next).await.unwrap());
    }
    for next in &calls {
        assert_eq!(next.handles[0].metadata().await.unwrap().to_string(), "f32[2]");
        assert!(next.handles[0].try_tensor().is_none());
    }
    assert_eq!(gate.runs(), (1, 0, 0), "only the first of them runs");
    assert!(call.handles[1].try_metadata().is_none() && call.chain.try_get().is_none());
    open.add_permits(1);
    gate.open(6);
    assert_eq!(call.handles[1].metadata().await.unwrap().to_string(), "f32[1]");
    calls[5].chain.done().await.unwrap();
    end(cluster, context).await;
}

/// TFRT §3.2-6: whenever an object is deleted, nobody who uses it waits for ever, and nothing of it stays.
#[actix::test]
async fn a_delete_may_come_at_any_moment() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (gated, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let a = put(&context, 1, &[3.0]).await;
    let before = stats(&cluster, 1).await;
    let user = |id: &ObjectRef| RemoteExecute::new(&add).input(id).handles(1);
    let delete = |id: &ObjectRef| {
        let (context, id) = (context.clone(), [id.clone()]);
        async move { context.delete(&id).await.unwrap() }
    };
    // While it is being made: who waits fails now, who comes later does so at once, the producer is not disturbed.
    let made = context.execute(RemoteExecute::new(&gated).input(&a)).await.unwrap();
    let waited = context.execute(user(&made.outputs[0])).await.unwrap();
    cluster.settle().await;
    assert_eq!(delete(&made.outputs[0]).await, []);
    let error = waited.handles[0].tensor().await.unwrap_err();
    assert_error(&error, ErrorCode::Cancelled, &["was deleted before it was ready"]);
    for _ in 0..2 {
        let late = context.execute(user(&made.outputs[0])).await.unwrap();
        let error = late.chain.done().await.unwrap_err();
        assert_error(&error, ErrorCode::NotFound, &["was deleted"]);
        gate.open(1);
        made.chain.done().await.unwrap();
    }
    assert_eq!(delete(&made.outputs[0]).await[0].error.code, ErrorCode::NotFound, "it is gone");
    // Before anybody makes it: there is nothing to delete yet, and who waits gets it.
    let id = context.new_object(&device(1)).unwrap();
    let waits = context.execute(user(&id)).await.unwrap();
    assert_eq!(delete(&id).await[0].error.code, ErrorCode::NotFound);
    let made_late = context.execute(RemoteExecute::new(&add).input(&a).outputs_into([id.clone()])).await.unwrap();
    made_late.chain.done().await.unwrap();
    assert_eq!(elements(&waits.handles[0].fetch().await.unwrap()), [3.0]);
    // When it is there: a call that was sent before has it.
    gate.open(1);
    let ready = put(&context, 1, &[9.0]).await;
    let uses = context.execute(RemoteExecute::new(&gated).input(&ready).handles(1)).await.unwrap();
    assert_eq!(delete(&ready).await, []);
    assert_eq!(elements(&uses.handles[0].fetch().await.unwrap()), [9.0]);
    let late = context.execute(user(&ready)).await.unwrap();
    assert_error(&late.chain.done().await.unwrap_err(), ErrorCode::NotFound, &["was deleted"]);
    drop((made, waited, waits, id, made_late, ready, uses, late));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await, before, "no placeholder and no value stays");
    end(cluster, context).await;
}
