//! Collectives on real actors, whose links are another actor and whose clock is paused.

use std::{cell::RefCell, future::Future, rc::Rc, time::Duration};

use actix::{Actor, Context, Handler, ResponseFuture};
use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use remex_protocol::{
    ErrorCode, RemoteError,
    cluster::{GroupMembers, TaskName},
    collective::{ChunkHeader, CollectiveOp, Reduction},
    ids::TaskIndex,
    tensor::{BufferPool, DType, Tensor},
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    ArrivedChunk, ChunkArrived, Chunks, Close, CollectiveLimits, CollectiveRecipients, Collectives, Group, SendChunk,
    TaskLost, runs::Arrived,
};
use crate::{
    Error, Result,
    envelope::{ask, post},
    rendezvous::Answer,
};

const SECOND: Duration = Duration::from_secs(1);

/// The links of one task to all others.
struct Wires {
    own: TaskIndex,
    net: Rc<RefCell<Net>>,
}

#[derive(Default)]
struct Net {
    tasks: Vec<CollectiveRecipients>,
    /// Where nothing arrives.
    cut: Option<TaskIndex>,
    chunks: usize,
}

impl Actor for Wires {
    type Context = Context<Self>;
}

impl Handler<SendChunk> for Wires {
    type Result = ResponseFuture<Result<()>>;

    fn handle(&mut self, chunk: SendChunk, _: &mut Context<Self>) -> Self::Result {
        let mut net = self.net.borrow_mut();
        net.chunks += 1;
        if net.cut.is_some_and(|cut| cut == chunk.to || cut == self.own) {
            return Box::pin(async { Err(Error::new(ErrorCode::RpcUnavailable, "the link is down")) });
        }
        let (answer, answered) = oneshot::channel();
        let SendChunk { to, name, header, payload, until } = chunk;
        let arrived = ArrivedChunk { answer: Answer::here(answer), from: self.own, name, header, payload, until };
        post(&net.tasks[to.position()].arrived, ChunkArrived(vec![arrived]));
        Box::pin(async { answered.await.unwrap() })
    }
}

fn name(index: u32) -> TaskName {
    TaskName::new("w", index).unwrap()
}

/// So many tasks in group "all", and one more that is in no group.
fn tasks(members: u16) -> Rc<RefCell<Net>> {
    tasks_and_actors(members).0
}

fn tasks_and_actors(members: u16) -> (Rc<RefCell<Net>>, Vec<actix::Addr<Collectives>>) {
    let mut actors = Vec::new();
    let net = Rc::new(RefCell::new(Net::default()));
    let names: Vec<_> = (0..=u32::from(members)).map(name).collect();
    let groups = [GroupMembers { name: "all".to_owned(), members: (0..members).map(TaskIndex).collect() }];
    for own in (0..=members).map(TaskIndex) {
        let wires = Wires { own, net: net.clone() }.start().recipient();
        let collectives =
            Collectives::new(own, &names, &groups, wires, CollectiveLimits::default(), BufferPool::default()).start();
        net.borrow_mut().tasks.push(Collectives::recipients(&collectives));
        actors.push(collectives);
    }
    (net, actors)
}

fn group(net: &Rc<RefCell<Net>>, member: usize) -> Group {
    net.borrow().tasks[member].group("all", 10 * SECOND)
}

fn ones(elements: usize) -> Tensor {
    Tensor::from_slice([elements as u64], &vec![1.0f32; elements]).unwrap()
}

fn sums(net: &Rc<RefCell<Net>>, members: std::ops::Range<usize>) -> impl Future<Output = Vec<Result<Tensor>>> + use<> {
    join_all(members.map(|member| group(net, member).all_reduce(Reduction::Sum, "grads", ones(5))))
}

async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

#[actix::test]
async fn every_collective_runs_on_actors() {
    tokio::time::pause();
    let net = tasks(4);
    for result in sums(&net, 0..4).await {
        assert_eq!(result.unwrap().elements::<f32>().unwrap(), [4.0; 5]);
    }
    let all = |call: fn(Group, Tensor) -> futures_util::future::LocalBoxFuture<'static, Result<Tensor>>| {
        join_all((0..4).map(|member| {
            let input = Tensor::from_slice([4], &[member as i32; 4]).unwrap();
            call(group(&net, member), input)
        }))
    };
    let results = all(|group, x| group.reduce_scatter(Reduction::Max, "s", x).boxed_local()).await;
    assert!(results.into_iter().all(|result| result.unwrap().elements::<i32>().unwrap() == [3]));
    let results = all(|group, x| group.all_gather(0, "g", x).boxed_local()).await;
    let gathered: Vec<i32> = (0..4).flat_map(|member| [member; 4]).collect();
    assert!(results.into_iter().all(|result| result.unwrap().elements::<i32>().unwrap() == gathered));
    let results = all(|group, x| {
        let length = x.elements::<i32>().unwrap()[0] as u64;
        let x = Tensor::from_slice([length], &vec![7i32; length as usize]).unwrap();
        group.all_gather_any_shape(0, "a", x).boxed_local()
    });
    assert!(results.await.into_iter().all(|result| result.unwrap().elements::<i32>().unwrap() == [7; 6]));
    let results = all(|group, x| group.broadcast(2, "b", Some(x)).boxed_local()).await;
    assert!(results.into_iter().all(|result| result.unwrap().elements::<i32>().unwrap() == [2; 4]));
    let waiting = join_all((0..3).map(|member| group(&net, member).barrier("end")));
    settle().await;
    assert!(waiting.now_or_never().is_none(), "nobody goes on before all have come");
    // What was dropped goes on: the others still get their results.
    group(&net, 3).barrier("end").await.unwrap();
}

#[actix::test]
async fn many_chunks_go_round_at_once() {
    tokio::time::pause();
    let net = tasks(3);
    let elements = 5 * 65_536 * 3 + 1;
    let calls = (0..3).map(|member| group(&net, member).all_reduce(Reduction::Mean, "big", ones(elements)));
    for result in join_all(calls).await {
        assert!(result.unwrap().elements::<f32>().unwrap().iter().all(|x| *x == 1.0));
    }
    // Parts of 5, 5 and 6 chunks, each of which is sent twice and twice.
    settle().await;
    assert_eq!(net.borrow().chunks, (5 + 5 + 6) * 4);
}

/// TFRT §3.5-1: a second callback on a key took the place of the first, which ended as a success. Here each call is a
/// run of its own.
#[actix::test]
async fn runs_of_one_name_do_not_mix() {
    tokio::time::pause();
    let net = tasks(2);
    let call = |member: usize, x: i32| group(&net, member).all_reduce(Reduction::Sum, "x", Tensor::scalar(x).unwrap());
    // One member makes three calls before the other makes its first.
    let ahead = [call(0, 1), call(0, 2), call(0, 3)];
    settle().await;
    let behind = [call(1, 10), call(1, 20), call(1, 30)];
    for results in [join_all(ahead).await, join_all(behind).await] {
        let results: Vec<_> = results.into_iter().map(|x| x.unwrap().elements::<i32>().unwrap()[0]).collect();
        assert_eq!(results, [11, 22, 33]);
    }
}

/// CO-1, CO-2: all members that came end by the deadline, with one cause; and the next run of the name goes well.
#[actix::test]
async fn who_never_comes_is_waited_for_until_the_deadline() {
    tokio::time::pause();
    let (net, begin) = (tasks(4), Instant::now());
    let errors: Vec<_> = sums(&net, 0..3).await.into_iter().map(Result::unwrap_err).collect();
    assert!((10 * SECOND..10 * SECOND + Duration::from_millis(5)).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    assert_eq!(errors[0].code(), ErrorCode::DeadlineExceeded);
    // The one that comes too late gets the cause that was kept for it, and is in step with the others again.
    let late = group(&net, 3).all_reduce(Reduction::Sum, "grads", ones(5)).await.unwrap_err();
    assert_eq!(late.code(), ErrorCode::DeadlineExceeded);
    assert!(errors.contains(&late), "{late}");
    assert!(sums(&net, 0..4).await.iter().all(Result::is_ok));
}

/// CO-2: what fails at one member is the cause at all, and names that task.
#[actix::test]
async fn a_difference_reaches_all_with_the_task_that_found_it() {
    tokio::time::pause();
    let net = tasks(3);
    let odd = group(&net, 1).all_reduce(Reduction::Sum, "grads", ones(6));
    let others = join_all([0, 2].map(|member| group(&net, member).all_reduce(Reduction::Sum, "grads", ones(5))));
    for error in [odd.await].into_iter().chain(others.await).map(Result::unwrap_err) {
        assert_eq!(error.code(), ErrorCode::InvalidArgument);
        assert!(error.message().contains("f32[6]"), "{error}");
        assert!(error.task().unwrap().starts_with("/job:w/task:"), "{error}");
    }
}

/// CO-2: a link that is lost, noticed by a send or told by the context, ends the collective at all who are still reached.
#[actix::test]
async fn a_lost_member_is_an_error_for_all() {
    tokio::time::pause();
    let net = tasks(3);
    net.borrow_mut().cut = Some(TaskIndex(2));
    for error in sums(&net, 0..2).await.into_iter().map(Result::unwrap_err) {
        assert_eq!(error.code(), ErrorCode::RpcUnavailable);
    }
    net.borrow_mut().cut = None;
    let cause = Error::from(RemoteError::new(ErrorCode::RpcUnavailable, "gone").on_task("/job:w/task:2"));
    let waiting = join_all([0, 1].map(|member| group(&net, member).barrier("end")));
    settle().await;
    post(&net.borrow().tasks[0].lost, TaskLost { task: TaskIndex(2), error: cause.clone() });
    for error in waiting.await {
        assert_eq!(error, Err(cause.clone()));
    }
}

/// TFRT §3.5-1: on close an unfinished collective kept its context alive for ever, and its chain pending.
#[actix::test]
async fn closing_fails_what_runs() {
    tokio::time::pause();
    let net = tasks(2);
    let waiting = group(&net, 0).barrier("end");
    settle().await;
    let cause = Error::from(RemoteError::new(ErrorCode::Cancelled, "the context was closed").on_task("/job:w/task:0"));
    let close = net.borrow().tasks[0].close.clone();
    ask(&close, Close(cause.clone())).await.unwrap();
    assert_eq!(waiting.await, Err(cause));
    settle().await;
    assert!(!net.borrow().tasks[0].join.connected(), "nothing keeps it alive");
    assert!(group(&net, 0).barrier("end").await.is_err());
}

#[actix::test]
async fn who_is_not_a_member_is_told_so() {
    tokio::time::pause();
    let net = tasks(2);
    let error = group(&net, 2).barrier("x").await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.message().contains("t2 is not in group \"all\", which has /job:w/task:0, /job:w/task:1"), "{error}");
    let nobody = net.borrow().tasks[0].group("none", SECOND);
    let error = nobody.barrier("x").await.unwrap_err();
    assert_eq!((error.code(), error.task()), (ErrorCode::NotFound, Some("/job:w/task:0")));
    assert!(error.message().contains("no group \"none\"; it has all"), "{error}");
    assert_eq!(group(&net, 0).barrier("").await.unwrap_err().code(), ErrorCode::InvalidArgument);
}

/// CO-2: a chunk that finds its run over is no error for its sender, who would take that for the cause.
#[actix::test]
async fn chunks_for_a_run_that_is_over_are_taken() {
    let (dtype, shape) = (DType::U8, [0].into());
    let header = ChunkHeader { group: 0, run: 0, op: CollectiveOp::Barrier, dtype, shape, step: 0, part: 1, offset: 0 };
    let (answer, answered) = oneshot::channel();
    let answer = Some(Answer::here(answer));
    drop(Chunks(vec![Arrived { from: 1, header, payload: Bytes::new(), answer }]));
    assert_eq!(answered.await.unwrap(), Ok(()));
}

/// CO-3, CO-5: what a stranger sends is refused, and what nobody joins is answered by its deadline.
#[actix::test]
async fn chunks_without_a_run_are_answered() {
    tokio::time::pause();
    let net = tasks(2);
    let (dtype, shape) = (DType::U8, [0].into());
    let header = ChunkHeader { group: 0, run: 0, op: CollectiveOp::Barrier, dtype, shape, step: 0, part: 1, offset: 0 };
    let send = |from: u16, header: Vec<u8>| {
        let (answer, answered) = oneshot::channel();
        let chunk = ArrivedChunk {
            answer: Answer::here(answer),
            from: TaskIndex(from),
            name: "x".try_into().unwrap(),
            header: header.into(),
            payload: Bytes::new(),
            until: (Instant::now() + 5 * SECOND).into_std(),
        };
        post(&net.borrow().tasks[0].arrived, ChunkArrived(vec![chunk]));
        async { answered.await.unwrap().unwrap_err() }
    };
    let good = header.to_bytes().unwrap();
    let error = send(2, good.clone()).await;
    assert!(error.message().contains("t2 is not in group"), "{error}");
    let error = send(1, vec![1, 2]).await;
    assert!(error.message().contains("is malformed"), "{error}");
    let error = send(1, ChunkHeader { group: 3, ..header }.to_bytes().unwrap()).await;
    assert!(error.message().contains("no group number 3"), "{error}");
    let begin = Instant::now();
    let error = send(1, good).await;
    assert_eq!((error.code(), error.task()), (ErrorCode::DeadlineExceeded, Some("/job:w/task:0")));
    assert!((5 * SECOND..5 * SECOND + Duration::from_millis(5)).contains(&begin.elapsed()));
}

/// I1: the actor that hands chunks on dies; what it ran fails at once, and what comes later, too.
#[actix::test]
async fn a_dead_actor_fails_what_it_ran() {
    tokio::time::pause();
    let (net, actors) = tasks_and_actors(2);
    let running = sums(&net, 0..1);
    let running = actix::spawn(running);
    settle().await;
    let begin = Instant::now();
    post(&actors[0].clone().recipient(), crate::testing::Die);
    let error = running.await.unwrap().remove(0).unwrap_err();
    assert_eq!((error.code(), begin.elapsed()), (ErrorCode::Internal, Duration::ZERO), "{error}");
    assert!(error.message().contains("collectives died"), "{error}");
    let later = sums(&net, 0..1).await.remove(0).unwrap_err();
    assert_eq!((later.code(), begin.elapsed()), (ErrorCode::Internal, Duration::ZERO), "{later}");
}
