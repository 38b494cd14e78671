//! Collectives through contexts: members that are tasks of their own, programs on workers, real sockets.

use std::time::Duration;

use futures_util::future::join_all;
use remex::{Reduction, Shape, prelude::*, protocol::ids::ContextId, testing::TestCluster};

use crate::support::{assert_error, builder, cluster, elements, end, register, stats, task, vector};

/// A context that all tasks make, with a group of all.
async fn together(cluster: &TestCluster, tasks: usize) -> Vec<ContextHandle> {
    let names: Vec<_> = (0..tasks).map(|i| cluster.task(i).task().clone()).collect();
    let config = cluster.config().group("all", names.clone()).multi_client(ContextId(5), names[0].clone());
    let config = config.default_deadline(Duration::from_secs(5));
    let made = (0..tasks).map(|i| cluster.task(i).create_context(config.clone()));
    join_all(made).await.into_iter().map(Result::unwrap).collect()
}

async fn close(cluster: TestCluster, contexts: Vec<ContextHandle>) {
    for context in contexts {
        assert_eq!(context.close().await.unwrap(), []);
    }
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn members_of_a_group_do_every_collective() {
    let cluster = cluster(4).await;
    let contexts = together(&cluster, 4).await;
    let all: Vec<_> = contexts.iter().map(|context| context.collective("all").unwrap()).collect();
    let own = |i: usize| vector(&[i as f32, 10.0 * i as f32, 1.0, 2.0, 3.0]);
    let sums = join_all(all.iter().enumerate().map(|(i, all)| all.all_reduce(Reduction::Sum, "sum", own(i)))).await;
    for sum in sums {
        assert_eq!(elements(&sum.unwrap()), [6.0, 60.0, 4.0, 8.0, 12.0]);
    }
    let roots = join_all(all.iter().enumerate().map(|(i, all)| all.broadcast(2, "b", (i == 2).then(|| own(2))))).await;
    assert!(roots.into_iter().all(|root| root.unwrap() == own(2)));
    let gathered =
        join_all(all.iter().enumerate().map(|(i, all)| all.all_gather_any_shape(0, "g", vector(&vec![i as f32; i]))));
    for gathered in gathered.await {
        assert_eq!(elements(&gathered.unwrap()), [1.0, 2.0, 2.0, 3.0, 3.0, 3.0]);
    }
    let parts = join_all(all.iter().enumerate().map(|(i, all)| all.reduce_scatter(Reduction::Max, "m", own(i)))).await;
    assert_eq!(parts.iter().map(|part| elements(part.as_ref().unwrap()).len()).sum::<usize>(), 5);
    assert!(join_all(all.iter().map(|all| all.barrier("end"))).await.iter().all(Result::is_ok));
    close(cluster, contexts).await;
}

/// Programs on workers join collectives of a context that one client made.
#[actix::test]
async fn programs_join_collectives() {
    let reduce = native_async(|call: AsyncCall| async move {
        let context = call.context()?;
        let number: f32 = context.task().index() as f32;
        let sum =
            context.collective("workers")?.all_reduce(Reduction::Sum, "sum", vector(&vec![number; 200_000])).await?;
        Ok(vec![sum])
    });
    let cluster = builder(4).program("reduce", reduce.outputs(1)).start().await.unwrap();
    let workers = (1..4).map(|i| cluster.task(i).task().clone());
    let context = cluster.task(0).create_context(cluster.config().group("workers", workers)).await.unwrap();
    let mut calls = Vec::new();
    for i in 1..4 {
        let reduce = register(&context, i, "reduce").await;
        calls.push(context.execute(RemoteExecute::new(&reduce).handles(1)).await.unwrap());
    }
    for call in calls {
        assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), vec![6.0; 200_000]);
    }
    let outside = context.collective("workers").unwrap().barrier("b").await.unwrap_err();
    assert_error(&outside, ErrorCode::InvalidArgument, &["is not in group \"workers\""]);
    let unknown = context.collective("nobody").unwrap().barrier("b").await.unwrap_err();
    assert_error(&unknown, ErrorCode::NotFound, &["no group \"nobody\"; it has workers"]);
    end(cluster, context).await;
}

/// TFRT §3.5-1: a collective that did not finish is an error and never a success, whatever drops it; and it keeps no context
/// alive.
#[actix::test]
async fn an_unfinished_collective_ends_with_its_context() {
    let cluster = cluster(3).await;
    let contexts = together(&cluster, 3).await;
    let waits = contexts[0].collective("all").unwrap().all_reduce(Reduction::Sum, "s", vector(&[1.0]));
    let waits = actix::spawn(waits);
    cluster.settle().await;
    assert_eq!(contexts[0].close().await.unwrap(), []);
    let error = waits.await.unwrap().unwrap_err();
    assert_error(&error, ErrorCode::Cancelled, &[]);
    assert_eq!(stats(&cluster, 0).await, (0, 0, 0), "nothing keeps the context alive");
    // The same name again is another run for the others, who were told.
    for context in &contexts[1..] {
        assert_eq!(context.close().await.unwrap(), []);
    }
    cluster.stop().await.unwrap();
}

/// TFRT §3.5-2: a dead peer, and one that never comes, is an error for all, by deadline, with one cause.
#[actix::test]
async fn a_dead_peer_is_an_error_for_all() {
    let window = Duration::from_secs(1);
    let cluster = builder(4).each(move |_, builder| builder.reconnect_window(window)).start().await.unwrap();
    let contexts = together(&cluster, 4).await;
    let groups: Vec<_> = contexts.iter().map(|context| context.collective("all").unwrap()).collect();
    // One round, so that all are linked.
    join_all(groups.iter().map(|group| group.barrier("begin"))).await.into_iter().for_each(|done| done.unwrap());
    let begin = tokio::time::Instant::now();
    let sums = groups[..3].iter().map(|group| actix::spawn(group.all_reduce(Reduction::Sum, "s", vector(&[1.0; 9]))));
    let sums: Vec<_> = sums.collect();
    cluster.settle().await;
    for other in 0..3 {
        cluster.cut(other, 3);
    }
    for sum in join_all(sums).await {
        let error = sum.unwrap().unwrap_err();
        assert_error(&error, ErrorCode::RpcUnavailable, &[&task(3)]);
    }
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    let never = join_all(groups[..3].iter().map(|group| group.barrier("never"))).await;
    assert!(never.iter().all(Result::is_err));
    for context in contexts {
        context.close().await.unwrap();
    }
    cluster.stop().await.unwrap();
}

/// TFRT §3.5-3: the input is not written to, an integer mean is right for negative numbers, and fewer elements than members work.
#[actix::test]
async fn the_arithmetic_is_right_and_the_input_untouched() {
    let cluster = cluster(3).await;
    let contexts = together(&cluster, 3).await;
    let inputs: Vec<_> = [-1, -3, -5].map(|n| Tensor::from_slice([1], &[n]).unwrap()).into();
    let mean = |(context, input): (&ContextHandle, &Tensor)| {
        context.collective("all").unwrap().all_reduce(Reduction::Mean, "m", input.clone())
    };
    for mean in join_all(contexts.iter().zip(&inputs).map(mean)).await {
        assert_eq!(mean.unwrap().elements::<i32>().unwrap(), [-3], "-9 / 3");
    }
    assert_eq!(inputs[0].elements::<i32>().unwrap(), [-1]);
    assert_eq!(inputs[2].elements::<i32>().unwrap(), [-5]);
    let none = Tensor::from_slice::<f32>([0], &[]).unwrap();
    let empty = contexts
        .iter()
        .map(|context| context.collective("all").unwrap().all_reduce(Reduction::Sum, "none", none.clone()));
    assert!(join_all(empty).await.into_iter().all(|sum| sum.unwrap().shape() == &Shape::from([0])));
    close(cluster, contexts).await;
}

/// TFRT §3.5-4: what a member gives is compared before its data is looked at; a difference is an error
/// for all members, and every promise settles.
#[actix::test]
async fn sizes_that_differ_are_an_error_for_all() {
    let cluster = cluster(3).await;
    let contexts = together(&cluster, 3).await;
    let groups: Vec<_> = contexts.iter().map(|context| context.collective("all").unwrap()).collect();
    let sizes = groups.iter().enumerate().map(|(i, group)| {
        group.all_reduce(Reduction::Sum, "size", vector(&vec![1.0; if i == 1 { 70_000 } else { 90_000 }]))
    });
    for sum in join_all(sizes).await {
        assert_eq!(sum.unwrap_err().code(), ErrorCode::InvalidArgument);
    }
    let types = groups.iter().enumerate().map(|(i, group)| {
        let input = if i == 2 { Tensor::from_slice([1], &[1i64]).unwrap() } else { vector(&[1.0]) };
        group.all_gather(0, "type", input)
    });
    for gathered in join_all(types).await {
        assert_eq!(gathered.unwrap_err().code(), ErrorCode::InvalidArgument);
    }
    close(cluster, contexts).await;
}

/// TFRT §3.5-5: an all-gather of any shape settles on every error path.
#[actix::test]
async fn an_all_gather_of_any_shape_settles_on_every_error() {
    let cluster = cluster(3).await;
    let contexts = together(&cluster, 3).await;
    let groups: Vec<_> = contexts.iter().map(|context| context.collective("all").unwrap()).collect();
    let ranks = groups.iter().enumerate().map(|(i, group)| {
        let shape = if i == 1 { Shape::from([1, 2]) } else { Shape::from([2]) };
        group.all_gather_any_shape(0, "rank", Tensor::from_slice(shape, &[1f32, 2.0]).unwrap())
    });
    for gathered in join_all(ranks).await {
        assert_eq!(gathered.unwrap_err().code(), ErrorCode::InvalidArgument);
    }
    let fixed = groups.iter().map(|group| group.all_gather(0, "fixed", vector(&[1.0])));
    assert!(join_all(fixed).await.into_iter().all(|gathered| elements(&gathered.unwrap()) == [1.0; 3]));
    let axes = groups.iter().map(|group| group.all_gather_any_shape(4, "axis", vector(&[1.0])));
    assert!(
        join_all(axes)
            .await
            .iter()
            .all(|gathered| gathered.as_ref().is_err_and(|e| e.code() == ErrorCode::InvalidArgument))
    );
    let begin = tokio::time::Instant::now();
    let missing = groups[..2].iter().map(|group| group.all_gather_any_shape(0, "missing", vector(&[1.0])));
    assert!(
        join_all(missing)
            .await
            .iter()
            .all(|gathered| gathered.as_ref().is_err_and(|e| e.code() == ErrorCode::DeadlineExceeded))
    );
    assert!(begin.elapsed() <= Duration::from_millis(5_600), "{:?}", begin.elapsed());
    close(cluster, contexts).await;
}

/// Four members on threads of their own, over TCP.
#[test]
fn four_members_reduce_over_sockets() {
    actix::System::new().block_on(async {
        let cluster = remex::testing::ThreadCluster::start(4, |_, server| server).await.unwrap();
        let names: Vec<_> = (0..4).map(|i| cluster.task(i).task().clone()).collect();
        let mut config = remex::ClusterConfig::new();
        for (i, name) in names.iter().enumerate() {
            config.add(name.clone(), cluster.task(i).address().cloned()).unwrap();
        }
        let config =
            ContextConfig::new(config).group("all", names.clone()).multi_client(ContextId(9), names[0].clone());
        let contexts = join_all((0..4).map(|i| cluster.task(i).create_context(config.clone()))).await;
        let contexts: Vec<_> = contexts.into_iter().map(Result::unwrap).collect();
        let input = |i: usize| vector(&vec![i as f32; 500_000]);
        let sums = contexts
            .iter()
            .enumerate()
            .map(|(i, context)| context.collective("all").unwrap().all_reduce(Reduction::Sum, "sum", input(i)));
        for sum in join_all(sums).await {
            assert!(elements(&sum.unwrap()).iter().all(|x| *x == 6.0));
        }
        for context in contexts {
            assert_eq!(context.close().await.unwrap(), []);
        }
        cluster.stop().await.unwrap();
    });
}
