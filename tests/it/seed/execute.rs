//! Faults of the client's side of RemoteExecute: what is promised and what is checked.

use std::{cell::Cell, time::Duration};

use remex::{
    ServerBuilder,
    prelude::*,
    protocol::{Call, calls::RegisterFunctionRequest, ids::DeviceIndex},
};

use super::{
    all_failed,
    fake::{self, Answer},
};
use crate::{
    raw::{HERE, Raw, object, register_function, remote_execute},
    support::{Gate, assert_error, builder, cluster, device, end, put, register, same_length, task, vector},
};

/// TFRT §3.1-1: whichever way a call fails, its tensors and its metadata settle with its chain.
#[actix::test]
async fn however_a_call_fails_nothing_of_it_stays_open() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (first, second) = (register(&context, 1, "gate").await, register(&context, 2, "gate").await);
    let (a, deleted) = (put(&context, 1, &[1.0]).await, put(&context, 1, &[1.0]).await);
    context.delete(std::slice::from_ref(&deleted)).await.unwrap();
    let call = |program, a: &ObjectRef| RemoteExecute::new(program).input(a).handles(1);
    let late = context.execute(call(&first, &a).deadline(Duration::from_secs(2))).await.unwrap();
    let refused = context.execute(call(&first, &deleted)).await.unwrap();
    let cancelled = context.execute(call(&first, &a)).await.unwrap();
    let lost = context.execute(call(&first, &a)).await.unwrap();
    let closed = context.execute(RemoteExecute::new(&second).handles(1)).await.unwrap();
    let calls = [&late, &refused, &cancelled, &lost, &closed];
    assert!(calls.iter().all(|call| call.handles[0].try_metadata().is_none()));
    context.cancel(&cancelled.chain);
    cluster.settle().await;
    assert_eq!(all_failed(&refused).code(), ErrorCode::NotFound);
    assert_eq!(all_failed(&cancelled).code(), ErrorCode::Cancelled);
    assert!(lost.handles[0].try_tensor().is_none());
    cluster.advance(Duration::from_secs(2)).await;
    assert_eq!(all_failed(&late).code(), ErrorCode::DeadlineExceeded);
    cluster.cut(0, 1);
    cluster.advance(Duration::from_secs(6)).await;
    assert_eq!(all_failed(&lost).code(), ErrorCode::RpcUnavailable);
    assert!(closed.handles[0].try_tensor().is_none());
    context.close().await.unwrap();
    assert_eq!(all_failed(&closed).code(), ErrorCode::Cancelled);
    cluster.heal(0, 1);
    cluster.stop().await.unwrap();
}

/// TFRT §3.1-2: an answer whose metadata cannot be read settles the metadata, with everything else of its call, and
/// costs no other call anything.
#[actix::test]
async fn metadata_that_cannot_be_read_settles_too() {
    let cluster = cluster(1).await;
    let mut good = false;
    let answer = move |call: &Call| match call {
        Call::RemoteExecute(_) => {
            let outputs = if std::mem::replace(&mut good, true) { 2 } else { 1025 };
            Answer::With(vec![fake::done(vec![Some(vector(&[1.0]).metadata().clone()); outputs])])
        }
        _ => Answer::Good,
    };
    fake::start(&cluster, answer).await;
    let context = fake::context(&cluster, |config| config).await;
    let program = register(&context, 1, "two").await;
    let call = context.execute(RemoteExecute::new(&program).handles(2)).await.unwrap();
    call.chain.done().await.unwrap_err();
    let error = all_failed(&call);
    assert_error(&error, ErrorCode::Internal, &["its reply is malformed", "more than 1024"]);
    let next = context.execute(RemoteExecute::new(&program).handles(2)).await.unwrap();
    next.chain.done().await.unwrap();
    assert_eq!(next.handles[1].metadata().await.unwrap().to_string(), "f32[1]");
    drop((call, next));
    end(cluster, context).await;
}

/// TFRT §3.1-3: what went wrong is said by every promise of the call, not by its chain alone.
#[actix::test]
async fn every_promise_of_a_failed_call_says_why() {
    let cluster = cluster(1).await;
    let answer = |call: &Call| match call {
        Call::RemoteExecute(_) => Answer::With(vec![fake::failed(ErrorCode::ResourceExhausted, "the disk is full")]),
        _ => Answer::Good,
    };
    fake::start(&cluster, answer).await;
    let context = fake::context(&cluster, |config| config).await;
    let program = register(&context, 1, "two").await;
    let call = context.execute(RemoteExecute::new(&program).handles(2)).await.unwrap();
    for handle in &call.handles {
        for error in [handle.metadata().await.unwrap_err(), handle.tensor().await.unwrap_err()] {
            assert_error(&error, ErrorCode::ResourceExhausted, &["the disk is full", &task(1)]);
            assert_eq!(error, call.chain.done().await.unwrap_err());
            assert_eq!(error.call(), Some(call.chain.call()));
        }
    }
    drop(call);
    end(cluster, context).await;
}

/// TFRT §3.1-4: what came with a failed or an incomplete answer makes no tensor ready.
#[actix::test]
async fn a_failed_call_makes_no_tensor_ready() {
    let cluster = cluster(1).await;
    let metadata = vector(&[1.0]).metadata().clone();
    let (known, calls) = (metadata.clone(), Cell::new(0));
    let answer = move |call: &Call| match call {
        Call::RemoteExecute(_) => {
            calls.set(calls.get() + 1);
            let early = remex::protocol::Body::Metadata { output: 0, metadata: known.clone() };
            let failure = fake::failed(ErrorCode::Aborted, "half done");
            let all = fake::done(vec![Some(known.clone()); 2]);
            Answer::With(match calls.get() {
                1 => vec![early, failure, all],
                _ => vec![fake::done([Some(known.clone())])],
            })
        }
        _ => Answer::Good,
    };
    fake::start(&cluster, answer).await;
    let context = fake::context(&cluster, |config| config).await;
    let program = register(&context, 1, "two").await;
    let failed = context.execute(RemoteExecute::new(&program).handles(2)).await.unwrap();
    cluster.settle().await;
    let cause = failed.chain.try_get().unwrap().unwrap_err();
    assert_error(&cause, ErrorCode::Aborted, &["half done"]);
    assert_eq!(failed.handles[0].metadata().await.unwrap(), metadata, "it describes, it promises no data");
    assert_eq!(failed.handles[0].tensor().await.unwrap_err(), cause);
    assert_eq!(failed.handles[1].metadata().await.unwrap_err(), cause, "what comes after the failure changes nothing");
    assert_eq!(failed.handles[1].tensor().await.unwrap_err(), cause);
    let short = context.execute(RemoteExecute::new(&program).handles(2)).await.unwrap();
    let cause = short.chain.done().await.unwrap_err();
    assert_error(&cause, ErrorCode::Internal, &["metadata of 1 outputs, the call has 2", &task(1)]);
    for handle in &short.handles {
        assert_eq!(handle.metadata().await.unwrap_err(), cause);
        assert_eq!(handle.tensor().await.unwrap_err(), cause);
    }
    drop((failed, short));
    end(cluster, context).await;
}

/// TFRT §3.1-5: a call that fails early gives an error and nothing else, or all its results, each with the error.
#[actix::test]
async fn an_early_failure_leaves_no_result_unset() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (three, add) = (register(&context, 1, "three").await, register(&context, 1, "add").await);
    let deleted = put(&context, 1, &[1.0]).await;
    context.delete(std::slice::from_ref(&deleted)).await.unwrap();
    let spec = context.spec(&[&device(1), &device(1), &device(1)]).unwrap();
    let call = RemoteExecute::new(&three).input(&deleted).spec(spec);
    let given: Vec<_> = (0..3).map(|_| context.new_object(&device(1)).unwrap()).collect();
    for call in [call.clone().handles(3), call.clone().outputs_into(given.clone())] {
        let call = context.execute(call).await.unwrap();
        let outputs: Vec<_> = call.handles.iter().map(|handle| handle.object().clone()).collect();
        assert_eq!(outputs.len(), 3);
        call.chain.done().await.unwrap_err();
        let cause = all_failed(&call);
        assert_error(&cause, ErrorCode::NotFound, &["was deleted, or never made", "program three"]);
        for output in &outputs {
            assert_eq!(context.fetch(output).await.unwrap_err().message(), cause.message());
            let user = context.execute(RemoteExecute::new(&add).input(output)).await.unwrap();
            assert_eq!(user.chain.done().await.unwrap_err().message(), cause.message());
        }
    }
    let fresh = context.new_object(&device(1)).unwrap();
    let error = context.execute(call.outputs_into([fresh.clone()])).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["1 output ids were given, the spec has 3"]);
    assert_eq!(context.execute(RemoteExecute::new(&add).outputs_into([fresh])).await.unwrap().handles.len(), 1);
    end(cluster, context).await;
}

/// TFRT §3.1-6: counts that do not fit each other are refused by name: given ids and the spec's outputs, inputs and what
/// the program takes, handles and outputs.
#[actix::test]
async fn counts_are_compared_before_anything_is_done() {
    let gate = Gate::new();
    let cluster = builder(2).program("one", same_length(gate.program())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (three, one) = (register(&context, 1, "three").await, register(&context, 1, "one").await);
    let (a, device) = (put(&context, 1, &[1.0]).await, device(1));
    let spec = context.spec(&[&device, &device, &device]).unwrap();
    let given = |count| (0..count).map(|_| context.new_object(&device).unwrap()).collect::<Vec<_>>();
    let call = RemoteExecute::new(&three).input(&a).spec(spec);
    cluster.hold();
    for count in [0, 1, 2, 4] {
        let error = context.execute(call.clone().outputs_into(given(count))).await.unwrap_err();
        let words = format!("{count} output ids were given, the spec has 3");
        assert_error(&error, ErrorCode::InvalidArgument, &[&words]);
    }
    let error = context.execute(call.clone().handles(4)).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["the last 4 outputs", "there are 3"]);
    cluster.settle().await;
    assert_eq!(cluster.step().await, None, "nothing was sent");
    cluster.release();
    for inputs in [0, 2, 3] {
        let wrong = context.execute(RemoteExecute::new(&one).inputs(vec![&a; inputs]).handles(1)).await.unwrap();
        wrong.chain.done().await.unwrap_err();
        let words = format!("the program takes 1 inputs, {inputs} were given");
        assert_error(&all_failed(&wrong), ErrorCode::InvalidArgument, &[&words, "program one"]);
    }
    assert_eq!(gate.runs(), (0, 0, 0), "none of them ran");
    for call in [call.clone().outputs_into(given(3)), call.handles(3)] {
        assert_eq!(context.execute(call).await.unwrap().handles[2].tensor().await.unwrap().size_bytes, 4);
    }
    end(cluster, context).await;
}

/// TFRT §3.1-7: which form is meant is said, whatever the counts are; and ids must be on the devices that the spec says.
#[actix::test]
async fn the_form_is_never_guessed_and_the_spec_binds() {
    let none = native(|_| Ok(Vec::new())).outputs(0);
    let two_devices = |_, server: ServerBuilder| server.device("CPU", None).device("CPU", None);
    let cluster = builder(2).each(two_devices).program("none", none).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (none, add) = (register(&context, 1, "none").await, register(&context, 1, "add").await);
    let a = put(&context, 1, &[1.0]).await;
    for inputs in 0..3 {
        let call = RemoteExecute::new(&none).inputs(vec![&a; inputs]).spec(context.spec(&[]).unwrap());
        for call in [call.clone(), call.outputs_into([])] {
            let call = context.execute(call).await.unwrap();
            assert_eq!((call.outputs.len(), call.handles.len()), (0, 0));
            call.chain.done().await.unwrap();
        }
        let wrong = RemoteExecute::new(&add).inputs(vec![&a; inputs]).outputs_into([]);
        let error = context.execute(wrong).await.unwrap_err();
        assert_error(&error, ErrorCode::InvalidArgument, &["0 output ids were given, the spec has 1"]);
    }
    let [first, second] = [0, 1].map(|i| format!("{}/device:CPU:{i}", task(1)));
    let on = |device: &str| context.new_object(device).unwrap();
    let function = RegisterFunction::native("second").entry("add").outputs_on([second.parse().unwrap()]);
    let add = context.register(&task(1), function).await.unwrap();
    let call = RemoteExecute::new(&add).input(&a).spec(context.spec(&[&second]).unwrap());
    let error = context.execute(call.clone().outputs_into([on(&first)])).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["the id given for output 0 is on", &first, &second]);
    for call in [call.clone().outputs_into([on(&second)]), call.handles(1)] {
        let call = context.execute(call).await.unwrap();
        assert_eq!(call.handles[0].device().to_string(), second);
        call.chain.done().await.unwrap();
    }
    end(cluster, context).await;
}

/// TFRT §3.1-8: a device that is not there is refused where it is named, by client and worker; nothing breaks later.
#[actix::test]
async fn a_device_that_is_not_there_is_refused_where_it_is_named() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let missing = format!("{}/device:GPU:7", task(1));
    let function = RegisterFunction::native("add").outputs_on([missing.parse().unwrap()]);
    let spec = remex::RemoteExecuteSpec { output_devices: vec![missing.parse().unwrap()] };
    let add = register(&context, 1, "add").await;
    let errors = [
        context.register(&task(1), function).await.unwrap_err(),
        context.spec(&[&missing]).unwrap_err(),
        context.new_object(&missing).unwrap_err(),
        context.put(&missing.parse().unwrap(), vector(&[1.0])).await.unwrap_err(),
        context.execute(RemoteExecute::new(&add).spec(spec)).await.unwrap_err(),
    ];
    for error in errors {
        assert_error(&error, ErrorCode::DeviceNotFound, &["no device", &missing, &device(1)]);
    }
    let mut raw = Raw::with_context(&cluster, 1).await;
    let function = RegisterFunctionRequest { output_devices: vec![DeviceIndex(9)], ..register_function(0, "add") };
    let error = raw.ask(function).await.unwrap_err();
    assert!(error.message.contains("d9 is not one of this task"), "{error}");
    raw.ask(remote_execute(0, &[], &[object(1, HERE)])).await.unwrap_err();
    raw.register(1, "three").await.unwrap();
    let error = raw.ask(remote_execute(1, &[], &[object(2, DeviceIndex(9))])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::DeviceNotFound);
    let a = put(&context, 1, &[1.0]).await;
    context.execute(RemoteExecute::new(&add).input(&a)).await.unwrap().chain.done().await.unwrap();
    end(cluster, context).await;
}
