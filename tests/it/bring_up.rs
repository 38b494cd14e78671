//! A context comes up on every task, or on none.

use std::time::Duration;

use remex::{prelude::*, protocol::cluster::TaskName};

use crate::support::{add, assert_error, cluster, end, register, stats, task};

fn name(i: usize) -> TaskName {
    task(i).parse().unwrap()
}

fn with(cluster: &remex::testing::TestCluster, tasks: &[(usize, Option<&str>)]) -> ContextConfig {
    let mut config = ClusterConfig::new();
    for (i, address) in tasks {
        config.add(name(*i), address.map(|address| address.parse().unwrap())).unwrap();
    }
    assert_eq!(cluster.task(0).task(), &name(0));
    ContextConfig::new(config)
}

async fn late(cluster: &remex::testing::TestCluster, i: usize) -> ServerHandle {
    let builder = Server::builder().task(task(i)).listen(format!("loopback:{i}")).run_on_arbiter();
    builder.fabric(cluster.fabric(i.to_string())).program("add", add()).start().await.unwrap()
}

#[actix::test]
async fn a_task_may_start_after_the_client() {
    let cluster = cluster(1).await;
    let client = cluster.task(0).clone();
    let config = with(&cluster, &[(0, Some("loopback:0")), (1, Some("loopback:1"))]);
    let making = actix::spawn(async move { client.create_context(config).await });
    cluster.advance(Duration::from_secs(20)).await;
    assert!(!making.is_finished());
    let worker = late(&cluster, 1).await;
    let context = making.await.unwrap().unwrap();
    assert_eq!(register(&context, 1, "add").await.task(), &name(1));
    assert_eq!(context.close().await.unwrap(), []);
    worker.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

/// I7: groups are compared with the tasks before anything is made; those that fit come up everywhere.
#[actix::test]
async fn a_group_has_members_of_the_context_only() {
    let cluster = cluster(2).await;
    let good = cluster.config().group("all", [name(1), name(0)]).group("one", [name(1)]);
    let bad = good.clone().group("more", [name(0), name(7)]);
    let error = cluster.task(0).create_context(bad).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &[&task(7), "\"more\"", "none of the context's tasks"]);
    for i in 0..2 {
        assert_eq!(stats(&cluster, i).await, (0, 0, 0));
    }
    let context = cluster.task(0).create_context(good).await.unwrap();
    end(cluster, context).await;
}

/// I1: a task that does not come fails the bring-up in time, with its name and address, and nothing is left behind.
#[actix::test]
async fn a_task_that_does_not_come_fails_it() {
    let cluster = cluster(2).await;
    let tasks = [(0, Some("loopback:0")), (1, Some("loopback:1")), (7, Some("loopback:7"))];
    let config = with(&cluster, &tasks).wait(Duration::from_secs(4));
    let begin = tokio::time::Instant::now();
    let error = cluster.task(0).create_context(config).await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &[&task(7), "loopback:7", "is the task running"]);
    assert!(begin.elapsed() <= Duration::from_secs(4), "{:?}", begin.elapsed());
    cluster.settle().await;
    for i in 0..2 {
        assert_eq!(stats(&cluster, i).await, (0, 0, 0));
    }
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn a_task_that_refuses_leaves_nothing_on_the_others() {
    let cluster = cluster(3).await;
    let (stops, client, config) = (cluster.task(2).clone(), cluster.task(0).clone(), cluster.config());
    cluster.hold();
    let making = actix::spawn(async move { client.create_context(config).await });
    cluster.settle().await;
    // Everybody has said who he is; one stops before it is asked to make the context.
    while let Some(step) = cluster.step().await {
        if step.starts_with("2 → 0: Completed GetDevices") {
            break;
        }
    }
    let stopping = actix::spawn(async move { stops.stop().await });
    cluster.settle().await;
    cluster.release();
    let error = making.await.unwrap().unwrap_err();
    assert_error(&error, error.code(), &[&task(2), "loopback:2"]);
    stopping.await.unwrap().unwrap();
    cluster.settle().await;
    for i in 0..2 {
        assert_eq!(stats(&cluster, i).await, (0, 0, 0), "on task {i}");
    }
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn another_task_than_expected_is_refused() {
    let cluster = cluster(2).await;
    let config = with(&cluster, &[(0, Some("loopback:0")), (5, Some("loopback:1"))]);
    let error = cluster.task(0).create_context(config).await.unwrap_err();
    assert_error(&error, ErrorCode::TaskNotFound, &[&task(5), &task(1), "loopback:1"]);
    assert_eq!(stats(&cluster, 1).await, (0, 0, 0));
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn two_tasks_of_one_name_are_refused_with_both_addresses() {
    let cluster = cluster(2).await;
    let twin = Server::builder().task(task(1)).listen("loopback:twin").fabric(cluster.fabric("twin")).start();
    let twin = twin.await.unwrap();
    let addresses = vec!["loopback:1".parse().unwrap(), "loopback:twin".parse().unwrap()];
    let error = cluster.task(0).discover(addresses, Duration::from_secs(3)).await.unwrap_err();
    assert_error(&error, ErrorCode::AlreadyExists, &[&task(1), "loopback:1", "loopback:twin"]);
    let mut config = ClusterConfig::new();
    config.add(name(1), Some("loopback:1".parse().unwrap())).unwrap();
    let error = config.add(name(1), Some("loopback:twin".parse().unwrap())).unwrap_err().to_string();
    assert!(error.contains(&task(1)), "{error}");
    assert!(error.contains("loopback:1") && error.contains("loopback:twin"), "{error}");
    twin.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn a_task_without_address_is_no_receiver() {
    let cluster = cluster(2).await;
    let tasks = [(0, Some("loopback:0")), (1, Some("loopback:1")), (3, None)];
    let context = cluster.task(0).create_context(with(&cluster, &tasks)).await.unwrap();
    let error = context.register(&task(3), RegisterFunction::native("add")).await.unwrap_err();
    assert_error(&error, ErrorCode::Unavailable, &["has no address", &task(3)]);
    assert!(error.is_retryable(), "nothing was sent");
    end(cluster, context).await;
}

#[actix::test]
async fn a_server_without_listener_can_call() {
    let cluster = cluster(2).await;
    let client = Server::builder().fabric(cluster.fabric("client")).run_on_arbiter().start().await.unwrap();
    assert!(client.address().is_none() && client.task().to_string().starts_with("/job:client/task:"));
    let context = client.create_context(cluster.config()).await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, crate::support::put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1)).await.unwrap();
    assert_eq!(crate::support::elements(&call.handles[0].fetch().await.unwrap()), [2.0]);
    assert_eq!(context.close().await.unwrap(), []);
    client.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

/// A value on a task without address cannot be fetched by another: the call says so, and names the owner.
#[actix::test]
async fn an_owner_without_address_is_an_error() {
    let cluster = cluster(2).await;
    let client = Server::builder().task(task(9)).fabric(cluster.fabric("9")).run_on_arbiter().start().await.unwrap();
    let context = client.create_context(cluster.config()).await.unwrap();
    let (add, own) = (register(&context, 1, "add").await, crate::support::put(&context, 9, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&add).input(&own)).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::Unavailable, &["has no address", &task(9)]);
    assert_eq!(context.close().await.unwrap(), []);
    client.stop().await.unwrap();
    cluster.stop().await.unwrap();
}
