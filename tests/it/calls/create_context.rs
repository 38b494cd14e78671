//! CreateContext: one environment on all tasks.

use remex::{
    prelude::*,
    protocol::{
        calls::{ContextMode, CreateContextRequest},
        cluster::GroupMembers,
        ids::{ContextId, ContextIndex, ObjectPrefix, TaskIndex},
    },
};

use crate::{
    raw::{CONTEXT, Raw, create_context},
    support::{cluster, device, end, stats, task},
};

#[actix::test]
async fn a_context_spans_all_tasks() {
    let cluster = cluster(3).await;
    let (first, second) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    assert_ne!(first.id(), second.id());
    let tasks: Vec<_> = first.tasks().map(|task| task.name.to_string()).collect();
    assert_eq!(tasks, [task(1), task(2), task(0)]);
    let devices: Vec<_> = first.devices().iter().map(DeviceName::to_string).collect();
    assert_eq!(devices, [device(1), device(2), device(0)]);
    assert_eq!(first.device_of(&task(2)).unwrap().to_string(), device(2));
    let chains: Vec<_> = (0..3).map(|i| first.ready_chain(&task(i)).unwrap()).collect();
    assert!(chains[0].id() != chains[1].id() && chains[1].id() != chains[2].id());
    for i in 0..3 {
        assert_eq!(stats(&cluster, i).await, (2, 2, 0), "two ready chains");
    }
    assert_eq!(second.close().await.unwrap(), []);
    end(cluster, first).await;
}

/// I7: tables that cannot be right, and names that are taken, make no context.
#[actix::test]
async fn a_wrong_request_makes_nothing() {
    let cluster = cluster(2).await;
    let good = || create_context(1);
    let change = |change: fn(&mut CreateContextRequest)| {
        let mut request = good();
        change(&mut request);
        request
    };
    let group = |members: &[u16]| GroupMembers {
        name: "g".to_owned(),
        members: members.iter().map(|&member| TaskIndex(member)).collect(),
    };
    let with_groups = |groups: Vec<GroupMembers>| CreateContextRequest { groups, ..good() };
    let cases: [(CreateContextRequest, ErrorCode, &str); 10] = [
        (change(|r| drop(r.tasks.remove(0))), ErrorCode::InvalidArgument, "is not among the context's tasks"),
        (change(|r| r.tasks.push(r.tasks[0].clone())), ErrorCode::InvalidArgument, "a task stands twice"),
        (change(|r| r.devices.push(r.devices[0].clone())), ErrorCode::InvalidArgument, "a device stands twice"),
        (
            change(|r| r.devices.push("/job:test/task:1/device:GPU:0".parse().unwrap())),
            ErrorCode::DeviceNotFound,
            "this task has no device /job:test/task:1/device:GPU:0",
        ),
        (
            change(|r| r.devices.push("/job:x/task:1/device:GPU:0".parse().unwrap())),
            ErrorCode::InvalidArgument,
            "belongs to none",
        ),
        (change(|r| r.idle_timeout_ms = 0), ErrorCode::InvalidArgument, "must not be zero"),
        (with_groups(vec![group(&[0, 2])]), ErrorCode::InvalidArgument, "t2 in group \"g\" is none of"),
        (with_groups(vec![group(&[0, 0])]), ErrorCode::InvalidArgument, "stands twice in group"),
        (with_groups(vec![group(&[])]), ErrorCode::InvalidArgument, "has no members"),
        (change(|r| r.mode = ContextMode::Join), ErrorCode::InvalidDistributedContextId, "has no context"),
    ];
    let mut raw = Raw::dial(&cluster, 1).await;
    for (request, code, words) in cases {
        let error = raw.ask(request).await.unwrap_err();
        assert!(error.code == code && error.message.contains(words), "{words:?} is not in {error}");
        assert_eq!(error.task, Some(task(1)));
    }
    assert_eq!(stats(&cluster, 1).await, (0, 0, 0));
    raw.ask(good()).await.unwrap();
    let taken = raw.ask(good()).await.unwrap_err();
    assert_eq!(taken.code, ErrorCode::AlreadyExists, "the index stands for a context");
    let again = raw.ask(CreateContextRequest { index: ContextIndex(1), ..good() }).await.unwrap_err();
    assert_eq!(again.code, ErrorCode::DistributedContextAlreadyExists);
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn a_prefix_is_one_sessions() {
    let cluster = cluster(2).await;
    let _first = Raw::with_context(&cluster, 1).await;
    let mut second = Raw::dial(&cluster, 1).await;
    let join = CreateContextRequest { mode: ContextMode::Join, ..create_context(1) };
    let error = second.ask(join.clone()).await.unwrap_err();
    assert!(error.code == ErrorCode::AlreadyExists && error.message.contains("prefix"), "{error}");
    let other = CreateContextRequest { context: ContextId(78), ..join.clone() };
    assert_eq!(second.ask(other).await.unwrap_err().code, ErrorCode::InvalidDistributedContextId);
    let join = CreateContextRequest { prefix: ObjectPrefix(10), ..join };
    second.ask(join.clone()).await.unwrap();
    second.ask(join.clone()).await.expect("who is not sure to have joined does so again");
    let other = CreateContextRequest { mode: ContextMode::Create, ..join };
    assert_eq!(second.ask(other).await.unwrap_err().code, ErrorCode::AlreadyExists);
    assert_eq!(CONTEXT, create_context(1).context);
    cluster.stop().await.unwrap();
}
