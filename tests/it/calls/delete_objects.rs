//! DeleteObjects: objects are given up, one by one or by dropping the last reference.

use remex::{
    prelude::*,
    protocol::calls::{Origin, PutObjectRequest, RemoteExecuteRequest},
};

use crate::{
    raw::{HERE, INDEX, Raw, fetch_object, object, remote_execute},
    support::{Gate, assert_error, builder, cluster, elements, end, put, register, stats, task, vector},
};

/// I4: a delete frees on every task, and says what it did not find.
#[actix::test]
async fn objects_are_deleted_on_their_tasks() {
    let cluster = cluster(3).await;
    let context = cluster.context().await.unwrap();
    let objects = [put(&context, 1, &[1.0]).await, put(&context, 2, &[2.0]).await, put(&context, 1, &[3.0]).await];
    assert_eq!(context.delete(&objects[..2]).await.unwrap(), []);
    assert_eq!((stats(&cluster, 1).await.1, stats(&cluster, 2).await.1), (2, 1));
    let failures = context.delete(&objects).await.unwrap();
    let failed: Vec<_> = failures.iter().map(|failure| (failure.object, failure.error.code)).collect();
    assert_eq!(failed, [(objects[0].id(), ErrorCode::NotFound), (objects[1].id(), ErrorCode::NotFound)]);
    assert_eq!(stats(&cluster, 1).await.1, 1, "the third was there and is deleted");
    assert_error(&context.fetch(&objects[0]).await.unwrap_err(), ErrorCode::NotFound, &["was deleted", &task(1)]);
    end(cluster, context).await;
}

/// I4: deleting what is still being made fails those who wait for it; its program goes on.
#[actix::test]
async fn a_pending_object_can_be_deleted() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let a = put(&context, 1, &[1.0]).await;
    let made = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let user = context.execute(RemoteExecute::new(&add).input(&made.outputs[0])).await.unwrap();
    assert_eq!(context.delete(&made.outputs).await.unwrap(), []);
    let error = user.chain.done().await.unwrap_err();
    assert_error(&error, ErrorCode::Cancelled, &["was deleted before it was ready", "via add"]);
    assert!(made.chain.try_get().is_none());
    gate.open(1);
    made.chain.done().await.unwrap();
    assert_eq!(gate.runs(), (1, 1, 0));
    end(cluster, context).await;
}

#[actix::test]
async fn dropping_the_last_reference_frees() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let before = stats(&cluster, 1).await;
    let (add, a) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let call = context.execute(RemoteExecute::new(&add).input(&a).handles(1)).await.unwrap();
    let clone = a.clone();
    drop(a);
    call.chain.done().await.unwrap();
    assert_eq!(stats(&cluster, 1).await.1, before.1 + 2);
    drop(clone);
    let Execution { handles, outputs, .. } = call;
    drop(outputs);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, before.1 + 1, "the handle holds the output");
    drop(handles);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await, before);
    end(cluster, context).await;
}

/// I4: what was sent before the last reference was dropped still gets the object, here and on another task.
#[actix::test]
async fn a_call_protects_its_inputs() {
    let gate = Gate::new();
    let cluster = builder(3).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[5.0]).await);
    let (here, there) = (register(&context, 1, "add").await, register(&context, 2, "add").await);
    let made = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let output = made.outputs.into_iter().next().unwrap();
    let users = [
        context.execute(RemoteExecute::new(&here).inputs([&output, &a]).handles(1)).await.unwrap(),
        context.execute(RemoteExecute::new(&there).inputs([&output, &a]).handles(1)).await.unwrap(),
    ];
    drop((output, a));
    cluster.settle().await;
    gate.open(1);
    for user in &users {
        assert_eq!(elements(&user.handles[0].fetch().await.unwrap()), [10.0]);
    }
    drop(users);
    cluster.settle().await;
    for i in 1..3 {
        assert_eq!(stats(&cluster, i).await.1, 1, "only the ready chain is left on task {i}");
    }
    end(cluster, context).await;
}

/// I5: what a call releases is released behind it, whether it runs or is refused; what is not there is passed over.
#[actix::test]
async fn what_a_call_takes_along_is_released_behind_it() {
    let cluster = cluster(1).await;
    let mut raw = Raw::with_context(&cluster, 0).await;
    raw.register(0, "add").await.unwrap();
    let (input, other) = (object(1, HERE), object(2, HERE));
    for object in [input, other] {
        let metadata = vector(&[0.0]).metadata().clone();
        raw.ask_with(PutObjectRequest { context: INDEX, object, metadata }, &[0; 4]).await.unwrap();
    }
    let call = remote_execute(0, &[(input, Origin::Here)], &[object(3, HERE)]);
    raw.ask(RemoteExecuteRequest { released: vec![object(9, HERE), input], ..call }).await.unwrap();
    let unknown = remote_execute(7, &[], &[object(4, HERE)]);
    let refused = raw.ask(RemoteExecuteRequest { released: vec![other], ..unknown }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::NotFound, "{refused}");
    for gone in [input, other] {
        let error = raw.ask(fetch_object(gone, Origin::Here)).await.unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound, "{error}");
    }
    cluster.stop().await.unwrap();
}
