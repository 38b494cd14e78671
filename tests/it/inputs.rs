//! Inputs that live on another worker: fetched once, by who needs them, kept while a call uses them, and never through the client.

use std::{sync::Arc, time::Duration};

use remex::{ServerStats, prelude::*, testing::TestCluster};
use tokio::{sync::Semaphore, time::Instant};

use crate::support::{Gate, assert_error, builder, elements, end, put, register, task};

const MIB: u64 = 1 << 20;

/// A program that makes a MiB out of nothing.
fn large() -> remex::Executable {
    native(|_| Ok(vec![Tensor::from_slice([MIB / 4], &vec![0.5f32; MIB as usize / 4])?])).outputs(1)
}

/// A program that gives the first element of its input.
fn first() -> remex::Executable {
    native(|inputs| Ok(vec![Tensor::from_slice([1], &inputs[0].elements::<f32>()?[..1])?])).outputs(1)
}

/// A program that waits until it is let go, and gives something small.
fn waiting(open: &Arc<Semaphore>) -> remex::Executable {
    let open = open.clone();
    native_async(move |_| {
        let open = open.clone();
        async move {
            open.acquire().await.unwrap().forget();
            Ok(vec![Tensor::scalar(1f32)?])
        }
    })
    .outputs(1)
}

async fn numbers(cluster: &TestCluster, i: usize) -> ServerStats {
    cluster.task(i).stats().await.unwrap()
}

/// A chain of calls over three workers is sent in one go; each worker fetches its input from the one before, and the counters of
/// the client show that none of the bytes passed it.
#[actix::test]
async fn bytes_go_from_worker_to_worker_and_not_through_the_client() {
    let same = native(|inputs| Ok(inputs.to_vec())).outputs(1);
    let cluster = builder(4).program("large", large()).program("same", same).program("first", first());
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (large, same, first) = (
        register(&context, 1, "large").await,
        register(&context, 2, "same").await,
        register(&context, 3, "first").await,
    );
    let before = numbers(&cluster, 0).await;
    let made = context.execute(RemoteExecute::new(&large)).await.unwrap();
    let passed = context.execute(RemoteExecute::new(&same).input(&made.outputs[0])).await.unwrap();
    let last = context.execute(RemoteExecute::new(&first).input(&passed.outputs[0]).handles(1)).await.unwrap();
    assert_eq!(elements(&last.handles[0].fetch().await.unwrap()), [0.5]);
    let after = numbers(&cluster, 0).await;
    let (sent, received) = (after.sent_bytes - before.sent_bytes, after.received_bytes - before.received_bytes);
    assert!(sent > 0 && sent < 4096 && received > 0 && received < 4096, "the client: {sent} out, {received} in");
    assert_eq!((after.fetches, after.fetched_bytes), (0, 0));
    for (i, fetched, passed_on) in [(1, 0, true), (2, 1, true), (3, 1, false)] {
        let numbers = numbers(&cluster, i).await;
        assert_eq!((numbers.fetches, numbers.fetched_bytes), (fetched, fetched * MIB), "worker {i}");
        assert_eq!(numbers.sent_bytes >= MIB, passed_on, "worker {i}");
        assert_eq!(numbers.received_bytes >= MIB, fetched == 1, "worker {i}");
    }
    end(cluster, context).await;
}

/// Calls on one worker that take one object of another share one transfer and one copy: those that wait for it together, and those
/// that come while another one still uses it. It is counted once, and freed with the last of them; the next call asks anew.
#[actix::test]
async fn consumers_share_a_transfer_and_a_copy_while_one_of_them_runs() {
    let open = Arc::new(Semaphore::new(0));
    let cluster = builder(3).program("large", large()).program("gate", waiting(&open)).program("first", first());
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (large, gated, first) = (
        register(&context, 1, "large").await,
        register(&context, 2, "gate").await,
        register(&context, 2, "first").await,
    );
    let made = context.execute(RemoteExecute::new(&large)).await.unwrap();
    let x = &made.outputs[0];
    let call = |program: &ProgramHandle| RemoteExecute::new(program).inputs([x, x]).handles(1);
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(context.execute(call(&gated)).await.unwrap());
    }
    made.chain.done().await.unwrap();
    cluster.settle().await;
    assert_eq!(numbers(&cluster, 2).await.jobs, 3);
    // Another program, another input place, and a call after those: the copy that is here serves them.
    let late = context.execute(RemoteExecute::new(&first).input(x).handles(1)).await.unwrap();
    assert_eq!(elements(&late.handles[0].fetch().await.unwrap()), [0.5]);
    drop(late);
    calls.push(context.execute(call(&gated)).await.unwrap());
    cluster.settle().await;
    let used = numbers(&cluster, 2).await;
    assert_eq!((used.fetches, used.fetched_bytes, used.jobs, used.objects), (1, MIB, 4, 1 + 1 + 4));
    assert!(used.memory_used >= MIB && used.memory_used < 2 * MIB, "{} bytes", used.memory_used);
    open.add_permits(3);
    for call in calls.drain(..3) {
        call.chain.done().await.unwrap();
    }
    cluster.settle().await;
    assert!(numbers(&cluster, 2).await.memory_used >= MIB, "one call still uses it");
    open.add_permits(1);
    calls[0].chain.done().await.unwrap();
    drop(calls);
    cluster.settle().await;
    let free = numbers(&cluster, 2).await;
    assert_eq!((free.memory_used, free.objects, free.fetches), (0, 1, 1), "only the ready chain is left");
    assert_eq!(numbers(&cluster, 1).await.memory_used, MIB, "the owner has it for as long as it is referred to");
    let again = context.execute(RemoteExecute::new(&first).input(x).handles(1)).await.unwrap();
    assert_eq!(elements(&again.handles[0].fetch().await.unwrap()), [0.5]);
    assert_eq!(numbers(&cluster, 2).await.fetches, 2);
    end(cluster, context).await;
}

/// A copy goes with its last user, however that one ends: by a cancel, by its deadline, with its context.
#[actix::test]
async fn a_copy_is_freed_however_its_users_end() {
    let gate = Gate::new();
    let cluster = builder(3).program("large", large()).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (large, gated) = (register(&context, 1, "large").await, register(&context, 2, "gate").await);
    let made = context.execute(RemoteExecute::new(&large)).await.unwrap();
    let call = || RemoteExecute::new(&gated).input(&made.outputs[0]).handles(1);
    let cancelled = context.execute(call()).await.unwrap();
    let expires = context.execute(call().deadline(Duration::from_secs(2))).await.unwrap();
    made.chain.done().await.unwrap();
    cluster.settle().await;
    assert_eq!(gate.runs(), (2, 0, 0));
    context.cancel(&cancelled.chain);
    cluster.settle().await;
    let numbers_now = numbers(&cluster, 2).await;
    assert_eq!((numbers_now.memory_used, numbers_now.fetches), (MIB, 1), "the other one uses it");
    assert_error(&expires.chain.done().await.unwrap_err(), ErrorCode::DeadlineExceeded, &[]);
    cluster.settle().await;
    assert_eq!((numbers(&cluster, 2).await.memory_used, gate.runs()), (0, (2, 0, 2)));
    let closed = context.execute(call()).await.unwrap();
    cluster.settle().await;
    assert_eq!(numbers(&cluster, 2).await.memory_used, MIB);
    assert_eq!(context.close().await.unwrap(), []);
    assert_error(&closed.chain.done().await.unwrap_err(), ErrorCode::Cancelled, &[]);
    assert_eq!(numbers(&cluster, 2).await.memory_used, 0);
    cluster.stop().await.unwrap();
}

/// I1: an owner that is slow fails who needs its object by the deadline of that call, to the millisecond, and is named.
#[actix::test]
async fn a_slow_owner_fails_its_consumer_by_deadline_and_is_named() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (never, add) = (register(&context, 1, "gate").await, register(&context, 2, "add").await);
    let x = put(&context, 1, &[1.0]).await;
    let made = context.execute(RemoteExecute::new(&never).input(&x)).await.unwrap();
    let begin = Instant::now();
    let call = RemoteExecute::new(&add).input(&made.outputs[0]).handles(1).deadline(Duration::from_secs(2));
    let call = context.execute(call).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    let id = made.outputs[0].id().to_string();
    assert_error(&error, ErrorCode::DeadlineExceeded, &[&task(2), &task(1), &id]);
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(2) && took <= Duration::from_millis(2001), "{took:?}");
    cluster.settle().await;
    assert_eq!((numbers(&cluster, 2).await.jobs, gate.runs()), (0, (1, 0, 0)), "the producer has its own deadline");
    gate.open(1);
    made.chain.done().await.unwrap();
    end(cluster, context).await;
}

/// I1: an owner that cannot be reached fails who needs its object with its name and address, or by the deadline of that call if
/// that comes first.
#[actix::test]
async fn a_dead_owner_fails_its_consumer_and_is_named() {
    let cluster = builder(3).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (x, add) = (put(&context, 1, &[1.0]).await, register(&context, 2, "add").await);
    let met = context.execute(RemoteExecute::new(&add).input(&x).handles(1)).await.unwrap();
    met.chain.done().await.unwrap();
    cluster.cut(1, 2);
    let begin = Instant::now();
    let call = |limit: u64| RemoteExecute::new(&add).input(&x).handles(1).deadline(Duration::from_secs(limit));
    let (hasty, patient) = (context.execute(call(2)).await.unwrap(), context.execute(call(60)).await.unwrap());
    let error = hasty.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::DeadlineExceeded, &[&task(1)]);
    assert!(begin.elapsed() <= Duration::from_millis(2001), "{:?}", begin.elapsed());
    let error = patient.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &[&task(1), "loopback:1"]);
    // Heartbeats that stay away, and the window of reconnection.
    assert!(begin.elapsed() <= Duration::from_secs(9), "{:?}", begin.elapsed());
    assert!(error.is_retryable(), "nothing has run: {error}");
    cluster.heal(1, 2);
    let again = context.execute(call(60)).await.unwrap();
    assert_eq!(elements(&again.handles[0].fetch().await.unwrap()), [1.0]);
    end(cluster, context).await;
}
