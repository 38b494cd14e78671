//! Faults of the client's side of RemoteExecute: order, limits, lifetimes, places.

use std::time::Duration;

use remex::{prelude::*, protocol::ids::DeviceIndex};
use tokio::time::Instant;

use super::all_failed;
use crate::{
    raw::{ELSEWHERE, Raw, object, remote_execute},
    support::{Gate, assert_error, builder, cluster, device, elements, end, put, register, task},
};

const MILLI: Duration = Duration::from_millis(1);

/// TFRT §3.1-9: registration, calls and deletes arrive in the order in which they were made, and calls on a chain keep
/// their side effects in order, though nobody waited for an answer.
#[actix::test]
async fn calls_arrive_in_order_and_chains_cost_no_round_trip() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let mut inputs = Vec::new();
    for i in 0..3 {
        inputs.push(put(&context, 1, &[i as f32]).await);
    }
    cluster.hold();
    let registering = context.begin_register(&task(1), RegisterFunction::native("gate")).await.unwrap();
    let spec = context.spec(&[&device(1)]).unwrap();
    let (mut chain, mut calls) = (context.ready_chain(&task(1)).unwrap(), Vec::new());
    for input in &inputs {
        let call = RemoteExecute::new(&registering.program).input(input).spec(spec.clone());
        let call = context.execute(call.in_chain(&chain).out_chain()).await.unwrap();
        chain = call.remote_chain.clone().unwrap();
        calls.push(call);
    }
    let (user, output) = (context.clone(), calls[2].outputs[0].clone());
    let deleting = actix::spawn(async move { user.delete(&[output]).await });
    cluster.settle().await;
    for name in ["RegisterFunction", "RemoteExecute", "RemoteExecute", "RemoteExecute", "DeleteObjects"] {
        let step = cluster.step().await.unwrap();
        assert!(step.starts_with(&format!("0 → 1: {name}")), "{name} was next, not {step}");
    }
    assert_eq!(gate.runs(), (1, 0, 0), "all are there, the first runs");
    cluster.release();
    assert_eq!(deleting.await.unwrap().unwrap(), [], "the delete found what an earlier call had named");
    for done in 1..=3 {
        gate.open(1);
        cluster.settle().await;
        assert_eq!(gate.runs(), (3.min(done + 1), done, 0), "one after the other");
    }
    assert_eq!(gate.order(), [0.0, 1.0, 2.0]);
    for call in &calls {
        call.chain.done().await.unwrap();
    }
    assert_eq!(context.fetch(&calls[2].outputs[0]).await.unwrap_err().code(), ErrorCode::NotFound);
    end(cluster, context).await;
}

/// TFRT §3.1-10: a call that nobody limits ends after the context's 60 s and is not repeated; a cancel concerns its own
/// call, whichever was made later.
#[actix::test]
async fn every_call_has_a_limit_and_a_cancel_of_its_own() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let call = || RemoteExecute::new(&program).input(&a).handles(1);
    let begin = Instant::now();
    let unlimited = context.execute(call()).await.unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(61), unlimited.handles[0].tensor()).await;
    let error = ended.expect("it has a limit").unwrap_err();
    assert_error(&error, ErrorCode::DeadlineExceeded, &[&task(1)]);
    assert!(begin.elapsed().abs_diff(Duration::from_secs(60)) <= MILLI, "{:?}", begin.elapsed());
    cluster.advance(Duration::from_secs(60)).await;
    assert_eq!(gate.runs(), (1, 0, 1), "it ran once");
    let mut calls = Vec::new();
    for _ in 0..3 {
        calls.push(context.execute(call()).await.unwrap());
    }
    let ended = |calls: &[Execution]| calls.iter().map(|call| call.chain.try_get().is_some()).collect::<Vec<_>>();
    for (cancel, expected) in [(0, [true, false, false]), (2, [true, false, true]), (1, [true; 3])] {
        context.cancel(&calls[cancel].chain);
        cluster.settle().await;
        assert_eq!(ended(&calls), expected);
        assert_eq!(all_failed(&calls[cancel]).code(), ErrorCode::Cancelled);
    }
    end(cluster, context).await;
}

/// TFRT §3.1-11: handles may outlive their context and its server, on any thread: what is open fails, what comes later
/// is an error.
#[actix::test]
async fn handles_outlive_what_they_came_from() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let (chain, handle) = (call.chain.clone(), call.handles[0].clone());
    let waiting = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async { (chain.done().await.unwrap_err(), handle.metadata().await.unwrap_err()) })
    });
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 0));
    drop(context);
    cluster.settle().await;
    let error = all_failed(&call);
    assert_error(&error, ErrorCode::Cancelled, &["closed"]);
    assert_eq!(waiting.join().unwrap(), (error.clone(), error));
    assert_error(&call.handles[0].fetch().await.unwrap_err(), ErrorCode::FailedPrecondition, &["closed"]);
    cluster.stop().await.unwrap();
    assert_eq!(call.handles[0].fetch().await.unwrap_err().code(), ErrorCode::FailedPrecondition);
    assert_eq!((call.handles[0].device().to_string(), a.task().to_string()), (device(1), task(1)));
    drop((call, a, program));
}

/// TFRT §3.1-12: outputs must be the receiver's, inputs come from where they are, and an address that no fabric
/// understands is an error.
#[actix::test]
async fn where_things_are_is_checked() {
    let cluster = cluster(3).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 2, &[4.0]).await);
    let on = |i| context.new_object(&device(i)).unwrap();
    let spec = context.spec(&[&device(2)]).unwrap();
    let call = RemoteExecute::new(&add).input(&a);
    let errors = [
        context.execute(call.clone().spec(spec.clone())).await.unwrap_err(),
        context.execute(call.clone().spec(spec).outputs_into([on(2)])).await.unwrap_err(),
    ];
    for error in errors {
        assert_error(&error, ErrorCode::InvalidArgument, &[&device(2), "is not one of", &task(1)]);
    }
    let fetched = context.execute(call.clone().input(&a).handles(1)).await.unwrap();
    assert_eq!(elements(&fetched.handles[0].fetch().await.unwrap()), [8.0], "the receiver fetched its inputs");
    let nowhere = remex::protocol::ids::ObjectId { device: DeviceIndex(99), ..a.id() };
    let error = context.execute(call.input(nowhere)).await.unwrap_err();
    assert_error(&error, ErrorCode::DeviceNotFound, &["input 1"]);
    let mut raw = Raw::with_context(&cluster, 1).await;
    raw.register(0, "add").await.unwrap();
    let error = raw.ask(remote_execute(0, &[], &[object(1, ELSEWHERE)])).await.unwrap_err();
    assert!(error.message.contains("a device of another task"), "{error}");
    let mut tasks = ClusterConfig::new();
    tasks.add(task(1).parse().unwrap(), Some("carrier:pigeon".parse().unwrap())).unwrap();
    let error = cluster.task(0).create_context(ContextConfig::new(tasks)).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["no fabric understands carrier:pigeon", "loopback"]);
    end(cluster, context).await;
}
