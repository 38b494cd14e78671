//! Links with a second connection for large payloads: what it carries, what it does not hold up, and what its end costs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use remex::{
    Tensor,
    prelude::*,
    protocol::cluster::ClusterConfig,
    testing::{FaultPlan, SimCluster, TestCluster},
};
use tokio::time::Instant;

use crate::support::{builder, counter, elements, end, put, register, task, vector};

fn large(n: usize) -> Tensor {
    vector(&(0..n).map(|n| n as f32).collect::<Vec<_>>())
}

/// Two tasks that are connected, their link with a lane.
async fn pair(runs: &Arc<AtomicUsize>) -> (TestCluster, ContextHandle) {
    let cluster = builder(2).lanes().program("count", counter(runs)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    cluster.settle().await;
    for i in 0..2 {
        assert_eq!(cluster.task(i).stats().await.unwrap().lanes, 1);
    }
    (cluster, context)
}

/// I8: calls are served while a large payload stands still, and it holds up neither order nor effect.
#[actix::test]
async fn small_calls_pass_a_payload_on_the_lane() {
    let runs = Arc::default();
    let (cluster, context) = pair(&runs).await;
    let (program, device) = (register(&context, 1, "count").await, context.device_of(&task(1)).unwrap());
    let small = put(&context, 1, &[1.0]).await;
    cluster.hold_lanes();
    let (from, at) = (context.clone(), device.clone());
    let putting = actix::spawn(async move { from.put(&at, large(1_000_000)).await });
    cluster.settle().await;
    let begin = Instant::now();
    for _ in 0..100 {
        let call = context.execute(RemoteExecute::new(&program).input(&small).handles(1)).await.unwrap();
        assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [1.0]);
    }
    assert!(begin.elapsed() < Duration::from_secs(1) && !putting.is_finished());
    cluster.release();
    let object = putting.await.unwrap().unwrap();
    assert!(context.fetch(&object).await.unwrap() == large(1_000_000));
    drop((object, small));
    end(cluster, context).await;
}

/// Lets so many pieces through, of those that are held, and cuts the lane.
async fn cut_after(cluster: &TestCluster, pieces: usize) {
    cluster.settle().await;
    for _ in 0..pieces {
        cluster.step().await;
    }
    cluster.cut_lanes(0, 1);
    cluster.release();
}

/// I6: whichever piece the lane is cut at, in either direction, a payload is whole in the end and its call has run once.
#[actix::test]
async fn a_lane_that_is_cut_costs_time_and_nothing_else() {
    let runs = Arc::default();
    let (cluster, context) = pair(&runs).await;
    let (program, device) = (register(&context, 1, "count").await, context.device_of(&task(1)).unwrap());
    for pieces in 0..5 {
        cluster.hold_lanes();
        let (from, at, program) = (context.clone(), device.clone(), program.clone());
        let calling = actix::spawn(async move {
            let object = from.put(&at, large(1_000_000)).await?;
            from.execute(RemoteExecute::new(&program).input(&object).handles(1)).await
        });
        cut_after(&cluster, pieces).await;
        let call = calling.await.unwrap().unwrap();
        // The link comes back, and its lane.
        cluster.advance(Duration::from_secs(2)).await;
        assert_eq!(cluster.task(1).stats().await.unwrap().lanes, 1);
        cluster.hold_lanes();
        let fetching = actix::spawn(async move { call.handles[0].fetch().await });
        cut_after(&cluster, pieces).await;
        assert!(fetching.await.unwrap().unwrap() == large(1_000_000), "{pieces} pieces came before the cut");
        assert_eq!(runs.load(Ordering::Relaxed), pieces + 1);
        cluster.advance(Duration::from_secs(2)).await;
    }
    end(cluster, context).await;
}

/// I6: a lane that says nothing for too long is given up with its link, and all of it comes again.
#[actix::test]
async fn a_lane_that_goes_silent_is_made_anew() {
    let runs = Arc::default();
    let (cluster, context) = pair(&runs).await;
    let device = context.device_of(&task(1)).unwrap();
    cluster.hold_lanes();
    let begin = Instant::now();
    let (from, at) = (context.clone(), device.clone());
    let putting = actix::spawn(async move { from.put(&at, large(1_000_000)).await });
    // The Hello of the next lane is held too: meanwhile pieces take turns with other frames.
    let object = putting.await.unwrap().unwrap();
    assert!((3_000..6_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    cluster.release();
    assert!(context.fetch(&object).await.unwrap() == large(1_000_000));
    drop(object);
    cluster.advance(Duration::from_secs(10)).await;
    assert_eq!(cluster.task(1).stats().await.unwrap().lanes, 1, "it was dialled again");
    end(cluster, context).await;
}

/// A server that stops has its answers read to the end though they come on two connections.
#[actix::test]
async fn a_server_that_drains_sends_what_it_has_promised() {
    let runs = Arc::default();
    let (cluster, context) = pair(&runs).await;
    let object = context.put(&context.device_of(&task(1)).unwrap(), large(3_000_000)).await.unwrap();
    cluster.set_latency(Duration::from_millis(20));
    let from = context.clone();
    let fetching = actix::spawn(async move { from.fetch(&object).await });
    cluster.advance(Duration::from_millis(30)).await;
    let _ = cluster.task(1).drain(Duration::from_secs(10)).await;
    assert!(fetching.await.unwrap().unwrap() == large(3_000_000));
    cluster.set_latency(Duration::ZERO);
    drop(context);
    cluster.stop().await.unwrap();
}

/// I6: where frames are lost, damaged, repeated and cut, pieces on lanes among them, no payload is another one than was sent.
#[actix::test]
async fn no_fault_of_a_network_damages_a_payload() {
    let mut right = 0;
    // Those seeds whose links have lanes.
    for seed in [1, 3, 5] {
        let mut plan = FaultPlan::none();
        let frames = &mut plan.frames;
        (frames.lose, frames.corrupt, frames.repeat, frames.cut) = (0.01, 0.01, 0.01, 0.01);
        let cluster = SimCluster::builder(2).seed(seed).plan(plan).start().await.unwrap();
        let config = cluster.config().default_deadline(Duration::from_secs(30)).wait(Duration::from_secs(60));
        let context = cluster.task(0).unwrap().create_context(config).await.unwrap();
        let device = context.device_of(&cluster.name(1).to_string()).unwrap();
        for n in 0..20 {
            let sent = large(500_000 + 10_000 * n);
            let Ok(object) = context.put(&device, sent.clone()).await else { continue };
            if let Ok(fetched) = context.fetch(&object).await {
                assert!(fetched == sent, "seed {seed}, payload {n}");
                right += 1;
            }
            assert!(cluster.task(0).unwrap().stats().await.unwrap().lanes <= 1);
        }
        cluster.calm().await.unwrap();
        let _ = context.close().await;
    }
    assert!(right > 40, "{right} of 60 got through");
}

async fn on_sockets(listen: String) {
    let runs: Arc<AtomicUsize> = Arc::default();
    let worker = Server::builder().task(task(1)).listen(listen).program("count", counter(&runs));
    let worker = worker.start_threaded().await.unwrap();
    let client = Server::builder().task(task(0)).start().await.unwrap();
    let mut config = ClusterConfig::new();
    config.add(task(1).parse().unwrap(), Some(worker.address().unwrap().clone())).unwrap();
    let context = client.create_context(remex::ContextConfig::new(config)).await.unwrap();
    let (program, device) = (register(&context, 1, "count").await, context.device_of(&task(1)).unwrap());
    while client.stats().await.unwrap().lanes == 0 {
        tokio::task::yield_now().await;
    }
    let small = put(&context, 1, &[2.0]).await;
    let puts = (0..4).map(|i| context.put(&device, large(1_000_000 + 300_000 * i)));
    let smalls = async {
        for _ in 0..100 {
            let call = context.execute(RemoteExecute::new(&program).input(&small).handles(1)).await.unwrap();
            assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [2.0]);
        }
    };
    let (objects, ()) = futures_util::future::join(futures_util::future::join_all(puts), smalls).await;
    for (i, object) in objects.into_iter().enumerate() {
        assert!(context.fetch(&object.unwrap()).await.unwrap() == large(1_000_000 + 300_000 * i));
    }
    assert_eq!((runs.load(Ordering::Relaxed), worker.stats().await.unwrap().lanes), (100, 1));
    drop(small);
    assert_eq!(context.close().await.unwrap(), []);
    client.stop().await.unwrap();
    worker.stop().await.unwrap();
}

#[actix::test]
async fn tcp_links_have_lanes() {
    on_sockets("tcp://127.0.0.1:0".to_owned()).await;
}

#[actix::test]
async fn unix_links_have_lanes() {
    let path = std::env::temp_dir().join(format!("remex-{}-lane", std::process::id()));
    on_sockets(format!("unix:{}", path.display())).await;
}
