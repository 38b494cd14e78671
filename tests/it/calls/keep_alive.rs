//! KeepAlive: a context is still wanted.

use remex::{prelude::*, protocol::calls::KeepAliveRequest, protocol::ids::ContextIndex};

use crate::{
    raw::{INDEX, Raw, create_context},
    support::{cluster, stats},
};

#[actix::test]
async fn it_keeps_an_idle_context() {
    let cluster = cluster(1).await;
    let mut raw = Raw::dial(&cluster, 0).await;
    let mut request = create_context(0);
    request.idle_timeout_ms = 5_000;
    raw.ask(request).await.unwrap();
    for _ in 0..5 {
        raw.stay(&cluster, 4).await;
        raw.ask(KeepAliveRequest { context: INDEX }).await.unwrap();
    }
    raw.stay(&cluster, 7).await;
    assert_eq!(stats(&cluster, 0).await, (0, 0, 0), "it was collected");
    let error = raw.ask(KeepAliveRequest { context: INDEX }).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidDistributedContextId);
    let unknown = raw.ask(KeepAliveRequest { context: ContextIndex(3) }).await.unwrap_err();
    assert!(unknown.message.contains("stands for no context"), "{unknown}");
    cluster.stop().await.unwrap();
}
