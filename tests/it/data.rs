//! Data by key, between tasks of a context: both orders, several buffers, deadlines, cancel.

use std::time::Duration;

use bytes::Bytes;
use remex::{Receiving, prelude::*, protocol::ids::ContextId, testing::TestCluster};

use crate::support::{assert_error, builder, cluster, elements, end, put, register, stats, task, vector};

/// A context that all tasks make, so that each of them has a handle.
async fn together(cluster: &TestCluster, tasks: usize) -> Vec<ContextHandle> {
    let lead = cluster.task(0).task().clone();
    let made =
        (0..tasks).map(|i| cluster.task(i).create_context(cluster.config().multi_client(ContextId(5), lead.clone())));
    futures_util::future::join_all(made).await.into_iter().map(Result::unwrap).collect()
}

async fn close(cluster: TestCluster, contexts: Vec<ContextHandle>) {
    for context in contexts {
        assert_eq!(context.close().await.unwrap(), []);
    }
    cluster.stop().await.unwrap();
}

/// A value and its receiver meet, whichever comes first; a payload carries several buffers and a few words.
#[actix::test]
async fn data_and_its_receiver_meet_in_both_orders() {
    let cluster = cluster(3).await;
    let contexts = together(&cluster, 3).await;
    let buffers = || vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from(vec![7; 300_000])];
    let early: Receiving = contexts[1].receive_data("early").unwrap();
    contexts[0].send_data(&task(1), "early", b"words", buffers()).await.unwrap();
    contexts[2].send_data(&task(1), "late", b"", buffers()).await.unwrap();
    let late = contexts[1].receive_data("late").unwrap();
    for (datum, header) in [(early.await.unwrap(), &b"words"[..]), (late.await.unwrap(), b"")] {
        assert_eq!((&datum.header[..], &datum.buffers), (header, &buffers()));
    }
    contexts[1].send_data(&task(1), "own", b"", vec![]).await.unwrap();
    assert!(contexts[1].receive_data("own").unwrap().await.unwrap().buffers.is_empty());
    close(cluster, contexts).await;
}

/// A tensor travels by key with its type, its shape and checksums.
#[actix::test]
async fn tensors_travel_by_key() {
    let cluster = cluster(2).await;
    let contexts = together(&cluster, 2).await;
    let large = vector(&vec![0.5; 100_000]);
    let one = task(1);
    let (sent, received) = tokio::join!(contexts[0].send_tensor(&one, "t", &large), contexts[1].receive_tensor("t"));
    sent.unwrap();
    assert_eq!(received.unwrap(), large);
    contexts[0].send_data(&task(1), "bytes", b"", vec![Bytes::from_static(b"no tensor")]).await.unwrap();
    let error = contexts[1].receive_tensor("bytes").await.unwrap_err();
    assert_error(&error, ErrorCode::InvalidArgument, &["\"bytes\" is no tensor"]);
    close(cluster, contexts).await;
}

/// TFRT §3.5-6: a second value for a key is refused and changes nothing, unclaimed values are thrown away, and a late duplicate
/// does not reach the next user of the key.
#[actix::test]
async fn a_key_names_one_exchange() {
    let cluster = cluster(2).await;
    let contexts = together(&cluster, 2).await;
    let one = task(1);
    let send = |text: &'static str| contexts[0].send_data(&one, "k", text.as_bytes(), vec![]);
    send("first").await.unwrap();
    let error = send("second").await.unwrap_err();
    assert_error(&error, ErrorCode::AlreadyExists, &["k", &task(1)]);
    let first = contexts[1].receive_data("k").unwrap().await.unwrap();
    assert_eq!(&first.header[..], b"first");
    assert_error(&send("late duplicate").await.unwrap_err(), ErrorCode::AlreadyExists, &[]);
    let next = contexts[1].receive_data("k").unwrap().await.unwrap_err();
    assert_error(&next, ErrorCode::AlreadyExists, &[]);
    // When the first sender's time is over the key is free, and what nobody claimed is gone.
    cluster.advance(Duration::from_secs(61)).await;
    send("unclaimed").await.unwrap();
    cluster.advance(Duration::from_secs(61)).await;
    let nothing = contexts[1].receive_data_within("k", Duration::from_secs(1)).unwrap().await.unwrap_err();
    assert_error(&nothing, ErrorCode::DeadlineExceeded, &["k"]);
    close(cluster, contexts).await;
}

/// TFRT §3.5-2: a receive has an error path: its deadline, a cancel, the end of its context, a sender's bad key.
#[actix::test]
async fn a_receive_ends_by_deadline_cancel_and_close() {
    let cluster = cluster(2).await;
    let contexts = together(&cluster, 2).await;
    let begin = tokio::time::Instant::now();
    let late = contexts[1].receive_data_within("a", Duration::from_millis(70)).unwrap().await.unwrap_err();
    assert_error(&late, ErrorCode::DeadlineExceeded, &[&task(1)]);
    assert!(begin.elapsed() <= Duration::from_millis(71), "{:?}", begin.elapsed());
    let cancelled = contexts[1].receive_data("b").unwrap();
    let cancel = cancelled.canceller();
    cancel();
    assert_error(&cancelled.await.unwrap_err(), ErrorCode::Cancelled, &[]);
    drop(contexts[1].receive_data("c").unwrap());
    cluster.settle().await;
    let again = contexts[1].receive_data("c").unwrap();
    let closing = contexts[1].close();
    let (again, closed) = tokio::join!(again, closing);
    assert_error(&again.unwrap_err(), ErrorCode::Cancelled, &[]);
    assert_eq!(closed.unwrap(), []);
    assert!(contexts[1].receive_data("d").is_err());
    let wrong = contexts[0].send_data(&task(1), "", b"", vec![]).await.unwrap_err();
    assert_error(&wrong, ErrorCode::InvalidArgument, &["1 to 256"]);
    let wrong = contexts[0].send_data(&task(1), "k", &[0; 2000], vec![]).await.unwrap_err();
    assert_error(&wrong, ErrorCode::InvalidArgument, &["2000 bytes, at most 1024"]);
    assert_eq!(contexts[0].close().await.unwrap(), []);
    cluster.stop().await.unwrap();
}

/// Programs on workers send to each other; the bytes do not pass through the client.
#[actix::test]
async fn programs_send_to_each_other() {
    let sender = native_async(|call: AsyncCall| async move {
        let context = call.context()?;
        context.send_tensor(&task(2), "halves", &call.inputs[0]).await?;
        Ok(vec![])
    });
    let receiver =
        native_async(|call: AsyncCall| async move { Ok(vec![call.context()?.receive_tensor("halves").await?]) });
    let cluster = builder(3).program("send", sender.outputs(0)).program("receive", receiver.outputs(1));
    let cluster = cluster.start().await.unwrap();
    let context = cluster.context().await.unwrap();
    let (send, receive) = (register(&context, 1, "send").await, register(&context, 2, "receive").await);
    let a = put(&context, 1, &[1.5, 2.5]).await;
    let received = context.execute(RemoteExecute::new(&receive).handles(1)).await.unwrap();
    let sent = context.execute(RemoteExecute::new(&send).input(&a)).await.unwrap();
    sent.chain.done().await.unwrap();
    assert_eq!(elements(&received.handles[0].fetch().await.unwrap()), [1.5, 2.5]);
    assert_eq!(stats(&cluster, 1).await.2, 0);
    end(cluster, context).await;
}
