//! What an application puts in the place of the built-in parts.

use std::{
    collections::BTreeMap,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use actix::{Actor, ActorContext, Addr, Context, Handler, ResponseActFuture, WrapFuture};
use remex::{
    Observed, What,
    actors::{
        context::Objects,
        executor::{Abort, Compile, Compiled, Run},
        objects::{Finished, Fulfil, Inspect, ObjectManager, Resolve, Stats},
        server::ExecutorRecipients,
    },
    prelude::*,
    testing::{Probe, TestCluster},
};

use crate::support::{
    Gate, add, assert_error, builder, cluster, elements, end, put, register, same_length, task, vector,
};

/// A user's actor that serves as a program: a running sum.
struct Accumulator(f32);

struct Crash;

impl actix::Message for Crash {
    type Result = ();
}

impl Actor for Accumulator {
    type Context = Context<Self>;
}

impl Handler<Invoke> for Accumulator {
    type Result = Result<Vec<Tensor>, ProgramError>;

    fn handle(&mut self, invoke: Invoke, _: &mut Context<Self>) -> Self::Result {
        assert_eq!(invoke.baggage, [("unit".to_owned(), "m".to_owned())]);
        self.0 += invoke.inputs[0].elements::<f32>()?.iter().sum::<f32>();
        Ok(vec![vector(&[self.0])])
    }
}

impl Handler<Crash> for Accumulator {
    type Result = ();

    fn handle(&mut self, _: Crash, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

/// I9: a user's actor is a program; when it dies its calls fail, and nothing else.
#[actix::test]
async fn an_actor_is_a_program() {
    let actor: Addr<Accumulator> = Accumulator(0.0).start();
    let cluster = builder(2).program("sum", native_actor(actor.clone().recipient()).outputs(1)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (sum, add) = (register(&context, 1, "sum").await, register(&context, 1, "add").await);
    let a = put(&context, 1, &[1.0, 2.0]).await;
    let call = || RemoteExecute::new(&sum).input(&a).baggage("unit", "m").handles(1);
    for expected in [3.0, 6.0, 9.0] {
        let call = context.execute(call()).await.unwrap();
        assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [expected]);
    }
    actor.send(Crash).await.unwrap();
    let dead = context.execute(call()).await.unwrap().chain.done().await.unwrap_err();
    assert_error(&dead, ErrorCode::Internal, &["the actor that runs \"sum\" is gone", &task(1)]);
    context.execute(RemoteExecute::new(&add).input(&a)).await.unwrap().chain.done().await.unwrap();
    end(cluster, context).await;
}

/// I9: code of a program that panics, wherever it does, fails its call and nothing else.
#[actix::test]
async fn panics_stay_with_their_calls() {
    struct Early;
    impl remex::Program for Early {
        fn run(&self, call: &mut remex::ProgramCall) -> Result<(), ProgramError> {
            call.outputs.publish(0, vector(&[1.0]))?;
            panic!("after the first output")
        }
    }
    let none = |_| -> std::future::Ready<Result<Vec<Tensor>, ProgramError>> { panic!("before the future") };
    let later = |_| async {
        tokio::task::yield_now().await;
        panic!("inside the future")
    };
    let cluster = builder(2)
        .program("pool", native(|_| panic!("on the pool")).outputs(1))
        .program("inline", native(|_| panic!("inline")).inline().outputs(1))
        .program("none", native_async(none).outputs(1))
        .program("later", native_async(later).outputs(1))
        .program("early", remex::native_program(Early).outputs(2));
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let cases = [
        ("pool", "on the pool"),
        ("inline", "inline"),
        ("none", "before the future"),
        ("later", "inside the future"),
        ("early", "after the first output"),
    ];
    for (name, words) in cases {
        let program = register(&context, 1, name).await;
        let call = context.execute(RemoteExecute::new(&program).handles(1)).await.unwrap();
        let error = call.chain.done().await.unwrap_err();
        assert_error(&error, ErrorCode::Internal, &["the program panicked", words, name]);
        if name == "early" {
            assert_eq!(elements(&context.fetch(&call.outputs[0]).await.unwrap()), [1.0], "it was published");
        }
    }
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    context.execute(RemoteExecute::new(&add).input(&a)).await.unwrap().chain.done().await.unwrap();
    end(cluster, context).await;
}

/// Runs every program at once, on its own, and counts.
struct OwnExecutor(Arc<AtomicUsize>);

impl Actor for OwnExecutor {
    type Context = Context<Self>;
}

impl Handler<Run> for OwnExecutor {
    type Result = ();

    fn handle(&mut self, Run { tasks, done, .. }: Run, _: &mut Context<Self>) {
        self.0.fetch_add(tasks.len(), Ordering::Relaxed);
        let finished = tasks.into_iter().map(|task| Finished::new(task.job, Ok(vec![vector(&[42.0])])));
        remex::actors::envelope::post(&done, Fulfil(finished.collect()));
    }
}

impl Handler<Abort> for OwnExecutor {
    type Result = ();

    fn handle(&mut self, _: Abort, _: &mut Context<Self>) {}
}

impl Handler<Compile> for OwnExecutor {
    type Result = ();

    fn handle(&mut self, compile: Compile, _: &mut Context<Self>) {
        let program = compile.compiler.compile(&compile.source).map(Arc::new);
        let program = program.map_err(|error| Error::new(error.code, error.message));
        remex::actors::envelope::post(&compile.done, Compiled { compilation: compile.compilation, program });
    }
}

#[actix::test]
async fn an_executor_can_be_replaced() {
    let runs = Arc::new(AtomicUsize::new(0));
    let executor = OwnExecutor(runs.clone()).start();
    let recipients = ExecutorRecipients {
        run: executor.clone().recipient(),
        abort: executor.clone().recipient(),
        compile: executor.recipient(),
    };
    let cluster = builder(2)
        .each(move |i, builder| if i == 1 { builder.executor(recipients.clone()) } else { builder })
        .start()
        .await
        .unwrap();
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&add).input(&a).handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [42.0]);
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    end(cluster, context).await;
}

/// Hands everything on to a built-in manager, and counts what is asked of it.
struct Watching {
    inner: Addr<ObjectManager>,
    steps: Arc<AtomicUsize>,
}

impl Actor for Watching {
    type Context = Context<Self>;
}

impl Handler<Resolve> for Watching {
    type Result = ();

    fn handle(&mut self, resolve: Resolve, _: &mut Context<Self>) {
        self.steps.fetch_add(resolve.steps.len(), Ordering::Relaxed);
        remex::actors::envelope::post(&self.inner.clone().recipient(), resolve);
    }
}

impl Handler<Inspect> for Watching {
    type Result = ResponseActFuture<Self, remex::Result<Stats>>;

    fn handle(&mut self, _: Inspect, _: &mut Context<Self>) -> Self::Result {
        let inner = self.inner.clone().recipient();
        Box::pin(async move { remex::actors::envelope::ask(&inner, Inspect).await }.into_actor(self))
    }
}

#[actix::test]
async fn an_object_manager_can_be_replaced() {
    let steps = Arc::new(AtomicUsize::new(0));
    let counter = steps.clone();
    let cluster = builder(2).each(move |_, builder| {
        let counter = counter.clone();
        builder.object_manager(Rc::new(move |context, ready_chain, neighbours| {
            let manager = ObjectManager::new(task(1), context.0, 1, neighbours).with_ready_chain(ready_chain);
            let inner = manager.start();
            let watching = Watching { inner: inner.clone(), steps: counter.clone() }.start();
            Objects {
                resolve: watching.clone().recipient(),
                bound: inner.clone().recipient(),
                fetched: inner.clone().recipient(),
                foreseen: inner.clone().recipient(),
                ended: inner.clone().recipient(),
                close: inner.clone().recipient(),
                inspect: watching.recipient(),
                list: inner.recipient(),
            }
        }))
    });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [2.0]);
    assert_eq!(steps.load(Ordering::Relaxed), 3, "a put, a run and a fetch");
    assert_eq!(cluster.task(1).stats().await.unwrap().objects, 3);
    end(cluster, context).await;
}

#[actix::test]
async fn the_context_takes_calls_as_actix_messages() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[2.0]).await);
    let call = RemoteExecute::new(&add).inputs([&a, &a]).handles(1);
    let execution = context.addr().send(call).await.unwrap().unwrap();
    assert_eq!(elements(&execution.handles[0].fetch().await.unwrap()), [4.0]);
    let wrong = context.addr().send(RemoteExecute::new(&add).handles(9)).await.unwrap().unwrap_err();
    assert_error(&wrong, ErrorCode::InvalidArgument, &["the last 9 outputs"]);
    end(cluster, context).await;
}

#[actix::test]
async fn an_observer_sees_calls_and_links() {
    let (probe, observer) = Probe::<Observed>::start();
    let gate = Gate::new();
    let cluster = TestCluster::builder(2).program("gate", same_length(gate.program()));
    let cluster = cluster.each(move |i, builder| if i == 0 { builder.observer(observer.clone()) } else { builder });
    let cluster = cluster.program("add", add()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    cluster.settle().await;
    gate.open(1);
    call.chain.done().await.unwrap();
    cluster.cut(0, 1);
    cluster.settle().await;
    cluster.heal(0, 1);
    cluster.advance(std::time::Duration::from_secs(1)).await;
    cluster.cut(0, 1);
    cluster.advance(std::time::Duration::from_secs(6)).await;
    let mut seen: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    while let Some(Observed(events)) = probe.try_next() {
        for event in events {
            let what = match event.what {
                What::Sent => "sent",
                What::Metadata { .. } => "metadata",
                What::Done => "done",
                What::Failed(_) => "failed",
                What::LinkUp => "up",
                What::LinkDown(_) => "down",
                What::LinkStalled(_) => "stalled",
                What::Reconnecting(_) => "reconnecting",
                What::Resumed => "resumed",
                _ => "other",
            };
            if event.task.contains(&task(1)) {
                seen.entry(event.name.to_owned()).or_default().push(what);
            }
        }
    }
    assert_eq!(seen["RemoteExecute"], ["sent", "metadata", "done"]);
    assert_eq!(seen["RegisterFunction"], ["sent", "done"]);
    assert_eq!(seen[""], ["up", "reconnecting", "resumed", "reconnecting", "stalled"]);
    cluster.heal(0, 1);
    drop((a, call));
    end(cluster, context).await;
}

/// I2: what a program says of its outputs before it is done is there before it is done.
#[actix::test]
async fn a_program_can_publish_early() {
    struct TwoParts;
    impl remex::Program for TwoParts {
        fn run(&self, call: &mut remex::ProgramCall) -> Result<(), ProgramError> {
            assert!(!call.cancelled());
            call.outputs.metadata(1, vector(&[0.0; 3]).metadata().clone())?;
            call.outputs.publish(0, vector(&[1.0]))?;
            call.outputs.set(1, vector(&[2.0; 3]))?;
            let error = call.outputs.set(2, vector(&[])).unwrap_err();
            assert!(error.message.contains("output 2, the call names 2"), "{error}");
            Ok(())
        }
    }
    let cluster = builder(2).program("two", remex::native_program(TwoParts).outputs(2)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let two = register(&context, 1, "two").await;
    cluster.hold();
    let call = context.execute(RemoteExecute::new(&two).handles(2)).await.unwrap();
    cluster.settle().await;
    assert!(cluster.step().await.unwrap().contains("RemoteExecute"));
    let mut steps = Vec::new();
    while call.chain.try_get().is_none() {
        steps.push(cluster.step().await.unwrap());
    }
    let kinds: Vec<_> = steps.iter().map(|step| step.split(' ').nth(3).unwrap()).collect();
    assert_eq!(kinds, ["Metadata", "Metadata", "Completed"], "{steps:?}");
    cluster.release();
    assert_eq!(elements(&call.handles[1].fetch().await.unwrap()), [2.0; 3]);
    end(cluster, context).await;
}
