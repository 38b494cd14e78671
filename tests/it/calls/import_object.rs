//! ImportObject: another client of the context takes an object over.

use std::time::Duration;

use futures_util::future::join_all;
use remex::{ObjectToken, TaskContext, prelude::*, protocol::ids::ContextId, testing::TestCluster};

use crate::support::{assert_error, builder, cluster, elements, end, put, register, stats};

/// Contexts of tasks 0 and 1 that are one; task 2 is a member too.
async fn together(cluster: &TestCluster) -> Vec<ContextHandle> {
    let config = || cluster.config().multi_client(ContextId(77), cluster.task(0).task().clone());
    join_all((0..3).map(|i| cluster.task(i).create_context(config()))).await.into_iter().map(Result::unwrap).collect()
}

async fn close(cluster: TestCluster, contexts: Vec<ContextHandle>) {
    for context in contexts {
        assert_eq!(context.close().await.unwrap(), []);
    }
    cluster.stop().await.unwrap();
}

#[actix::test]
async fn an_object_goes_from_one_client_to_another() {
    let cluster = cluster(3).await;
    let contexts = together(&cluster).await;
    let a = put(&contexts[0], 2, &[3.0]).await;
    // As text, over whatever way the application has.
    let token = a.export().await.unwrap().to_string();
    let token: ObjectToken = token.parse().unwrap();
    drop(a);
    cluster.settle().await;
    let taken = contexts[1].import(token).await.unwrap();
    let error = contexts[1].import(token).await.unwrap_err();
    assert_error(&error, ErrorCode::FailedPrecondition, &["was used before", "/job:test/task:2"]);
    assert_error(&contexts[0].import(token).await.unwrap_err(), ErrorCode::FailedPrecondition, &["was used before"]);
    cluster.advance(Duration::from_secs(61)).await;
    let add = register(&contexts[1], 2, "add").await;
    let call = contexts[1].execute(RemoteExecute::new(&add).inputs([&taken, &taken]).handles(1)).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [6.0]);
    drop((call, taken));
    cluster.settle().await;
    assert_eq!(stats(&cluster, 2).await.1, 1, "the new holder's release frees it");
    close(cluster, contexts).await;
}

/// Both hold it: whoever releases it last frees it.
#[actix::test]
async fn the_exporter_may_keep_its_own_count() {
    let cluster = cluster(3).await;
    let contexts = together(&cluster).await;
    let a = put(&contexts[0], 2, &[3.0]).await;
    let taken = contexts[1].import(a.export().await.unwrap()).await.unwrap();
    drop(taken);
    cluster.settle().await;
    assert_eq!(elements(&contexts[0].fetch(&a).await.unwrap()), [3.0]);
    let taken = contexts[1].import(a.export().await.unwrap()).await.unwrap();
    drop(a);
    cluster.settle().await;
    assert_eq!(elements(&contexts[1].fetch(&taken).await.unwrap()), [3.0]);
    drop(taken);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 2).await.1, 1);
    close(cluster, contexts).await;
}

/// What a client imported and did not release goes with its session.
#[actix::test]
async fn a_client_that_vanishes_gives_back_what_it_imported() {
    let lease = Duration::from_secs(3);
    let cluster = builder(3).each(move |_, builder| builder.reconnect_window(Duration::ZERO).session_lease(lease));
    let cluster = cluster.start().await.unwrap();
    let contexts = together(&cluster).await;
    let a = put(&contexts[0], 2, &[3.0]).await;
    let taken = contexts[1].import(a.export().await.unwrap()).await.unwrap();
    drop(a);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 2).await.1, 2);
    cluster.cut(1, 2);
    cluster.advance(Duration::from_secs(60)).await;
    assert_eq!(stats(&cluster, 2).await.1, 1);
    drop(taken);
    cluster.heal(1, 2);
    for context in contexts {
        // The one that was cut off has an error to report.
        let _ = context.close().await.unwrap();
    }
    cluster.stop().await.unwrap();
}

/// A program on a worker takes over what its caller has, and gives the token on in its baggage's place: as text.
#[actix::test]
async fn a_program_on_a_worker_can_import() {
    let take = native_async(|call: AsyncCall| async move {
        let context: TaskContext = call.context()?;
        let token = call.baggage.iter().find(|(key, _)| key == "token").map(|(_, token)| token.clone());
        let token: ObjectToken =
            token.unwrap_or_default().parse().map_err(|error: remex::protocol::ids::TokenError| {
                ProgramError::new(ErrorCode::InvalidArgument, error.to_string())
            })?;
        let taken = context.import(token).await?;
        Ok(vec![context.fetch(&taken).await?])
    });
    let cluster = builder(3).program("take", take.outputs(1)).start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (program, a) = (register(&context, 1, "take").await, put(&context, 2, &[7.0]).await);
    let token = a.export().await.unwrap();
    drop(a);
    let call = RemoteExecute::new(&program).baggage("token", token.to_string()).handles(1);
    let call = context.execute(call).await.unwrap();
    assert_eq!(elements(&call.handles[0].fetch().await.unwrap()), [7.0]);
    cluster.settle().await;
    assert_eq!(stats(&cluster, 2).await.1, 1, "the program has released it");
    end(cluster, context).await;
}

#[actix::test]
async fn a_token_of_another_context_is_refused() {
    let cluster = cluster(2).await;
    let (context, other) = (cluster.context().await.unwrap(), cluster.context().await.unwrap());
    let a = put(&other, 1, &[1.0]).await;
    let mut token = a.export().await.unwrap();
    assert_error(&context.import(token).await.unwrap_err(), ErrorCode::InvalidArgument, &["is of context"]);
    token.context = context.id();
    let error = context.import(token).await.unwrap_err();
    assert_error(&error, ErrorCode::NotFound, &["is unknown here"]);
    token.object.device.0 = 9;
    assert_error(&context.import(token).await.unwrap_err(), ErrorCode::DeviceNotFound, &["does not have"]);
    drop(a);
    other.close().await.unwrap();
    end(cluster, context).await;
}
