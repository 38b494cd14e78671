//! Calls that come after others: locally (`after`), and on the worker (`in_chain`).

use std::time::Duration;

use remex::prelude::*;

use crate::support::{Gate, assert_error, builder, cluster, elements, end, put, register, stats, task};

/// I5: a call is sent only when those before it are done, on whatever task; its outputs can be used at once.
#[actix::test]
async fn a_call_after_another_is_sent_when_that_is_done() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (first, add) = (register(&context, 1, "gate").await, register(&context, 2, "add").await);
    let (a, b) = (put(&context, 1, &[1.0]).await, put(&context, 2, &[2.0]).await);
    let before = context.execute(RemoteExecute::new(&first).input(&a)).await.unwrap();
    let call = RemoteExecute::new(&add).inputs([&b, &b]).handles(1).after(&before.chain);
    let call = context.execute(call).await.unwrap();
    let user = context.execute(RemoteExecute::new(&add).inputs([&call.outputs[0], &b]).handles(1)).await.unwrap();
    cluster.settle().await;
    assert!(call.chain.try_get().is_none());
    assert_eq!(stats(&cluster, 2).await.2, 1, "only the one that waits for it was sent");
    gate.open(1);
    assert_eq!(elements(&user.handles[0].fetch().await.unwrap()), [6.0]);
    assert_eq!(call.chain.try_get(), Some(Ok(())));
    end(cluster, context).await;
}

/// I5, I2, I3: when the call before fails, this one is not sent; its promises, and all who use its outputs, have the
/// first cause.
#[actix::test]
async fn a_call_after_a_failed_one_fails_with_its_cause() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let objects = stats(&cluster, 2).await.1;
    let (fail, program) = (register(&context, 1, "fail").await, register(&context, 2, "gate").await);
    let add = register(&context, 2, "add").await;
    let before = context.execute(RemoteExecute::new(&fail)).await.unwrap();
    let call = context.execute(RemoteExecute::new(&program).handles(1).after(&before.chain)).await.unwrap();
    let user = context.execute(RemoteExecute::new(&add).input(&call.outputs[0]).handles(1)).await.unwrap();
    let words = ["the sky is not the limit", "program fail", &task(1), "via gate"];
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::OutOfRange, &words);
    assert_error(&call.handles[0].metadata().await.unwrap_err(), ErrorCode::OutOfRange, &words);
    let words = [&words[..3], &["via gate <- add"]].concat();
    assert_error(&user.handles[0].tensor().await.unwrap_err(), ErrorCode::OutOfRange, &words);
    assert_error(&context.fetch(&call.outputs[0]).await.unwrap_err(), ErrorCode::OutOfRange, &words[..3]);
    assert_eq!(gate.runs(), (0, 0, 0));
    drop((call, user));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 2).await.1, objects, "what was poisoned is freed when nobody refers to it");
    end(cluster, context).await;
}

/// I4: what was deleted while its call waited to be sent does not stay as a poisoned object when the call is given up.
#[actix::test]
async fn what_a_withheld_call_would_have_made_stays_deleted() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let objects = stats(&cluster, 1).await.1;
    let before = context.execute(RemoteExecute::new(&program)).await.unwrap();
    let call = context.execute(RemoteExecute::new(&add).input(&before.outputs[0]).after(&before.chain)).await.unwrap();
    let unknown = context.delete(&call.outputs).await.unwrap();
    assert_eq!(unknown.len(), 1, "it is not there yet");
    context.cancel(&before.chain);
    assert_eq!(call.chain.done().await.unwrap_err().code(), ErrorCode::Cancelled);
    drop((before, call));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, objects);
    end(cluster, context).await;
}

/// I1: a call that waits to be sent ends by its deadline and by a cancel, never runs then, and gives its credits back.
#[actix::test]
async fn a_call_that_waits_to_be_sent_can_expire_and_be_cancelled() {
    let gate = Gate::new();
    let credits = remex::Credits { calls: 3, bytes: 1 << 20 };
    let each = move |_, server: remex::ServerBuilder| server.credits(credits);
    let cluster = builder(2).program("gate", gate.program()).each(each).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let a = put(&context, 1, &[1.0]).await;
    let before = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let after = || RemoteExecute::new(&add).input(&a).after(&before.chain);
    for round in 0..5 {
        let late = context.execute(after().deadline(Duration::from_millis(50))).await.unwrap();
        let cancelled = context.execute(after()).await.unwrap();
        let user = context.try_execute(RemoteExecute::new(&add).input(&a)).unwrap_err();
        assert_error(&user, ErrorCode::Overloaded, &[]);
        context.cancel(&cancelled.chain);
        assert_error(&cancelled.chain.done().await.unwrap_err(), ErrorCode::Cancelled, &["the caller cancelled"]);
        assert_error(&late.chain.done().await.unwrap_err(), ErrorCode::DeadlineExceeded, &[&task(1)]);
        let cause = context.fetch(&late.outputs[0]).await.unwrap_err();
        assert_error(&cause, ErrorCode::DeadlineExceeded, &[]);
        assert!(before.chain.try_get().is_none(), "round {round}");
    }
    gate.open(1);
    before.chain.done().await.unwrap();
    cluster.settle().await;
    let done = context.execute(after()).await.unwrap();
    done.chain.done().await.unwrap();
    end(cluster, context).await;
}

/// I4: what is deleted before the call that makes it was sent leaves nothing behind.
#[actix::test]
async fn outputs_deleted_before_their_call_is_sent_are_freed() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let (a, objects) = (put(&context, 1, &[1.0]).await, stats(&cluster, 1).await.1);
    let before = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let dropped = context.execute(RemoteExecute::new(&add).input(&a).after(&before.chain)).await.unwrap();
    let deleted = context.execute(RemoteExecute::new(&add).input(&a).after(&before.chain)).await.unwrap();
    drop(dropped.outputs);
    assert_eq!(context.delete(&deleted.outputs).await.unwrap().len(), 1, "it is not there yet");
    gate.open(1);
    dropped.chain.done().await.unwrap();
    deleted.chain.done().await.unwrap();
    drop((before, deleted.outputs));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, objects);
    end(cluster, context).await;
}

/// I1: closing the context, and losing the link, end calls that wait to be sent.
#[actix::test]
async fn calls_that_wait_to_be_sent_end_with_the_context_and_with_the_link() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let (one, two) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let mut waiting = Vec::new();
    for context in [&one, &two] {
        let (program, add) = (register(context, 1, "gate").await, register(context, 2, "add").await);
        let (a, b) = (put(context, 1, &[1.0]).await, put(context, 2, &[1.0]).await);
        let before = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
        let after = RemoteExecute::new(&add).input(&b).handles(1).after(&before.chain);
        waiting.push(context.execute(after).await.unwrap());
    }
    assert_eq!(one.close().await.unwrap(), []);
    let error = waiting[0].chain.done().await.unwrap_err();
    assert!(matches!(error.code(), ErrorCode::FailedPrecondition | ErrorCode::Cancelled), "{error}");
    assert!(waiting[1].chain.try_get().is_none());
    cluster.cut(0, 2);
    cluster.advance(Duration::from_secs(4)).await;
    assert_error(&waiting[1].handles[0].metadata().await.unwrap_err(), ErrorCode::RpcUnavailable, &[&task(2)]);
    cluster.heal(0, 2);
    gate.open(2);
    cluster.settle().await;
    two.close().await.unwrap();
    cluster.stop().await.unwrap();
}

/// I5: calls that are threaded on remote chains run one after the other, though all are sent at once.
#[actix::test]
async fn remote_chains_order_calls_without_a_round_trip() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, objects) = (register(&context, 1, "gate").await, stats(&cluster, 1).await.1);
    let mut chain = context.ready_chain(&task(1)).unwrap();
    let mut calls = Vec::new();
    for i in 0..5 {
        let a = put(&context, 1, &[i as f32]).await;
        let call = RemoteExecute::new(&program).input(&a).in_chain(&chain).out_chain();
        let call = context.execute(call).await.unwrap();
        chain = call.remote_chain.clone().unwrap();
        calls.push(call.chain);
    }
    for done in 0..5 {
        cluster.settle().await;
        assert_eq!(gate.runs(), (done + 1, done, 0));
        gate.open(1);
    }
    for call in calls {
        call.done().await.unwrap();
    }
    assert_eq!(gate.order(), [0.0, 1.0, 2.0, 3.0, 4.0]);
    drop(chain);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, objects, "old chains and outputs are freed");
    end(cluster, context).await;
}

/// I2, I3: a call whose chain fails does not run, and nothing behind it waits.
#[actix::test]
async fn a_failed_chain_fails_what_comes_after_it() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (fail, program) = (register(&context, 1, "fail").await, register(&context, 1, "gate").await);
    let first = context.execute(RemoteExecute::new(&fail).out_chain()).await.unwrap();
    let second = RemoteExecute::new(&program).in_chain(first.remote_chain.as_ref().unwrap()).out_chain();
    let second = context.execute(second).await.unwrap();
    let third = RemoteExecute::new(&program).in_chain(second.remote_chain.as_ref().unwrap());
    let third = context.execute(third).await.unwrap();
    let error = third.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::OutOfRange, &["the sky is not the limit", "program fail", "via gate <- gate"]);
    assert_eq!((second.chain.try_get().unwrap().is_err(), gate.runs()), (true, (0, 0, 0)));
    end(cluster, context).await;
}

/// I7: a chain of another task, or of another context, is refused before anything is sent.
#[actix::test]
async fn a_chain_must_be_of_the_receiver() {
    let cluster = cluster(3).await;
    let (context, other) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let add = register(&context, 1, "add").await;
    let elsewhere = context.ready_chain(&task(2)).unwrap();
    let error = context.execute(RemoteExecute::new(&add).in_chain(&elsewhere)).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["in-chain 0 is on", &task(1), &task(2), "use `after`"]);
    let foreign = other.ready_chain(&task(1)).unwrap();
    let error = context.execute(RemoteExecute::new(&add).in_chain(&foreign)).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["in-chain 0", "another context"]);
    let chain = context.execute(RemoteExecute::new(&add).out_chain()).await.unwrap().remote_chain.unwrap();
    let error = context.execute(RemoteExecute::new(&add).input(chain.id())).await.unwrap();
    assert!(error.chain.done().await.is_err());
    other.close().await.unwrap();
    end(cluster, context).await;
}

/// A drain lets what was admitted finish, admits nothing more, and then closes.
#[actix::test]
async fn a_drain_waits_for_calls_in_flight() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let first = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let second = context.execute(RemoteExecute::new(&program).input(&a).after(&first.chain)).await.unwrap();
    let drain = context.clone();
    let drain = actix::spawn(async move { drain.drain(Duration::from_secs(10)).await });
    cluster.settle().await;
    let error = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap_err();
    assert_error(&error, ErrorCode::FailedPrecondition, &["drains"]);
    gate.open(2);
    assert_eq!(drain.await.unwrap().unwrap(), []);
    assert_eq!((first.chain.try_get(), second.chain.try_get()), (Some(Ok(())), Some(Ok(()))));
    cluster.stop().await.unwrap();
}

/// A drain that takes too long ends what is left.
#[actix::test]
async fn a_drain_ends_by_its_limit() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let begin = tokio::time::Instant::now();
    assert_eq!(context.drain(Duration::from_secs(2)).await.unwrap(), []);
    assert!(begin.elapsed() < Duration::from_millis(2100), "{:?}", begin.elapsed());
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::Cancelled, &[]);
    cluster.stop().await.unwrap();
}
