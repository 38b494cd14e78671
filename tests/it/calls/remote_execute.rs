//! RemoteExecute, in its three forms.

use remex::prelude::*;

use crate::support::{cluster, elements, put, register};

#[actix::test]
async fn a_call_gives_ids_chain_and_handles_at_once() {
    let cluster = cluster(2).await;
    let context = cluster.context().await.unwrap();
    let add = register(&context, 1, "add").await;
    let (a, b) = (put(&context, 1, &[1.0, 2.0]).await, put(&context, 1, &[10.0, 20.0]).await);
    let call = context.execute(RemoteExecute::new(&add).inputs([&a, &b]).handles(1)).await.unwrap();
    assert_eq!((call.outputs.len(), call.handles.len()), (1, 1));
    assert!(call.chain.try_get().is_none());
    let handle = &call.handles[0];
    assert_eq!(handle.metadata().await.unwrap().to_string(), "f32[2]");
    assert_eq!(handle.tensor().await.unwrap().size_bytes, 8);
    call.chain.done().await.unwrap();
    assert_eq!(elements(&handle.fetch().await.unwrap()), [11.0, 22.0]);
    context.close().await.unwrap();
    cluster.stop().await.unwrap();
}
