//! FailObjects: ids that nobody will make.

use remex::{Error, prelude::*};

use crate::support::{assert_error, cluster, device, end, put, register, stats};

/// I3, I4: who waits for an id, and who uses it later, has the cause; ids in use are reported and not touched.
#[actix::test]
async fn ids_that_nobody_will_make_fail_those_who_wait() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let objects = stats(&cluster, 1).await.1;
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let id = context.new_object(&device(1)).unwrap();
    let waits = context.execute(RemoteExecute::new(&add).input(&id).handles(1)).await.unwrap();
    cluster.settle().await;
    assert!(waits.chain.try_get().is_none());
    let cause = Error::new(ErrorCode::Aborted, "the source is dry");
    let failures = context.fail_objects(&[a.clone(), id.clone()], &cause).await.unwrap();
    assert_eq!(failures.len(), 1);
    assert_eq!((failures[0].object, failures[0].error.code), (a.id(), ErrorCode::AlreadyExists));
    let error = waits.handles[0].tensor().await.unwrap_err();
    assert_error(&error, ErrorCode::Aborted, &["the source is dry", "via add"]);
    assert_error(&context.fetch(&id).await.unwrap_err(), ErrorCode::Aborted, &["the source is dry"]);
    let again = context.fail_objects(std::slice::from_ref(&id), &cause).await.unwrap();
    assert_eq!(again[0].error.code, ErrorCode::AlreadyExists);
    context.fetch(&a).await.unwrap();
    drop((id, waits, a));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, objects);
    end(cluster, context).await;
}

#[actix::test]
async fn ids_of_another_context_are_refused() {
    let cluster = cluster(2).await;
    let (context, other) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let id = other.new_object(&device(1)).unwrap();
    let cause = Error::new(ErrorCode::Aborted, "no");
    let error = context.fail_objects(&[id], &cause).await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["another context"]);
    other.close().await.unwrap();
    end(cluster, context).await;
}
