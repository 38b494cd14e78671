//! Faults of contexts and of who belongs to them.

use std::{cell::Cell, rc::Rc, time::Duration};

use remex::{
    prelude::*,
    protocol::{Body, Call, Effect, RemoteError, Rpc, calls::KeepAliveRequest},
};

use super::fake::{self, Answer};
use crate::support::{assert_error, builder, cluster, device, elements, end, put, register, task, vector};

/// TFRT §3.4-1: a keep-alive that is refused has a consequence: calls to that task fail at once and say why. When the
/// context is over, no timer of it goes on.
#[actix::test]
async fn a_refused_keep_alive_is_felt_and_the_timer_ends_with_the_context() {
    let cluster = cluster(1).await;
    let refuses = Rc::new(Cell::new(false));
    let switch = refuses.clone();
    let answer = move |call: &Call| match call {
        Call::KeepAlive(_) if switch.get() => {
            let error = RemoteError::new(ErrorCode::InvalidDistributedContextId, "it was collected").on_task(task(1));
            Answer::With(vec![Body::Failed { kind: KeepAliveRequest::KIND, error: Box::new(error) }])
        }
        _ => Answer::Good,
    };
    let asked = fake::start(&cluster, answer).await;
    let context = fake::context(&cluster, |config| config.idle_timeout(Duration::from_secs(10))).await;
    let program = register(&context, 1, "two").await;
    cluster.advance(Duration::from_secs(21)).await;
    assert_eq!(asked.count("KeepAlive"), 4, "at half the idle time-out");
    let fine = context.try_execute(RemoteExecute::new(&program)).unwrap();
    refuses.set(true);
    cluster.advance(Duration::from_secs(5)).await;
    assert_eq!(asked.count("RemoteExecute"), 1);
    let error = context.execute(RemoteExecute::new(&program)).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidDistributedContextId, &["it was collected", &task(1)]);
    assert_eq!((error.effect(), asked.count("RemoteExecute")), (Effect::NotSent, 1));
    assert!(fine.chain.try_get().is_none(), "what was sent before is the worker's to answer");
    context.close().await.unwrap();
    assert_eq!(asked.count("CloseContext"), 1, "its index on the link is free again");
    refuses.set(false);
    let other = fake::context(&cluster, |config| config.idle_timeout(Duration::from_secs(10))).await;
    let told = asked.count("KeepAlive");
    cluster.advance(Duration::from_secs(6)).await;
    assert_eq!(asked.count("KeepAlive"), told + 1, "of the new one alone");
    other.close().await.unwrap();
    cluster.advance(Duration::from_secs(60)).await;
    assert_eq!(asked.count("KeepAlive"), told + 1, "nobody keeps a closed context alive");
    drop((fine, other));
    cluster.stop().await.unwrap();
}

/// TFRT §3.4-2: a job may have many tasks: every name, device and id still leads to its own task, the 48th and the last
/// among them.
#[actix::test]
async fn a_large_job_keeps_its_names() {
    let tasks = 110;
    let cluster = builder(tasks).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    assert_eq!(context.tasks().count(), tasks);
    let mut objects = Vec::new();
    for i in 0..tasks {
        assert_eq!(context.device_of(&task(i)).unwrap().to_string(), device(i));
        assert_eq!(context.ready_chain(&task(i)).unwrap().task().to_string(), task(i));
        let program = register(&context, i, "add").await;
        assert_eq!(program.task().to_string(), task(i));
        objects.push(put(&context, i, &[i as f32]).await);
    }
    for (i, object) in objects.iter().enumerate() {
        assert_eq!((object.task().to_string(), object.device().to_string()), (task(i), device(i)));
        assert_eq!(elements(&context.fetch(object).await.unwrap()), [i as f32]);
        assert_eq!(cluster.task(i).stats().await.unwrap().objects, 2, "its ready chain and its object");
    }
    let last = register(&context, tasks - 1, "add").await;
    let call = RemoteExecute::new(&last).inputs([&objects[47], &objects[48], &objects[0]]).handles(1);
    let call = context.execute(call).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [95.0]);
    drop((objects, call));
    end(cluster, context).await;
}

/// TFRT §3.4-4: a name that nothing has is an error that lists the names there are, wherever a name is given; one that
/// cannot be a name says so.
#[actix::test]
async fn an_unknown_name_is_an_error_everywhere() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, function) = (register(&context, 1, "add").await, || RegisterFunction::native("add"));
    let device = "/job:test/task:9/device:CPU:0";
    let tasks =
        |error: &Error| assert_error(error, ErrorCode::TaskNotFound, &["no task", &task(9), &task(0), &task(1)]);
    tasks(&context.device_of(&task(9)).unwrap_err());
    tasks(&context.ready_chain(&task(9)).unwrap_err());
    tasks(&context.register(&task(9), function()).await.unwrap_err());
    tasks(&context.begin_register(&task(9), function()).await.unwrap_err());
    let spec = remex::RemoteExecuteSpec { output_devices: vec![device.parse().unwrap()] };
    let unknown = [
        context.new_object(device).unwrap_err(),
        context.spec(&[device]).unwrap_err(),
        context.put(&device.parse().unwrap(), vector(&[1.0])).await.unwrap_err(),
        context.execute(RemoteExecute::new(&add).spec(spec)).await.unwrap_err(),
        context.register(&task(1), function().outputs_on([device.parse().unwrap()])).await.unwrap_err(),
    ];
    for error in unknown {
        assert_error(&error, ErrorCode::DeviceNotFound, &["no device", device, &crate::support::device(1)]);
    }
    let group = context.collective("nobody").unwrap().barrier("b").await.unwrap_err();
    assert_error(&group, ErrorCode::NotFound, &["no group \"nobody\""]);
    let op = context.op_handler(&device.parse().unwrap()).unwrap_err();
    assert_error(&op, ErrorCode::DeviceNotFound, &["no device", device]);
    let malformed = [
        context.device_of("task 9").unwrap_err(),
        context.ready_chain("").unwrap_err(),
        context.register("/job:test", function()).await.unwrap_err(),
        context.new_object("CPU:0").unwrap_err(),
        context.spec(&["/job:test/task:1/device:"]).unwrap_err(),
    ];
    for error in malformed {
        assert_error(&error, ErrorCode::InvalidArgument, &[]);
    }
    end(cluster, context).await;
}
