//! Contexts that several tasks make together: a lead, followers, and what can go wrong.

use std::time::Duration;

use futures_util::future::join_all;
use remex::{ContextConfig, ServerHandle, TaskName, prelude::*, protocol::ids::ContextId, testing::TestCluster};

use crate::support::{assert_error, builder, cluster, elements, end, put, register, stats, task, vector};

const ID: ContextId = ContextId(77);

/// What all members say, unless a test changes it.
fn together(cluster: &TestCluster) -> ContextConfig {
    let lead = cluster.task(0).task().clone();
    cluster.config().wait(Duration::from_secs(5)).multi_client(ID, lead)
}

async fn make(cluster: &TestCluster, members: &[usize]) -> Vec<Result<ContextHandle, remex::Error>> {
    let made = members.iter().map(|&i| cluster.task(i).create_context(together(cluster)));
    join_all(made).await
}

async fn close(cluster: TestCluster, contexts: Vec<ContextHandle>) {
    for context in contexts {
        assert_eq!(context.close().await.unwrap(), []);
    }
    cluster.stop().await.unwrap();
}

/// All have the same tables, and know the ready chain of each without asking it.
#[actix::test]
async fn all_members_make_one_context() {
    let cluster = cluster(3).await;
    let contexts: Vec<_> = make(&cluster, &[2, 0, 1]).await.into_iter().map(Result::unwrap).collect();
    for context in &contexts {
        assert_eq!((context.id(), context.devices()), (ID, contexts[0].devices()));
        assert_eq!(context.devices().len(), 3);
        for i in 0..3 {
            let chain = |context: &ContextHandle| context.ready_chain(&task(i)).unwrap().id();
            assert_eq!(chain(context), chain(&contexts[0]));
        }
    }
    let own = &contexts[0];
    let add = register(own, 2, "add").await;
    let a = own.put(&own.device_of(&task(2)).unwrap(), vector(&[1.0])).await.unwrap();
    let chain = own.ready_chain(&task(2)).unwrap();
    let call = own.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1).in_chain(&chain)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [2.0]);
    close(cluster, contexts).await;
}

/// Every member calls every member, itself too: programs, values, inputs that live with a third.
#[actix::test]
async fn all_members_call_each_other() {
    let cluster = cluster(3).await;
    let contexts: Vec<_> = make(&cluster, &[0, 1, 2]).await.into_iter().map(Result::unwrap).collect();
    let call = |from: usize, to: usize| {
        let (context, third) = (&contexts[from], (to + 1) % 3);
        async move {
            let add = register(context, to, "add").await;
            let near = put(context, to, &[from as f32]).await;
            let far = put(context, third, &[10.0 * to as f32]).await;
            let call = RemoteExecute::new(&add).inputs([&near, &far]).handles(1).out_chain();
            let call = context.execute(call).await.unwrap();
            let again = RemoteExecute::new(&add).input(&call.outputs[0]).handles(1).after(&call.chain);
            let again = context.execute(again).await.unwrap();
            assert_eq!(elements(&again.handles[0].fetch().await.unwrap()), [from as f32 + 10.0 * to as f32]);
            (near.id(), far.id())
        }
    };
    let pairs = (0..9).map(|i| call(i / 3, i % 3));
    let ids: Vec<_> = join_all(pairs).await.into_iter().flat_map(|(near, far)| [near, far]).collect();
    let prefixes: std::collections::BTreeSet<_> = ids.iter().map(|id| id.prefix.0).collect();
    assert_eq!(prefixes.len(), 3, "each member makes ids of its own");
    cluster.settle().await;
    for i in 0..3 {
        assert_eq!(stats(&cluster, i).await, (1, 1, 0), "on task {i}");
    }
    close(cluster, contexts).await;
}

/// A follower that is early waits for its lead, and a lead for those who are late.
#[actix::test]
async fn members_may_come_at_different_times() {
    let cluster = cluster(3).await;
    let late = |i: usize, after: u64| {
        let cluster = &cluster;
        async move {
            cluster.advance(Duration::from_millis(after)).await;
            cluster.task(i).create_context(together(cluster)).await
        }
    };
    let contexts = join_all([late(1, 0), late(0, 1000), late(2, 2000)]).await;
    close(cluster, contexts.into_iter().map(Result::unwrap).collect()).await;
}

/// TFRT §3.4-3: a lead that never comes, or that is dead, is an error by deadline, which names it; nothing is left behind.
#[actix::test]
async fn a_lead_that_does_not_come_is_an_error_by_deadline() {
    let window = Duration::from_secs(1);
    let cluster = builder(3).each(move |_, builder| builder.reconnect_window(window)).start().await.unwrap();
    let begin = tokio::time::Instant::now();
    for made in make(&cluster, &[1, 2]).await {
        let error = made.unwrap_err();
        assert_error(&error, ErrorCode::DeadlineExceeded, &["lead /job:test/task:0", "did not begin to lead"]);
    }
    cluster.cut(0, 1);
    let error = cluster.task(1).create_context(together(&cluster)).await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &["its lead /job:test/task:0 at loopback:0"]);
    assert!(begin.elapsed() <= Duration::from_millis(10_010), "{:?}", begin.elapsed());
    cluster.heal(0, 1);
    let contexts = make(&cluster, &[0, 1, 2]).await;
    close(cluster, contexts.into_iter().map(Result::unwrap).collect()).await;
}

/// TFRT §3.4-3: a lead that dies while members wait does not leave them waiting.
#[actix::test]
async fn a_lead_that_dies_is_an_error_by_deadline() {
    let window = Duration::from_secs(1);
    let cluster = builder(3).each(move |_, builder| builder.reconnect_window(window)).start().await.unwrap();
    let lead = async {
        let made = cluster.task(0).create_context(together(&cluster));
        assert!(tokio::time::timeout(Duration::from_secs(1), made).await.is_err());
        cluster.cut(0, 1);
    };
    let ((), follower) = tokio::join!(lead, cluster.task(1).create_context(together(&cluster)));
    assert_error(&follower.unwrap_err(), ErrorCode::RpcUnavailable, &["its lead /job:test/task:0"]);
    cluster.stop().await.unwrap();
}

/// A follower that does not come is named to all who did.
#[actix::test]
async fn a_follower_that_does_not_come_is_named() {
    let cluster = cluster(3).await;
    for made in make(&cluster, &[0, 1]).await {
        let words = ["context", "/job:test/task:2 at loopback:2 did not come in time"];
        assert_error(&made.unwrap_err(), ErrorCode::DeadlineExceeded, &words);
    }
    cluster.stop().await.unwrap();
}

/// Two that take themselves for the lead end with an error, which says so where they meet.
#[actix::test]
async fn two_leads_end_with_errors() {
    let cluster = cluster(3).await;
    let lead = |server: &ServerHandle| together(&cluster).multi_client(ID, server.task().clone());
    let one = cluster.task(0).create_context(lead(cluster.task(0)));
    let two = cluster.task(1).create_context(lead(cluster.task(1)));
    let (one, two) = tokio::join!(one, two);
    assert_error(&one.unwrap_err(), ErrorCode::DeadlineExceeded, &["/job:test/task:1", "/job:test/task:2"]);
    assert_error(&two.unwrap_err(), ErrorCode::DeadlineExceeded, &["/job:test/task:0"]);
    // A follower of one of them at the other: the leads differ.
    let at_one = cluster.task(0).create_context(lead(cluster.task(1)));
    let (at_one, two) =
        tokio::join!(at_one, cluster.task(1).create_context(lead(cluster.task(1)).wait(Duration::from_secs(1))));
    assert_error(&at_one.unwrap_err(), ErrorCode::DeadlineExceeded, &[]);
    assert_error(&two.unwrap_err(), ErrorCode::DeadlineExceeded, &["/job:test/task:2"]);
    cluster.stop().await.unwrap();
}

/// TFRT §3.4-3: configurations that differ are an error for all, at once, that says in what.
#[actix::test]
async fn configurations_that_differ_are_explained() {
    let cluster = cluster(3).await;
    let mut fewer = remex::ClusterConfig::new();
    for i in 0..2 {
        fewer.add(cluster.task(i).task().clone(), cluster.task(i).address().cloned()).unwrap();
    }
    let other = ContextConfig::new(fewer).multi_client(ID, cluster.task(0).task().clone());
    let begin = tokio::time::Instant::now();
    let lead = cluster.task(0).create_context(together(&cluster));
    let (lead, follower) = tokio::join!(lead, cluster.task(1).create_context(other));
    for error in [lead.unwrap_err(), follower.unwrap_err()] {
        assert_error(&error, ErrorCode::FailedPrecondition, &["there are 3 tasks here and 2 there"]);
    }
    assert!(begin.elapsed() < Duration::from_secs(1));
    cluster.stop().await.unwrap();
}

/// A second attempt with the number of a context that is there, or is being made, is refused.
#[actix::test]
async fn a_second_attempt_is_refused() {
    let cluster = cluster(2).await;
    let first = cluster.task(0).create_context(together(&cluster));
    let (first, second, follower) = tokio::join!(
        first,
        cluster.task(0).create_context(together(&cluster)),
        cluster.task(1).create_context(together(&cluster))
    );
    assert_error(&second.unwrap_err(), ErrorCode::DistributedContextAlreadyExists, &["take another number"]);
    let third = cluster.task(1).create_context(together(&cluster)).await.unwrap_err();
    assert_error(&third, ErrorCode::DistributedContextAlreadyExists, &["take another number", &task(1)]);
    let (first, follower) = (first.unwrap(), follower.unwrap());
    assert_eq!(follower.close().await.unwrap(), []);
    let again = cluster.task(1).create_context(together(&cluster)).await.unwrap_err();
    assert_error(&again, ErrorCode::DistributedContextAlreadyExists, &["its lead /job:test/task:0"]);
    end(cluster, first).await;
}

/// What can never be right is refused at once.
#[actix::test]
async fn wrong_configurations_are_refused_at_once() {
    let cluster = cluster(2).await;
    let stranger = "/job:test/task:9".parse::<TaskName>().unwrap();
    let wrong = together(&cluster).multi_client(ID, stranger.clone());
    let error = cluster.task(0).create_context(wrong).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["lead, /job:test/task:9, is not among"]);
    let alone = remex::ClusterConfig::new().with(stranger, "loopback:9".parse().unwrap()).unwrap();
    let wrong = ContextConfig::new(alone).multi_client(ID, cluster.task(1).task().clone());
    let error = cluster.task(0).create_context(wrong).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["/job:test/task:0 is not among the tasks"]);
    let mut silent = remex::ClusterConfig::new();
    silent.add(cluster.task(0).task().clone(), cluster.task(0).address().cloned()).unwrap();
    silent.add(cluster.task(1).task().clone(), None).unwrap();
    let wrong = ContextConfig::new(silent).multi_client(ID, cluster.task(1).task().clone());
    let error = cluster.task(0).create_context(wrong).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["has no address"]);
    cluster.stop().await.unwrap();
}
