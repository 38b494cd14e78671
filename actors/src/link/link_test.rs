//! Tests of a link over a slow stream.

use std::{cell::RefCell, rc::Rc, time::Duration};

use bytes::Bytes;
use remex_protocol::{
    Body, Call, Frame,
    calls::PutObjectRequest,
    encode_frame,
    ids::{CallId, ContextIndex, DeviceIndex, ObjectId, ObjectPrefix},
    tensor::{DType, Shape, TensorMetadata},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::{io::Ends, ledger::Ledger, *};
use crate::{
    fabric::{Connection, stream},
    testing::Probe,
};

/// Bytes that the slow stream takes each tenth of a second.
const SPEED: usize = 64 << 10;

/// Passes bytes on slowly.
async fn slowly(mut from: DuplexStream, mut to: DuplexStream) {
    let mut bytes = vec![0; SPEED];
    while let Ok(n @ 1..) = from.read(&mut bytes).await {
        to.write_all(&bytes[..n]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// What one end of a link says.
struct End {
    link: Link,
    arrived: Probe<Arrived>,
    lost: Probe<LinkLost>,
    silence: Probe<Silence>,
}

fn open(connection: Connection) -> End {
    let ((arrived, a), (lost, l), (silence, s)) = (Probe::start(), Probe::start(), Probe::start());
    let ledger = Rc::new(RefCell::new(Ledger::new(true)));
    let link = Link::open(connection, 1, ledger, Ends { arrived: a, lost: l, silence: Some(s) });
    End { link, arrived, lost, silence }
}

/// I8: while a payload that takes 25 s is on its way neither side takes the other for silent.
#[actix::test]
async fn heartbeats_are_not_behind_bulk() {
    tokio::time::pause();
    let ((out, slow_in), (slow_out, far_in), (far_out, back)) = (duplex(SPEED), duplex(SPEED), duplex(SPEED));
    actix::spawn(slowly(slow_in, slow_out));
    let near = open(stream::connection(back, out, "far".to_owned(), true, false));
    let far = open(stream::connection(far_in, far_out, "near".to_owned(), true, false));
    let object = ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) };
    let metadata = TensorMetadata { dtype: DType::U8, shape: Shape::from([16 << 20]) };
    let put = PutObjectRequest { context: ContextIndex(0), object, metadata };
    let put = Frame::new(CallId::new(1, 0), Body::Call(Call::PutObject(Box::new(put))));
    let begin = tokio::time::Instant::now();
    near.link.push(put.with_payload(Bytes::from(vec![0; 16 << 20]))).unwrap();
    let mut whole = false;
    while !whole {
        let Arrived { mut frames, .. } = far.arrived.next().await;
        far.link.accept(&mut frames);
        whole = frames.iter().any(|frame| matches!(frame.body, Body::PayloadArrived));
    }
    assert!(begin.elapsed() >= Duration::from_secs(25), "{:?}", begin.elapsed());
    for end in [near, far] {
        assert!(end.lost.try_next().is_none() && end.silence.try_next().is_none());
    }
}

/// I6: a piece that was lost is missed though heartbeats come: the link is given up, so that the payload is sent again.
#[actix::test]
async fn a_payload_that_does_not_go_on_ends_the_link() {
    tokio::time::pause();
    let ((here, mut there), (nowhere, _kept)) = (duplex(SPEED), duplex(SPEED));
    let near = open(stream::connection(here, nowhere, "far".to_owned(), true, false));
    let object = ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) };
    let metadata = TensorMetadata { dtype: DType::U8, shape: Shape::from([1 << 20]) };
    let put = PutObjectRequest { context: ContextIndex(0), object, metadata };
    let put = Frame::new(CallId::new(1, 0), Body::Call(Call::PutObject(Box::new(put))));
    let mut bytes = Vec::new();
    let put = Frame { number: 1, ..put.with_payload(Bytes::from(vec![0; 1 << 20])) };
    encode_frame(&mut bytes, &put, false).unwrap();
    there.write_all(&bytes).await.unwrap();
    let heartbeats = actix::spawn(async move {
        for _ in 0..10 {
            let mut bytes = Vec::new();
            encode_frame(&mut bytes, &Frame::new(CallId::default(), Body::Heartbeat), false).unwrap();
            let _ = there.write_all(&bytes).await;
            tokio::time::sleep(HEARTBEAT).await;
        }
    });
    let begin = tokio::time::Instant::now();
    let LinkLost { error, .. } = near.lost.next().await;
    assert!(error.message().contains("no piece"), "{error}");
    assert!((LOST_AFTER..LOST_AFTER + HEARTBEAT).contains(&begin.elapsed()), "{:?}", begin.elapsed());
    heartbeats.abort();
}
