//! Tests of a link with a lane, over streams that a test holds in its hands.

use std::{cell::RefCell, rc::Rc, time::Duration};

use bytes::Bytes;
use remex_protocol::{
    Body, Call, Frame, RemoteError,
    calls::PutObjectRequest,
    encode_frame, encode_piece,
    ids::{CallId, ContextIndex, DeviceIndex, ObjectId, ObjectPrefix},
    tensor::{DType, Shape, TensorMetadata},
};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    time::Instant,
};

use super::{io::Ends, ledger::Ledger, *};
use crate::{
    fabric::{Connection, stream},
    testing::Probe,
};

const MIB: usize = 1 << 20;

/// What one end of a link says.
struct End {
    link: Link,
    arrived: Probe<Arrived>,
    lost: Probe<LinkLost>,
    silence: Probe<Silence>,
}

fn connection(pipe: DuplexStream) -> Connection {
    let (reader, writer) = tokio::io::split(pipe);
    stream::connection(reader, writer, "there".to_owned(), true, true)
}

fn open(control: DuplexStream) -> End {
    let ((arrived, a), (lost, l), (silence, s)) = (Probe::start(), Probe::start(), Probe::start());
    let ledger = Rc::new(RefCell::new(Ledger::new(true)));
    let link = Link::open(connection(control), 1, ledger, Ends { arrived: a, lost: l, silence: Some(s) });
    End { link, arrived, lost, silence }
}

/// Both ends of a link whose lane holds so many bytes.
fn pair(lane: usize) -> (End, End) {
    let ((a, b), (c, d)) = (duplex(64 << 10), duplex(lane));
    let (near, far) = (open(a), open(b));
    near.link.add_lane(connection(c));
    far.link.add_lane(connection(d));
    (near, far)
}

fn put(index: u32, len: usize) -> Frame {
    let object = ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) };
    let metadata = TensorMetadata { dtype: DType::U8, shape: Shape::from([len as u64]) };
    let put = PutObjectRequest { context: ContextIndex(0), object, metadata };
    let put = Frame::new(CallId::new(index, 0), Body::Call(Call::PutObject(Box::new(put))));
    let block: Vec<_> = (0..251).map(|i| i ^ index as u8).collect();
    put.with_payload(Bytes::from(block.repeat(len / 251 + 1)).slice(..len))
}

impl End {
    /// The next frames, with their numbers seen to.
    async fn next(&self) -> Vec<Frame> {
        let Arrived { mut frames, .. } = self.arrived.next().await;
        self.link.accept(&mut frames);
        frames
    }

    /// The payloads that come until there are so many.
    async fn payloads(&self, n: usize) -> Vec<(u32, Bytes)> {
        let mut payloads = Vec::new();
        while payloads.len() < n {
            let whole = self.next().await.into_iter().filter(|frame| matches!(frame.body, Body::PayloadArrived));
            payloads.extend(whole.map(|frame| (frame.call.index, frame.payload.into_bytes())));
        }
        payloads
    }

    async fn lost(&self) -> String {
        self.lost.next().await.error.message().to_owned()
    }
}

/// Payloads of many sizes take the lane, in both directions, and arrive as they were.
#[actix::test]
async fn payloads_go_over_the_lane_both_ways() {
    tokio::time::pause();
    let (near, far) = pair(10_000);
    let sizes = [3 * MIB + 5, 300_000, MIB, 2 * MIB];
    for (i, len) in (1..).zip(sizes) {
        near.link.push(put(i, len)).unwrap();
        far.link.push(put(i, len)).unwrap();
    }
    for end in [&near, &far] {
        let payloads = end.payloads(4).await;
        for (i, bytes) in payloads {
            assert!(bytes == put(i, sizes[i as usize - 1]).payload.into_bytes(), "payload {i}");
        }
    }
}

/// I8: nothing waits for a payload that does not get on: not a call, and not the liveness of the link.
#[actix::test]
async fn a_lane_that_stands_still_holds_up_nothing_small() {
    tokio::time::pause();
    let ((a, b), (c, _unread)) = (duplex(64 << 10), duplex(1000));
    let (near, far) = (open(a), open(b));
    near.link.add_lane(connection(c));
    near.link.push(put(1, 10 * MIB)).unwrap();
    assert!(matches!(far.next().await[..], [Frame { body: Body::Call(_), .. }]));
    for i in 2..100 {
        let begin = Instant::now();
        near.link.push(put(i, 100)).unwrap();
        assert_eq!(far.next().await[0].call.index, i);
        assert!(begin.elapsed() < Duration::from_millis(2), "{:?}", begin.elapsed());
    }
    assert!(near.silence.try_next().is_none() && far.silence.try_next().is_none());
    // I6: but a payload that does not go on is sent again on the next connection.
    assert!(far.lost().await.contains("no piece of a payload came for 3 s"));
}

/// I6: the lane's end is the link's.
#[actix::test]
async fn a_lane_that_is_lost_takes_the_link_with_it() {
    tokio::time::pause();
    let ((a, b), (c, d)) = (duplex(64 << 10), duplex(1000));
    let (near, far) = (open(a), open(b));
    near.link.add_lane(connection(c));
    near.link.push(put(1, MIB)).unwrap();
    far.next().await;
    drop(d);
    assert!(near.lost().await.contains("its lane for large payloads"));
    drop(near);
    assert!(far.lost().await.contains("the peer closed the connection"));
}

/// A link that is closed writes what was pushed, and its peer reads all of it though the control connection ends first.
#[actix::test]
async fn what_is_on_the_lane_arrives_before_a_close_counts() {
    tokio::time::pause();
    let (near, far) = pair(10_000);
    near.link.push(put(1, 5 * MIB)).unwrap();
    let goodbye = RemoteError::new(remex_protocol::ErrorCode::Unavailable, "it stops");
    near.link.push(Frame::new(CallId::default(), Body::Goodbye(Box::new(goodbye)))).unwrap();
    near.link.close();
    drop(near);
    let payloads = far.payloads(1).await;
    assert!(payloads[0].1 == put(1, 5 * MIB).payload.into_bytes());
    assert_eq!(far.lost().await, "the peer closed the connection");
}

/// A link has one lane: another one is dropped.
#[actix::test]
async fn a_second_lane_is_dropped() {
    tokio::time::pause();
    let (near, far) = pair(10_000);
    let (c, mut d) = duplex(1000);
    near.link.add_lane(connection(c));
    let end = tokio::io::AsyncReadExt::read(&mut d, &mut [0; 10]).await;
    assert_eq!(end.unwrap(), 0);
    near.link.push(put(1, MIB)).unwrap();
    assert_eq!(far.payloads(1).await.len(), 1);
}

/// The head of a piece, with its bytes.
fn piece(call: CallId, bytes: &[u8]) -> Vec<u8> {
    let mut piece = Vec::new();
    encode_piece(&mut piece, call, 0, 0, bytes, false);
    [&piece, bytes].concat()
}

/// I8: a peer that sends pieces of what it never announces loses its link, whatever else it says, and costs no memory.
#[actix::test]
async fn a_piece_that_is_never_announced_ends_the_link() {
    tokio::time::pause();
    let ((a, mut control), (b, mut lane)) = (duplex(64 << 10), duplex(64 << 10));
    let near = open(a);
    near.link.add_lane(connection(b));
    let begin = Instant::now();
    lane.write_all(&piece(CallId::new(9, 0), &[1; 1000])).await.unwrap();
    let heartbeats = actix::spawn(async move {
        let mut ticks = tokio::time::interval(HEARTBEAT);
        loop {
            ticks.tick().await;
            let mut bytes = Vec::new();
            encode_frame(&mut bytes, &Frame::new(CallId::default(), Body::Heartbeat), false).unwrap();
            let _ = control.write_all(&bytes).await;
        }
    });
    assert!(near.lost().await.contains("whose payload was not announced for 3 s"));
    assert!((LOST_AFTER..LOST_AFTER + HEARTBEAT).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    heartbeats.abort();
}

/// A piece that overtakes its announcement waits for it.
#[actix::test]
async fn a_piece_that_comes_early_waits() {
    tokio::time::pause();
    let ((a, mut control), (b, mut lane)) = (duplex(64 << 10), duplex(MIB));
    let near = open(a);
    near.link.add_lane(connection(b));
    let payload = put(1, 300_000);
    lane.write_all(&piece(CallId::new(1, 0), &payload.payload.clone().into_bytes())).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(1), near.arrived.next()).await.is_err());
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, &Frame { number: 1, ..payload.clone() }, false).unwrap();
    control.write_all(&bytes).await.unwrap();
    assert!(near.payloads(1).await[0].1 == payload.payload.into_bytes());
}

/// What does not belong on a lane ends the link at once.
#[actix::test]
async fn a_call_on_a_lane_ends_the_link() {
    tokio::time::pause();
    let ((a, _control), (b, mut lane)) = (duplex(64 << 10), duplex(MIB));
    let near = open(a);
    near.link.add_lane(connection(b));
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, &put(1, 100), false).unwrap();
    lane.write_all(&bytes).await.unwrap();
    assert!(near.lost().await.contains("on a lane, which carries pieces"));
}

/// A lane with nothing to do says something now and then, so that no firewall forgets it.
#[actix::test]
async fn an_idle_lane_says_something() {
    tokio::time::pause();
    let ((a, b), (c, mut d)) = (duplex(64 << 10), duplex(1000));
    let (near, _far) = (open(a), open(b));
    near.link.add_lane(connection(c));
    let begin = Instant::now();
    let n = tokio::io::AsyncReadExt::read(&mut d, &mut [0; 100]).await.unwrap();
    assert_eq!(n, remex_protocol::frame::HEAD_LEN);
    assert!((15..17).contains(&begin.elapsed().as_secs()), "{:?}", begin.elapsed());
}
