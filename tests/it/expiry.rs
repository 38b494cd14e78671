//! Deadlines, credits, and contexts that nobody uses.

use std::time::Duration;

use remex::{Credits, prelude::*, testing::TestCluster};
use tokio::time::Instant;

use crate::{
    raw::{HERE, Raw, create_context, object, remote_execute},
    support::{Gate, assert_error, builder, cluster, end, put, register, stats, task},
};

const LIMIT: Duration = Duration::from_millis(1_500);
const MILLI: Duration = Duration::from_millis(1);

async fn gated(calls: u32) -> (TestCluster, Gate) {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program());
    let cluster = cluster.each(move |_, builder| builder.credits(Credits { calls, ..Credits::default() }));
    (cluster.start().await.unwrap(), gate)
}

/// I1: a call settles at its deadline, to the millisecond; a late reply changes nothing, and the credits come back.
#[actix::test]
async fn a_call_settles_at_its_deadline() {
    let (cluster, gate) = gated(1).await;
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let a = put(&context, 1, &[1.0]).await;
    // The worker hears of the call and its end as late as this, so the client is the first to give up.
    cluster.set_latency(Duration::from_millis(100));
    let begin = Instant::now();
    let call = context.execute(RemoteExecute::new(&program).input(&a).handles(1).deadline(LIMIT)).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    assert!(begin.elapsed().abs_diff(LIMIT) <= MILLI, "{:?}", begin.elapsed());
    assert_error(&error, ErrorCode::DeadlineExceeded, &["give it more time", &task(1)]);
    assert_eq!(call.handles[0].metadata().await.unwrap_err(), error);
    assert_eq!(context.try_execute(RemoteExecute::new(&add)).unwrap_err().code(), ErrorCode::Overloaded);
    cluster.advance(Duration::from_millis(300)).await;
    assert_eq!(gate.runs(), (1, 0, 1), "the worker gave it up");
    assert_eq!(call.chain.try_get().unwrap().unwrap_err(), error, "the late reply changes nothing");
    let next = context.try_execute(RemoteExecute::new(&add).input(&a)).unwrap();
    next.chain.done().await.unwrap();
    cluster.set_latency(Duration::ZERO);
    end(cluster, context).await;
}

/// I1: with a worker that never answers the client keeps the deadline all the same.
#[actix::test]
async fn a_worker_that_is_not_heard_does_not_hold_up_a_deadline() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    cluster.hold();
    let begin = Instant::now();
    let calls = [LIMIT, LIMIT / 3, LIMIT / 2].map(|limit| RemoteExecute::new(&add).input(&a).deadline(limit));
    for call in calls.clone() {
        let call = context.execute(call).await.unwrap();
        let chain = call.chain.clone();
        let error = chain.done().await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::DeadlineExceeded);
    }
    let whole = LIMIT + LIMIT / 3 + LIMIT / 2;
    assert!(begin.elapsed().abs_diff(whole) <= 3 * MILLI, "{:?}", begin.elapsed());
    cluster.release();
    cluster.settle().await;
    end(cluster, context).await;
}

/// I1: the context's deadline is for calls that have none.
#[actix::test]
async fn a_context_has_a_default_deadline() {
    let (cluster, _gate) = gated(8).await;
    let context = cluster.task(0).create_context(cluster.config().default_deadline(LIMIT)).await.unwrap();
    let program = register(&context, 1, "gate").await;
    let begin = Instant::now();
    let call = context.execute(RemoteExecute::new(&program).handles(1)).await.unwrap();
    assert_eq!(call.handles[0].fetch().await.unwrap_err().code(), ErrorCode::DeadlineExceeded);
    assert!(begin.elapsed().abs_diff(LIMIT) <= MILLI, "{:?}", begin.elapsed());
    end(cluster, context).await;
}

/// I4: a pending object fails when its producer's deadline passes, and so do those that depend on it, though they had
/// more time.
#[actix::test]
async fn a_dependent_fails_with_its_producer() {
    let (cluster, _gate) = gated(8).await;
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let first = context.execute(RemoteExecute::new(&program).deadline(LIMIT)).await.unwrap();
    let second = context.execute(RemoteExecute::new(&add).input(&first.outputs[0])).await.unwrap();
    let begin = Instant::now();
    let error = second.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::DeadlineExceeded, &["program gate", "via add"]);
    assert!(begin.elapsed().abs_diff(LIMIT) <= 2 * MILLI, "{:?}", begin.elapsed());
    end(cluster, context).await;
}

/// I1, I5: a call waits for credits, in order; the wait counts against its deadline, and who stops waiting leaves no trace.
#[actix::test]
async fn calls_wait_for_credits() {
    let (cluster, gate) = gated(2).await;
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "gate").await;
    let mut inputs = Vec::new();
    for i in 0..5 {
        inputs.push(put(&context, 1, &[i as f32]).await);
    }
    let execute = |i: usize| RemoteExecute::new(&program).input(&inputs[i]);
    let first = [context.execute(execute(0)).await.unwrap(), context.execute(execute(1)).await.unwrap()];
    let error = context.try_execute(execute(2)).unwrap_err();
    assert_error(&error, ErrorCode::Overloaded, &["credits are used up", &task(1)]);
    assert!(error.is_retryable());
    let message = context.addr().send(execute(2)).await.unwrap().unwrap_err();
    assert_eq!(message, error, "the actor answers likewise");
    let begin = Instant::now();
    let late = context.execute(execute(2).deadline(LIMIT)).await.unwrap_err();
    assert_error(&late, ErrorCode::DeadlineExceeded, &["was not admitted", &task(1)]);
    assert!(late.effect() == remex::protocol::Effect::NotSent && begin.elapsed().abs_diff(LIMIT) <= MILLI);
    let waiting: Vec<_> = (2..5)
        .map(|i| {
            let (context, execute) = (context.clone(), execute(i));
            actix::spawn(async move { context.execute(execute).await })
        })
        .collect();
    cluster.settle().await;
    assert!(waiting.iter().all(|waiting| !waiting.is_finished()));
    waiting[0].abort();
    gate.open(4);
    for call in &first {
        call.chain.done().await.unwrap();
    }
    for (i, waiting) in waiting.into_iter().enumerate() {
        if i > 0 {
            waiting.await.unwrap().unwrap().chain.done().await.unwrap();
        }
    }
    assert_eq!(gate.order(), [0.0, 1.0, 3.0, 4.0]);
    end(cluster, context).await;
}

/// The clock is monotonic: nothing here looks at the wall. An idle context is collected, one that is kept alive is not.
#[actix::test]
async fn an_idle_context_is_collected() {
    let cluster = cluster(2).await;
    let kept = cluster.task(0).create_context(cluster.config().idle_timeout(Duration::from_secs(10))).await.unwrap();
    let mut raw = Raw::dial(&cluster, 1).await;
    let mut request = create_context(1);
    request.idle_timeout_ms = 10_000;
    raw.ask(request).await.unwrap();
    raw.stay(&cluster, 9).await;
    assert_eq!(stats(&cluster, 1).await.0, 2);
    raw.stay(&cluster, 3).await;
    assert_eq!(stats(&cluster, 1).await.0, 1, "only the one that is kept alive");
    let error = raw.ask(remote_execute(0, &[], &[object(1, HERE)])).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDistributedContextId, "{error}");
    raw.stay(&cluster, 100).await;
    let a = put(&kept, 1, &[1.0]).await;
    assert!(kept.fetch(&a).await.is_ok());
    drop(a);
    end(cluster, kept).await;
}

#[actix::test]
async fn a_context_in_use_is_not_idle() {
    let cluster = cluster(1).await;
    let mut raw = Raw::dial(&cluster, 0).await;
    let mut request = create_context(0);
    request.idle_timeout_ms = 5_000;
    raw.ask(request).await.unwrap();
    for i in 0..4 {
        raw.stay(&cluster, 4).await;
        raw.ask(remote_execute(9, &[], &[object(i + 1, HERE)])).await.unwrap_err();
    }
    assert_eq!(stats(&cluster, 0).await.0, 1);
    cluster.stop().await.unwrap();
}
