//! What every fabric must do. One suite, run for each of them; also for an application's own.

use std::future::poll_fn;

use bytes::Bytes;
use futures_util::future::join;
use remex_protocol::{
    Body, Call, Frame, FrameError, Payload, Reply,
    calls::{FetchObjectReply, PutObjectRequest},
    cluster::Address,
    frame::PIECE_LEN,
    ids::{CallId, ContextIndex, DeviceIndex, ObjectId, ObjectPrefix},
    tensor::{DType, Shape, TensorMetadata},
};

use super::{Connection, Fabric, FabricError, FrameReader, FrameWriter};

/// Whether a fabric turns frames into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// It does: large payloads travel in pieces, and the limits of the wire hold.
    Bytes,
    /// It hands frames over, each with its whole payload.
    None,
}

/// Checks a fabric. Nobody may listen at `address`; port 0 is fine. Panics at the first promise that is not kept.
pub async fn check_fabric(fabric: &dyn Fabric, address: &Address) {
    assert_eq!(fabric.scheme(), address.scheme());
    an_address_of_another_scheme_is_refused(fabric).await;
    a_second_listener_is_refused(fabric, address).await;
    dialling_nobody_names_the_address(fabric, address).await;
    connections_that_wait_are_accepted_in_turn(fabric, address).await;
    check_connections(async || connect(fabric, address).await, Encoding::Bytes).await;
}

/// Checks connections that `connect` makes, one pair for each promise; the readers are not opened.
pub async fn check_connections(connect: impl AsyncFn() -> (Connection, Connection), encoding: Encoding) {
    many_frames_keep_their_order_in_both_directions(connect().await).await;
    frames_pushed_together_come_in_few_reads(connect().await).await;
    payloads_of_all_sizes_are_intact(connect().await, encoding).await;
    a_call_keeps_its_place_before_its_payload(connect().await, encoding).await;
    the_handshake_is_read_frame_by_frame(connect().await).await;
    what_cannot_be_sent_is_dropped_alone(connect().await).await;
    a_closed_stream_gives_its_last_frames_and_closed(connect().await).await;
    a_dropped_writer_ends_the_stream(connect().await).await;
    if encoding == Encoding::Bytes {
        a_small_frame_overtakes_the_pieces_before_it(connect().await).await;
        a_payload_before_the_handshake_is_refused(connect().await).await;
    }
}

/// Listens, dials and accepts: the dialler's end, and the other.
pub async fn connect(fabric: &dyn Fabric, address: &Address) -> (Connection, Connection) {
    let mut listener = fabric.listen(address).await.expect("listen");
    let address = listener.address().clone();
    let (dialled, accepted) = join(fabric.dial(&address), listener.accept()).await;
    (dialled.expect("dial"), accepted.expect("accept"))
}

/// What one read gives, without the marks that keep a reply's place.
pub async fn read(reader: &mut dyn FrameReader) -> Result<Vec<Frame>, FabricError> {
    loop {
        let mut frames = Vec::new();
        poll_fn(|cx| reader.poll_read(cx, &mut frames)).await?;
        assert!(!frames.is_empty(), "a read gives at least one frame");
        frames.retain(|frame| !matches!(frame.body, Body::ReplyAnnounced));
        if !frames.is_empty() {
            return Ok(frames);
        }
    }
}

/// Reads until there are `n` frames, and not more.
pub async fn read_n(reader: &mut dyn FrameReader, n: usize) -> Vec<Frame> {
    let mut frames = Vec::new();
    while frames.len() < n {
        frames.extend(read(reader).await.expect("read"));
    }
    assert_eq!(frames.len(), n, "as many frames arrive as were pushed");
    frames
}

/// Writes what was pushed.
pub async fn flush(writer: &mut dyn FrameWriter) {
    poll_fn(|cx| writer.poll_flush(cx)).await.expect("flush");
}

/// A small frame, known by its ack.
pub fn small(ack: u64) -> Frame {
    let mut frame = Frame::new(CallId::default(), Body::Heartbeat);
    frame.ack = ack;
    frame
}

/// A call with a payload.
pub fn call_with(index: u32, payload: Bytes) -> Frame {
    let request = PutObjectRequest {
        context: ContextIndex(0),
        object: ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) },
        metadata: metadata(payload.len()),
    };
    Frame::new(CallId::new(index, 1), Body::Call(Call::PutObject(Box::new(request)))).with_payload(payload)
}

/// A reply with a payload.
pub fn reply_with(index: u32, payload: Bytes) -> Frame {
    let reply = FetchObjectReply { metadata: metadata(payload.len()) };
    Frame::new(CallId::new(index, 1), Body::Completed(Reply::FetchObject(reply))).with_payload(payload)
}

/// `len` bytes that differ from place to place.
pub fn pattern(len: usize) -> Bytes {
    // A block whose length is prime, so that no piece begins like another.
    let block: Vec<u8> = (0..65_521usize).map(|i| (i ^ (i >> 8)) as u8).collect();
    let mut bytes = block.repeat(len.div_ceil(block.len()));
    bytes.truncate(len);
    bytes.into()
}

fn metadata(len: usize) -> TensorMetadata {
    TensorMetadata { dtype: DType::U8, shape: Shape::from([len as u64]) }
}

fn open(pair: &mut (Connection, Connection)) {
    pair.0.reader.open();
    pair.1.reader.open();
}

fn acks(frames: &[Frame]) -> Vec<u64> {
    frames.iter().map(|frame| frame.ack).collect()
}

async fn an_address_of_another_scheme_is_refused(fabric: &dyn Fabric) {
    let other: Address = "nosuchscheme:x".parse().expect("an address");
    let listened = fabric.listen(&other).await.map(|_| ());
    let dialled = fabric.dial(&other).await.map(|_| ());
    for result in [listened, dialled] {
        assert!(matches!(result, Err(FabricError::BadAddress { .. })), "{result:?}");
    }
}

async fn a_second_listener_is_refused(fabric: &dyn Fabric, address: &Address) {
    let first = fabric.listen(address).await.expect("listen");
    let error = fabric.listen(first.address()).await.expect_err("two listeners at one address");
    assert!(error.to_string().contains(&first.address().to_string()), "{error}");
    assert!(matches!(error, FabricError::Io { kind: std::io::ErrorKind::AddrInUse, .. }), "{error:?}");
    let address = first.address().clone();
    drop(first);
    fabric.listen(&address).await.expect("the address is free again");
}

async fn dialling_nobody_names_the_address(fabric: &dyn Fabric, address: &Address) {
    let address = fabric.listen(address).await.expect("listen").address().clone();
    let error = fabric.dial(&address).await.expect_err("nobody listens");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
}

async fn connections_that_wait_are_accepted_in_turn(fabric: &dyn Fabric, address: &Address) {
    let mut listener = fabric.listen(address).await.expect("listen");
    let mut diallers = Vec::new();
    for ack in 1..=3 {
        let mut dialled = fabric.dial(listener.address()).await.expect("dial");
        dialled.writer.push(small(ack)).expect("push");
        flush(&mut *dialled.writer).await;
        diallers.push(dialled);
    }
    for ack in 1..=3 {
        let mut accepted = listener.accept().await.expect("accept");
        assert_eq!(acks(&read_n(&mut *accepted.reader, 1).await), [ack]);
    }
}

/// FB-1.
async fn many_frames_keep_their_order_in_both_directions(mut pair: (Connection, Connection)) {
    const N: usize = 1000;
    open(&mut pair);
    let (a, b) = &mut pair;
    let expected: Vec<u64> = (1..=N as u64).collect();
    let write = async |writer: &mut dyn FrameWriter| {
        for ack in 1..=N as u64 {
            writer.push(small(ack)).expect("push");
            if ack % 7 == 0 {
                flush(writer).await;
            }
        }
        flush(writer).await;
    };
    let written = join(write(&mut *a.writer), write(&mut *b.writer));
    let read = join(read_n(&mut *a.reader, N), read_n(&mut *b.reader, N));
    let (_, (at_a, at_b)) = join(written, read).await;
    assert_eq!(acks(&at_a), expected);
    assert_eq!(acks(&at_b), expected);
}

async fn frames_pushed_together_come_in_few_reads(mut pair: (Connection, Connection)) {
    open(&mut pair);
    let (a, b) = &mut pair;
    for ack in 1..=1000 {
        a.writer.push(small(ack)).expect("push");
    }
    assert!(a.writer.queued_bytes() == 0 || a.writer.queued_bytes() >= 48_000);
    let (_, reads) = join(flush(&mut *a.writer), async {
        let (mut reads, mut frames) = (0, 0);
        while frames < 1000 {
            frames += read(&mut *b.reader).await.expect("read").len();
            reads += 1;
        }
        reads
    })
    .await;
    assert!(reads <= 20, "1,000 frames of 48 bytes took {reads} reads");
    assert_eq!(a.writer.queued_bytes(), 0);
}

async fn payloads_of_all_sizes_are_intact(mut pair: (Connection, Connection), encoding: Encoding) {
    const SIZES: [usize; 9] = [0, 1, 1024, 1025, 70_000, PIECE_LEN - 1, PIECE_LEN, PIECE_LEN + 1, 10 << 20];
    open(&mut pair);
    let (a, b) = &mut pair;
    let all = pattern(10 << 20);
    let mut frames_to_come = 0;
    for (index, size) in SIZES.into_iter().enumerate() {
        let payload = all.slice(all.len() - size..);
        a.writer.push(call_with(index as u32, payload.clone())).expect("push");
        a.writer.push(reply_with(100 + index as u32, payload)).expect("push");
        let in_pieces = size > PIECE_LEN && encoding == Encoding::Bytes;
        frames_to_come += if in_pieces { 3 } else { 2 };
    }
    let (_, frames) = join(flush(&mut *a.writer), read_n(&mut *b.reader, frames_to_come)).await;
    for (index, size) in SIZES.into_iter().enumerate() {
        for index in [index as u32, 100 + index as u32] {
            let mut payloads = frames.iter().filter(|frame| frame.call.index == index).map(|frame| &frame.payload);
            let whole = match payloads.next() {
                Some(Payload::Announced(len)) => {
                    assert_eq!(*len, size as u64);
                    payloads.next()
                }
                payload => payload,
            };
            match whole {
                Some(Payload::None) => assert_eq!(size, 0),
                Some(Payload::Whole(bytes)) => assert!(*bytes == all.slice(all.len() - size..), "{size} bytes"),
                other => panic!("{other:?} in place of {size} bytes"),
            }
            assert!(payloads.next().is_none(), "one payload of {size} bytes");
        }
    }
}

/// FB-1.
async fn a_call_keeps_its_place_before_its_payload(mut pair: (Connection, Connection), encoding: Encoding) {
    open(&mut pair);
    let (a, b) = &mut pair;
    for frame in [small(1), call_with(5, pattern(3 * PIECE_LEN)), small(2)] {
        a.writer.push(frame).expect("push");
    }
    let n = if encoding == Encoding::Bytes { 4 } else { 3 };
    let (_, frames) = join(flush(&mut *a.writer), read_n(&mut *b.reader, n)).await;
    assert!(matches!(frames[1].body, Body::Call(_)), "{:?}", frames[1].body);
    assert_eq!((frames[0].ack, frames[2].ack), (1, 2));
    if encoding == Encoding::Bytes {
        assert!(matches!(frames[1].payload, Payload::Announced(_)));
        assert!(matches!(frames[3].body, Body::PayloadArrived), "{:?}", frames[3].body);
    }
}

/// FB-2.
async fn a_small_frame_overtakes_the_pieces_before_it(mut pair: (Connection, Connection)) {
    open(&mut pair);
    let (a, b) = &mut pair;
    a.writer.push(reply_with(5, pattern(64 << 20))).expect("push");
    // As much as fits between the two is written.
    let flushed = poll_fn(|cx| std::task::Poll::Ready(a.writer.poll_flush(cx))).await;
    assert!(flushed.is_pending(), "64 MiB are too much for what is between two tasks");
    a.writer.push(small(9)).expect("push");
    let (_, frames) = join(flush(&mut *a.writer), read_n(&mut *b.reader, 2)).await;
    assert_eq!(frames[0].ack, 9, "{:?}", frames[0].body);
    assert_eq!(frames[1].payload.len(), 64 << 20);
}

async fn a_payload_before_the_handshake_is_refused((mut a, mut b): (Connection, Connection)) {
    for frame in [small(1), call_with(5, pattern(10)), small(2)] {
        a.writer.push(frame).expect("push");
    }
    flush(&mut *a.writer).await;
    assert_eq!(acks(&read_n(&mut *b.reader, 1).await), [1]);
    for _ in 0..2 {
        let error = read(&mut *b.reader).await.expect_err("no payload before the handshake");
        assert!(matches!(error, FabricError::Frame(FrameError::TooLarge { .. })), "{error:?}");
    }
}

async fn the_handshake_is_read_frame_by_frame((mut a, mut b): (Connection, Connection)) {
    for ack in 1..=5 {
        a.writer.push(small(ack)).expect("push");
    }
    flush(&mut *a.writer).await;
    for ack in 1..=2 {
        assert_eq!(acks(&read(&mut *b.reader).await.expect("read")), [ack]);
    }
    b.reader.open();
    assert_eq!(acks(&read_n(&mut *b.reader, 3).await), [3, 4, 5]);
}

async fn what_cannot_be_sent_is_dropped_alone((mut a, mut b): (Connection, Connection)) {
    a.writer.push(small(1)).expect("push");
    let decoded = Frame::new(CallId::new(1, 1), Body::PayloadArrived);
    let error = a.writer.push(decoded).expect_err("a decoder's frame");
    assert!(matches!(error, FabricError::Unsendable(_)), "{error:?}");
    a.writer.push(small(2)).expect("push");
    flush(&mut *a.writer).await;
    b.reader.open();
    assert_eq!(acks(&read_n(&mut *b.reader, 2).await), [1, 2]);
}

/// FB-3.
async fn a_closed_stream_gives_its_last_frames_and_closed((mut a, mut b): (Connection, Connection)) {
    a.writer.push(small(1)).expect("push");
    poll_fn(|cx| a.writer.poll_close(cx)).await.expect("close");
    assert_eq!(acks(&read_n(&mut *b.reader, 1).await), [1]);
    for _ in 0..2 {
        let error = read(&mut *b.reader).await.expect_err("the end");
        assert!(matches!(error, FabricError::Closed), "{error:?}");
    }
    // The other direction goes on.
    b.writer.push(small(2)).expect("push");
    flush(&mut *b.writer).await;
    assert_eq!(acks(&read_n(&mut *a.reader, 1).await), [2]);
}

async fn a_dropped_writer_ends_the_stream((mut a, mut b): (Connection, Connection)) {
    a.writer.push(small(1)).expect("push");
    flush(&mut *a.writer).await;
    drop(a);
    assert_eq!(acks(&read_n(&mut *b.reader, 1).await), [1]);
    let error = read(&mut *b.reader).await.expect_err("the end");
    assert!(matches!(error, FabricError::Closed), "{error:?}");
}
