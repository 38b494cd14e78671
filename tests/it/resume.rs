//! Connections that break and come back, tasks that are restarted, clients that vanish: what goes on, and what is lost.

use std::{
    cell::Cell,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use remex::{Observed, What, prelude::*, protocol::Effect, testing::Probe, testing::TestCluster};
use tokio::time::Instant;

use crate::support::{
    Gate, assert_error, builder, cluster, counter, elements, end, put, register, stats, task, vector,
};

/// I6: within the window nothing is lost and nothing runs twice, wherever the link breaks.
#[actix::test]
async fn a_cut_that_heals_loses_nothing_and_runs_nothing_twice() {
    let runs = Arc::new(AtomicUsize::new(0));
    let cluster = builder(2).program("count", counter(&runs)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "count").await, put(&context, 1, &[7.0]).await);
    // Long enough for frames of both directions to be on their way.
    cluster.set_latency(Duration::from_millis(3));
    for round in 0..40 {
        let mut calls = Vec::new();
        for step in 0..5 {
            calls.push(context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap());
            if step == round % 5 {
                cluster.advance(Duration::from_millis(round % 9)).await;
                cluster.cut(0, 1);
                cluster.advance(Duration::from_millis(round * 37 % 900)).await;
                cluster.heal(0, 1);
            }
        }
        let fetched = join_all(calls.iter().map(|call| call.handles[0].fetch())).await;
        fetched.into_iter().for_each(|tensor| assert_eq!(elements(&tensor.unwrap()), [7.0]));
        assert_eq!(runs.load(Ordering::Relaxed) as u64, 5 * (round + 1), "round {round}");
    }
    drop(a);
    end(cluster, context).await;
}

/// I6: a payload that is cut in the middle of its pieces is whole in the end, in both directions.
#[actix::test]
async fn payloads_in_pieces_are_completed_after_a_cut() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let device = context.device_of(&task(1)).unwrap();
    let large = vector(&(0..300_000).map(|n| n as f32).collect::<Vec<_>>());
    for pieces in 0..7 {
        cluster.hold();
        let (from, tensor, at) = (context.clone(), large.clone(), device.clone());
        let putting = actix::spawn(async move { from.put(&at, tensor).await });
        cluster.settle().await;
        for _ in 0..pieces {
            cluster.step().await;
        }
        cluster.cut(0, 1);
        cluster.release();
        cluster.heal(0, 1);
        let object = putting.await.unwrap().unwrap();
        let (from, again) = (context.clone(), object.clone());
        let fetching = actix::spawn(async move { from.fetch(&again).await });
        cluster.hold();
        for _ in 0..pieces + 1 {
            cluster.settle().await;
            cluster.step().await;
        }
        cluster.cut(0, 1);
        cluster.release();
        cluster.heal(0, 1);
        assert!(fetching.await.unwrap().unwrap() == large, "{pieces} pieces came before the cut");
    }
    assert_eq!(stats(&cluster, 1).await.2, 0);
    end(cluster, context).await;
}

/// I6: calls that are made while there is no connection wait for it, in order, with their credits.
#[actix::test]
async fn calls_wait_for_the_connection() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program());
    let few = remex::protocol::handshake::Credits { calls: 8, bytes: 1 << 20 };
    let cluster = cluster.each(move |_, builder| builder.credits(few)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "gate").await;
    let inputs = join_all((0..8).map(async |n: u8| put(&context, 1, &[f32::from(n)]).await)).await;
    cluster.cut(0, 1);
    cluster.settle().await;
    let calls: Vec<_> =
        inputs.iter().map(|a| context.try_execute(RemoteExecute::new(&program).input(a)).unwrap()).collect();
    let error = context.try_execute(RemoteExecute::new(&program).input(&inputs[0])).unwrap_err();
    assert_error(&error, ErrorCode::Overloaded, &[]);
    cluster.advance(Duration::from_secs(4)).await;
    assert!(calls.iter().all(|call| call.chain.try_get().is_none()), "nothing fails within the window");
    cluster.heal(0, 1);
    gate.open(8);
    for call in &calls {
        call.chain.done().await.unwrap();
    }
    assert_eq!(gate.order(), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
    drop((inputs, calls));
    end(cluster, context).await;
}

/// I1: after the window calls fail, and each says what is known of its effect.
#[actix::test]
async fn after_the_window_calls_fail_with_what_is_known_of_them() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let sent = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    cluster.settle().await;
    let begin = Instant::now();
    cluster.cut(0, 1);
    cluster.settle().await;
    let waits = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    for (call, effect, retry) in [(&sent, Effect::Unknown, false), (&waits, Effect::NotSent, true)] {
        let error = call.chain.done().await.unwrap_err();
        let words = ["the link to", "was lost", "not made again within 5.0 s", &task(1), "loopback:1"];
        assert_error(&error, ErrorCode::RpcUnavailable, &words);
        assert_eq!((error.effect(), error.is_retryable(), error.task()), (effect, retry, Some(&*task(1))));
    }
    let late = begin.elapsed();
    assert!(Duration::from_secs(5) <= late && late <= Duration::from_millis(5_200), "{late:?}");
    assert_eq!(gate.runs(), (1, 0, 0), "the worker keeps the session for its lease");
    cluster.advance(Duration::from_secs(24)).await;
    assert_eq!(gate.runs(), (1, 0, 0));
    cluster.advance(Duration::from_secs(2)).await;
    assert_eq!((gate.runs(), stats(&cluster, 1).await), ((1, 0, 1), (0, 0, 0)), "and then frees all of it");
    cluster.heal(0, 1);
    drop((a, sent, waits));
    end(cluster, context).await;
}

/// Stops a task without a word to task 0, and starts another run of it at the same address.
async fn restart(cluster: &TestCluster, i: usize, program: Option<&Gate>) -> ServerHandle {
    cluster.cut(0, i);
    cluster.task(i).stop().await.unwrap();
    let builder = Server::builder().task(task(i)).listen(format!("loopback:{i}")).run_on_arbiter();
    let builder = builder.fabric(cluster.fabric(i.to_string())).program("add", crate::support::add());
    let builder = program.into_iter().fold(builder, |builder, gate| builder.program("gate", gate.program()));
    let server = builder.start().await.unwrap();
    cluster.heal(0, i);
    server
}

/// I6: a task that was restarted is known by its incarnation: what lived there is lost and says so, and the context goes on.
#[actix::test]
async fn a_restarted_task_loses_what_it_had_and_the_context_goes_on() {
    let gate = Gate::new();
    let (probe, observer) = Probe::<Observed>::start();
    let cluster = builder(3).program("gate", gate.program());
    let cluster = cluster.each(move |i, builder| if i == 0 { builder.observer(observer.clone()) } else { builder });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let (elsewhere, b) = (register(&context, 2, "add").await, put(&context, 2, &[2.0]).await);
    let running = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    cluster.settle().await;
    let again = restart(&cluster, 1, Some(&gate)).await;
    for error in [running.chain.done().await.unwrap_err(), running.handles[0].fetch().await.unwrap_err()] {
        assert_error(&error, ErrorCode::DataLoss, &[&task(1), "loopback:1", "was restarted"]);
    }
    assert_eq!(running.chain.done().await.unwrap_err().effect(), Effect::Unknown);
    let begin = Instant::now();
    let uses = [
        context.fetch(&a).await.unwrap_err(),
        context.execute(RemoteExecute::new(&elsewhere).inputs([&a, &b])).await.unwrap_err(),
    ];
    for error in uses {
        assert_error(&error, ErrorCode::DataLoss, &[&task(1), "was restarted"]);
    }
    assert!(begin.elapsed() <= Duration::from_millis(1), "at once");
    let refused = context.execute(RemoteExecute::new(&program)).await.unwrap_err();
    assert_error(&refused, ErrorCode::FailedPrecondition, &["register it again", "gate", "was restarted"]);
    let (new, c) = (register(&context, 1, "add").await, put(&context, 1, &[3.0]).await);
    let sum = context.execute(RemoteExecute::new(&new).inputs([&c, &b]).handles(1)).await.unwrap();
    assert_eq!(elements(&sum.handles[0].fetch().await.unwrap()), [5.0], "and inputs go between the tasks");
    let sum = context.execute(RemoteExecute::new(&elsewhere).inputs([&c, &b]).handles(1)).await.unwrap();
    assert_eq!(elements(&sum.handles[0].fetch().await.unwrap()), [5.0]);
    let whats: Vec<_> = std::iter::from_fn(|| probe.try_next()).flat_map(|Observed(events)| events).collect();
    let restarted = whats.iter().filter(|event| matches!(event.what, What::PeerRestarted(_)));
    assert_eq!(restarted.count(), 1, "{:?}", whats.iter().filter(|e| e.name.is_empty()).collect::<Vec<_>>());
    drop((a, b, c, sum, running, new, program, elsewhere));
    assert_eq!(context.close().await.unwrap(), []);
    let left = again.stats().await.unwrap();
    assert_eq!((left.contexts, left.objects, left.jobs), (0, 0, 0), "the context is closed there too");
    drop(context);
    again.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

/// Ops are ordered by a chain on their task: after a restart they begin with the ready chain that there is now.
#[actix::test]
async fn ops_go_on_after_a_restart() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let device = context.device_of(&task(1)).unwrap();
    let run = async |n: f32| {
        let a = put(&context, 1, &[n]).await;
        let op = RemoteExecuteOp::new("add").on(&device).inputs([&a, &a]);
        let done = context.execute_op(op).await.unwrap();
        elements(&done.handles[0].fetch().await.unwrap())
    };
    assert_eq!(run(1.0).await, [2.0]);
    let again = restart(&cluster, 1, None).await;
    cluster.advance(Duration::from_secs(1)).await;
    assert_eq!(run(2.0).await, [4.0]);
    assert_eq!(context.close().await.unwrap(), []);
    drop(context);
    again.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

/// I4a: whether an id alone is of something that was lost, or of something that is to come, nobody knows; a reference knows.
#[actix::test]
async fn an_object_known_by_its_id_alone_is_waited_for_after_a_restart() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    let again = restart(&cluster, 1, None).await;
    cluster.advance(Duration::from_secs(1)).await;
    assert_error(&context.fetch(&a).await.unwrap_err(), ErrorCode::DataLoss, &[&task(1)]);
    let add = register(&context, 1, "add").await;
    let (b, begin) = (put(&context, 1, &[2.0]).await, Instant::now());
    let call = RemoteExecute::new(&add).input(&b).input(a.id()).deadline(Duration::from_secs(3));
    let call = context.execute(call).await.unwrap();
    assert_error(&call.chain.done().await.unwrap_err(), ErrorCode::DeadlineExceeded, &[]);
    assert_eq!(begin.elapsed().as_secs(), 3);
    drop((a, b, call, add));
    assert_eq!(context.close().await.unwrap(), []);
    drop(context);
    again.stop().await.unwrap();
    cluster.stop().await.unwrap();
}

/// A task that stops says so: nobody waits for it to come back.
#[actix::test]
async fn a_task_that_stops_is_not_waited_for() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let program = register(&context, 1, "gate").await;
    let call = context.execute(RemoteExecute::new(&program)).await.unwrap();
    cluster.settle().await;
    let begin = Instant::now();
    cluster.task(1).stop().await.unwrap();
    call.chain.done().await.unwrap_err();
    let error = context.put(&context.device_of(&task(1)).unwrap(), vector(&[1.0])).await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &[&task(1), "loopback:1"]);
    assert!(begin.elapsed() <= Duration::from_millis(10), "{:?}", begin.elapsed());
    drop(call);
    context.close().await.unwrap();
    cluster.stop().await.unwrap();
}

/// I6: a client that vanished is given its lease; what it made is freed then.
#[actix::test]
async fn a_client_that_vanishes_is_given_its_lease() {
    let cluster = builder(2).each(|_, builder| builder.session_lease(Duration::from_secs(12))).start().await.unwrap();
    let context = cluster.task(1).create_context(cluster.config()).await.unwrap();
    let a = put(&context, 0, &[1.0]).await;
    cluster.cut(0, 1);
    cluster.advance(Duration::from_millis(11_900)).await;
    assert_eq!(stats(&cluster, 0).await, (1, 2, 0));
    cluster.advance(Duration::from_millis(200)).await;
    assert_eq!(stats(&cluster, 0).await, (0, 0, 0));
    cluster.heal(0, 1);
    drop(a);
    end(cluster, context).await;
}

/// A side that is not heard is suspected before it is lost, and cleared when it is heard again.
#[actix::test]
async fn silence_is_suspected_before_it_is_loss() {
    let (probe, observer) = Probe::<Observed>::start();
    let cluster = builder(2).each(move |i, builder| if i == 0 { builder.observer(observer.clone()) } else { builder });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let heard = Rc::new(Cell::new(0));
    let news = || {
        std::iter::from_fn(|| probe.try_next())
            .flat_map(|Observed(events)| events)
            .filter(|event| event.name.is_empty() && event.task.contains(&task(1)))
            .map(|event| match event.what {
                What::Suspected(silence) => {
                    heard.set(silence.as_millis());
                    "suspected"
                }
                What::Heard => "heard",
                What::LinkUp => "up",
                What::Reconnecting(_) => "reconnecting",
                What::Resumed => "resumed",
                _ => "other",
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(news(), ["up"]);
    cluster.advance(Duration::from_secs(10)).await;
    assert_eq!(news(), [] as [&str; 0], "heartbeats come in time");
    cluster.hold();
    cluster.advance(Duration::from_millis(1_600)).await;
    assert_eq!(news(), ["suspected"]);
    assert!((2_000..3_000).contains(&heard.get()), "{}", heard.get());
    cluster.release();
    cluster.advance(Duration::from_secs(1)).await;
    assert_eq!(news(), ["heard"]);
    cluster.hold();
    cluster.advance(Duration::from_millis(4_000)).await;
    cluster.release();
    cluster.advance(Duration::from_secs(3)).await;
    assert_eq!(news(), ["suspected", "reconnecting", "resumed"]);
    end(cluster, context).await;
}

/// A worker's own actor hears of those who call it: that they are there, are silent, are away, come back, and do not.
#[actix::test]
async fn a_worker_hears_of_its_callers() {
    use remex::SessionEvent;

    let (probe, observer) = Probe::<Observed>::start();
    let cluster = builder(2).each(move |i, builder| if i == 1 { builder.observer(observer.clone()) } else { builder });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let news = || {
        std::iter::from_fn(|| probe.try_next())
            .flat_map(|Observed(events)| events)
            .filter_map(|event| if let What::Session(what) = event.what { Some((event.task, what)) } else { None })
            .map(|(of, what)| {
                assert_eq!(&*of, task(0), "of others than itself");
                match what {
                    SessionEvent::Begun => "begun",
                    SessionEvent::Suspected(_) => "suspected",
                    SessionEvent::Heard => "heard",
                    SessionEvent::Away(_) => "away",
                    SessionEvent::Resumed => "resumed",
                    SessionEvent::Ended(error) => {
                        assert_error(&error, ErrorCode::Unavailable, &["did not come back within 30.0 s"]);
                        "ended"
                    }
                    _ => "other",
                }
            })
            .collect::<Vec<_>>()
    };
    cluster.settle().await;
    assert_eq!(news(), ["begun"]);
    cluster.hold();
    cluster.advance(Duration::from_millis(2_800)).await;
    cluster.release();
    cluster.advance(Duration::from_secs(1)).await;
    assert_eq!(news(), ["suspected", "heard"]);
    cluster.cut(0, 1);
    cluster.advance(Duration::from_secs(1)).await;
    cluster.heal(0, 1);
    cluster.advance(Duration::from_secs(2)).await;
    assert_eq!(news(), ["away", "resumed"]);
    cluster.cut(0, 1);
    cluster.advance(Duration::from_secs(29)).await;
    assert_eq!(news(), ["away"]);
    cluster.advance(Duration::from_secs(2)).await;
    assert_eq!(news(), ["ended"]);
    cluster.heal(0, 1);
    end(cluster, context).await;
}
