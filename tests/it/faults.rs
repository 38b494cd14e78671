//! Links that are lost, owners that are gone, handles that are dropped.

use std::time::Duration;

use remex::{prelude::*, protocol::Effect};
use tokio::time::Instant;

use crate::support::{Gate, assert_error, builder, cluster, device, elements, end, put, register, stats, task, vector};

/// I1: without a reconnect window a lost link fails all its calls at once, naming task and address; later calls are not
/// sent.
#[actix::test]
async fn a_lost_link_fails_its_calls_at_once() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program());
    let cluster = cluster.each(|_, builder| builder.reconnect_window(Duration::ZERO)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, other) = (register(&context, 1, "gate").await, register(&context, 2, "add").await);
    let a = put(&context, 1, &[1.0]).await;
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap());
    }
    let fetching = calls[0].handles[0].clone();
    let fetching = actix::spawn(async move { fetching.fetch().await });
    cluster.settle().await;
    let begin = Instant::now();
    cluster.cut(0, 1);
    for call in &calls {
        let error = call.chain.done().await.unwrap_err();
        assert_error(&error, ErrorCode::RpcUnavailable, &["the link to", &task(1), "loopback:1", "was lost"]);
        assert_eq!((error.task(), error.effect()), (Some(&*task(1)), Effect::Unknown));
        assert!(!error.is_retryable());
        assert_eq!(call.handles[0].tensor().await.unwrap_err(), error);
    }
    assert_eq!(fetching.await.unwrap().unwrap_err().code(), ErrorCode::RpcUnavailable);
    assert!(begin.elapsed() <= Duration::from_millis(1), "{:?}", begin.elapsed());
    let later = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap_err();
    assert_error(&later, ErrorCode::FailedPrecondition, &["register it again", "was lost", &task(1), "loopback:1"]);
    assert_eq!(later.effect(), Effect::NotSent);
    let later = context.put(&context.device_of(&task(1)).unwrap(), vector(&[1.0])).await.unwrap_err();
    assert_error(&later, ErrorCode::RpcUnavailable, &[&task(1), "loopback:1"]);
    assert!(later.effect() == Effect::NotSent && later.is_retryable());
    let b = put(&context, 2, &[2.0]).await;
    let fine = context.execute(RemoteExecute::new(&other).input(&b).handles(1)).await.unwrap();
    assert_eq!(elements(&fine.handles[0].fetch().await.unwrap()), [2.0]);
    cluster.settle().await;
    assert_eq!((gate.runs(), stats(&cluster, 1).await), ((3, 0, 3), (0, 0, 0)), "the worker has freed everything");
    cluster.heal(0, 1);
    drop((a, b, calls, fine));
    end(cluster, context).await;
}

/// I1: silence is loss: after three seconds the connection is, after the reconnect window the link.
#[actix::test]
async fn a_silent_link_is_lost() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    cluster.hold();
    let begin = Instant::now();
    let call = context.execute(RemoteExecute::new(&add).input(&a)).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &["nothing was heard for 3 s", &task(1)]);
    let (lost, limit) = (Duration::from_secs(8), Duration::from_millis(8_700));
    assert!(lost <= begin.elapsed() && begin.elapsed() <= limit, "{:?}", begin.elapsed());
    cluster.release();
    end(cluster, context).await;
}

/// I2: the owner of an input is cut off from the receiver: the call fails with an error that names the owner.
#[actix::test]
async fn an_owner_that_is_cut_off_is_named() {
    let cluster = cluster(3).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 2, "add").await, put(&context, 1, &[1.0]).await);
    cluster.cut(1, 2);
    let limit = Duration::from_secs(5);
    let begin = Instant::now();
    let call = context.execute(RemoteExecute::new(&add).input(&a).handles(1).deadline(limit)).await.unwrap();
    let error = call.handles[0].tensor().await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &[&task(1), "loopback:1"]);
    assert!(begin.elapsed() < limit, "{:?}", begin.elapsed());
    cluster.heal(1, 2);
    let again = context.execute(RemoteExecute::new(&add).input(&a).handles(1)).await.unwrap();
    assert_eq!(elements(&again.handles[0].fetch().await.unwrap()), [1.0], "the next call dials again");
    end(cluster, context).await;
}

/// I2: an owner that is lost while it is asked fails those who wait.
#[actix::test]
async fn an_owner_that_is_lost_fails_who_waits() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "gate").await, register(&context, 2, "add").await);
    let made = context.execute(RemoteExecute::new(&program)).await.unwrap();
    let users = [
        context.execute(RemoteExecute::new(&add).input(&made.outputs[0])).await.unwrap(),
        context.execute(RemoteExecute::new(&add).input(&made.outputs[0])).await.unwrap(),
    ];
    cluster.settle().await;
    cluster.cut(1, 2);
    for user in users {
        let error = user.chain.done().await.unwrap_err();
        assert_error(&error, ErrorCode::RpcUnavailable, &[&task(1), "loopback:1", "via"]);
    }
    assert!(made.chain.try_get().is_none(), "the client still reaches the owner");
    cluster.heal(1, 2);
    end(cluster, context).await;
}

#[actix::test]
async fn dropping_handles_cancels_nothing() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    drop(call);
    drop(context.execute(RemoteExecute::new(&program).input(&a)));
    cluster.settle().await;
    gate.open(1);
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 1, 0), "the program ran to its end");
    assert_eq!(stats(&cluster, 1).await, (1, 2, 0), "and its output was freed");
    end(cluster, context).await;
}

/// I1: when the client's server stops, its promises fail.
#[actix::test]
async fn stopping_the_server_settles_everything() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "gate").await;
    let own = register(&context, 0, "gate").await;
    let calls = [
        context.execute(RemoteExecute::new(&program).handles(1)).await.unwrap(),
        context.execute(RemoteExecute::new(&own).handles(1)).await.unwrap(),
    ];
    cluster.settle().await;
    cluster.task(0).stop().await.unwrap();
    for call in calls {
        assert_eq!(call.chain.done().await.unwrap_err().code(), ErrorCode::Cancelled);
        assert_eq!(call.handles[0].metadata().await.unwrap_err().code(), ErrorCode::Cancelled);
    }
    let after = context.execute(RemoteExecute::new(&program)).await.unwrap_err();
    assert_error(&after, ErrorCode::FailedPrecondition, &["the server was stopped"]);
    assert!(context.new_object(&device(1)).is_ok(), "ids need no server");
    cluster.settle().await;
    assert_eq!((stats(&cluster, 1).await, gate.runs()), ((0, 0, 0), (2, 0, 2)));
    cluster.stop().await.unwrap();
}

/// I1: a worker that stops says so; one that drains lets calls end and takes no new ones.
#[actix::test]
async fn a_draining_worker_finishes_what_it_has() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let running = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    cluster.settle().await;
    let worker = cluster.task(1).clone();
    let stopping = actix::spawn(async move { worker.drain(Duration::from_secs(10)).await });
    cluster.settle().await;
    let refused = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let error = refused.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::Unavailable, &["takes no new work", &task(1)]);
    assert!(error.effect() == Effect::NotRun && error.is_retryable());
    gate.open(1);
    running.chain.done().await.unwrap();
    stopping.await.unwrap().unwrap();
    drop((a, running, refused));
    context.close().await.unwrap();
    cluster.stop().await.unwrap();
}
