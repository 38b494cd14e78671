//! ExportObject: a token keeps its object for its lease.

use std::time::Duration;

use remex::{ObjectToken, prelude::*};

use crate::support::{Gate, assert_error, builder, cluster, end, put, register, stats};

#[actix::test]
async fn a_token_keeps_its_object_for_a_minute() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    let token = a.export().await.unwrap();
    assert_eq!(token.to_string().parse::<ObjectToken>().unwrap(), token);
    drop(a);
    cluster.advance(Duration::from_secs(59)).await;
    assert_eq!((stats(&cluster, 1).await.1, cluster.task(1).stats().await.unwrap().tokens), (2, 1));
    cluster.advance(Duration::from_secs(2)).await;
    assert_eq!(stats(&cluster, 1).await.1, 1, "nobody took it");
    let error = context.import(token).await.unwrap_err();
    assert_error(&error, ErrorCode::DeadlineExceeded, &["has expired", "/job:test/task:1"]);
    cluster.advance(Duration::from_secs(60)).await;
    assert_eq!(cluster.task(1).stats().await.unwrap().tokens, 0);
    assert_error(&context.import(token).await.unwrap_err(), ErrorCode::NotFound, &["is unknown here"]);
    end(cluster, context).await;
}

/// I5: an output can be exported as soon as its call is made; who imports it waits as its maker does.
#[actix::test]
async fn an_object_can_be_exported_before_it_is_made() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[5.0]).await);
    let made = context.execute(RemoteExecute::new(&program).input(&a)).await.unwrap();
    let token = made.outputs[0].export().await.unwrap();
    drop(made);
    cluster.settle().await;
    let taken = context.import(token).await.unwrap();
    gate.open(1);
    assert_eq!(crate::support::elements(&context.fetch(&taken).await.unwrap()), [5.0]);
    drop((taken, a));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 1).await.1, 1);
    end(cluster, context).await;
}

#[actix::test]
async fn what_is_not_there_is_not_exported() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let a = put(&context, 1, &[1.0]).await;
    context.delete(std::slice::from_ref(&a)).await.unwrap();
    assert_error(&a.export().await.unwrap_err(), ErrorCode::NotFound, &["there is no object"]);
    end(cluster, context).await;
}
