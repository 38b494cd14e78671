//! I1, I9: one of the runtime's own actors dies. Its promises fail with `Internal` at once, and the context says so.

use std::{cell::RefCell, rc::Rc, time::Duration};

use actix::{Actor, Recipient};
use remex::{
    Observed, What,
    actors::{
        context::Objects,
        envelope::post,
        executor::{Executor, ExecutorConfig, Pool},
        objects::{MemoryBudget, ObjectManager},
        rendezvous::Rendezvous,
        server::ExecutorRecipients,
        testing::{Die, DieSessions, Probe},
    },
    prelude::*,
    testing::{TestCluster, TestClusterBuilder},
};
use tokio::time::Instant;

use crate::support::{Gate, assert_error, builder, device, elements, put, register, task, vector};

/// At once, give or take the hops between actors.
const AT_ONCE: Duration = Duration::from_millis(1);

type Victim = Rc<RefCell<Option<Recipient<Die>>>>;

/// Two tasks with a gate; the second is watched.
fn watched(
    gate: &Gate,
    change: impl Fn(remex::ServerBuilder) -> remex::ServerBuilder + 'static,
) -> (TestClusterBuilder, Probe<Observed>) {
    let (probe, observer) = Probe::<Observed>::start();
    let cluster = builder(2)
        .program("gate", gate.program())
        .each(move |i, builder| if i == 1 { change(builder.observer(observer.clone())) } else { builder });
    (cluster, probe)
}

fn kill(victim: &Victim) {
    post(victim.borrow().as_ref().unwrap(), Die);
}

/// Within a second or so somebody is told.
async fn told(cluster: &TestCluster, probe: &Probe<Observed>) -> Vec<&'static str> {
    cluster.advance(Duration::from_secs(2)).await;
    let events = std::iter::from_fn(|| probe.try_next()).flat_map(|Observed(events)| events);
    events.filter_map(|event| if let What::ActorDied { actor, .. } = event.what { Some(actor) } else { None }).collect()
}

/// I1.
#[actix::test]
async fn a_dead_object_manager_fails_its_calls() {
    let (gate, victim) = (Gate::new(), Victim::default());
    let slot = victim.clone();
    let (cluster, probe) = watched(&gate, move |builder| {
        let slot = slot.clone();
        builder.object_manager(Rc::new(move |context, ready_chain, neighbours| {
            let manager = ObjectManager::new(task(1), context.0, 1, neighbours).with_ready_chain(ready_chain).start();
            *slot.borrow_mut() = Some(manager.clone().recipient());
            Objects {
                resolve: manager.clone().recipient(),
                bound: manager.clone().recipient(),
                fetched: manager.clone().recipient(),
                foreseen: manager.clone().recipient(),
                ended: manager.clone().recipient(),
                close: manager.clone().recipient(),
                inspect: manager.clone().recipient(),
                list: manager.recipient(),
            }
        }))
    });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let running = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let waiting = context.execute(RemoteExecute::new(&program).input(&running.outputs[0])).await.unwrap();
    cluster.settle().await;
    let begin = Instant::now();
    kill(&victim);
    for call in [&running, &waiting] {
        assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::Internal, &["object manager", &task(1)]);
    }
    assert_error(&context.fetch(&a).await.unwrap_err(), ErrorCode::Internal, &["the object manager of the context"]);
    assert!(begin.elapsed() <= AT_ONCE, "{:?}", begin.elapsed());
    assert_eq!(told(&cluster, &probe).await, ["ObjectManager"]);
    assert_eq!(cluster.task(1).stats().await.unwrap().contexts, 0, "its context is closed");
    let later = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap().chain.done().await.unwrap_err();
    assert_error(&later, ErrorCode::InvalidDistributedContextId, &["closed"]);
    drop((running, waiting, a));
    let _ = context.close().await.unwrap();
    // The task goes on.
    let again = cluster.context().await.unwrap();
    let b = put(&again, 1, &[2.0]).await;
    assert_eq!(elements(&again.fetch(&b).await.unwrap()), [2.0]);
    drop(b);
    crate::support::end(cluster, again).await;
}

/// I1.
#[actix::test]
async fn a_dead_executor_fails_its_runs() {
    let (gate, victim) = (Gate::new(), Victim::default());
    let slot = victim.clone();
    let (cluster, probe) = watched(&gate, move |builder| {
        let config = ExecutorConfig { lanes: vec![1], threads: 1, pool: Pool::Arbiter };
        let executor = Executor::new(&config, MemoryBudget::new(Default::default())).start();
        *slot.borrow_mut() = Some(executor.clone().recipient());
        let (run, abort) = (executor.clone().recipient(), executor.clone().recipient());
        builder.executor(ExecutorRecipients { run, abort, compile: executor.recipient() })
    });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    cluster.settle().await;
    let begin = Instant::now();
    kill(&victim);
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::Internal, &["executor ended", &task(1)]);
    let later = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    assert_error(&later.chain.done().await.unwrap_err(), ErrorCode::Internal, &["executor", &task(1)]);
    assert!(begin.elapsed() <= AT_ONCE, "{:?}", begin.elapsed());
    assert_eq!(told(&cluster, &probe).await, ["Executor"]);
    assert_error(&cluster.context().await.unwrap_err(), ErrorCode::Internal, &["executor of this task died", &task(1)]);
    drop((call, later, a));
    let _ = context.close().await.unwrap();
    cluster.stop().await.unwrap();
}

/// I1, PR-3.
#[actix::test]
async fn a_dead_rendezvous_fails_who_waits_there() {
    let (gate, victim) = (Gate::new(), Victim::default());
    let slot = victim.clone();
    let (cluster, probe) = watched(&gate, move |builder| {
        let slot = slot.clone();
        builder.rendezvous(Rc::new(move |_, task| {
            let rendezvous = Rendezvous::new(&task.to_string(), Default::default()).start();
            *slot.borrow_mut() = Some(rendezvous.clone().recipient());
            Rendezvous::recipients(&rendezvous)
        }))
    });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.task(1).create_context(cluster.config()).await.unwrap();
    let waiting = context.receive_data("a").unwrap();
    cluster.settle().await;
    kill(&victim);
    assert_error(&waiting.await.unwrap_err(), ErrorCode::Internal, &["rendezvous of the context died"]);
    assert_eq!(told(&cluster, &probe).await, ["Rendezvous"]);
    let later = context.put(&context.device_of(&task(1)).unwrap(), vector(&[1.0])).await.unwrap_err();
    assert_error(&later, ErrorCode::Internal, &["the Rendezvous of the context died", &task(1)]);
    assert_eq!(cluster.task(0).stats().await.unwrap().contexts, 0, "closed on the other task too");
    drop(context);
    cluster.stop().await.unwrap();
}

/// I1: the context's own actor, on the task that calls.
#[actix::test]
async fn a_dead_context_fails_later_calls() {
    let gate = Gate::new();
    let (cluster, probe) = watched(&gate, |builder| builder);
    let cluster = cluster.start().await.unwrap();
    let context = cluster.task(1).create_context(cluster.config()).await.unwrap();
    let (program, a) = (register(&context, 0, "gate").await, put(&context, 0, &[1.0]).await);
    let running = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    cluster.settle().await;
    post(&context.addr().clone().recipient(), Die);
    cluster.settle().await;
    let begin = Instant::now();
    let later = async { context.execute(RemoteExecute::new(&program).input(&a)).await?.chain.done().await };
    assert_error(&later.await.unwrap_err(), ErrorCode::Internal, &["died"]);
    assert!(begin.elapsed() <= AT_ONCE, "{:?}", begin.elapsed());
    gate.open(1);
    running.chain.done().await.unwrap();
    assert_eq!(told(&cluster, &probe).await, ["DistributedContext"]);
    assert_eq!(cluster.task(0).stats().await.unwrap().contexts, 0, "closed on the other task too");
    drop((running, a, context));
    cluster.stop().await.unwrap();
}

/// I1, I9: what serves a caller dies: its connection ends, its calls fail and what it made is gone, as if the task had been
/// restarted; the caller's context goes on in a fresh session. Another caller notices nothing.
#[actix::test]
async fn a_dead_session_fails_its_callers_calls_and_no_others() {
    let gate = Gate::new();
    let (probe, observer) = Probe::<Observed>::start();
    let cluster = builder(3)
        .program("gate", gate.program())
        .each(move |i, builder| if i == 1 { builder.observer(observer.clone()) } else { builder });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let other = cluster.task(2).create_context(cluster.config()).await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let b = put(&other, 1, &[2.0]).await;
    let running = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let waiting = context.execute(RemoteExecute::new(&program).input(&running.outputs[0])).await.unwrap();
    cluster.settle().await;
    let before = cluster.task(1).stats().await.unwrap();
    let begin = Instant::now();
    assert_eq!(cluster.task(1).addr().send(DieSessions(task(0).parse().unwrap())).await.unwrap(), 1);
    for call in [&running, &waiting] {
        let error = call.chain.done().await.unwrap_err();
        assert_error(&error, ErrorCode::DataLoss, &[&task(1), "has ended the session"]);
    }
    assert_error(&running.handles[0].fetch().await.unwrap_err(), ErrorCode::DataLoss, &[&task(1)]);
    assert_error(&context.fetch(&a).await.unwrap_err(), ErrorCode::DataLoss, &[&task(1)]);
    assert!(begin.elapsed() <= Duration::from_millis(100), "{:?}", begin.elapsed());
    // Before the server looks for the dead: the session itself has said so.
    cluster.settle().await;
    let events = std::iter::from_fn(|| probe.try_next()).flat_map(|Observed(events)| events);
    let died = |event: remex::Event| if let What::ActorDied { actor, .. } = event.what { Some(actor) } else { None };
    assert_eq!(events.filter_map(died).collect::<Vec<_>>(), ["Session"]);
    assert_eq!(elements(&other.fetch(&b).await.unwrap()), [2.0]);
    // The context goes on.
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[3.0]).await);
    gate.open(1);
    let again = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    assert_eq!(elements(&again.handles[0].fetch().await.unwrap()), [3.0]);
    assert_eq!(cluster.task(1).stats().await.unwrap().contexts, before.contexts, "the one that was lost is closed");
    drop((running, waiting, again, a, b));
    let _ = context.close().await.unwrap();
    crate::support::end(cluster, other).await;
}

/// I9: an observer that panics is not there any more; nobody else notices.
#[actix::test]
async fn an_observer_that_panics_harms_nobody() {
    struct Bad;
    impl Actor for Bad {
        type Context = actix::Context<Self>;
    }
    impl actix::Handler<Observed> for Bad {
        type Result = ();
        fn handle(&mut self, _: Observed, _: &mut actix::Context<Self>) {
            panic!("an observer's bug")
        }
    }
    let cluster = builder(2).each(|_, builder| builder.observer(Bad.start().recipient())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    for _ in 0..3 {
        let call = context.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1)).await.unwrap();
        assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [2.0]);
    }
    drop(a);
    crate::support::end(cluster, context).await;
}

/// I9: a compiler that panics fails its registration.
#[actix::test]
async fn a_compiler_that_panics_fails_its_registration() {
    #[derive(Debug)]
    struct Bad;
    impl remex::Compiler for Bad {
        fn format(&self) -> &str {
            "bad"
        }
        fn compile(&self, _: &remex::Source) -> Result<remex::Executable, ProgramError> {
            panic!("a compiler's bug")
        }
    }
    let cluster = builder(2).each(|_, builder| builder.compiler(Bad)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let function = RegisterFunction::new("f", "bad", "x");
    let error = context.register(&task(1), function).await.unwrap_err();
    assert_error(&error, ErrorCode::CompilationFailed, &["the compiler panicked: a compiler's bug"]);
    let a = context.put(&device(1).parse().unwrap(), vector(&[1.0])).await.unwrap();
    drop(a);
    crate::support::end(cluster, context).await;
}
