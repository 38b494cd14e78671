//! Faults of the worker's side: repeats, ids, contexts, programs.

use std::{
    sync::{Mutex, atomic::Ordering, mpsc},
    time::Duration,
};

use remex::{
    prelude::*,
    protocol::{calls::*, ids::*},
    testing::TestCluster,
};

use super::{counted, delete, put_object};
use crate::{
    raw::{CONTEXT, HERE, INDEX, Raw, create_context, fetch_object, object, register_function, remote_execute},
    support::{
        Gate, Scale, add, assert_error, builder, cluster, device, elements, end, put, register, scale, stats, task,
    },
};

/// TFRT §3.2-7: a call or a put that comes twice changes nothing, and a frame that comes twice ends the link.
#[actix::test]
async fn what_comes_twice_takes_effect_once() {
    let (program, runs) = counted(1);
    let cluster = builder(1).program("count", program).start().await.unwrap();
    let mut raw = Raw::with_context(&cluster, 0).await;
    raw.register(0, "count").await.unwrap();
    raw.ask_with(put_object(object(1, HERE)), &[7; 4]).await.unwrap();
    assert_eq!(raw.ask_with(put_object(object(1, HERE)), &[8; 4]).await.unwrap_err().code, ErrorCode::AlreadyExists);
    let call = || remote_execute(0, &[(object(1, HERE), Origin::Here)], &[object(2, HERE)]);
    raw.ask(call()).await.unwrap();
    for _ in 0..3 {
        let error = raw.ask(call()).await.unwrap_err();
        assert_eq!((error.code, runs.load(Ordering::Relaxed)), (ErrorCode::AlreadyExists, 1));
    }
    for (id, expected) in [(1, [7; 4]), (2, 0.0f32.to_le_bytes())] {
        raw.call(fetch_object(object(id, HERE), Origin::Here), &[]).await;
        assert_eq!(raw.next().await.payload.into_bytes()[..], expected);
    }
    let other = remote_execute(0, &[], &[object(3, HERE)]);
    raw.call(other.clone(), &[]).await;
    raw.number_again();
    raw.call(other, &[]).await;
    cluster.settle().await;
    assert!(runs.load(Ordering::Relaxed) <= 2, "it ran once");
    let left = cluster.task(0).stats().await.unwrap();
    assert_eq!((left.sessions, left.contexts), (0, 0), "the link is over, with all that came over it");
    cluster.stop().await.unwrap();
}

/// TFRT §3.2-8: every id is an id like others: prefix 0, the largest numbers, contexts 0 and 2⁶⁴ − 1. Deleting one hides
/// no other; only local number 0 is refused.
#[actix::test]
async fn ids_at_the_ends_of_their_ranges_are_ids() {
    let cluster = cluster(1).await;
    let id = |prefix, local| ObjectId { prefix: ObjectPrefix(prefix), local, device: HERE };
    let ends = [0, 1, 3, 67, u64::MAX - 1, u64::MAX];
    for context in [0, u64::MAX, u64::MAX - 1] {
        let mut raw = Raw::dial(&cluster, 0).await;
        for prefix in [ObjectPrefix(u64::MAX), ObjectPrefix(0)] {
            let request = CreateContextRequest { context: ContextId(context), prefix, ..create_context(0) };
            raw.ask(request).await.unwrap();
            if prefix.0 != 0 {
                raw.ask(CloseContextRequest { context: INDEX }).await.unwrap();
            }
        }
        let mut objects: Vec<_> =
            ends.iter().flat_map(|&prefix| ends[1..].iter().map(move |&n| id(prefix, n))).collect();
        for (n, object) in objects.iter().enumerate() {
            raw.ask_with(put_object(*object), &[n as u8; 4]).await.unwrap();
        }
        let invalid = raw.ask_with(put_object(id(0, 0)), &[0; 4]).await.unwrap_err();
        assert_eq!(invalid.code, ErrorCode::InvalidArgument);
        let mut names: Vec<u8> = (0..objects.len() as u8).collect();
        while let Some(gone) = objects.pop() {
            names.pop();
            assert_eq!(raw.ask(delete(&[gone])).await.unwrap().failures, []);
            assert_eq!(raw.ask(delete(&[gone])).await.unwrap().failures.len(), 1);
            for (object, name) in objects.iter().zip(&names) {
                raw.call(fetch_object(*object, Origin::Here), &[]).await;
                assert_eq!(raw.next().await.payload.into_bytes()[..], [*name; 4], "{object} after {gone}");
            }
        }
        assert_eq!(stats(&cluster, 0).await, (1, 1, 0));
        raw.ask(CloseContextRequest { context: INDEX }).await.unwrap();
    }
    cluster.stop().await.unwrap();
}

/// TFRT §3.2-9: a context that was closed or collected is used by nobody afterwards, though calls for it are on their
/// way; what runs in it is given up and answered; others are not touched.
#[actix::test]
async fn a_context_that_is_over_is_not_used() {
    let gate = Gate::new();
    let cluster = builder(1).program("gate", gate.program()).start().await.unwrap();
    let mut raw = Raw::dial(&cluster, 0).await;
    let other = CreateContextRequest { index: ContextIndex(1), context: ContextId(CONTEXT.0 + 1), ..create_context(0) };
    raw.ask(other).await.unwrap();
    for idle in [false, true] {
        let mut request = create_context(0);
        request.idle_timeout_ms = 3_000;
        raw.ask(request).await.unwrap();
        raw.register(0, "gate").await.unwrap();
        let long = RemoteExecuteRequest { time_left_ms: 60_000, ..remote_execute(0, &[], &[object(1, HERE)]) };
        let runs = raw.call(long, &[]).await;
        if idle {
            cluster.advance(Duration::from_millis(2_900)).await;
            assert_eq!(stats(&cluster, 0).await, (2, 3, 1));
            raw.call(KeepAliveRequest { context: ContextIndex(1) }, &[]).await;
            raw.next().await;
            cluster.advance(Duration::from_millis(1_200)).await;
        }
        let mut calls = vec![runs];
        if idle {
            // The session does not know yet that the context was collected.
            calls.push(raw.call(remote_execute(0, &[], &[object(4, HERE)]), &[]).await);
        }
        calls.push(raw.call(CloseContextRequest { context: INDEX }, &[]).await);
        calls.push(raw.call(remote_execute(0, &[], &[object(2, HERE)]), &[]).await);
        calls.push(raw.call(KeepAliveRequest { context: INDEX }, &[]).await);
        calls.push(raw.call(fetch_object(object(1, HERE), Origin::Anywhere), &[]).await);
        for call in calls {
            assert_eq!(raw.next().await.call, call, "each is answered once, in order");
        }
        let late = raw.ask(remote_execute(0, &[], &[object(3, HERE)])).await.unwrap_err();
        assert_eq!(late.code, ErrorCode::InvalidDistributedContextId);
        let turn = 1 + usize::from(idle);
        assert_eq!((gate.runs(), stats(&cluster, 0).await), ((turn, 0, turn), (1, 1, 0)));
    }
    raw.ask(KeepAliveRequest { context: ContextIndex(1) }).await.unwrap();
    cluster.stop().await.unwrap();
}

/// Blocks the thread that compiles until it is told to go on.
#[derive(Debug)]
struct Blocking(Mutex<mpsc::Receiver<()>>, std::thread::ThreadId);

impl remex::Compiler for Blocking {
    fn format(&self) -> &str {
        "blocking"
    }

    fn compile(&self, _: &remex::Source) -> Result<remex::Executable, ProgramError> {
        assert_ne!(std::thread::current().id(), self.1, "not on the thread that serves");
        self.0.lock().unwrap().recv().unwrap();
        Ok(add())
    }
}

/// TFRT §3.2-10: a registration is answered exactly once; a context that is not there, a missing entry and a repeat do no
/// harm; what was registered can be unregistered, and compiling holds up nobody.
#[actix::test]
async fn a_registration_can_go_wrong_and_be_repeated_and_undone() {
    let cluster = builder(2).each(|_, builder| builder.compiler(Scale::default())).start().await.unwrap();
    let mut raw = Raw::with_context(&cluster, 1).await;
    let nowhere = RegisterFunctionRequest { context: ContextIndex(9), ..register_function(0, "add") };
    for _ in 0..3 {
        // The next frame must answer the next call: a second answer would be found here.
        let error = raw.ask(nowhere.clone()).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidDistributedContextId);
    }
    let context = cluster.context().await.unwrap();
    let missing = RegisterFunction::native("f").entry("nothing");
    let error = context.register(&task(1), missing).await.unwrap_err();
    assert_error(&error, ErrorCode::NotFound, &["no native program \"nothing\"", &task(1)]);
    let first = context.register(&task(1), scale("2")).await.unwrap();
    let again = context.register(&task(1), scale("2")).await.unwrap();
    let error = context.register(&task(1), scale("3")).await.unwrap_err();
    assert_error(&error, ErrorCode::RemoteFunctionAlreadyExists, &["use another name"]);
    context.unregister(&first).await.unwrap();
    let a = put(&context, 1, &[4.0]).await;
    let call = context.execute(RemoteExecute::new(&again).input(&a).handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [8.0]);
    // More than a context may have at one time.
    for i in 0..1100 {
        let function = RegisterFunction::native(format!("f{i}")).entry("add");
        let program = context.register(&task(1), function).await.unwrap();
        context.unregister(&program).await.unwrap();
    }
    drop(call);
    end(cluster, context).await;
}

/// TFRT §3.2-10: a program is compiled off the thread that serves: other calls go on meanwhile.
#[actix::test]
async fn compiling_holds_up_nobody() {
    let cluster = TestCluster::builder(1).start().await.unwrap();
    let (go, wait) = mpsc::channel();
    let compiler = Blocking(Mutex::new(wait), std::thread::current().id());
    let worker = Server::builder().task(task(1)).listen("loopback:1").fabric(cluster.fabric("1")).compiler(compiler);
    let worker = worker.program("add", add()).start().await.unwrap();
    let mut tasks = ClusterConfig::new();
    tasks.add(worker.task().clone(), worker.address().cloned()).unwrap();
    let context = cluster.task(0).create_context(ContextConfig::new(tasks)).await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let function = RegisterFunction::new("slow", "blocking", "");
    let compiling = context.begin_register(&task(1), function).await.unwrap();
    let spec = context.spec(&[&device(1)]).unwrap();
    let waits = RemoteExecute::new(&compiling.program).inputs([&a, &a]).spec(spec).handles(1);
    let waits = context.execute(waits).await.unwrap();
    let other = context.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1)).await.unwrap();
    assert_eq!(elements(&other.handles[0].fetch().await.unwrap()), [2.0]);
    assert!(waits.chain.try_get().is_none());
    go.send(()).unwrap();
    compiling.done().await.unwrap();
    assert_eq!(elements(&waits.handles[0].fetch().await.unwrap()), [2.0]);
    drop((other, waits, a));
    assert_eq!(context.close().await.unwrap(), []);
    worker.stop().await.unwrap();
    cluster.stop().await.unwrap();
}
