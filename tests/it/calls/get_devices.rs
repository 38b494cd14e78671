//! GetDevices: who is there, and what it has.

use std::time::Duration;

use remex::{prelude::*, protocol::calls::GetDevicesRequest, testing::TestCluster};

use crate::{
    raw::Raw,
    support::{assert_error, cluster, device, task},
};

#[actix::test]
async fn a_task_says_who_it_is_and_what_it_has() {
    let cluster = TestCluster::builder(2).each(|i, builder| {
        if i == 1 { builder.device("CPU", None).device("CPU", None).device("GPU", None) } else { builder }
    });
    let cluster = cluster.start().await.unwrap();
    let addresses = (0..2).map(|i| cluster.task(i).address().unwrap().clone()).collect();
    let found = cluster.task(0).discover(addresses, Duration::from_secs(3)).await.unwrap();
    let devices: Vec<Vec<String>> =
        found.iter().map(|task| task.devices.iter().map(DeviceName::to_string).collect()).collect();
    let second = ["CPU:0", "CPU:1", "GPU:0"].map(|kind| format!("/job:test/task:1/device:{kind}"));
    assert_eq!(devices, [vec![device(0)], second.to_vec()]);
    assert_eq!((found[0].task.to_string(), found[1].task.to_string()), (task(0), task(1)));
    assert_ne!(found[0].incarnation, found[1].incarnation);
    assert_eq!(found[1].address.to_string(), "loopback:1");
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn nobody_there_is_an_error_that_names_the_address() {
    let cluster = cluster(1).await;
    let begin = tokio::time::Instant::now();
    let addresses = vec!["loopback:nowhere".parse().unwrap()];
    let error = cluster.task(0).discover(addresses, Duration::from_secs(3)).await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &["loopback:nowhere", "is the task running"]);
    assert!(begin.elapsed() > Duration::from_secs(1) && begin.elapsed() <= Duration::from_secs(3));
    let unknown = cluster.task(0).discover(vec!["carrier:pigeon".parse().unwrap()], Duration::ZERO).await.unwrap_err();
    assert_error(&unknown, ErrorCode::InvalidArgument, &["no fabric understands carrier:pigeon", "loopback"]);
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn it_needs_no_context() {
    let cluster = cluster(1).await;
    let mut raw = Raw::dial(&cluster, 0).await;
    let reply = raw.ask(GetDevicesRequest {}).await.unwrap();
    assert_eq!((reply.task.to_string(), reply.devices.len()), (task(0), 1));
    cluster.stop().await.unwrap();
}
