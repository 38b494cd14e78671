//! I8: every limit of a running task is reached once, says so with its code, is counted, and changes nothing.

use std::time::Duration;

use remex::{
    Credits, TaskLimits, WhenFull, actors::testing::Probe, prelude::*, protocol::ids::ContextId, testing::TestCluster,
};
use tokio::time::{Instant, timeout};

use crate::support::{Gate, assert_error, builder, device, elements, end, put, register, task, vector};

const SECOND: Duration = Duration::from_secs(1);

/// Two tasks, of which the second has these limits.
async fn limited(change: fn(&mut TaskLimits)) -> TestCluster {
    let cluster = builder(2).program("gate", Gate::new().program()).each(move |i, builder| {
        let mut limits = TaskLimits::default();
        change(&mut limits);
        if i == 1 { builder.limits(limits) } else { builder }
    });
    cluster.start().await.unwrap()
}

/// I8.
#[actix::test]
async fn contexts_are_bounded() {
    let cluster = limited(|limits| limits.contexts = 1).await;
    let context = cluster.context().await.unwrap();
    let error = cluster.context().await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["has 1 contexts", &task(1)]);
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!((stats.contexts, stats.refused.contexts), (1, 1));
    assert_eq!(context.close().await.unwrap(), []);
    let again = cluster.context().await.unwrap();
    end(cluster, again).await;
}

/// I8: a task's own contexts count too.
#[actix::test]
async fn own_contexts_are_bounded() {
    let cluster = limited(|limits| limits.contexts = 1).await;
    let context = cluster.task(1).create_context(cluster.config()).await.unwrap();
    let error = cluster.task(1).create_context(cluster.config()).await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["has 1 contexts"]);
    end(cluster, context).await;
}

/// I8: who is one too many is told so in the handshake; a connection that ends makes room.
#[actix::test]
async fn connections_are_bounded() {
    let cluster = limited(|limits| limits.sessions = 1).await;
    let context = cluster.context().await.unwrap();
    let other = Server::builder().fabric(cluster.fabric("other")).start().await.unwrap();
    let at = vec![cluster.task(1).address().unwrap().clone()];
    let error = other.discover(at.clone(), 2 * SECOND).await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["has 1 connections", &task(1)]);
    assert_eq!(cluster.task(1).stats().await.unwrap().refused.sessions, 1);
    assert_eq!(context.close().await.unwrap(), []);
    drop(context);
    // A link that no context uses is given up.
    cluster.advance(30 * SECOND).await;
    assert_eq!(cluster.task(1).stats().await.unwrap().sessions, 0);
    assert_eq!(other.discover(at, 2 * SECOND).await.unwrap().len(), 1);
    other.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

/// I8.
#[actix::test]
async fn programs_are_bounded() {
    let cluster = limited(|limits| limits.programs.programs = 1).await;
    let context = cluster.context().await.unwrap();
    let add = register(&context, 1, "add").await;
    let error = context.register(&task(1), RegisterFunction::native("three")).await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["at most 1 programs"]);
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!((stats.programs, stats.refused.programs), (1, 1));
    drop(add);
    end(cluster, context).await;
}

/// I8.
#[actix::test]
async fn waiting_receives_are_bounded() {
    let cluster = builder(1).each(|_, builder| {
        let mut limits = TaskLimits::default();
        limits.rendezvous.waiting = 1;
        builder.limits(limits)
    });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let first = context.receive_data("a").unwrap();
    let error = context.receive_data("b").unwrap().await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["1 receives wait"]);
    let stats = cluster.task(0).stats().await.unwrap();
    assert_eq!((stats.receives, stats.refused.data), (1, 1));
    drop(first);
    end(cluster, context).await;
}

/// I8.
#[actix::test]
async fn objects_and_calls_are_bounded() {
    let cluster = limited(|limits| {
        limits.objects.objects = 3;
        limits.objects.jobs = 1;
    })
    .await;
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    // Beside these two there is the ready chain.
    let waiting = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    cluster.settle().await;
    let error = context.fetch(&a).await.unwrap_err();
    assert_error(&error, ErrorCode::Overloaded, &["1 calls of the context"]);
    let error = context.put(&context.device_of(&task(1)).unwrap(), vector(&[1.0])).await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["has 3 objects"]);
    assert_eq!(cluster.task(1).stats().await.unwrap().refused.objects, 2);
    drop((a, waiting));
    end(cluster, context).await;
}

/// I8.
#[actix::test]
async fn pins_and_tokens_are_bounded() {
    let cluster = limited(|limits| {
        limits.objects.pins = 1;
        limits.objects.tokens = 1;
    })
    .await;
    let context = cluster.context().await.unwrap();
    let (a, b) = (put(&context, 1, &[1.0]).await, put(&context, 1, &[2.0]).await);
    a.pin().await.unwrap();
    assert_error(&b.pin().await.unwrap_err(), ErrorCode::ResourceExhausted, &["1 objects are pinned"]);
    a.export().await.unwrap();
    assert_error(&b.export().await.unwrap_err(), ErrorCode::ResourceExhausted, &["1 tokens were made"]);
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!((stats.pinned, stats.tokens, stats.refused.objects), (1, 1, 2));
    context.unpin(a.id()).await.unwrap();
    b.pin().await.unwrap();
    drop((a, b));
    end(cluster, context).await;
}

/// I8.
#[actix::test]
async fn observers_are_bounded() {
    let mut limits = TaskLimits::default();
    limits.observers = 1;
    let observer = || Probe::<remex::Observed>::start().1;
    let builder = Server::builder().limits(limits).observer(observer()).observer(observer());
    assert_error(&builder.start().await.unwrap_err(), ErrorCode::ResourceExhausted, &["2 observers"]);
}

/// I8: a put waits for memory by its deadline, and goes on when there is some; so does a call.
#[actix::test]
async fn memory_is_waited_for() {
    let cluster = builder(2).each(|_, builder| builder.memory_budget(8)).start().await.unwrap();
    let context = cluster.task(0).create_context(cluster.config().default_deadline(5 * SECOND)).await.unwrap();
    let a = put(&context, 1, &[1.0, 2.0]).await;
    let (begin, to) = (Instant::now(), context.device_of(&task(1)).unwrap());
    let late = context.put(&to, vector(&[3.0])).await.unwrap_err();
    assert_eq!((late.code(), begin.elapsed().as_secs()), (ErrorCode::DeadlineExceeded, 5));
    let (other, at) = (context.clone(), to.clone());
    let waiting = actix::spawn(async move { other.put(&at, vector(&[4.0, 5.0])).await });
    cluster.settle().await;
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!((stats.memory_used, stats.memory_waiting, stats.memory_limit), (8, 1, 8));
    drop(a);
    let b = waiting.await.unwrap().unwrap();
    assert_eq!(elements(&context.fetch(&b).await.unwrap()), [4.0, 5.0]);
    let never = context.put(&to, vector(&[0.0; 3])).await.unwrap_err();
    assert_error(&never, ErrorCode::ResourceExhausted, &["12 bytes are more than the memory budget of 8", &task(1)]);
    drop(b);
    end(cluster, context).await;
}

/// I8: by choice nobody waits; and one context cannot take what is another's.
#[actix::test]
async fn a_context_has_a_budget_of_its_own() {
    let cluster = builder(2)
        .each(|_, builder| builder.memory_budget(16).context_memory_budget(8).when_full(WhenFull::Fail))
        .start()
        .await
        .unwrap();
    let (one, two) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let a = put(&one, 1, &[1.0, 2.0]).await;
    let error = one.put(&one.device_of(&task(1)).unwrap(), vector(&[3.0])).await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["do not fit"]);
    let b = put(&two, 1, &[4.0, 5.0]).await;
    assert_eq!(cluster.task(1).stats().await.unwrap().refused.memory, 1);
    drop((a, b));
    assert_eq!(two.close().await.unwrap(), []);
    end(cluster, one).await;
}

/// I8: an op cannot make what the budget does not have: nothing is allocated for it.
#[cfg(feature = "ops")]
#[actix::test]
async fn an_op_cannot_allocate_beyond_the_budget() {
    let cluster = builder(2).each(|_, builder| builder.memory_budget(1 << 20)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let op = |elements: i64| {
        let op = RemoteExecuteOp::new("random_uniform").on(&device(1).parse().unwrap());
        op.attr("dtype", DType::F32).attr("shape", vec![elements]).attr("seed", 1)
    };
    let large = context.execute_op(op(1 << 31)).await.unwrap();
    let error = large.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["8589934592 bytes are more than the memory budget"]);
    assert_eq!(cluster.task(1).stats().await.unwrap().memory_peak, 0);
    let small = context.execute_op(op(1000)).await.unwrap();
    small.chain.done().await.unwrap();
    assert_eq!(cluster.task(1).stats().await.unwrap().memory_used, 4000);
    drop((large, small));
    end(cluster, context).await;
}

/// I8: an input of another task's for which there is no room is fetched when there is.
#[actix::test]
async fn an_input_from_elsewhere_waits_for_memory() {
    let change = |i, builder: remex::ServerBuilder| if i == 1 { builder.memory_budget(16) } else { builder };
    let cluster = builder(3).each(change).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (add, far) = (register(&context, 1, "add").await, put(&context, 2, &[1.0, 2.0]).await);
    let (a, b) = (put(&context, 1, &[3.0, 4.0]).await, put(&context, 1, &[0.0, 0.0]).await);
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &far]).handles(1)).await.unwrap();
    cluster.advance(SECOND).await;
    assert!(call.chain.try_get().is_none());
    assert_eq!(cluster.task(1).stats().await.unwrap().memory_waiting, 1);
    drop(b);
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [4.0, 6.0]);
    drop((a, far, call));
    cluster.settle().await;
    assert_eq!(cluster.task(1).stats().await.unwrap().memory_used, 0);
    end(cluster, context).await;
}

/// I8: a client that never stops, a worker on which nothing ever ends: both hold what they may and no more.
#[actix::test]
async fn a_stuck_worker_holds_no_more_than_its_budget() {
    const BUDGET: u64 = 64 << 10;
    let gate = Gate::new();
    let cluster = builder(2)
        .program("gate", gate.program())
        .each(|_, builder| builder.memory_budget(BUDGET).credits(Credits { calls: 32, bytes: 16 << 10 }));
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, to) = (register(&context, 1, "gate").await, context.device_of(&task(1)).unwrap());
    let (mut kept, mut refused) = (Vec::new(), 0);
    for _ in 0..300 {
        let sent = async {
            let a = context.put(&to, vector(&[1.0; 1024])).await?;
            let call = context.execute(RemoteExecute::new(&program).input(&a).deadline(3600 * SECOND)).await?;
            Ok::<_, Error>((a, call))
        };
        match timeout(SECOND, sent).await {
            Ok(sent) => kept.push(sent.unwrap()),
            Err(_) => refused += 1,
        }
        let (worker, client) = (cluster.task(1).stats().await.unwrap(), cluster.task(0).stats().await.unwrap());
        assert!(worker.memory_peak <= BUDGET && worker.jobs <= 32, "{worker:?}");
        assert_eq!((client.memory_used, client.jobs), (0, 0), "{client:?}");
    }
    assert_eq!((kept.len(), refused), (16, 284), "16 inputs of 4 KiB are the budget");
    gate.open(16);
    cluster.settle().await;
    drop(kept);
    cluster.settle().await;
    assert_eq!(cluster.task(1).stats().await.unwrap().memory_used, 0);
    end(cluster, context).await;
}

/// I8: outputs whose size nobody knows go beyond the budget by one program's for each thread, however many calls there are.
#[actix::test]
async fn outputs_of_unknown_size_overstep_by_one_for_each_thread() {
    let large = native(|_| Ok(vec![Tensor::from_slice([1024], &[0f32; 1024])?])).outputs(1);
    let one = std::num::NonZeroUsize::MIN;
    let cluster = builder(2)
        .program("pool", large.clone())
        .program("inline", large.inline())
        .each(move |_, builder| builder.memory_budget(10_000).threads(one));
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    for name in ["pool", "inline"] {
        let program = register(&context, 1, name).await;
        let mut calls = Vec::new();
        for _ in 0..50 {
            calls.push(context.execute(RemoteExecute::new(&program).deadline(10 * SECOND)).await.unwrap());
        }
        cluster.advance(SECOND).await;
        let stats = cluster.task(1).stats().await.unwrap();
        assert_eq!(stats.memory_used, 3 * 4096, "{name}: {stats:?}");
        // What is freed lets others run.
        let begin = Instant::now();
        for call in calls {
            call.chain.done().await.unwrap();
        }
        assert!(begin.elapsed() < SECOND, "{name}: {:?}", begin.elapsed());
        cluster.settle().await;
        assert_eq!(cluster.task(1).stats().await.unwrap().memory_used, 0);
    }
    end(cluster, context).await;
}

/// I8: collectives that run, and what is kept of those that a task has not joined.
#[actix::test]
async fn collectives_are_bounded() {
    let cluster = limited(|limits| (limits.collectives.running, limits.collectives.chunks) = (1, 1)).await;
    let names = [0, 1].map(|i| cluster.task(i).task().clone());
    let config = cluster.config().group("all", names.clone()).multi_client(ContextId(5), names[0].clone());
    let made = [0, 1].map(|i| cluster.task(i).create_context(config.clone()));
    let made = futures_util::future::join_all(made).await;
    let [here, there] = <[_; 2]>::try_from(made).unwrap().map(Result::unwrap);
    let [ours, theirs] = [&here, &there].map(|context| context.collective("all").unwrap().within(10 * SECOND));
    let joined = theirs.barrier("a");
    let error = theirs.barrier("b").await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["1 collectives of the context run", &task(1)]);
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!((stats.collectives, stats.refused.collectives), (1, 1));
    ours.barrier("a").await.unwrap();
    joined.await.unwrap();
    // The other member comes first, and again.
    let (early, one_more) = (ours.barrier("c"), ours.barrier("d"));
    let error = one_more.await.unwrap_err();
    assert_error(&error, ErrorCode::ResourceExhausted, &["kept for collectives that this task has not joined"]);
    let stats = cluster.task(1).stats().await.unwrap();
    assert_eq!((stats.collectives, stats.chunks, stats.refused.collectives > 1), (0, 1, true));
    theirs.barrier("c").await.unwrap();
    early.await.unwrap();
    assert_eq!(here.close().await.unwrap(), []);
    end(cluster, there).await;
}
