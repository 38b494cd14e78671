//! Links that are down for longer than the reconnect window: calls fail, and what was made is there when the link is.

use std::time::Duration;

use remex::{Observed, What, prelude::*, protocol::Effect, testing::Probe};
use tokio::time::Instant;

use crate::reach::{close, together};
use crate::support::{Gate, assert_error, builder, cluster, elements, end, put, register, stats, task};

const SECOND: Duration = Duration::from_secs(1);

/// I6: objects, programs and contexts outlive the window: memory that was not destroyed loses nothing.
#[actix::test]
async fn what_was_made_outlives_the_reconnect_window() {
    let gate = Gate::new();
    let (probe, observer) = Probe::<Observed>::start();
    let cluster = builder(2).program("gate", gate.program());
    let cluster = cluster.each(move |i, builder| if i == 0 { builder.observer(observer.clone()) } else { builder });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (waits, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let (a, dropped) = (put(&context, 1, &[1.0]).await, put(&context, 1, &[2.0]).await);
    let running = context.execute(RemoteExecute::new(&waits).input(&a).handles(1)).await.unwrap();
    cluster.settle().await;
    cluster.cut(0, 1);
    assert_eq!(running.chain.done().await.unwrap_err().effect(), Effect::Unknown);
    for wait in [1, 2, 3] {
        cluster.advance(wait * SECOND).await;
        let begin = Instant::now();
        let error = context.fetch(&a).await.unwrap_err();
        assert_error(&error, ErrorCode::RpcUnavailable, &[&task(1), "loopback:1", "was lost"]);
        assert_eq!(error.effect(), Effect::NotSent);
        assert!(begin.elapsed() <= SECOND / 100, "{:?}", begin.elapsed());
    }
    drop(dropped);
    cluster.heal(0, 1);
    cluster.advance(SECOND).await;
    assert_eq!(elements(&context.fetch(&a).await.unwrap()), [1.0]);
    let sum = context.execute(RemoteExecute::new(&add).inputs([&a, &a]).handles(1)).await.unwrap();
    assert_eq!(elements(&sum.handles[0].fetch().await.unwrap()), [2.0], "its program is there, too");
    let events = std::iter::from_fn(|| probe.try_next()).flat_map(|Observed(events)| events);
    let links = events.filter_map(|event| match event.what {
        What::Reconnecting(_) => Some("reconnecting"),
        What::LinkStalled(_) => Some("stalled"),
        What::LinkDown(_) => Some("down"),
        What::PeerRestarted(_) => Some("restarted"),
        What::Resumed => Some("resumed"),
        _ => None,
    });
    assert_eq!(links.collect::<Vec<_>>(), ["reconnecting", "stalled", "resumed"]);
    drop((sum, running));
    cluster.settle().await;
    gate.open(1);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await, (1, 2, 0), "the ready chain and `a`");
    drop(a);
    end(cluster, context).await;
}

/// I3: what was to come of a call that could not be sent is known not to come, when the peer is there again.
#[actix::test]
async fn who_waits_for_what_was_not_sent_hears_it() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    cluster.cut(0, 1);
    cluster.advance(7 * SECOND).await;
    let first = context.execute(RemoteExecute::new(&add).inputs([&a, &a])).await.unwrap();
    let other = context.execute(RemoteExecute::new(&add).inputs([&a, &a])).await.unwrap();
    let error = first.chain.done().await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (ErrorCode::RpcUnavailable, Effect::NotSent));
    cluster.heal(0, 1);
    cluster.advance(SECOND).await;
    let begin = Instant::now();
    let inputs = [&first.outputs[0], &other.outputs[0]];
    let second = context.execute(RemoteExecute::new(&add).inputs(inputs)).await.unwrap();
    let error = second.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::RpcUnavailable, &["the link to", "was lost"]);
    assert!(begin.elapsed() <= SECOND, "not at its deadline: {:?}", begin.elapsed());
    drop((first, other, second, a));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await, (1, 1, 0));
    end(cluster, context).await;
}

/// I8: calls that were given up keep their credits until they are answered, and give them back then.
#[actix::test]
async fn credits_of_a_stalled_link_come_back() {
    let gate = Gate::new();
    let few = remex::protocol::handshake::Credits { calls: 4, bytes: 1 << 20 };
    let cluster = builder(2).program("gate", gate.program()).each(move |_, builder| builder.credits(few));
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (waits, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let call = || RemoteExecute::new(&waits).input(&a);
    let calls: Vec<_> = (0..4).map(|_| context.try_execute(call()).unwrap()).collect();
    cluster.settle().await;
    cluster.cut(0, 1);
    cluster.advance(8 * SECOND).await;
    assert!(calls.iter().all(|call| call.chain.try_get().is_some_and(|done| done.is_err())));
    assert_eq!(context.try_execute(call()).unwrap_err().code(), ErrorCode::Overloaded);
    cluster.heal(0, 1);
    gate.open(8);
    cluster.advance(SECOND).await;
    let again: Vec<_> = (0..4).map(|_| context.try_execute(call()).unwrap()).collect();
    for call in &again {
        call.chain.done().await.unwrap();
    }
    drop((calls, again, a));
    end(cluster, context).await;
}

/// I6: a session is over with its lease. What lived there is lost and says so; the context goes on.
#[actix::test]
async fn with_the_lease_the_session_is_over() {
    let (probe, observer) = Probe::<Observed>::start();
    let cluster = builder(2).each(move |i, builder| match i {
        0 => builder.observer(observer.clone()),
        _ => builder.session_lease(12 * SECOND),
    });
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    cluster.cut(0, 1);
    cluster.advance(20 * SECOND).await;
    assert_eq!(stats(&cluster, 1).await, (0, 0, 0));
    let down = std::iter::from_fn(|| probe.try_next()).flat_map(|Observed(events)| events);
    let down: Vec<_> = down.filter(|event| matches!(event.what, What::LinkDown(_))).collect();
    assert!(matches!(&down[..], [event] if matches!(&event.what, What::LinkDown(error)
        if error.message().contains("within 12.0 s"))));
    cluster.heal(0, 1);
    let error = context.fetch(&a).await.unwrap_err();
    assert_error(&error, ErrorCode::DataLoss, &[&task(1)]);
    let b = put(&context, 1, &[2.0]).await;
    assert_eq!(elements(&context.fetch(&b).await.unwrap()), [2.0]);
    drop((a, b));
    end(cluster, context).await;
}

/// A context that is closed while its task is not reached is closed there later.
#[actix::test]
async fn a_context_that_is_closed_meanwhile_is_closed_there_too() {
    let cluster = cluster(2).await;
    let (context, kept) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let (a, b) = (put(&context, 1, &[1.0]).await, put(&kept, 1, &[2.0]).await);
    cluster.cut(0, 1);
    cluster.advance(7 * SECOND).await;
    let begin = Instant::now();
    assert_eq!(context.close().await.unwrap().len(), 1, "the unreachable one is reported");
    assert!(begin.elapsed() <= 5 * SECOND, "and not awaited longer than this: {:?}", begin.elapsed());
    drop((a, context));
    cluster.heal(0, 1);
    cluster.advance(SECOND).await;
    assert_eq!(elements(&kept.fetch(&b).await.unwrap()), [2.0]);
    assert_eq!(stats(&cluster, 1).await, (1, 2, 0), "what is left is the other context");
    drop(b);
    end(cluster, kept).await;
}

/// What is kept while its task is not reached outlives this one's session there: the task hears of it later.
#[actix::test]
async fn what_is_kept_meanwhile_is_kept() {
    let lease = 8 * SECOND;
    let cluster = builder(3).each(move |_, builder| builder.session_lease(lease)).start().await.unwrap();
    let contexts = together(&cluster).await;
    let before = stats(&cluster, 2).await.1;
    let (kept, lost) = (put(&contexts[1], 2, &[1.0]).await, put(&contexts[1], 2, &[2.0]).await);
    cluster.cut(1, 2);
    cluster.advance(6 * SECOND).await;
    kept.keep();
    cluster.heal(1, 2);
    cluster.advance(2 * SECOND).await;
    assert_eq!(stats(&cluster, 2).await.1, before + 2);
    cluster.cut(1, 2);
    cluster.advance(20 * SECOND).await;
    assert_eq!(stats(&cluster, 2).await.1, before + 1, "what is kept");
    cluster.heal(1, 2);
    drop((kept, lost));
    close(cluster, contexts).await;
}
