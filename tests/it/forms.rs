//! The three forms of RemoteExecute, and what is refused before anything is sent.

use std::time::Duration;

use remex::{prelude::*, testing::TestCluster};

use crate::support::{assert_error, cluster, device, elements, end, put, register, task, vector};

#[actix::test]
async fn a_call_gives_ids_chain_and_handles_at_once() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let add = register(&context, 1, "add").await;
    let (a, b) = (put(&context, 1, &[1.0, 2.0]).await, put(&context, 1, &[10.0, 20.0]).await);
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &b]).handles(1)).await.unwrap();
    assert_eq!((call.outputs.len(), call.handles.len()), (1, 1));
    assert!(call.chain.try_get().is_none());
    let handle = &call.handles[0];
    assert_eq!(handle.metadata().await.unwrap().to_string(), "f32[2]");
    assert_eq!(handle.tensor().await.unwrap().size_bytes, 8);
    call.chain.done().await.unwrap();
    assert_eq!(elements(&handle.fetch().await.unwrap()), [11.0, 22.0]);
    end(cluster, context).await;
}

#[actix::test]
async fn ids_alone_are_enough() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &a])).await.unwrap();
    assert_eq!((call.outputs.len(), call.handles.len()), (1, 0));
    assert_eq!((call.outputs[0].device().to_string(), call.outputs[0].task().to_string()), (device(1), task(1)));
    call.chain.clone().await.unwrap();
    assert_eq!(elements(&context.fetch(&call.outputs[0]).await.unwrap()), [2.0]);
    end(cluster, context).await;
}

#[actix::test]
async fn handles_are_for_the_last_outputs() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (three, a) = (register(&context, 1, "three").await, put(&context, 1, &[1.0, 2.0]).await);
    assert_eq!(three.spec(), None);
    let device = device(1);
    let spec = context.spec(&[&device, &device, &device]).unwrap();
    for handles in 0..=3 {
        let call = RemoteExecute::new(&three).input(&a).spec(spec.clone()).handles(handles);
        let call = context.execute(call).await.unwrap();
        assert_eq!((call.outputs.len(), call.handles.len()), (3, handles));
        for (handle, output) in call.handles.iter().zip(&call.outputs[3 - handles..]) {
            assert_eq!(handle.object().id(), output.id());
            assert_eq!(handle.tensor().await.unwrap().id, output.id());
        }
        call.chain.done().await.unwrap();
    }
    end(cluster, context).await;
}

#[actix::test]
async fn given_ids_get_handles_only() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (three, a) = (register(&context, 1, "three").await, put(&context, 1, &[4.0]).await);
    let given: Vec<_> = (0..3).map(|_| context.new_object(&device(1)).unwrap()).collect();
    let call = context.execute(RemoteExecute::new(&three).input(&a).outputs_into(given.clone())).await.unwrap();
    assert!(call.handles.iter().map(|handle| handle.object().id()).eq(given.iter().map(ObjectRef::id)));
    for (handle, given) in call.handles.iter().zip(&given) {
        assert_eq!(handle.tensor().await.unwrap().metadata.to_string(), "f32[1]");
        assert_eq!(elements(&context.fetch(given).await.unwrap()), [4.0]);
    }
    end(cluster, context).await;
}

/// The device of task 2.
const SECOND: &str = "/job:test/task:2/device:CPU:0";

/// I7: the client refuses what can never be right; each mistake has a message of its own, and nothing is sent.
#[actix::test]
async fn a_wrong_call_is_refused_before_anything_is_sent() {
    let cluster = cluster(3).await;
    let (context, other) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let (add, three) = (register(&context, 1, "add").await, register(&context, 1, "three").await);
    let (a, foreign) = (put(&context, 1, &[1.0]).await, put(&other, 1, &[1.0]).await);
    let foreign_add = register(&other, 1, "add").await;
    let new = |i| context.new_object(&device(i)).unwrap();
    let spec = |devices: &[usize]| {
        let names: Vec<_> = devices.iter().copied().map(device).collect();
        context.spec(&names.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    };
    let unknown = remex::RemoteExecuteSpec { output_devices: vec!["/job:x/task:0/device:CPU:0".parse().unwrap()] };
    let (call, call3) = (RemoteExecute::new(&add).input(&a), RemoteExecute::new(&three).input(&a));
    let many = RemoteExecute::new(&add).inputs(vec![&a; 1025]);
    let nowhere = remex::protocol::ids::ObjectId { device: remex::protocol::ids::DeviceIndex(99), ..a.id() };
    let invalid = ErrorCode::InvalidArgument;
    let cases: Vec<(RemoteExecute, ErrorCode, &[&str])> = vec![
        (call.clone().outputs_into([new(1), new(1)]), invalid, &["2 output ids were given, the spec has 1"]),
        (
            call3.clone().outputs_into([new(1)]).spec(spec(&[1, 1])),
            invalid,
            &["1 output ids were given, the spec has 2"],
        ),
        (call.clone().handles(2), invalid, &["the last 2 outputs", "there are 1"]),
        (call3.clone().handles(1), invalid, &["\"three\" does not say how many outputs", "give a spec"]),
        (call.clone().spec(unknown), ErrorCode::DeviceNotFound, &["no device /job:x/task:0/device:CPU:0", SECOND]),
        (call.clone().spec(spec(&[2])), invalid, &[SECOND, "is not one of /job:test/task:1"]),
        (call.clone().outputs_into([new(2)]), invalid, &["the id given for output 0 is on", SECOND]),
        (call3.clone().outputs_into([new(2)]), invalid, &[SECOND, "is not one of /job:test/task:1"]),
        (RemoteExecute::new(&foreign_add), invalid, &["\"add\" was registered in another context"]),
        (call.clone().input(&foreign), invalid, &["input 1", "is of another context"]),
        (call.clone().outputs_into([foreign.clone()]), invalid, &["output", "is of another context"]),
        (
            call.clone().input(nowhere),
            ErrorCode::DeviceNotFound,
            &["input 1", "a device that the context does not have"],
        ),
        (many, invalid, &["at most 1024"]),
    ];
    cluster.hold();
    for (call, code, words) in cases {
        assert_error(&context.execute(call.clone()).await.unwrap_err(), code, words);
        assert_error(&context.try_execute(call).unwrap_err(), code, words);
    }
    cluster.settle().await;
    assert_eq!(cluster.step().await, None, "nothing was sent");
    cluster.release();
    let unknown = context.register("/job:x/task:7", RegisterFunction::native("add")).await.unwrap_err();
    assert_error(&unknown, ErrorCode::TaskNotFound, &["no task /job:x/task:7", &task(2)]);
    assert_error(&context.register("task 7", RegisterFunction::native("add")).await.unwrap_err(), invalid, &["task 7"]);
    assert_error(&context.new_object("/job:x/task:0/device:CPU:0").unwrap_err(), ErrorCode::DeviceNotFound, &[]);
    assert_error(&context.fetch(&foreign).await.unwrap_err(), invalid, &["of another context"]);
    let put = context.put(&"/job:x/task:0/device:CPU:0".parse().unwrap(), vector(&[1.0])).await.unwrap_err();
    assert_error(&put, ErrorCode::DeviceNotFound, &[]);
    let elsewhere = RegisterFunction::native("add").outputs_on([device(2).parse().unwrap()]);
    let elsewhere = context.register(&task(1), elsewhere).await.unwrap_err();
    assert_error(&elsewhere, invalid, &[&device(2), "is not one of /job:test/task:1"]);
    drop((foreign, foreign_add));
    assert_eq!(other.close().await.unwrap(), []);
    let closed = other.new_object(&device(1)).unwrap();
    assert_error(&other.fetch(&closed).await.unwrap_err(), ErrorCode::FailedPrecondition, &["closed"]);
    end(cluster, context).await;
}

/// I1: promises may be awaited many times, by many, before and after they settle.
#[actix::test]
async fn promises_are_shared() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&add).input(&a).handles(1)).await.unwrap();
    let handle = call.handles[0].clone();
    assert!(handle.try_metadata().is_none() && handle.try_tensor().is_none() && call.chain.try_get().is_none());
    let waiting: Vec<_> = (0..5)
        .map(|_| {
            let (handle, chain) = (handle.clone(), call.chain.clone());
            actix::spawn(async move {
                chain.done().await.unwrap();
                (handle.metadata().await.unwrap(), handle.tensor().await.unwrap())
            })
        })
        .collect();
    for waiting in waiting {
        let (metadata, tensor) = waiting.await.unwrap();
        assert_eq!((&metadata, tensor.id, tensor.task.to_string()), (&tensor.metadata, handle.object().id(), task(1)));
    }
    assert!(handle.try_metadata().unwrap().is_ok() && handle.try_tensor().unwrap().is_ok());
    assert!(call.chain.try_get().unwrap().is_ok());
    end(cluster, context).await;
}

#[actix::test]
async fn a_call_without_end_is_a_call() {
    let cluster = TestCluster::builder(2).program("none", native(|_| Ok(Vec::new())).outputs(0)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let none = register(&context, 1, "none").await;
    let spec = context.spec(&[]).unwrap();
    for limit in [Duration::from_secs(1), Duration::MAX] {
        let call = RemoteExecute::new(&none).spec(spec.clone()).deadline(limit);
        context.execute(call.clone()).await.unwrap().chain.done().await.unwrap();
        context.try_execute(call).unwrap().chain.done().await.unwrap();
    }
    let a = put(&context, 1, &[1.0]).await;
    assert_eq!(context.fetch_within(&a, Duration::MAX).await.unwrap(), vector(&[1.0]));
    end(cluster, context).await;
}
