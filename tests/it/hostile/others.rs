//! What belongs to others: their contexts, objects, calls, groups. And calls that are made twice.

use remex::{
    ErrorCode,
    prelude::*,
    protocol::{
        Body, Rpc,
        calls::*,
        collective::{ChunkHeader, CollectiveOp},
        ids::{CallId, InstanceKey, ObjectId},
    },
    tensor::DType,
};

use super::{
    frames::put,
    peer::{Stranger, World, settle},
};
use crate::{
    raw::{CONTEXT, HERE, INDEX, create_context, fetch_object, object, register_function, remote_execute},
    support::{Gate, elements, register},
};

async fn with_context(world: &World) -> Stranger {
    let mut guest = world.guest().await;
    guest.ask(create_context(1), &[]).await.unwrap();
    guest
}

/// The number of a context is the key to it: who does not know it cannot guess it, and to make one of that number again
/// changes nothing of it.
#[actix::test]
async fn the_contexts_of_others_stay_theirs() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = world.guest().await;
            let id = world.context.id();
            let taken = guest.ask(CreateContextRequest { context: id, ..create_context(1) }, &[]).await;
            assert_eq!(taken.err(), Some(ErrorCode::DistributedContextAlreadyExists));
            world.goes_on().await;
            for guess in [0, 1, id.0 ^ 1, u64::MAX] {
                let context = remex::protocol::ids::ContextId(guess);
                let join = CreateContextRequest { context, mode: ContextMode::Join, ..create_context(1) };
                assert_eq!(guest.ask(join, &[]).await.err(), Some(ErrorCode::InvalidDistributedContextId));
            }
            // Neither is left, nor can be closed by its place on another link.
            let close = guest.ask(CloseContextRequest { context: INDEX }, &[]).await;
            assert_eq!(close.err(), Some(ErrorCode::InvalidDistributedContextId));
        })
        .await;
}

/// An object's id means something in its own context only.
#[actix::test]
async fn the_objects_of_others_are_not_found() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = with_context(world).await;
            let theirs: ObjectId = world.object.id();
            let fetched = guest.ask(fetch_object(theirs, Origin::Here), &[]).await;
            assert_eq!(fetched.err(), Some(ErrorCode::NotFound));
            let delete = |mode| DeleteObjectsRequest { context: INDEX, objects: vec![theirs], mode };
            let _ = guest.ask(delete(DeleteMode::Delete), &[]).await;
            let _ = guest.ask(delete(DeleteMode::Release), &[]).await;
            let cause = remex::protocol::RemoteError::new(ErrorCode::DataLoss, "gone, believe me");
            let _ = guest.ask(FailObjectsRequest { context: INDEX, objects: vec![theirs], cause }, &[]).await;
            world.goes_on().await;
            guest.ask(register_function(0, "add"), &[]).await.unwrap();
            let execute = remote_execute(0, &[(theirs, Origin::Here)], &[object(9, HERE)]);
            assert!(guest.ask(execute, &[]).await.is_err());
        })
        .await;
}

/// A call is cancelled by the session that made it, whatever number it has.
#[actix::test]
async fn the_calls_of_others_are_not_cancelled() {
    let gate = Gate::new();
    let world = World::new(&[("gate", gate.program())]).await;
    world
        .bears(async |world: &World| {
            let program = register(&world.context, 1, "gate").await;
            let call = RemoteExecute::new(&program).input(&world.object).handles(1);
            let call = world.context.execute(call).await.unwrap();
            settle(1).await;
            assert_eq!(gate.runs(), (1, 0, 0));
            // From outside, from a context of one's own, and from within the same context.
            let mut joined = world.guest().await;
            let context = world.context.id();
            let prefix = remex::protocol::ids::ObjectPrefix(0xbad);
            let join = CreateContextRequest { context, prefix, mode: ContextMode::Join, ..create_context(1) };
            joined.ask(join, &[]).await.unwrap();
            for mut guest in [world.guest().await, with_context(world).await, joined] {
                for index in 0..40 {
                    for generation in 0..3 {
                        let call = CallId::new(index, generation);
                        guest.ask(CancelRequest { call }, &[]).await.unwrap();
                    }
                }
            }
            settle(1).await;
            assert_eq!(gate.runs(), (1, 0, 0), "it runs on");
            gate.open(1);
            assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [1.0, 2.0]);
            world.context.unregister(&program).await.unwrap();
            drop((call, program));
        })
        .await;
}

fn chunk(context_group: u16, op: CollectiveOp) -> SendDataRequest {
    let header = ChunkHeader {
        group: context_group,
        run: 0,
        op,
        dtype: DType::U8,
        shape: remex::Shape::from([4u64]),
        step: 0,
        part: 0,
        offset: 0,
    };
    SendDataRequest {
        context: INDEX,
        key: InstanceKey::try_from("sum").unwrap(),
        purpose: Purpose::Collective,
        header: header.to_bytes().unwrap(),
        buffers: [4u64].into_iter().collect(),
        time_left_ms: 1_000,
    }
}

/// Chunks reach the groups that their sender is in.
#[actix::test]
async fn chunks_for_groups_of_others_are_refused() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let ops = [CollectiveOp::Barrier, CollectiveOp::Abort { member: u16::MAX }];
            // A task that is not of the context, and one that is, of which no group is.
            let mut guest = with_context(world).await;
            let mut called = world.guest_called("/job:absent/task:0").await;
            let context = remex::protocol::ids::ContextId(CONTEXT.0 + 1);
            called.ask(CreateContextRequest { context, ..create_context(1) }, &[]).await.unwrap();
            for op in ops {
                let refused = guest.ask(chunk(0, op), &[1; 4]).await;
                assert_eq!(refused.err(), Some(ErrorCode::PermissionDenied));
                for group in [0, 1, u16::MAX] {
                    assert!(called.ask(chunk(group, op), &[1; 4]).await.is_err(), "{op} to group {group}");
                }
            }
            let noise = SendDataRequest { header: vec![0xc1; 1_000], ..chunk(0, CollectiveOp::Barrier) };
            assert!(called.ask(noise, &[1; 4]).await.is_err());
            let lengths =
                SendDataRequest { buffers: [u64::MAX, 5].into_iter().collect(), ..chunk(0, CollectiveOp::Barrier) };
            assert_eq!(called.ask(lengths, &[1; 4]).await.err(), Some(ErrorCode::InvalidArgument));
        })
        .await;
}

/// A name of a call that is in use: the second one may fail or be done, each is answered once, and nothing is left.
#[actix::test]
async fn a_call_made_twice_is_answered_twice() {
    async fn twice<R: Rpc + Clone>(guest: &mut Stranger, index: u32, request: R, payload: &[u8]) -> [bool; 2] {
        let call = CallId::new(index, 0);
        guest.call_as(call, request.clone(), payload).await;
        guest.call_as(call, request, payload).await;
        let mut done = [false; 2];
        for done in &mut done {
            let frame = guest.answer().await;
            assert_eq!(frame.call, call);
            *done = matches!(frame.body, Body::Completed(_));
        }
        // Which of them is answered first is not said.
        done.sort_unstable();
        done
    }
    let gate = Gate::new();
    let world = World::new(&[("gate", gate.program())]).await;
    world
        .bears(async |world: &World| {
            let mut guest = with_context(world).await;
            assert_eq!(
                twice(&mut guest, 50, register_function(0, "gate"), &[]).await,
                [false, true],
                "the index is taken"
            );
            assert_eq!(twice(&mut guest, 51, put(3), &[1, 2, 3]).await, [false, true], "the id is in use");
            let fetch = fetch_object(object(1, HERE), Origin::Here);
            assert_eq!(twice(&mut guest, 52, fetch, &[]).await, [true, true]);
            // While it waits, and while it runs.
            let waits = FetchObjectRequest { time_left_ms: 100, ..fetch_object(object(77, HERE), Origin::Anywhere) };
            assert_eq!(twice(&mut guest, 53, waits, &[]).await, [false, false]);
            let execute = remote_execute(0, &[], &[object(2, HERE)]);
            let call = CallId::new(54, 0);
            guest.call_as(call, execute.clone(), &[]).await;
            guest.call_as(call, execute, &[]).await;
            let first = guest.answer().await;
            let Body::Failed { error, .. } = first.body else { panic!("{first:?}") };
            assert_eq!(error.code, ErrorCode::AlreadyExists, "its output is reserved");
            let cancel = guest.call(CancelRequest { call }, &[]).await;
            for _ in 0..2 {
                let frame = guest.answer().await;
                assert!(frame.call == cancel || matches!(frame.body, Body::Failed { .. }), "{frame:?}");
            }
            world.goes_on().await;
        })
        .await;
}
