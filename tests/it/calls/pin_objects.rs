//! PinObjects: objects stay though nobody refers to them.

use remex::prelude::*;

use crate::support::{assert_error, cluster, elements, end, put, register, stats};

#[actix::test]
async fn a_pinned_object_outlives_its_references() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[2.0]).await);
    let id = a.pin().await.unwrap();
    assert_eq!(a.pin().await.unwrap(), id, "once more changes nothing");
    drop(a);
    cluster.settle().await;
    assert_eq!((stats(&cluster, 1).await.1, cluster.task(1).stats().await.unwrap().pinned), (2, 1));
    let call = context.execute(RemoteExecute::new(&add).input(id).input(id).handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [4.0]);
    let adopted = context.adopt(id).unwrap();
    let failures = context.delete(std::slice::from_ref(&adopted)).await.unwrap();
    assert_eq!((failures.len(), failures[0].error.code), (1, ErrorCode::FailedPrecondition));
    assert!(failures[0].error.message.contains("is pinned: unpin it first"), "{}", failures[0].error);
    drop((call, adopted));
    cluster.settle().await;
    context.unpin(id).await.unwrap();
    assert_eq!(stats(&cluster, 1).await.1, 1, "only the ready chain is left");
    assert_error(&context.unpin(id).await.unwrap_err(), ErrorCode::NotFound, &["was deleted"]);
    end(cluster, context).await;
}

#[actix::test]
async fn what_cannot_be_pinned_is_an_error() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    let error = context.unpin(a.id()).await.unwrap_err();
    assert_error(&error, ErrorCode::FailedPrecondition, &["is not pinned", "/job:test/task:1"]);
    context.delete(std::slice::from_ref(&a)).await.unwrap();
    assert_error(&a.pin().await.unwrap_err(), ErrorCode::NotFound, &["there is no object"]);
    let mut elsewhere = a.id();
    elsewhere.device.0 = 77;
    assert_error(&context.unpin(elsewhere).await.unwrap_err(), ErrorCode::DeviceNotFound, &["does not have"]);
    end(cluster, context).await;
}

/// The end of the context ends its pins: `end` fails if anything is left.
#[actix::test]
async fn the_end_of_a_context_frees_what_is_pinned() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    put(&context, 1, &[1.0]).await.pin().await.unwrap();
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 2);
    assert_eq!(context.close().await.unwrap(), []);
    assert_eq!(cluster.task(1).stats().await.unwrap().memory_used, 0);
    cluster.stop().await.unwrap();
}
