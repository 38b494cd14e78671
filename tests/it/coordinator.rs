//! Programs that call: from the task that they run on, on other tasks and on their own.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix::prelude::*;
use remex::{prelude::*, testing::TestClusterBuilder};
use tokio::time::Instant;

use crate::support::{
    Gate, assert_error, builder, device, elements, end, put, register, same_length, stats, task, vector,
};

/// Runs a program on another task, with one input that is put there, and gives its output.
async fn on(context: &TaskContext, to: &str, name: &str, input: Tensor) -> Result<Tensor, Error> {
    let program = context.register(to, RegisterFunction::native(name)).await?;
    let input = context.put(&context.device_of(to)?, input).await?;
    let call = context.execute(RemoteExecute::new(&program).input(input).handles(1)).await?;
    call.handles[0].fetch().await
}

/// Runs the program and on the tasks that the baggage names, and gives what the last one gave.
fn relay() -> remex::Executable {
    native_async(|call| async move {
        let context = call.context()?;
        let mut value = call.inputs[0].clone();
        for (to, name) in &call.baggage {
            value = on(&context, to, name, value).await?;
        }
        Ok(vec![value])
    })
    .outputs(1)
}

/// Gives each of the tasks in its baggage a part of its input, and adds up what comes back.
fn split() -> remex::Executable {
    native_async(|call| async move {
        let context = call.context()?;
        let numbers = elements(&call.inputs[0]);
        let parts = numbers.chunks(numbers.len().div_ceil(call.baggage.len()));
        let sums = call.baggage.iter().zip(parts).map(|((to, name), part)| on(&context, to, name, vector(part)));
        let sums = futures_util::future::try_join_all(sums).await?;
        Ok(vec![vector(&[sums.iter().map(|sum| elements(sum)[0]).sum()])])
    })
    .outputs(1)
}

fn tasks(count: usize) -> TestClusterBuilder {
    let sum = native(|inputs| Ok(vec![vector(&[elements(&inputs[0]).iter().sum()])])).outputs(1);
    builder(count).program("relay", relay()).program("split", split()).program("sum", sum)
}

fn relayed(program: &ProgramHandle, input: &ObjectRef, steps: &[(usize, &str)]) -> RemoteExecute {
    let call = RemoteExecute::new(program).input(input).handles(1);
    steps.iter().fold(call, |call, (to, name)| call.baggage(task(*to), *name))
}

/// Counts the registrations that leave a task.
struct Registrations(Arc<AtomicUsize>);

impl Actor for Registrations {
    type Context = Context<Self>;
}

impl Handler<remex::Observed> for Registrations {
    type Result = ();

    fn handle(&mut self, remex::Observed(events): remex::Observed, _: &mut Context<Self>) {
        let is_one =
            |event: &&remex::Event| event.name == "RegisterFunction" && matches!(event.what, remex::What::Sent);
        self.0.fetch_add(events.iter().filter(is_one).count(), Ordering::Relaxed);
    }
}

#[actix::test]
async fn a_program_splits_its_work_over_other_tasks() {
    let registered = Arc::new(AtomicUsize::new(0));
    let count = registered.clone();
    let watch = move |i: usize, builder: remex::ServerBuilder| match i {
        1 => builder.observer(Registrations(count.clone()).start().recipient()),
        _ => builder.session_lease(std::time::Duration::from_secs(8)),
    };
    let cluster = tasks(4).each(watch).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (split, a) = (register(&context, 1, "split").await, put(&context, 1, &[1.0, 2.0, 3.0, 4.0, 5.0]).await);
    for _ in 0..3 {
        let call = context.execute(relayed(&split, &a, &[(2, "sum"), (3, "sum")])).await.unwrap();
        assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [15.0]);
    }
    assert_eq!(registered.load(Ordering::Relaxed), 2, "once on each task, for all runs");
    cluster.cut(1, 2);
    cluster.heal(1, 2);
    let call = context.execute(relayed(&split, &a, &[(2, "sum"), (3, "sum")])).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [15.0], "and not again when the link is resumed");
    drop(call);
    assert_eq!(registered.load(Ordering::Relaxed), 2);
    cluster.cut(1, 2);
    cluster.advance(std::time::Duration::from_secs(15)).await;
    cluster.heal(1, 2);
    let call = context.execute(relayed(&split, &a, &[(2, "sum"), (3, "sum")])).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [15.0], "and again after a loss");
    assert_eq!(registered.load(Ordering::Relaxed), 3);
    drop(call);
    drop(a);
    cluster.settle().await;
    for i in 1..4 {
        assert_eq!(stats(&cluster, i).await, (1, 1, 0), "nothing but the ready chain is left on {i}");
    }
    end(cluster, context).await;
}

/// A program waits for calls on its own task, also for itself, and holds nothing that they need.
#[actix::test]
async fn a_program_may_call_its_own_task_and_the_client() {
    let cluster = tasks(2).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (relay, a) = (register(&context, 1, "relay").await, put(&context, 1, &[1.0, 2.0]).await);
    let calls: Vec<_> = (0..10).map(|_| relayed(&relay, &a, &[(1, "add"), (0, "add"), (1, "sum")])).collect();
    for call in futures_util::future::join_all(calls.into_iter().map(|call| context.execute(call))).await {
        assert_eq!(elements(&call.unwrap().handles[0].fetch().await.unwrap()), [3.0]);
    }
    drop(a);
    end(cluster, context).await;
}

/// I2: what failed first is named, and everything that it came through.
#[actix::test]
async fn an_error_of_an_inner_call_is_the_cause() {
    let cluster = tasks(3).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (relay, a) = (register(&context, 1, "relay").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(relayed(&relay, &a, &[(2, "add"), (2, "fail")])).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::OutOfRange, &["the sky is not the limit"]);
    assert_eq!(
        (error.task(), error.program(), error.via()),
        (Some(&*task(2)), Some("fail"), &["relay".to_owned()][..])
    );
    let call = context.execute(relayed(&relay, &a, &[(2, "nothing")])).await.unwrap();
    let error = call.handles[0].tensor().await.unwrap_err();
    assert_error(&error, ErrorCode::NotFound, &["nothing", &task(2), "relay"]);
    cluster.cut(1, 2);
    let call = context.execute(relayed(&relay, &a, &[(2, "add")])).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &[&task(2), "loopback:2", "relay"]);
    assert!(!error.is_retryable(), "the outer call has run, whatever became of the inner one");
    cluster.heal(1, 2);
    end(cluster, context).await;
}

/// Who cancels a call cancels what its program has called.
#[actix::test]
async fn a_cancelled_call_cancels_its_inner_calls() {
    let gate = Gate::new();
    let cluster = tasks(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (relay, a) = (register(&context, 1, "relay").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(relayed(&relay, &a, &[(2, "gate")])).await.unwrap();
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 0));
    context.cancel(&call.chain);
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::Cancelled, &[]);
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 1), "the inner run was dropped");
    assert_eq!((stats(&cluster, 1).await.2, stats(&cluster, 2).await.2), (0, 0));
    end(cluster, context).await;
}

/// A call that a program makes ends with the program's own deadline, unless it says otherwise.
#[actix::test]
async fn the_deadline_of_a_call_bounds_its_inner_calls() {
    let gate = Gate::new();
    let left = Arc::new(Mutex::new(Vec::new()));
    let seen = left.clone();
    let look = native_async(move |call| {
        let left = call.deadline - Instant::now();
        seen.lock().unwrap().push(left);
        async move { Ok(call.inputs) }
    });
    let cluster = tasks(3).program("gate", gate.program()).program("look", look.outputs(1)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (relay, a) = (register(&context, 1, "relay").await, put(&context, 1, &[1.0]).await);
    let limit = Duration::from_secs(2);
    let begin = Instant::now();
    let call = relayed(&relay, &a, &[(2, "look"), (2, "gate")]).deadline(limit);
    let error = context.execute(call).await.unwrap().chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::DeadlineExceeded, &[]);
    assert!(begin.elapsed() <= limit + Duration::from_millis(2), "{:?}", begin.elapsed());
    let seen = left.lock().unwrap().clone();
    assert!(seen.len() == 1 && seen[0] <= limit && seen[0] > limit - Duration::from_millis(10), "{seen:?}");
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 1));
    end(cluster, context).await;
}

/// When the context ends, programs that wait in it end, and what they have called.
#[actix::test]
async fn a_closed_context_ends_what_its_programs_wait_for() {
    let gate = Gate::new();
    let cluster = tasks(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (relay, a) = (register(&context, 1, "relay").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(relayed(&relay, &a, &[(2, "gate")])).await.unwrap();
    cluster.settle().await;
    drop(a);
    assert_eq!(context.close().await.unwrap(), []);
    let error = call.chain.done().await.unwrap_err();
    assert!(matches!(error.code(), ErrorCode::Cancelled | ErrorCode::FailedPrecondition), "{error}");
    cluster.settle().await;
    assert_eq!(gate.runs(), (1, 0, 1));
    for i in 0..3 {
        assert_eq!(stats(&cluster, i).await, (0, 0, 0), "on task {i}");
    }
    cluster.stop().await.unwrap();
}

/// A program gives the id of its own output away before it is done: whoever takes it waits.
#[actix::test]
async fn the_ids_of_the_outputs_can_be_given_away_before_they_are_made() {
    let early = native_async(|call| async move {
        let context = call.context()?;
        let to = task(2);
        let program = context.register(&to, RegisterFunction::native("add")).await?;
        let out = context.new_object(&device(2))?;
        let sum = RemoteExecute::new(&program).input(call.output_ids()[0]).input(call.output_ids()[0]);
        let sum = context.execute(sum.outputs_into([out.clone()])).await?;
        let done = tokio::time::timeout(Duration::from_millis(100), sum.chain.done()).await;
        assert!(done.is_err(), "it waits for this run");
        let id = out.keep();
        let words = [id.prefix.0, id.local, u64::from(id.device.0)];
        Ok(vec![vector(&[4.0, 5.0]), Tensor::from_slice([3], &words)?])
    });
    let cluster = tasks(3).program("early", early.outputs(2)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "early").await;
    let call = context.execute(RemoteExecute::new(&program).handles(2)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [4.0, 5.0]);
    let id = id_of(&call.handles[1].fetch().await.unwrap());
    let sum = context.adopt(id).unwrap();
    assert_eq!(elements(&context.fetch(&sum).await.unwrap()), [8.0, 10.0]);
    drop((sum, call));
    cluster.settle().await;
    assert_eq!((stats(&cluster, 1).await, stats(&cluster, 2).await), ((1, 1, 0), (1, 1, 0)), "all is released");
    end(cluster, context).await;
}

fn id_of(words: &Tensor) -> remex::protocol::ids::ObjectId {
    use remex::protocol::ids::{DeviceIndex, ObjectId, ObjectPrefix};
    let words = words.elements::<u64>().unwrap().to_vec();
    ObjectId { prefix: ObjectPrefix(words[0]), local: words[1], device: DeviceIndex(words[2] as u16) }
}

/// What a program puts on another task, the client can read and give to calls there, by the id.
#[actix::test]
async fn what_a_program_puts_elsewhere_is_the_clients_to_read() {
    let scatter = native_async(|call| async move {
        let object = call.context()?.put(&call.context()?.device_of(&task(2))?, call.inputs[0].clone()).await?;
        let id = object.keep();
        Ok(vec![Tensor::from_slice([3], &[id.prefix.0, id.local, u64::from(id.device.0)])?])
    });
    let cluster = tasks(3).program("scatter", scatter.outputs(1)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "scatter").await, register(&context, 2, "add").await);
    let a = put(&context, 1, &[3.0]).await;
    let call = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let id = id_of(&call.handles[0].fetch().await.unwrap());
    assert_ne!(id.prefix, a.id().prefix, "a worker makes ids of its own");
    let sum = context.execute(RemoteExecute::new(&add).input(id).input(id).handles(1)).await.unwrap();
    assert_eq!(elements(&sum.handles[0].fetch().await.unwrap()), [6.0]);
    let object = context.adopt(id).unwrap();
    assert_eq!(object.task().to_string(), task(2));
    assert_eq!(elements(&context.fetch(&object).await.unwrap()), [3.0]);
    drop((object, sum, call, a));
    cluster.settle().await;
    assert_eq!((stats(&cluster, 1).await.1, stats(&cluster, 2).await.1), (1, 1), "all is released");
    end(cluster, context).await;
}

/// I2: metadata goes ahead of the data from worker to worker.
#[actix::test]
async fn metadata_comes_first_along_a_pipeline_of_workers() {
    let slow = || {
        let slow = native_async(|call| async move {
            let never = std::future::pending::<()>();
            let over = tokio::time::timeout(Duration::from_secs(1), never).await;
            assert!(over.is_err(), "it took a second");
            Ok(call.inputs)
        });
        same_length(slow)
    };
    let cluster = tasks(4).program("slow", slow()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let mut value = put(&context, 1, &[1.0, 2.0, 3.0]).await;
    let mut handles = Vec::new();
    let begin = Instant::now();
    for i in 1..4 {
        let program = register(&context, i, "slow").await;
        let call = context.execute(RemoteExecute::new(&program).input(&value).handles(1)).await.unwrap();
        value = call.outputs[0].clone();
        handles.push(call.handles[0].clone());
    }
    for handle in &handles {
        assert_eq!(handle.metadata().await.unwrap().to_string(), "f32[3]");
    }
    assert!(begin.elapsed() < Duration::from_millis(10), "{:?}", begin.elapsed());
    assert!(handles.iter().all(|handle| handle.try_tensor().is_none()), "none of the stages is over");
    assert_eq!(elements(&handles[2].fetch().await.unwrap()), [1.0, 2.0, 3.0]);
    assert!(begin.elapsed() >= Duration::from_secs(3), "{:?}", begin.elapsed());
    drop((value, handles));
    end(cluster, context).await;
}
