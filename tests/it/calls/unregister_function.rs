//! UnregisterFunction: a name is given up.

use remex::prelude::*;

use crate::support::{Gate, Scale, assert_error, builder, elements, end, put, register, scale, task};

#[actix::test]
async fn calls_made_before_still_run_and_later_ones_do_not() {
    let gate = Gate::new();
    let cluster = builder(2).program("gate", gate.program()).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "gate").await, put(&context, 1, &[1.0]).await);
    let before = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    context.unregister(&program).await.unwrap();
    let after = context.execute(RemoteExecute::new(&program).input(&a).handles(1)).await.unwrap();
    let error = after.handles[0].metadata().await.unwrap_err();
    assert_error(&error, ErrorCode::NotFound, &["stands for no program on this link", &task(1)]);
    gate.open(1);
    assert_eq!(elements(&before.handles[0].fetch().await.unwrap()), [1.0]);
    assert_error(&context.unregister(&program).await.unwrap_err(), ErrorCode::NotFound, &[]);
    end(cluster, context).await;
}

#[actix::test]
async fn the_name_is_free_when_nobody_uses_it() {
    let cluster = builder(2).each(|_, builder| builder.compiler(Scale::default())).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let first = context.register(&task(1), scale("1")).await.unwrap();
    let second = context.register(&task(1), scale("1")).await.unwrap();
    context.unregister(&first).await.unwrap();
    let taken = context.register(&task(1), scale("2")).await.unwrap_err();
    assert_eq!(taken.code(), ErrorCode::RemoteFunctionAlreadyExists, "the second registration holds it");
    context.unregister(&second).await.unwrap();
    let other = context.register(&task(1), scale("2")).await.unwrap();
    let a = put(&context, 1, &[4.0]).await;
    let call = context.execute(RemoteExecute::new(&other).input(&a).handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [8.0]);
    end(cluster, context).await;
}
