//! RemoteExecute: what the worker checks, what a failure means, what waits for what.

use std::time::Duration;

use remex::{
    prelude::*,
    protocol::{calls::Origin, ids::DeviceIndex},
};

use crate::{
    raw::{ELSEWHERE, HERE, Raw, fetch_object, object, remote_execute},
    support::{
        Gate, assert_error, builder, cluster, device, elements, end, put, register, same_length_by_function, task,
    },
};

/// I7: the worker checks the structure of a call before anything runs, and poisons what is unused.
#[actix::test]
async fn a_call_that_is_wrong_is_refused_by_the_worker() {
    let cluster = cluster(2).await;
    let mut raw = Raw::with_context(&cluster, 1).await;
    raw.register(0, "add").await.unwrap();
    raw.register(1, "three").await.unwrap();
    let none: &[_] = &[];
    let cases = [
        (remote_execute(7, none, &[object(1, HERE)]), ErrorCode::NotFound, "stands for no program"),
        (remote_execute(0, none, &[]), ErrorCode::InvalidArgument, "has 1 outputs, the call names 0"),
        (
            remote_execute(0, none, &[object(2, HERE), object(3, HERE)]),
            ErrorCode::InvalidArgument,
            "has 1 outputs, the call names 2",
        ),
        (remote_execute(0, none, &[object(4, ELSEWHERE)]), ErrorCode::InvalidArgument, "a device of another task"),
        (remote_execute(0, none, &[object(5, DeviceIndex(9))]), ErrorCode::DeviceNotFound, "does not have"),
        (
            remote_execute(0, &[(object(90, DeviceIndex(9)), Origin::Here)], &[object(6, HERE)]),
            ErrorCode::DeviceNotFound,
            "does not have",
        ),
        (
            remote_execute(
                0,
                &[(object(91, HERE), Origin::Owner(remex::protocol::ids::TaskIndex(5)))],
                &[object(7, HERE)],
            ),
            ErrorCode::TaskNotFound,
            "has no task",
        ),
        (remote_execute(0, none, &[object(0, HERE)]), ErrorCode::InvalidArgument, "is not an id"),
        (remote_execute(1, none, &[object(8, HERE); 2]), ErrorCode::InvalidArgument, "for two outputs"),
        (
            remote_execute(0, &[(object(9, HERE), Origin::Anywhere)], &[object(9, HERE)]),
            ErrorCode::InvalidArgument,
            "both as input and as output",
        ),
        (remote_execute(0, &[(object(92, HERE), Origin::Here)], &[object(10, HERE)]), ErrorCode::NotFound, "no object"),
    ];
    for (request, code, words) in cases {
        let outputs = request.outputs.clone();
        let error = raw.ask(request).await.unwrap_err();
        assert!(error.code == code && error.message.contains(words), "{words:?} is not in {error}");
        assert_eq!(error.task.as_deref(), Some("/job:test/task:1"));
        for output in outputs.iter().filter(|output| output.object.device == HERE && output.object.is_valid()) {
            let poison = raw.ask(fetch_object(output.object, Origin::Here)).await.unwrap_err();
            assert_eq!((poison.code, &poison.message), (code, &error.message), "{}", output.object);
        }
    }
    assert_eq!(cluster.task(1).stats().await.unwrap().jobs, 0);
    cluster.stop().await.unwrap();
}

/// I7: an id in use refuses the call and is not touched.
#[actix::test]
async fn an_output_that_exists_is_not_touched() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&add).input(&a).outputs_into([a.clone()])).await.unwrap();
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::AlreadyExists, &["use another id", "task:1"]);
    assert_eq!(elements(&context.fetch(&a).await.unwrap()), [1.0]);
    end(cluster, context).await;
}

/// I2, I3: failure, panic and a wrong number of results fail chain, handles and every output with one cause.
#[actix::test]
async fn a_failed_call_fails_everything_with_one_cause() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    let cases = [
        ("fail", 1, ErrorCode::OutOfRange, "the sky is not the limit"),
        ("panic", 1, ErrorCode::Internal, "the program panicked: on purpose"),
        ("three", 2, ErrorCode::Internal, "gave 3 outputs, the call names 2"),
    ];
    for (name, outputs, code, words) in cases {
        let program = register(&context, 1, name).await;
        let spec = context.spec(&vec![device(1).as_str(); outputs]).unwrap();
        let call = context.execute(RemoteExecute::new(&program).input(&a).spec(spec).handles(outputs)).await.unwrap();
        let cause = call.chain.done().await.unwrap_err();
        assert_error(&cause, code, &[words]);
        assert_eq!(
            (cause.task(), cause.program(), cause.call()),
            (Some(&*task(1)), Some(name), Some(call.chain.call()))
        );
        for (handle, output) in call.handles.iter().zip(&call.outputs) {
            assert_eq!(handle.metadata().await.unwrap_err(), cause);
            assert_eq!(handle.tensor().await.unwrap_err(), cause);
            assert_eq!(handle.fetch().await.unwrap_err(), cause);
            assert_eq!(context.fetch(output).await.unwrap_err(), cause);
        }
    }
    end(cluster, context).await;
}

/// I2: the first cause goes down a pipeline over tasks, with the calls that it came through.
#[actix::test]
async fn a_failure_goes_down_a_pipeline_over_three_tasks() {
    let cluster = cluster(4).await;
    let context = cluster.context().await.unwrap();
    let mut adds = Vec::new();
    for i in 1..4 {
        adds.push(context.register(&task(i), RegisterFunction::native(format!("add{i}")).entry("add")).await.unwrap());
    }
    let fail = register(&context, 1, "fail").await;
    let mut calls = vec![context.execute(RemoteExecute::new(&fail).handles(1)).await.unwrap()];
    for i in 1..10 {
        let input = calls[i - 1].outputs[0].clone();
        calls.push(context.execute(RemoteExecute::new(&adds[i % 3]).input(input).handles(1)).await.unwrap());
    }
    let cause = calls[0].chain.done().await.unwrap_err();
    assert_eq!((cause.task(), cause.program(), cause.via().len()), (Some(&*task(1)), Some("fail"), 0));
    for (i, call) in calls.iter().enumerate().skip(1) {
        let error = call.chain.done().await.unwrap_err();
        assert_eq!(
            (error.code(), error.message(), error.task(), error.program(), error.call()),
            (cause.code(), cause.message(), cause.task(), cause.program(), cause.call()),
        );
        // Each call is on another task than the one before: a fetch between, then the program.
        let programs: Vec<_> = error.via().iter().filter(|step| step.starts_with("add")).collect();
        let expected: Vec<_> = (1..=i).map(|i| format!("add{}", i % 3 + 1)).collect();
        let seen = programs.len();
        assert!(seen == i || error.via().len() == 16, "{error}");
        assert!(programs.into_iter().eq(&expected[..seen]), "{error}");
        assert_eq!(call.handles[0].tensor().await.unwrap_err(), error);
    }
    end(cluster, context).await;
}

/// I5: dependent calls leave before anything has come back.
#[actix::test]
async fn dependent_calls_are_sent_without_waiting() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0, 2.0]).await);
    cluster.hold();
    let first = context.execute(RemoteExecute::new(&add).inputs([&a, &a])).await.unwrap();
    let second = RemoteExecute::new(&add).inputs([&first.outputs[0], &a]).handles(1);
    let second = context.execute(second).await.unwrap();
    cluster.settle().await;
    let steps = [cluster.step().await.unwrap(), cluster.step().await.unwrap()];
    assert!(steps.iter().all(|step| step.starts_with("0 → 1: RemoteExecute")), "{steps:?}");
    assert!(second.chain.try_get().is_none() && second.handles[0].try_metadata().is_none());
    assert!(cluster.step().await.unwrap().starts_with("1 → 0: Completed RemoteExecute"));
    assert!(first.chain.try_get().unwrap().is_ok() && second.chain.try_get().is_none());
    cluster.release();
    assert_eq!(elements(&second.handles[0].fetch().await.unwrap()), [3.0, 6.0]);
    end(cluster, context).await;
}

/// I4a: an input on another worker goes from worker to worker; the client sees none of its bytes.
#[actix::test]
async fn an_input_on_another_worker_is_fetched_directly() {
    let cluster = cluster(3).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 2, "add").await, put(&context, 1, &[1.0]).await);
    let b = put(&context, 2, &[2.0]).await;
    cluster.hold();
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &b]).handles(1)).await.unwrap();
    cluster.settle().await;
    let mut steps = Vec::new();
    while let Some(step) = cluster.step().await {
        steps.push(step.split(" r").next().unwrap().to_owned());
    }
    steps.retain(|step| !step.ends_with("Heartbeat"));
    let expected = [
        "0 → 2: RemoteExecute",
        "2 → 1: Hello",
        "1 → 2: Welcome",
        "2 → 1: CreateContext",
        "1 → 2: Completed CreateContext",
        "2 → 1: FetchObject",
        "1 → 2: Completed FetchObject",
        "2 → 0: Completed RemoteExecute",
    ];
    assert_eq!(steps, expected);
    cluster.release();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [3.0]);
    end(cluster, context).await;
}

/// I4a: the client's own task is a worker like the others; it fetches over the link that it has.
#[actix::test]
async fn the_clients_task_fetches_too() {
    let cluster = cluster(3).await;
    let context = cluster.context().await.unwrap();
    let adds = [register(&context, 0, "add").await, register(&context, 1, "add").await];
    let (a, b) = (put(&context, 1, &[1.0]).await, put(&context, 2, &[2.0]).await);
    let first = context.execute(RemoteExecute::new(&adds[0]).inputs([&a, &b])).await.unwrap();
    let second = RemoteExecute::new(&adds[1]).inputs([&first.outputs[0], &b]).handles(1);
    let second = context.execute(second).await.unwrap();
    assert_eq!(elements(&second.handles[0].fetch().await.unwrap()), [5.0]);
    end(cluster, context).await;
}

/// I4a: an id that is used before anyone makes it is waited for, on its own task and on another.
#[actix::test]
async fn a_preallocated_output_may_be_used_before_it_is_made() {
    let cluster = cluster(3).await;
    let context = cluster.context().await.unwrap();
    let (here, there) = (register(&context, 1, "add").await, register(&context, 2, "add").await);
    let output = context.new_object(&device(1)).unwrap();
    let users = [
        context.execute(RemoteExecute::new(&here).inputs([&output, &output]).handles(1)).await.unwrap(),
        context.execute(RemoteExecute::new(&there).inputs([&output, &output]).handles(1)).await.unwrap(),
    ];
    cluster.settle().await;
    assert!(users.iter().all(|user| user.chain.try_get().is_none()));
    let a = put(&context, 1, &[1.0]).await;
    let made = context.execute(RemoteExecute::new(&here).input(&a).outputs_into([output])).await.unwrap();
    for user in &users {
        assert_eq!(elements(&user.handles[0].fetch().await.unwrap()), [2.0]);
    }
    assert!(made.chain.try_get().unwrap().is_ok());
    end(cluster, context).await;
}

/// I4a: an id that nobody makes is waited for until the deadline of who uses it.
#[actix::test]
async fn an_output_that_nobody_makes_fails_its_user_by_deadline() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let add = register(&context, 1, "add").await;
    let output = context.new_object(&device(1)).unwrap();
    let limit = Duration::from_secs(2);
    let call = context.execute(RemoteExecute::new(&add).input(&output).deadline(limit)).await.unwrap();
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::DeadlineExceeded, &[]);
    end(cluster, context).await;
}

/// I2: what a program can infer settles metadata while it still runs; the tensor comes when it is ready.
#[actix::test]
async fn metadata_is_there_before_the_program_has_ended() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", same_length_by_function(gate.program())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0, 2.0]).await);
    assert!(program.signature().is_none(), "the worker infers, not the caller");
    let first = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let second = context.execute(RemoteExecute::new(&program).input(&first.outputs[0]).handles(1)).await.unwrap();
    for call in [&first, &second] {
        assert_eq!(call.handles[0].metadata().await.unwrap().to_string(), "f32[2]");
        assert!(call.handles[0].try_tensor().is_none() && call.chain.try_get().is_none());
    }
    assert_eq!(gate.runs(), (1, 0, 0));
    gate.open(2);
    assert_eq!(second.handles[0].tensor().await.unwrap().size_bytes, 8);
    second.chain.done().await.unwrap();
    end(cluster, context).await;
}
