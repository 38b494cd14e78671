//! Scopes: what is made in one is released together.

use remex::prelude::*;

use crate::support::{Gate, assert_error, builder, cluster, device, elements, end, put, register, stats};

/// All in one message, in the order of making; what is kept stays.
#[actix::test]
async fn what_is_made_in_a_scope_goes_with_it() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, outside) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let scope = context.scope();
    let a = put_in(&scope, &[2.0]).await;
    let first = scope.execute(RemoteExecute::new(&add).inputs([&a, &outside]).handles(1)).await.unwrap();
    let second = scope.execute(RemoteExecute::new(&add).inputs([&first.outputs[0], &a]).handles(1)).await.unwrap();
    second.chain.done().await.unwrap();
    assert_eq!((scope.len(), stats(&cluster, 1).await.1), (3, 5));
    scope.keep(&second.outputs[0]).unwrap();
    cluster.hold();
    scope.end();
    cluster.settle().await;
    let sent = cluster.step().await.unwrap();
    assert!(sent.contains("DeleteObjects"), "{sent}");
    assert_eq!(stats(&cluster, 1).await.1, 3, "one message released both");
    cluster.release();
    assert_eq!(elements(&second.handles[0].fetch().await.unwrap()), [5.0], "it was kept");
    for gone in [&a, &first.outputs[0]] {
        assert_error(&context.fetch(gone).await.unwrap_err(), ErrorCode::NotFound, &["there is no object"]);
    }
    drop((a, first, second));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 2, "what was kept went with its last reference, nothing twice");
    drop(outside);
    end(cluster, context).await;
}

async fn put_in(context: &remex::TaskContext, elements: &[f32]) -> ObjectRef {
    context.put(&context.device_of("/job:test/task:1").unwrap(), crate::support::vector(elements)).await.unwrap()
}

/// Calls that were made in time still get what they name, though it is not made yet.
#[actix::test]
async fn calls_made_before_the_end_of_a_scope_go_on() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, add) = (register(&context, 1, "gate").await, register(&context, 1, "add").await);
    let scope = context.scope();
    let a = put_in(&scope, &[2.0]).await;
    let made = scope.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let last = scope.execute(RemoteExecute::new(&add).inputs([&made.outputs[0], &a]).handles(1)).await.unwrap();
    scope.keep(&last.outputs[0]).unwrap();
    drop(scope);
    cluster.settle().await;
    gate.open(1);
    assert_eq!(elements(&last.handles[0].fetch().await.unwrap()), [4.0]);
    drop((a, made, last));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 1);
    end(cluster, context).await;
}

/// What is kept of a scope inside another belongs to that one.
#[actix::test]
async fn scopes_can_be_nested() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let outer = context.scope();
    let inner = outer.scope();
    let (a, b) = (put_in(&inner, &[1.0]).await, put_in(&inner, &[2.0]).await);
    inner.keep(&a).unwrap();
    assert_error(&inner.keep(&a).unwrap_err(), ErrorCode::NotFound, &["was not made in this scope"]);
    assert_error(&outer.keep(&b).unwrap_err(), ErrorCode::NotFound, &["was not made in this scope"]);
    assert_eq!((outer.len(), inner.len()), (1, 1));
    drop(inner);
    cluster.settle().await;
    assert_eq!((stats(&cluster, 1).await.1, outer.is_empty()), (2, false));
    drop(outer);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 1);
    drop((a, b));
    end(cluster, context).await;
}

/// Ids that are allocated, tokens that are imported and outputs of ops are made in the scope too; outputs into ids from
/// outside are not.
#[actix::test]
async fn whatever_makes_objects_makes_them_in_the_scope() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let (add, outside) = (register(&context, 1, "add").await, put(&context, 1, &[1.0]).await);
    let (given, token) = (context.new_object(&device(1)).unwrap(), outside.export().await.unwrap());
    let scope = context.scope();
    let clone = remex::TaskContext::clone(&scope);
    let own = clone.new_object(&device(1)).unwrap();
    let imported = clone.import(token).await.unwrap();
    let call = RemoteExecute::new(&add).input(&imported).outputs_into([own.clone()]);
    clone.execute(call).await.unwrap().chain.done().await.unwrap();
    let call = RemoteExecute::new(&add).input(&own).outputs_into([given.clone()]);
    clone.execute(call).await.unwrap().chain.done().await.unwrap();
    let kept = put_in(&clone, &[8.0]).await;
    kept.keep();
    assert_eq!((scope.len(), stats(&cluster, 1).await.1), (3, 5));
    drop(scope);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 4, "beside the ready chain: outside, given, kept");
    assert_eq!(elements(&context.fetch(&given).await.unwrap()), [1.0]);
    let late = put_in(&clone, &[9.0]).await;
    assert_eq!(elements(&context.fetch(&late).await.unwrap()), [9.0], "after the end a clone is an ordinary context");
    context.delete(&[kept]).await.unwrap();
    drop((late, own, imported, given, outside));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 1);
    end(cluster, context).await;
}
