//! Each kind of fault does what it says, alone.

use std::{sync::atomic::Ordering, time::Duration};

use remex::{
    prelude::*,
    testing::{Death, EventRates, FrameFaults, SimCluster, Slow},
};
use tokio::time::Instant;

use super::{builder, context, count, counter, doubled, end, register};
use crate::support::{add, assert_error};

type InFrames = fn(&mut FrameFaults);
type InEvents = fn(&mut EventRates);
type ByHand = fn(&SimCluster);

/// Without faults everything is right.
#[actix::test]
async fn a_plan_of_nothing_does_nothing() {
    let cluster = builder(|_| {}).start().await.unwrap();
    let context = context(&cluster).await;
    assert_eq!(doubled(&cluster, &context, 20).await, 20);
    assert_eq!(
        ["LOST", "DELAYED", "REPEATED", "CORRUPT", "CUT", "breaks", "killed"].map(|w| count(&cluster, w)),
        [0; 7]
    );
    assert!(count(&cluster, "0 → 1: RemoteExecute ") == 20 && count(&cluster, "1 → 0: Completed RemoteExecute ") == 20);
    end(cluster, context).await;
}

/// What is wrong with a frame is found below the calls: by numbers, by checksums, by the end of the stream. No answer is wrong.
#[actix::test]
async fn frames_are_lost_repeated_damaged_and_cut() {
    let faults: [(&str, InFrames); 4] = [
        ("LOST", |frames| frames.lose = 0.05),
        ("REPEATED", |frames| frames.repeat = 0.05),
        ("CORRUPT", |frames| frames.corrupt = 0.05),
        ("CUT", |frames| frames.cut = 0.05),
    ];
    for (word, change) in faults {
        let cluster = builder(|plan| change(&mut plan.frames)).start().await.unwrap();
        let config = cluster.config().default_deadline(Duration::from_secs(1)).wait(Duration::from_secs(60));
        let mut right = 0;
        for _ in 0..10 {
            let Ok(context) = cluster.task(0).unwrap().create_context(config.clone()).await else { continue };
            right += doubled(&cluster, &context, 20).await;
        }
        assert!(
            count(&cluster, word) > 5 && (1..=200).contains(&right),
            "{word}: {right}\n{}",
            cluster.trace().tail(50)
        );
        let others = ["LOST", "REPEATED", "CORRUPT", "CUT"].into_iter().filter(|other| *other != word);
        assert_eq!(others.map(|other| count(&cluster, other)).sum::<usize>(), 0);
        cluster.calm().await.unwrap();
        cluster.advance(Duration::from_secs(10)).await;
        let context = context(&cluster).await;
        assert_eq!(doubled(&cluster, &context, 5).await, 5, "it recovers from {word}");
        end(cluster, context).await;
    }
}

#[actix::test]
async fn frames_are_late() {
    let late = builder(|plan| (plan.frames.delay, plan.frames.longest_delay) = (1.0, Duration::from_millis(20)));
    let (on_time, late) = (builder(|_| {}).start().await.unwrap(), late.start().await.unwrap());
    let mut took = Vec::new();
    for cluster in [on_time, late] {
        let context = context(&cluster).await;
        let begin = Instant::now();
        assert_eq!(doubled(&cluster, &context, 20).await, 20);
        took.push(begin.elapsed());
        end(cluster, context).await;
    }
    assert!(took[1] > 3 * took[0], "{took:?}");
}

/// A call that waits for what nobody makes, until `fault` ends it; says how, and after how long.
async fn ended_by(cluster: &SimCluster, fault: impl FnOnce(&SimCluster)) -> (Error, Duration) {
    let context = cluster.context(0).await.unwrap();
    let add = register(&context, 1, "add").await;
    let never = context.new_object(&crate::support::device(1)).unwrap();
    let limit = Duration::from_secs(20);
    let call = context.execute(RemoteExecute::new(&add).input(&never).deadline(limit)).await.unwrap();
    cluster.advance(Duration::from_millis(100)).await;
    let begin = Instant::now();
    fault(cluster);
    let error = call.chain.done().await.unwrap_err();
    assert!(begin.elapsed() <= limit, "by its deadline at the latest: {:?}", begin.elapsed());
    (error, begin.elapsed())
}

/// I1: promises settle whatever fails, and what comes back is used again.
#[actix::test]
async fn links_break_go_silent_and_heal() {
    let faults: [(&str, ByHand); 3] = [
        ("between 0 and 1 breaks", |cluster| cluster.break_link(0, 1)),
        ("from 0 to 1 goes silent", |cluster| cluster.silence(0, 1)),
        ("from 1 to 0 goes silent", |cluster| cluster.silence(1, 0)),
    ];
    for (word, fault) in faults {
        let cluster = builder(|_| {}).start().await.unwrap();
        ended_by(&cluster, fault).await;
        assert_eq!(count(&cluster, word), 1);
        cluster.heal_link(0, 1);
        cluster.advance(Duration::from_secs(10)).await;
        let context = context(&cluster).await;
        assert_eq!(doubled(&cluster, &context, 3).await, 3);
        end(cluster, context).await;
    }
}

/// I1: a task that dies takes its memory with it, and comes back with none.
#[actix::test]
async fn tasks_are_killed_stopped_and_started_again() {
    for fault in [Some(Death::Reset), Some(Death::Silent), None] {
        let (runs, program) = counter();
        let cluster = builder(|_| {}).program("count", program).start().await.unwrap();
        let context = context(&cluster).await;
        let program = register(&context, 1, "count").await;
        let call = context.execute(RemoteExecute::new(&program).handles(1)).await.unwrap();
        call.chain.done().await.unwrap();
        let stop = cluster.clone();
        match fault {
            Some(death) => cluster.kill(1, death),
            None => stop.stop_task(1).await,
        }
        assert!(cluster.task(1).is_none() && cluster.last_lost_run(1) == 1);
        let error = call.handles[0].fetch_within(Duration::from_secs(60)).await.unwrap_err();
        assert!(matches!(error.code(), ErrorCode::RpcUnavailable | ErrorCode::DataLoss), "{error}");
        cluster.restart(1).await.unwrap();
        assert_eq!((cluster.run(1), cluster.task(1).unwrap().stats().await.unwrap().objects), (2, 0));
        cluster.advance(Duration::from_secs(40)).await;
        let again = super::context(&cluster).await;
        let program = register(&again, 1, "count").await;
        again.execute(RemoteExecute::new(&program)).await.unwrap().chain.done().await.unwrap();
        assert_eq!(runs.load(Ordering::Relaxed), 2, "{fault:?}");
        drop((call, context));
        end(cluster, again).await;
    }
}

/// I1: promises of a task that dies settle.
#[actix::test]
async fn a_client_that_is_killed_leaves_nothing_unsettled() {
    let cluster = builder(|_| {}).start().await.unwrap();
    let (error, took) = ended_by(&cluster, |cluster| cluster.kill(0, Death::Silent)).await;
    assert_error(&error, error.code(), &[]);
    assert_eq!(took, Duration::ZERO);
    let work = cluster.spawn(0, async { 1 });
    assert_eq!(work.await, None, "nothing runs in a dead task");
    cluster.advance(Duration::from_secs(40)).await;
    let stats = cluster.task(1).unwrap().stats().await.unwrap();
    assert_eq!((stats.contexts, stats.objects, stats.jobs), (0, 0, 0), "its workers have noticed");
}

#[actix::test]
async fn a_task_stalls_and_goes_on() {
    let cluster = builder(|_| {}).start().await.unwrap();
    let context = context(&cluster).await;
    let (begin, time) = (Instant::now(), Duration::from_millis(700));
    cluster.stall(1, time);
    assert_eq!(doubled(&cluster, &context, 1).await, 1);
    assert!(begin.elapsed() >= time, "{:?}", begin.elapsed());
    assert_eq!(cluster.ran_after(1, begin + Duration::from_millis(1)), begin + time);
    assert_eq!(cluster.ran_after(0, begin), begin);
    end(cluster, context).await;
}

#[actix::test]
async fn a_task_is_slow_to_its_peers() {
    let cluster = builder(|_| {}).start().await.unwrap();
    let context = context(&cluster).await;
    cluster.set_slow(1, Some(Slow { latency: Duration::from_millis(30), bandwidth: Some(1_000_000) }));
    let begin = Instant::now();
    assert_eq!(doubled(&cluster, &context, 2).await, 2);
    assert!(begin.elapsed() >= Duration::from_millis(2 * 30 * 5), "{:?}", begin.elapsed());
    end(cluster, context).await;
}

/// A program that hangs holds its thread; its call ends by its deadline.
#[actix::test]
async fn programs_take_as_long_as_is_drawn_and_hang() {
    let cluster = builder(|plan| plan.program = (Duration::from_millis(30), Duration::from_millis(40)));
    let cluster = cluster.start().await.unwrap();
    let context = context(&cluster).await;
    let begin = Instant::now();
    assert_eq!(doubled(&cluster, &context, 1).await, 1);
    assert!(begin.elapsed() >= Duration::from_millis(30), "{:?}", begin.elapsed());
    end(cluster, context).await;

    let cluster = builder(|plan| plan.program_stalls = 1.0).program("same", add()).start().await.unwrap();
    let config = cluster.config().default_deadline(Duration::from_secs(1));
    let context = cluster.task(0).unwrap().create_context(config).await.unwrap();
    let registered = context.register(&cluster.name(1).to_string(), RegisterFunction::native("add")).await;
    assert_eq!(registered.unwrap_err().code(), ErrorCode::DeadlineExceeded, "compiling runs on the pool, too");
    end(cluster, context).await;
}

/// The plan's own events happen, and end.
#[actix::test]
async fn the_plan_befalls_links_and_tasks() {
    let rates: [(&[&str], InEvents); 6] = [
        (&["breaks", "is healed"], |events| events.breaks = 60.0),
        (&["goes silent", "is healed"], |events| events.half_opens = 60.0),
        (&["slow down", "are as before"], |events| events.slow = 60.0),
        (&["stops", "starts, run 2"], |events| events.stops = 60.0),
        (&["is killed (", "starts, run 2"], |events| events.kills = 60.0),
        (&["stalls for"], |events| events.stalls = 60.0),
    ];
    for (words, change) in rates {
        let plan = builder(|plan| {
            change(&mut plan.events);
            plan.lasts = (Duration::from_millis(100), Duration::from_millis(2_000));
        });
        let cluster = plan.start().await.unwrap();
        cluster.advance(Duration::from_secs(20)).await;
        cluster.calm().await.unwrap();
        for word in words {
            assert!(count(&cluster, word) > 2, "{word}:\n{}", cluster.trace().tail(50));
        }
        cluster.advance(Duration::from_secs(10)).await;
        let context = context(&cluster).await;
        assert_eq!(doubled(&cluster, &context, 3).await, 3, "calm is calm after {words:?}");
        end(cluster, context).await;
    }
}
