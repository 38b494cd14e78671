//! Tests of the loopback: what every fabric does, and what only this one can.

use futures_util::future::join;
use remex_protocol::{Payload, frame::PIECE_LEN};

use super::*;
use crate::fabric::{
    FrameReader,
    conformance::{self, call_with, flush, pattern, read, read_n, small},
};

fn address(name: &str) -> Address {
    format!("loopback:{name}").parse().unwrap()
}

/// A connection from `a` to `b`, with open readers.
async fn a_to_b(hub: &Loopback) -> (Connection, Connection) {
    let (a, b) = (hub.endpoint("a"), hub.endpoint("b"));
    let mut listener = b.listen(&address("b")).await.unwrap();
    let to = address("b");
    let (dialled, accepted) = join(a.dial(&to), listener.accept()).await;
    let (mut dialled, mut accepted) = (dialled.unwrap(), accepted.unwrap());
    dialled.reader.open();
    accepted.reader.open();
    (dialled, accepted)
}

async fn send(connection: &mut Connection, ack: u64) {
    connection.writer.push(small(ack)).unwrap();
    flush(&mut *connection.writer).await;
}

/// What can be read without waiting.
async fn ready(reader: &mut dyn FrameReader) -> Vec<u64> {
    let mut frames = Vec::new();
    poll_fn(|cx| {
        while reader.poll_read(cx, &mut frames).is_ready() {}
        Poll::Ready(())
    })
    .await;
    frames.iter().map(|frame| frame.ack).collect()
}

#[actix_rt::test]
async fn it_does_what_every_fabric_does() {
    let hub = Loopback::new();
    conformance::check_fabric(&hub, &address("x")).await;
    conformance::check_fabric(&*hub.endpoint("a"), &address("x")).await;
    assert!(hub.lock().is_empty(), "{:?}", hub.lock());
}

#[actix_rt::test]
async fn it_does_what_every_fabric_does_with_latency_on_a_paused_clock() {
    tokio::time::pause();
    let hub = Loopback::new();
    hub.set_latency(Duration::from_millis(3));
    conformance::check_fabric(&hub, &address("x")).await;
}

#[actix_rt::test]
async fn both_ends_are_named() {
    let hub = Loopback::new();
    let (a, b) = a_to_b(&hub).await;
    assert_eq!((a.peer.as_str(), b.peer.as_str()), ("loopback:b", "loopback:a"));
    assert!(a.is_local && b.is_local);
}

#[actix_rt::test]
async fn held_frames_are_delivered_step_by_step_oldest_first() {
    let hub = Loopback::new();
    let (mut a, mut b) = a_to_b(&hub).await;
    send(&mut a, 1).await;
    hub.hold();
    assert_eq!(hub.step(), None);
    send(&mut b, 2).await;
    send(&mut a, 3).await;
    a.writer.push(call_with(7, pattern(PIECE_LEN + 1))).unwrap();
    flush(&mut *a.writer).await;
    assert_eq!(ready(&mut *b.reader).await, [1], "what was sent before is not held");

    assert_eq!(hub.step().as_deref(), Some("b → a: Heartbeat"));
    assert_eq!((ready(&mut *a.reader).await, ready(&mut *b.reader).await), (vec![2], vec![]));
    assert_eq!(hub.step().as_deref(), Some("a → b: Heartbeat"));
    assert_eq!(ready(&mut *b.reader).await, [3]);
    assert_eq!(hub.step().as_deref(), Some("a → b: PutObject r7.1"));
    assert!(matches!(read_n(&mut *b.reader, 1).await[0].payload, Payload::Announced(_)));
    assert_eq!(hub.step().as_deref(), Some("a → b: Piece r7.1 at 0"));
    assert!(ready(&mut *b.reader).await.is_empty());
    assert_eq!(hub.step(), Some(format!("a → b: Piece r7.1 at {PIECE_LEN}")));
    assert_eq!(read_n(&mut *b.reader, 1).await[0].payload.len(), PIECE_LEN as u64 + 1);
    drop(a);
    assert_eq!(hub.step().as_deref(), Some("a → b: end of stream"));
    assert!(matches!(read(&mut *b.reader).await, Err(FabricError::Closed)));
    assert_eq!(hub.step(), None);
}

#[actix_rt::test]
async fn release_delivers_all_and_goes_on() {
    let hub = Loopback::new();
    let (mut a, mut b) = a_to_b(&hub).await;
    hub.hold();
    send(&mut a, 1).await;
    send(&mut a, 2).await;
    assert!(ready(&mut *b.reader).await.is_empty());
    hub.release();
    send(&mut a, 3).await;
    assert_eq!(ready(&mut *b.reader).await, [1, 2, 3]);
}

#[actix_rt::test]
async fn a_reader_that_waits_is_woken_by_a_step() {
    let hub = Loopback::new();
    let (mut a, mut b) = a_to_b(&hub).await;
    hub.hold();
    send(&mut a, 1).await;
    let (frames, _) = join(read_n(&mut *b.reader, 1), async { hub.step() }).await;
    assert_eq!(frames[0].ack, 1);
}

#[actix_rt::test]
async fn a_cut_ends_connections_with_an_error_until_it_is_healed() {
    let hub = Loopback::new();
    let (mut a, mut b) = a_to_b(&hub).await;
    let c = hub.endpoint("c");
    let _listener = hub.endpoint("b").listen(&address("b")).await.unwrap();
    let mut other = c.dial(&address("b")).await.unwrap();
    hub.hold();
    send(&mut a, 1).await;

    let (read_at_b, ()) = join(read(&mut *b.reader), async { hub.cut("b", "a") }).await;
    let is_reset = |result: &Result<_, FabricError>| {
        matches!(result, Err(FabricError::Io { kind: io::ErrorKind::ConnectionReset, .. }))
    };
    assert!(is_reset(&read_at_b.map(|_| ())));
    assert!(is_reset(&read(&mut *a.reader).await.map(|_| ())));
    a.writer.push(small(2)).unwrap();
    assert!(is_reset(&poll_fn(|cx| a.writer.poll_flush(cx)).await));
    assert_eq!(hub.step(), None, "what was on its way is lost");
    send(&mut other, 3).await;
    assert_eq!(hub.step().as_deref(), Some("c → b: Heartbeat"), "others are not concerned");

    let endpoint = hub.endpoint("a");
    let error = endpoint.dial(&address("b")).await.unwrap_err();
    assert!(error.to_string().contains("cannot dial loopback:b: the way there is cut"), "{error}");
    hub.heal("a", "b");
    endpoint.dial(&address("b")).await.unwrap();
    assert!(is_reset(&read(&mut *a.reader).await.map(|_| ())), "what was cut stays cut");
}

#[actix_rt::test]
async fn frames_arrive_later_by_the_latency_and_in_order() {
    tokio::time::pause();
    let hub = Loopback::new();
    let (mut a, mut b) = a_to_b(&hub).await;
    let start = Instant::now();
    hub.set_latency(Duration::from_secs(10));
    send(&mut a, 1).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    hub.set_latency(Duration::from_secs(2));
    send(&mut a, 2).await;
    assert!(ready(&mut *b.reader).await.is_empty());
    assert_eq!(read_n(&mut *b.reader, 2).await[1].ack, 2, "a shorter latency overtakes nothing");
    // The clock goes in whole milliseconds, from where it was paused.
    assert!((10_000..=10_002).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    hub.set_latency(Duration::ZERO);
    send(&mut a, 3).await;
    assert_eq!(ready(&mut *b.reader).await, [3]);
}

/// FB-1.
#[actix_rt::test]
async fn a_held_frame_does_not_overtake_what_was_on_its_way() {
    tokio::time::pause();
    let hub = Loopback::new();
    let (mut a, mut b) = a_to_b(&hub).await;
    hub.set_latency(Duration::from_secs(10));
    send(&mut a, 1).await;
    hub.hold();
    send(&mut a, 2).await;
    assert!(hub.step().is_some());
    assert!(ready(&mut *b.reader).await.is_empty());
    let frames = read_n(&mut *b.reader, 2).await;
    assert_eq!([frames[0].ack, frames[1].ack], [1, 2]);
}

#[actix_rt::test]
async fn a_dialler_that_was_not_accepted_sees_the_end_when_the_listener_goes() {
    let hub = Loopback::new();
    let listener = hub.listen(&address("x")).await.unwrap();
    let mut dialled = hub.dial(&address("x")).await.unwrap();
    drop(listener);
    assert!(matches!(read(&mut *dialled.reader).await, Err(FabricError::Closed)));
    dialled.writer.push(small(1)).unwrap();
    poll_fn(|cx| dialled.writer.poll_flush(cx)).await.unwrap_err();
    drop(dialled);
    assert!(hub.lock().is_empty());
}
