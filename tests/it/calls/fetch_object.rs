//! FetchObject: an object's data is brought here.

use std::time::Duration;

use remex::{prelude::*, protocol::calls::Origin};

use crate::{
    raw::{ELSEWHERE, HERE, Raw, fetch_object, object},
    support::{Gate, assert_error, builder, cluster, elements, end, put, register, task},
};

#[actix::test]
async fn it_waits_until_the_object_is_ready() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[7.0]).await);
    let call = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let handle = call.handles[0].clone();
    let fetching = actix::spawn(async move { handle.fetch().await });
    cluster.settle().await;
    assert!(!fetching.is_finished());
    gate.open(1);
    assert_eq!(elements(&fetching.await.unwrap().unwrap()), [7.0]);
    end(cluster, context).await;
}

/// I1: a fetch has a deadline of its own, kept to the millisecond.
#[actix::test]
async fn it_ends_at_its_deadline() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "gate").await;
    let call = context.execute(RemoteExecute::new(&program).handles(1)).await.unwrap();
    let (begin, limit) = (tokio::time::Instant::now(), Duration::from_millis(1_500));
    let error = call.handles[0].fetch_within(limit).await.unwrap_err();
    assert_error(&error, ErrorCode::DeadlineExceeded, &[&task(1)]);
    let late = begin.elapsed().abs_diff(limit);
    assert!(late <= Duration::from_millis(1), "{late:?}");
    assert!(call.chain.try_get().is_none(), "the call goes on");
    gate.open(1);
    call.chain.done().await.unwrap_err();
    end(cluster, context).await;
}

/// I4a: the worker's answer depends on where the object should come from.
#[actix::test]
async fn an_unknown_object_is_refused_or_waited_for() {
    let cluster = cluster(1).await;
    let mut raw = Raw::with_context(&cluster, 0).await;
    let here = raw.ask(fetch_object(object(1, HERE), Origin::Here)).await.unwrap_err();
    assert_eq!(here.code, ErrorCode::NotFound);
    let (begin, limit) = (tokio::time::Instant::now(), Duration::from_secs(1));
    let anywhere = raw.ask(fetch_object(object(1, HERE), Origin::Anywhere)).await.unwrap_err();
    assert_eq!(anywhere.code, ErrorCode::DeadlineExceeded);
    assert!(begin.elapsed().abs_diff(limit) <= Duration::from_millis(1), "{:?}", begin.elapsed());
    let elsewhere = raw.ask(fetch_object(object(1, ELSEWHERE), Origin::Here)).await.unwrap_err();
    assert!(elsewhere.message.contains("a device of another task"), "{elsewhere}");
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn a_large_object_comes_whole() {
    let cluster = cluster(3).await;
    let context = cluster.context().await.unwrap();
    let large: Vec<f32> = (0..1_000_000).map(|i| i as f32).collect();
    let (add, a) = (register(&context, 2, "add").await, put(&context, 1, &large).await);
    assert_eq!(elements(&context.fetch(&a).await.unwrap()), large);
    let call = context.execute(RemoteExecute::new(&add).input(&a).handles(1)).await.unwrap();
    assert_eq!(call.handles[0].tensor().await.unwrap().size_bytes, 4_000_000);
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), large);
    end(cluster, context).await;
}
