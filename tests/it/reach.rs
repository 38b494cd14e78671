//! Tasks that were not called before are reached at the first call, and again after a link was lost.

use std::{sync::Arc, time::Duration};

use futures_util::future::{LocalBoxFuture, join_all};
use remex::{
    actors::fabric::{Connection, Fabric, FabricError, Listener},
    prelude::*,
    protocol::{
        Effect,
        calls::{ContextMode, CreateContextRequest},
        ids::ContextId,
    },
    testing::TestCluster,
};

use crate::raw::{Raw, create_context};
use crate::support::{Gate, add, assert_error, builder, device, elements, end, put, register, stats, task, vector};

/// A context that tasks 0, 1 and 2 make together: each has a link to itself alone.
pub(crate) async fn together(cluster: &TestCluster) -> Vec<ContextHandle> {
    let config = || cluster.config().multi_client(ContextId(5), cluster.task(0).task().clone());
    let made = join_all((0..3).map(|i| cluster.task(i).create_context(config()))).await;
    made.into_iter().map(Result::unwrap).collect()
}

pub(crate) async fn close(cluster: TestCluster, contexts: Vec<ContextHandle>) {
    for context in contexts {
        assert_eq!(context.close().await.unwrap(), []);
    }
    cluster.stop().await.unwrap();
}

/// Many who are the first to call a task join the context there once.
#[actix::test]
async fn a_task_is_reached_once_for_all_who_call_it() {
    let cluster = builder(3).start().await.unwrap();
    let contexts = together(&cluster).await;
    let sessions = cluster.task(2).stats().await.unwrap().sessions;
    let from = &contexts[1];
    let objects = join_all((0..20).map(|n| async move { put(from, 2, &[n as f32]).await })).await;
    assert_eq!(elements(&from.fetch(&objects[7]).await.unwrap()), [7.0]);
    assert_eq!(from.delete(&objects[..5]).await.unwrap(), []);
    let never = from.new_object(&device(2)).unwrap();
    let cause = Error::new(ErrorCode::DataLoss, "nobody has it");
    assert_eq!(from.fail_objects(std::slice::from_ref(&never), &cause).await.unwrap(), []);
    assert_error(&from.fetch(&never).await.unwrap_err(), ErrorCode::DataLoss, &["nobody has it"]);
    assert_eq!(cluster.task(2).stats().await.unwrap().sessions, sessions + 1, "over one link");
    assert_eq!(stats(&cluster, 2).await, (1, 17, 0));
    drop((objects, never));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 2).await, (1, 1, 0), "all is released");
    close(cluster, contexts).await;
}

/// The first call may be any: here it fails objects, deletes, and fetches.
#[actix::test]
async fn any_call_may_be_the_first() {
    let cluster = builder(3).start().await.unwrap();
    let contexts = together(&cluster).await;
    let cause = Error::new(ErrorCode::DataLoss, "nobody has it");
    let never = contexts[1].new_object(&device(2)).unwrap();
    assert_eq!(contexts[1].fail_objects(std::slice::from_ref(&never), &cause).await.unwrap(), []);
    let unknown = contexts[1].new_object(&device(0)).unwrap();
    let failures = contexts[1].delete(std::slice::from_ref(&unknown)).await.unwrap();
    assert_eq!((failures.len(), failures[0].error.code), (1, ErrorCode::NotFound));
    let mine = put(&contexts[2], 2, &[1.0]).await;
    let theirs = contexts[0].adopt(mine.keep()).unwrap();
    assert_eq!(elements(&contexts[0].fetch(&theirs).await.unwrap()), [1.0]);
    assert!(
        contexts[0].adopt(remex::protocol::ids::ObjectId { local: 0, ..mine.id() }).is_ok(),
        "told when it is used"
    );
    let nowhere = remex::protocol::ids::DeviceIndex(99);
    let nowhere = contexts[0].adopt(remex::protocol::ids::ObjectId { device: nowhere, ..mine.id() });
    assert_error(&nowhere.unwrap_err(), ErrorCode::DeviceNotFound, &[]);
    drop((never, unknown, mine, theirs));
    close(cluster, contexts).await;
}

/// After a link was lost the next call joins again; programs have to be registered again, and are told so.
#[actix::test]
async fn a_lost_link_is_made_again_by_the_next_call() {
    let cluster = builder(3).each(|_, builder| builder.reconnect_window(Duration::ZERO)).start().await.unwrap();
    let contexts = together(&cluster).await;
    let from = &contexts[1];
    let (old, a, lost) = (register(from, 2, "add").await, put(from, 2, &[1.0]).await, put(from, 2, &[9.0]).await);
    // With the session what it made is let go of, but for what is kept.
    a.keep();
    cluster.settle().await;
    for round in 0..3 {
        cluster.cut(1, 2);
        cluster.settle().await;
        let error = from.put(&from.device_of(&task(2)).unwrap(), vector(&[1.0])).await.unwrap_err();
        assert_error(&error, ErrorCode::RpcUnavailable, &[&task(2), "loopback:2", "not joined"]);
        assert_eq!((error.effect(), error.is_retryable()), (Effect::NotSent, true));
        cluster.heal(1, 2);
        let b = put(from, 2, &[2.0]).await;
        for refused in [
            from.execute(RemoteExecute::new(&old).input(&a)).await.unwrap_err(),
            from.try_execute(RemoteExecute::new(&old).input(&a)).unwrap_err(),
            from.unregister(&old).await.unwrap_err(),
        ] {
            assert_error(&refused, ErrorCode::FailedPrecondition, &["register it again", "add", &task(2)]);
            assert_eq!(refused.effect(), Effect::NotSent);
        }
        let new = register(from, 2, "add").await;
        let call = from.execute(RemoteExecute::new(&new).inputs([&a, &b]).handles(1)).await.unwrap();
        assert_eq!(
            elements(&call.handles[0].fetch().await.unwrap()),
            [3.0],
            "round {round}: what was kept there lives on"
        );
        assert_error(&from.fetch(&lost).await.unwrap_err(), ErrorCode::NotFound, &[&task(2)]);
    }
    drop((a, lost, old));
    close(cluster, contexts).await;
}

/// A task that has not noticed yet that the old link is gone refuses the prefix of the ids: it is asked again.
#[actix::test]
async fn a_session_that_is_not_over_yet_is_waited_for() {
    let cluster = builder(3).start().await.unwrap();
    let contexts = together(&cluster).await;
    let mut old = Raw::dial(&cluster, 2).await;
    let prefix = contexts[1].new_object(&device(2)).unwrap().id().prefix;
    let (context, mode) = (ContextId(5), ContextMode::Join);
    old.ask(CreateContextRequest { context, mode, prefix, ..create_context(2) }).await.unwrap();
    let from = contexts[1].clone();
    let putting = actix::spawn(async move { put(&from, 2, &[1.0]).await });
    cluster.advance(Duration::from_millis(900)).await;
    assert!(!putting.is_finished());
    let begin = tokio::time::Instant::now();
    drop(old);
    drop(putting.await.unwrap());
    assert!(begin.elapsed() <= Duration::from_millis(210), "{:?}", begin.elapsed());
    close(cluster, contexts).await;
}

/// A join whose link is lost while it waits may succeed on the next link: it leaves there, so that what stood for the
/// context stands for nothing and may be used by another one.
#[actix::test]
async fn a_join_that_comes_too_late_leaves_again() {
    let cluster = builder(3).each(|_, builder| builder.reconnect_window(Duration::ZERO)).start().await.unwrap();
    let mut contexts = together(&cluster).await;
    let mut old = Raw::dial(&cluster, 2).await;
    let prefix = contexts[1].new_object(&device(2)).unwrap().id().prefix;
    let (context, mode) = (ContextId(5), ContextMode::Join);
    old.ask(CreateContextRequest { context, mode, prefix, ..create_context(2) }).await.unwrap();
    let leaving = contexts.remove(1);
    let from = leaving.clone();
    let putting =
        actix::spawn(async move { from.put(&from.device_of(&task(2)).unwrap(), vector(&[1.0])).await.map(drop) });
    cluster.advance(Duration::from_millis(50)).await;
    cluster.cut(1, 2);
    cluster.settle().await;
    cluster.heal(1, 2);
    drop(old);
    let error = putting.await.unwrap().unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &[&task(2), "not joined"]);
    assert_eq!(leaving.close().await.unwrap(), []);
    drop(leaving);
    let other = || cluster.config().multi_client(ContextId(6), cluster.task(0).task().clone());
    let others = join_all((0..3).map(|i| cluster.task(i).create_context(other()))).await;
    let others: Vec<_> = others.into_iter().map(Result::unwrap).collect();
    let begin = tokio::time::Instant::now();
    drop(put(&others[1], 2, &[1.0]).await);
    assert!(begin.elapsed() <= Duration::from_millis(100), "{:?}", begin.elapsed());
    for context in others {
        end_of(context).await;
    }
    close(cluster, contexts).await;
}

/// A link that is lost fails the calls on it at once; what is made after it is not touched.
#[actix::test]
async fn a_lost_link_fails_the_calls_on_it() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let contexts = together(&cluster).await;
    let from = &contexts[1];
    let program = register(from, 2, "gate").await;
    let call = from.execute(RemoteExecute::new(&program)).await.unwrap();
    let after = from.execute(RemoteExecute::new(&program).after(&call.chain)).await.unwrap();
    cluster.settle().await;
    cluster.cut(1, 2);
    for call in [&call, &after] {
        let error = call.chain.done().await.unwrap_err();
        assert_error(&error, ErrorCode::RpcUnavailable, &[&task(2), "was lost"]);
    }
    cluster.heal(1, 2);
    let a = put(from, 2, &[1.0]).await;
    assert_eq!(elements(&from.fetch(&a).await.unwrap()), [1.0]);
    assert_eq!((gate.runs(), stats(&cluster, 2).await.2), ((1, 0, 1), 0));
    drop((call, after, a));
    close(cluster, contexts).await;
}

/// A member that leaves gives up what it has called elsewhere: its promises settle and nothing runs on.
#[actix::test]
async fn a_context_that_is_closed_gives_up_its_calls() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let mut contexts = together(&cluster).await;
    let leaving = contexts.remove(1);
    let program = register(&leaving, 2, "gate").await;
    let call = leaving.execute(RemoteExecute::new(&program)).await.unwrap();
    cluster.settle().await;
    assert_eq!(leaving.close().await.unwrap(), []);
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::Cancelled, &[&task(2)]);
    let later = leaving.put(&leaving.device_of(&task(0)).unwrap(), vector(&[1.0])).await.unwrap_err();
    assert_error(&later, ErrorCode::FailedPrecondition, &["closed"]);
    cluster.settle().await;
    assert_eq!((gate.runs(), stats(&cluster, 2).await.2), ((1, 0, 1), 0));
    drop(call);
    close(cluster, contexts).await;
}

/// While a task is being reached the context may be closed, and a call may have too little time.
#[actix::test]
async fn a_call_that_waits_for_its_task_ends_with_the_context_or_its_deadline() {
    let cluster = builder(3).start().await.unwrap();
    let mut contexts = together(&cluster).await;
    let leaving = contexts.remove(1);
    cluster.set_latency(Duration::from_secs(1));
    let short = RegisterFunction::native("add").deadline(Duration::from_millis(500));
    let error = leaving.register(&task(2), short).await.unwrap_err();
    assert_error(&error, ErrorCode::DeadlineExceeded, &[&task(2), "was not reached"]);
    assert_eq!(error.effect(), Effect::NotSent);
    let waiting = leaving.clone();
    let waiting = actix::spawn(async move { waiting.register(&task(0), RegisterFunction::native("add")).await });
    cluster.advance(Duration::from_millis(100)).await;
    assert_eq!(leaving.close().await.unwrap(), []);
    let error = waiting.await.unwrap().unwrap_err();
    assert_error(&error, ErrorCode::FailedPrecondition, &["closed"]);
    cluster.set_latency(Duration::ZERO);
    drop(leaving);
    cluster.advance(Duration::from_secs(10)).await;
    close(cluster, contexts).await;
}

/// A program that calls the task in its baggage.
fn caller() -> remex::Executable {
    native_async(|call| async move {
        let context = call.context()?;
        let to = &call.baggage[0].0;
        let object = context.put(&context.device_of(to)?, vector(&[8.0])).await?;
        Ok(vec![context.fetch(&object).await?])
    })
    .outputs(1)
}

/// A task without address is no receiver for anybody: known before anything is sent.
#[actix::test]
async fn a_task_without_address_cannot_be_reached() {
    let cluster = builder(2).program("caller", caller()).start().await.unwrap();
    let client = Server::builder().task(task(9)).fabric(cluster.fabric("9")).run_on_arbiter().start().await.unwrap();
    let context = client.create_context(cluster.config()).await.unwrap();
    let program = register(&context, 1, "caller").await;
    let call = context.execute(RemoteExecute::new(&program).baggage(task(9), "")).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::Unavailable, &["has no address", &task(9), "caller"]);
    let call = context.execute(RemoteExecute::new(&program).baggage(task(0), "").handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [8.0]);
    drop(call);
    assert_eq!(context.close().await.unwrap(), []);
    client.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

/// A fabric whose connections seem to come from other machines.
#[derive(Debug)]
struct Far(Arc<dyn Fabric>);

#[derive(Debug)]
struct FarListener(Box<dyn Listener>);

fn far(connection: Connection) -> Connection {
    Connection { is_local: false, ..connection }
}

impl Fabric for Far {
    fn scheme(&self) -> &str {
        self.0.scheme()
    }

    fn listen<'a>(&'a self, at: &'a remex::Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>> {
        Box::pin(async move { Ok(Box::new(FarListener(self.0.listen(at).await?)) as Box<dyn Listener>) })
    }

    fn dial<'a>(&'a self, at: &'a remex::Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>> {
        Box::pin(async move { self.0.dial(at).await.map(far) })
    }
}

impl Listener for FarListener {
    fn address(&self) -> &remex::Address {
        self.0.address()
    }

    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>> {
        Box::pin(async { self.0.accept().await.map(far) })
    }
}

/// A worker dials nobody because a client on another machine says so, unless its own configuration has the address; what
/// it makes itself it may dial.
#[actix::test]
async fn a_worker_dials_only_whom_it_may() {
    let cluster = builder(1).start().await.unwrap();
    let start = async |i: usize, allowed: &[usize]| {
        let builder = Server::builder().task(task(i)).listen(format!("loopback:{i}")).run_on_arbiter();
        let builder = builder.fabric(Arc::new(Far(cluster.fabric(i.to_string())))).program("caller", caller());
        let builder = allowed.iter().fold(builder, |builder, peer| builder.allow_peer(format!("loopback:{peer}")));
        builder.program("add", add()).start().await.unwrap()
    };
    let workers = [start(1, &[]).await, start(2, &[3]).await, start(3, &[]).await];
    let mut config = remex::ClusterConfig::new();
    config.add(cluster.task(0).task().clone(), cluster.task(0).address().cloned()).unwrap();
    for worker in &workers {
        config.add(worker.task().clone(), worker.address().cloned()).unwrap();
    }
    let context = cluster.task(0).create_context(ContextConfig::new(config.clone())).await.unwrap();
    let (refused, allowed) = (register(&context, 1, "caller").await, register(&context, 2, "caller").await);
    let call = context.execute(RemoteExecute::new(&refused).baggage(task(3), "")).await.unwrap();
    let error = call.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::PermissionDenied, &["loopback:3", "--allow-peer", &task(1)]);
    let call = context.execute(RemoteExecute::new(&allowed).baggage(task(3), "").handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [8.0]);
    let own = context.execute(RemoteExecute::new(&refused).baggage(task(1), "").handles(1)).await.unwrap();
    assert_eq!(elements(&own.handles[0].fetch().await.unwrap()), [8.0], "itself a task may always call");
    drop((call, own));
    end_of(context).await;
    let together = || ContextConfig::new(config.clone()).multi_client(ContextId(9), workers[0].task().clone());
    let members = join_all(workers.iter().chain([cluster.task(0)]).map(|task| task.create_context(together()))).await;
    let members: Vec<_> = members.into_iter().map(Result::unwrap).collect();
    let a = put(&members[0], 3, &[1.0]).await;
    assert_eq!(elements(&members[0].fetch(&a).await.unwrap()), [1.0], "its own configuration names the peer");
    drop(a);
    for context in members {
        end_of(context).await;
    }
    for worker in &workers {
        worker.stop().await.unwrap();
    }
    cluster.stop().await.unwrap();
}

async fn end_of(context: ContextHandle) {
    assert_eq!(context.close().await.unwrap(), []);
}

/// A client makes its context again on a task that was cut off for longer than its session is kept: what lived there is lost and
/// says so, and what is put and registered anew is there.
#[actix::test]
async fn a_clients_lost_link_is_made_again_without_what_lived_there() {
    let cluster = builder(2).each(|_, builder| builder.session_lease(Duration::from_secs(8))).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (old, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let chain = context.ready_chain(&task(1)).unwrap();
    for _ in 0..3 {
        cluster.cut(0, 1);
        cluster.advance(Duration::from_secs(15)).await;
        cluster.heal(0, 1);
        for _ in 0..2 {
            let error = context.fetch(&a).await.unwrap_err();
            assert_error(&error, ErrorCode::DataLoss, &[&task(1), "was lost", "is lost"]);
            let refused = context.execute(RemoteExecute::new(&old).input(&a)).await.unwrap_err();
            assert_error(&refused, ErrorCode::FailedPrecondition, &["register it again", &task(1)]);
            let new = register(&context, 1, "add").await;
            let lost = context.execute(RemoteExecute::new(&new).input(&a)).await.unwrap_err();
            assert_error(&lost, ErrorCode::DataLoss, &[&task(1)]);
            let lost = context.execute(RemoteExecute::new(&new).in_chain(&chain)).await.unwrap_err();
            assert_error(&lost, ErrorCode::DataLoss, &[&task(1)]);
            let b = put(&context, 1, &[2.0]).await;
            let ready = context.ready_chain(&task(1)).unwrap();
            let call = RemoteExecute::new(&new).inputs([&b, &b]).in_chain(&ready).handles(1);
            let call = context.execute(call).await.unwrap();
            assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [4.0]);
        }
        let failures = context.delete(std::slice::from_ref(&a)).await.unwrap();
        assert_eq!((failures.len(), failures[0].error.code), (1, ErrorCode::DataLoss));
        cluster.settle().await;
        assert_eq!(stats(&cluster, 1).await, (1, 1, 0), "the old context is gone, of the new one the chain is there");
    }
    drop((a, old, chain));
    end(cluster, context).await;
}
