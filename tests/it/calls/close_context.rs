//! CloseContext: everything is given up and freed.

use std::time::Duration;

use remex::{
    prelude::*,
    protocol::{
        Body, Rpc,
        calls::{CloseContextRequest, ContextMode, CreateContextRequest, PutObjectRequest, RegisterFunctionRequest},
        ids::ObjectPrefix,
        tensor::{DType, TensorMetadata},
    },
};

use crate::{
    raw::{HERE, INDEX, Raw, create_context, object, register_function, remote_execute},
    support::{Gate, assert_error, builder, cluster, put, register, stats, task},
};

/// I1: closing cancels what runs and what waits, and frees everything everywhere.
#[actix::test]
async fn closing_cancels_and_frees() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let there = register(&context, 2, "add").await;
    let running = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let queued = context.execute(RemoteExecute::new(&there).input(&running.outputs[0]).handles(1)).await.unwrap();
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 0));
    assert_eq!(context.close().await.unwrap(), []);
    for call in [&running, &queued] {
        assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::Cancelled, &["closed"]);
        assert_eq!(call.handles[0].tensor().await.unwrap_err().code(), ErrorCode::Cancelled);
    }
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 1));
    for i in 0..3 {
        assert_eq!(stats(&cluster, i).await, (0, 0, 0), "on task {i}");
    }
    let after = [
        context.execute(RemoteExecute::new(&program)).await.unwrap_err(),
        context.try_execute(RemoteExecute::new(&program)).unwrap_err(),
        context.fetch(&a).await.unwrap_err(),
        context.register(&task(1), RegisterFunction::native("add")).await.unwrap_err(),
        context.delete(std::slice::from_ref(&a)).await.unwrap_err(),
    ];
    for error in after {
        assert_error(&error, ErrorCode::FailedPrecondition, &["the context is closed"]);
    }
    assert_eq!(context.close().await.unwrap_err().code(), ErrorCode::InvalidDistributedContextId);
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn the_last_handle_closes() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    let clone = context.clone();
    drop(context);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await, (1, 2, 0));
    drop(clone);
    cluster.settle().await;
    assert_eq!((stats(&cluster, 0).await, stats(&cluster, 1).await), ((0, 0, 0), (0, 0, 0)));
    drop(a);
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn a_task_that_does_not_answer_is_reported() {
    let cluster = cluster(3).await;
    let context = cluster.context().await.unwrap();
    cluster.hold();
    let begin = tokio::time::Instant::now();
    let errors = context.close().await.unwrap();
    let took = begin.elapsed();
    assert!(took <= Duration::from_millis(5_001), "{took:?}");
    assert_eq!(errors.len(), 2);
    for (error, i) in errors.iter().zip([1, 2]) {
        assert_error(error, error.code(), &[&task(i)]);
    }
    cluster.release();
    cluster.advance(Duration::from_secs(5)).await;
    for i in 0..3 {
        assert_eq!(stats(&cluster, i).await, (0, 0, 0), "the lost link ended it on task {i}");
    }
    cluster.stop().await.unwrap();
}

/// A worker that fetched from another one leaves there when the context is closed: nothing is used up on their link.
#[actix::test]
async fn the_link_between_workers_is_left() {
    let cluster = cluster(3).await;
    for _ in 0..5 {
        let context = cluster.context().await.unwrap();
        let (add, a) = (register(&context, 2, "add").await, put(&context, 1, &[1.0]).await);
        cluster.hold();
        let call = context.execute(RemoteExecute::new(&add).input(&a)).await.unwrap();
        cluster.settle().await;
        let mut joins = Vec::new();
        while let Some(step) = cluster.step().await {
            joins.extend(step.contains("2 → 1: CreateContext").then_some(step));
        }
        assert_eq!(joins.len(), 1);
        cluster.release();
        call.chain.done().await.unwrap();
        cluster.hold();
        let closing = actix::spawn({
            let context = context.clone();
            async move { context.close().await }
        });
        cluster.settle().await;
        let mut left = Vec::new();
        while let Some(step) = cluster.step().await {
            left.extend(step.contains("2 → 1: CloseContext").then_some(step));
        }
        assert_eq!(left.len(), 1);
        cluster.release();
        assert_eq!(closing.await.unwrap().unwrap(), []);
    }
    cluster.stop().await.unwrap();
}

/// Makes calls and closes the context while their payload is on its way: each is answered.
async fn check_announced_calls(creates: bool) {
    let cluster = cluster(1).await;
    let mut creator = Raw::with_context(&cluster, 0).await;
    let mut other = Raw::dial(&cluster, 0).await;
    let (mode, prefix) = (ContextMode::Join, ObjectPrefix(10));
    other.ask(CreateContextRequest { mode, prefix, ..create_context(0) }).await.unwrap();
    let raw = if creates { &mut creator } else { &mut other };
    let payload = vec![0; 600_000];
    let metadata = TensorMetadata::new(DType::U8, [payload.len() as u64]);
    let program_bytes = payload.len() as u64;
    let put = raw.announce(PutObjectRequest { context: INDEX, object: object(1, HERE), metadata }, &payload);
    let register = RegisterFunctionRequest { program_bytes, ..register_function(1, "add") };
    let register = raw.announce(register, &payload);
    let close = raw.call(CloseContextRequest { context: INDEX }, &[]).await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        let frame = raw.next().await;
        match frame.body {
            Body::Completed(_) => assert_eq!(frame.call, close),
            Body::Failed { kind, error } => {
                let expected = if frame.call == put { PutObjectRequest::KIND } else { RegisterFunctionRequest::KIND };
                assert_eq!((kind, error.code), (expected, ErrorCode::Cancelled), "{error}");
            }
            other => panic!("{other:?} is no answer"),
        }
        answers.push(frame.call);
    }
    answers.sort_by_key(|call| call.index);
    assert_eq!(answers, [put, register, close]);
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn who_leaves_has_an_answer_to_what_is_on_its_way() {
    check_announced_calls(false).await;
}

#[actix::test]
async fn who_ends_the_context_has_an_answer_to_what_is_on_its_way() {
    check_announced_calls(true).await;
}

#[actix::test]
async fn its_index_can_be_used_again() {
    let gate = Gate::new();
    let cluster = builder(1).program("gate", gate.program()).start().await.unwrap();
    let mut raw = Raw::with_context(&cluster, 0).await;
    raw.register(0, "gate").await.unwrap();
    let call = raw.call(remote_execute(0, &[], &[object(1, HERE)]), &[]).await;
    let close = raw.call(CloseContextRequest { context: INDEX }, &[]).await;
    let (first, second) = (raw.next().await, raw.next().await);
    assert_eq!((first.call, second.call), (call, close), "every call is answered before the close");
    let after = raw.ask(remote_execute(0, &[], &[object(2, HERE)])).await.unwrap_err();
    assert_eq!(after.code, ErrorCode::InvalidDistributedContextId);
    raw.ask(create_context(0)).await.unwrap();
    let unknown = raw.ask(remote_execute(0, &[], &[object(1, HERE)])).await.unwrap_err();
    assert_eq!(unknown.code, ErrorCode::NotFound, "its programs are gone");
    cluster.stop().await.unwrap();
}
