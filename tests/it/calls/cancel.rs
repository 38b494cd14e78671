//! Cancel: a call is given up.

use remex::{
    prelude::*,
    protocol::calls::{CancelRequest, Origin},
};

use crate::{
    raw::{HERE, Raw, fetch_object, object, remote_execute},
    support::{Gate, assert_error, builder, end, put, register, stats},
};

/// I1: the promises of a cancelled call settle at once, whether it waits or runs; an async program is dropped.
#[actix::test]
async fn waiting_and_running_calls_are_cancelled() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let running = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let waiting = context.execute(RemoteExecute::new(&program).input(&running.outputs[0]).handles(1)).await.unwrap();
    let user = context.execute(RemoteExecute::new(&program).input(&waiting.outputs[0]).handles(1)).await.unwrap();
    cluster.settle().await;
    context.cancel(&waiting.chain);
    let error = waiting.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::Cancelled, &["the caller cancelled the call"]);
    let error = user.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::Cancelled, &["the caller cancelled the call", "via gate"]);
    assert!(running.chain.try_get().is_none());
    context.cancel(&running.chain);
    assert_error(&running.handles[0].tensor().await.unwrap_err(), ErrorCode::Cancelled, &[]);
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 1), "the first was dropped, the others never began");
    assert_eq!(stats(&cluster, 1).await.2, 0);
    let poisoned = context.fetch(&running.outputs[0]).await.unwrap_err();
    assert_error(&poisoned, ErrorCode::Cancelled, &["the caller cancelled the call"]);
    end(cluster, context).await;
}

#[actix::test]
async fn a_call_that_is_done_stays_as_it_is() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    gate.open(1);
    let call = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    call.chain.done().await.unwrap();
    context.cancel(&call.chain);
    cluster.settle().await;
    assert!(call.chain.try_get().unwrap().is_ok());
    assert!(call.handles[0].fetch().await.is_ok());
    // The call's name is another one's by now; cancelling the old one does not hit it.
    let next = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    context.cancel(&call.chain);
    cluster.settle().await;
    assert!(next.chain.try_get().is_none());
    gate.open(1);
    next.chain.done().await.unwrap();
    end(cluster, context).await;
}

#[actix::test]
async fn a_queued_pool_program_does_not_begin() {
    let begun = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = begun.clone();
    let program = native(move |inputs| {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Ok(inputs.to_vec())
    });
    let cluster = builder(2).program("count", program.outputs(1)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "count").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    context.cancel(&call.chain);
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::Cancelled, &[]);
    cluster.settle().await;
    let first = begun.load(std::sync::atomic::Ordering::Relaxed);
    let call = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    call.chain.done().await.unwrap();
    assert_eq!(begun.load(std::sync::atomic::Ordering::Relaxed), first + 1);
    end(cluster, context).await;
}

#[actix::test]
async fn the_worker_answers_both_the_call_and_the_cancel() {
    let gate = Gate::new();
    let cluster = builder(1).program("gate", gate.program()).start().await.unwrap();
    let mut raw = Raw::with_context(&cluster, 0).await;
    raw.register(0, "gate").await.unwrap();
    let call = raw.call(remote_execute(0, &[], &[object(1, HERE)]), &[]).await;
    let cancel = raw.call(CancelRequest { call }, &[]).await;
    let mut answered = [raw.next().await.call, raw.next().await.call];
    answered.sort_by_key(|call| call.index);
    assert_eq!(answered, [call, cancel]);
    let error = raw.ask(fetch_object(object(1, HERE), Origin::Here)).await.unwrap_err();
    assert_eq!((error.code, error.call), (ErrorCode::Cancelled, Some(call)));
    raw.ask(CancelRequest { call }).await.unwrap();
    cluster.stop().await.unwrap();
}
