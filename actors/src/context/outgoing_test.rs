//! What becomes of calls that were queued when the context ended.

use std::sync::Arc;

use actix::{Actor, ActorContext, Addr, Context, Handler};
use remex_protocol::{
    Effect, ErrorCode, RemoteError,
    calls::{DeleteMode, DeleteObjectsRequest},
    cluster::TaskInfo,
    handshake::Credits,
    ids::{CallId, ContextId, ContextIndex, DeviceIndex, ObjectId, ObjectPrefix, TaskIndex},
};

use super::{ContextShared, DEFAULT_DEADLINE, Drain, Peer, PeerLink, RemoteExecuteOp, actor, outgoing};
use crate::{
    Result,
    client::{Connect, Edge, Hangup, Indexes, LinkUp, Outgoing, Receiver, Subscribe},
    deadline,
    handles::Execution,
    pending::{Cancelled, Expect, Replies},
    promise::Promise,
    server::own_address,
};

/// Stands for all actors around a context, and expects nothing but to be asked to empty the queue.
struct Nobody;

impl Actor for Nobody {
    type Context = Context<Self>;
}

macro_rules! never_sent {
    ($($message:ty),*) => {$(
        impl Handler<$message> for Nobody {
            type Result = ();

            fn handle(&mut self, message: $message, _: &mut Context<Self>) {
                panic!("{message:?} is sent for a context that is over");
            }
        }
    )*};
}

never_sent!(Expect, Replies, Cancelled, Outgoing, Subscribe, Hangup);

impl Handler<Drain> for Nobody {
    type Result = ();

    fn handle(&mut self, _: Drain, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<Connect> for Nobody {
    type Result = Result<LinkUp>;

    fn handle(&mut self, _: Connect, _: &mut Context<Self>) -> Self::Result {
        Err(actor::closed())
    }
}

/// A context of one task, with a link to itself.
fn context(nobody: &Addr<Nobody>) -> (Arc<ContextShared>, Arc<Edge>) {
    let edge = Edge::new("t", Credits { calls: 3, bytes: 100 });
    let receiver = Receiver {
        address: own_address(),
        edge: edge.clone(),
        expect: nobody.clone().recipient(),
        replies: nobody.clone().recipient(),
        cancel: nobody.clone().recipient(),
        outgoing: nobody.clone().recipient(),
        connect: nobody.clone().recipient(),
        subscribe: nobody.clone().recipient(),
        hangup: nobody.clone().recipient(),
        indexes: Indexes::default(),
    };
    let ready = ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) };
    let info = TaskInfo { name: "/job:t/task:0".parse().unwrap(), address: None };
    let peer = Peer::new(info, Some(PeerLink::new(Arc::new(receiver), ContextIndex(0), 0))).with_ready_chain(ready);
    let devices = vec!["/job:t/task:0/device:CPU:0".parse().unwrap()];
    let shared =
        ContextShared::new(ContextId(1), ObjectPrefix(2), TaskIndex(0), vec![peer], devices, DEFAULT_DEADLINE).unwrap();
    (Arc::new(shared), edge)
}

/// An op, another after it, and a call without promises: all that credits allow.
async fn queue(shared: &Arc<ContextShared>) -> (Execution, Execution, Promise<(remex_protocol::Reply, bytes::Bytes)>) {
    let op = || RemoteExecuteOp::new("x").on(&shared.devices[0]);
    let first = shared.try_execute_op(op()).unwrap();
    let parked = shared.try_execute_op(op().after(&first.chain)).unwrap();
    let request = DeleteObjectsRequest { context: ContextIndex(0), objects: Vec::new(), mode: DeleteMode::Delete };
    let until = deadline::from_now(DEFAULT_DEADLINE);
    let (_, answer) = shared.begin(TaskIndex(0), request, bytes::Bytes::new(), until, Vec::new()).await.unwrap();
    (first, parked, answer)
}

/// All of them fail as closed, with nothing sent, and what they took is free again.
async fn check_given_up(
    edge: &Arc<Edge>,
    (first, parked, answer): (Execution, Execution, Promise<(remex_protocol::Reply, bytes::Bytes)>),
) {
    let errors = [first.chain.done().await, parked.chain.done().await, answer.get().await.map(drop)];
    for error in errors.map(Result::unwrap_err) {
        let RemoteError { code, effect, .. } = error.remote();
        assert_eq!((*code, *effect), (ErrorCode::FailedPrecondition, Effect::NotSent), "{error}");
        assert!(error.message().contains("the context is closed"), "{error}");
    }
    let mut tickets = [edge.ticket(), edge.ticket(), edge.ticket()];
    tickets.sort_by_key(|ticket| ticket.index);
    assert_eq!(tickets, [0, 1, 2].map(|index| CallId::new(index, 1)));
    let admitted: Vec<_> = (0..3).map(|_| edge.try_admit(0)).collect();
    assert!(admitted.iter().all(Result::is_ok) && edge.try_admit(0).is_err());
}

#[actix::test]
async fn what_is_queued_when_the_context_ends_fails_as_closed() {
    let (shared, edge) = context(&Nobody.start());
    let queued = queue(&shared).await;
    shared.close(actor::closed());
    outgoing::refuse(&shared);
    check_given_up(&edge, queued).await;
}

/// I1: nobody closed the context, so its actor died.
#[actix::test]
async fn what_is_queued_after_the_actor_has_gone_fails() {
    let nobody = Nobody.start();
    let (shared, edge) = context(&nobody);
    // The actor is told to empty an empty queue, which ends it here.
    shared.ingress.attach(nobody.clone().recipient(), &shared);
    while nobody.connected() {
        tokio::task::yield_now().await;
    }
    // Each call finds the context open, as one does whose caller looked just before.
    let op = shared.try_execute_op(RemoteExecuteOp::new("x").on(&shared.devices[0])).unwrap();
    let error = op.chain.done().await.unwrap_err();
    assert_eq!((error.code(), error.effect()), (ErrorCode::Internal, Effect::NotSent), "{error}");
    assert_eq!(edge.ticket(), CallId::new(0, 1));
    let again = shared.try_execute_op(RemoteExecuteOp::new("x").on(&shared.devices[0])).unwrap_err();
    assert_eq!(again.code(), ErrorCode::Internal, "and now it is closed, with that");
}
