//! After the handshake: frames that are none, that lie, or that come in the wrong order.

use remex::{
    ErrorCode, TensorMetadata,
    protocol::{
        Body, Call, Frame, Reply, calls::*, encode_frame, encode_piece, frame::PIECE_LEN, handshake::Welcome,
        ids::CallId,
    },
    tensor::DType,
};

use super::peer::{Stranger, World, hello, settle};
use crate::raw::{HERE, INDEX, create_context, object, register_function, remote_execute};

const CALL: CallId = CallId { index: 0, generation: 0 };
const LONG: usize = PIECE_LEN + 100;

fn devices() -> Frame {
    Frame::new(CALL, Body::Call(Call::GetDevices(Box::new(GetDevicesRequest {}))))
}

/// A head that says so, and its header; the checksum is right.
pub(super) fn framed(kind: u8, flags: u8, payload: u64, number: u64, header: &[u8]) -> Vec<u8> {
    let mut bytes = [0; 48];
    (bytes[0], bytes[1]) = (kind, flags);
    bytes[4..8].copy_from_slice(&(header.len() as u32).to_le_bytes());
    bytes[8..16].copy_from_slice(&payload.to_le_bytes());
    bytes[24..32].copy_from_slice(&number.to_le_bytes());
    let crc = crc32c(&[&bytes[..44], header].concat());
    bytes[44..48].copy_from_slice(&crc.to_le_bytes());
    [&bytes[..], header].concat()
}

/// The checksum of the wire, a bit at a time.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

pub(super) fn put(elements: usize) -> PutObjectRequest {
    PutObjectRequest {
        context: INDEX,
        object: object(1, HERE),
        metadata: TensorMetadata::new(DType::U8, [elements as u64]),
    }
}

/// What the encoder writes for a call whose payload is longer than a piece: its pieces come separately.
fn announced(stranger: &mut Stranger, call: CallId, elements: usize) -> Vec<u8> {
    stranger.sent += 1;
    let mut frame = Frame::new(call, Body::Call(Call::PutObject(Box::new(put(elements)))));
    frame.payload = remex::protocol::Payload::Announced(elements as u64);
    (frame.number, frame.ack) = (stranger.sent, stranger.accepted);
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, &frame, false).unwrap();
    bytes
}

fn piece(call: CallId, offset: u64, len: usize) -> Vec<u8> {
    let (mut bytes, data) = (Vec::new(), vec![1; len]);
    encode_piece(&mut bytes, call, offset, 0, &data, true);
    bytes.extend_from_slice(&data);
    bytes
}

/// I6, I8: what breaks the protocol ends the session that did it, and no other.
#[actix::test]
async fn who_breaks_the_protocol_is_thrown_out() {
    type Harm = fn(&mut Stranger) -> Vec<u8>;
    fn numbered(stranger: &mut Stranger, number: u64, ack: u64) -> Vec<u8> {
        let mut frame = devices();
        (stranger.sent, stranger.accepted) = (number - 1, ack);
        frame.number = number;
        stranger.bytes(frame)
    }
    let frame = |body: Body| {
        let mut bytes = Vec::new();
        encode_frame(&mut bytes, &Frame { number: 1, ..Frame::new(CALL, body) }, false).unwrap();
        bytes
    };
    let failed = || Body::Failed {
        kind: 16,
        error: Box::new(remex::protocol::RemoteError::new(ErrorCode::Internal, "says who?")),
    };
    let metadata = || Body::Metadata { output: u32::MAX, metadata: TensorMetadata::new(DType::U8, [1u64]) };
    let fixed: Vec<(&str, Vec<u8>)> = vec![
        ("noise", vec![0x5a; 300]),
        ("a reply", frame(Body::Completed(Reply::Cancel(CancelReply {})))),
        ("a reply that failed", frame(failed())),
        ("metadata", frame(metadata())),
        ("a second Hello", frame(Body::Hello(Box::new(hello("/job:b/task:0"))))),
        ("a Welcome", frame(Body::Welcome(Box::new(welcome("/job:b/task:0"))))),
        ("a kind that there is not", framed(8, 0, 0, 1, &[])),
        ("flags that there are not", framed(16, 0x40, 0, 1, &[0x90])),
        ("a header too long", framed(16, 0, 0, 1, &vec![0x90; (1 << 20) + 1])),
        ("a payload too long", framed(27, 1, (16 << 30) + 1, 1, &[0x90])),
        ("a payload beside a heartbeat", framed(4, 0, 5, 0, &[])),
        ("a long payload without pieces", framed(27, 0, LONG as u64, 1, &[0x90])),
        ("a piece of nothing", piece(CALL, 0, 10)),
    ];
    let made: [(&str, Harm); 8] = [
        ("a gap in the numbers", |stranger| numbered(stranger, 2, 0)),
        ("a number again", |stranger| [numbered(stranger, 1, 0), numbered(stranger, 1, 0)].concat()),
        ("the last number", |stranger| numbered(stranger, u64::MAX, 0)),
        ("an ack of what was never sent", |stranger| numbered(stranger, 1, 99)),
        ("a piece not in order", |s| [announced(s, CALL, LONG), piece(CALL, 5, 10)].concat()),
        ("pieces that overlap", |s| [announced(s, CALL, LONG), piece(CALL, 0, 10), piece(CALL, 5, 10)].concat()),
        ("a piece too long", |s| {
            [announced(s, CALL, LONG), piece(CALL, 0, PIECE_LEN), piece(CALL, PIECE_LEN as u64, 101)].concat()
        }),
        ("a payload announced twice", |s| [announced(s, CALL, LONG), announced(s, CALL, LONG)].concat()),
    ];
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            for (what, bytes) in fixed {
                let mut guest = world.guest().await;
                guest.write(&bytes).await;
                let said = guest.is_thrown_out(1).await;
                assert!(said.iter().all(|frame| matches!(frame.body, Body::Goodbye(_))), "{what}: {said:?}");
            }
            for (what, make) in made {
                let mut guest = world.guest().await;
                let bytes = make(&mut guest);
                guest.write(&bytes).await;
                // What was right before may have been answered.
                let said = guest.is_thrown_out(1).await;
                assert!(said.len() <= 1, "{what}: {said:?}");
                world.goes_on().await;
            }
            assert!(world.worker.stats().await.unwrap().refused.links > 10, "they are counted");
        })
        .await;
}

/// What an answering task says that is right.
pub(super) fn welcome(name: &str) -> Welcome {
    let hello = hello(name);
    Welcome {
        version: hello.version,
        incarnation: hello.incarnation,
        task: hello.task,
        epoch: 1,
        resumed: false,
        resume: 0,
        unfinished: Vec::new(),
        lease_ms: 30_000,
        lane: 0,
        credits: Default::default(),
        limits: hello.limits,
    }
}

/// The number of the last call that there is.
const LAST: u8 = 37;

/// A call that cannot be read is answered, and the link goes on: nests, lists without end, texts that are none.
#[actix::test]
async fn a_call_that_cannot_be_read_is_answered() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = world.guest().await;
            let endless = [&[0x98, 0, 0][..], &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat();
            let headers =
                [vec![], vec![0xc1], vec![0x91; 1 << 20], [0x81, 0xa1, b'x'].repeat(300_000), endless, vec![0xc0; 999]];
            for kind in (16..=LAST).chain([LAST + 1, 99, 127]) {
                for header in &headers {
                    // To ask for the devices takes no fields, of which an empty list is one.
                    guest.sent += 1;
                    let bytes = framed(kind, 0, 0, guest.sent, header);
                    guest.write(&bytes).await;
                    let answer = guest.answer().await;
                    let Body::Failed { kind: of, error } = &answer.body else { panic!("{kind}: {answer:?}") };
                    let code = if kind > LAST { ErrorCode::Unimplemented } else { ErrorCode::InvalidArgument };
                    assert_eq!((*of, error.code, error.call), (kind, code, Some(answer.call)), "{error}");
                }
            }
            assert!(guest.ask(GetDevicesRequest {}, &[]).await.is_ok(), "the link goes on");
            let refused = world.worker.stats().await.unwrap().refused;
            assert_eq!((refused.calls, refused.links), (u64::from(LAST - 12) * headers.len() as u64, 0));
        })
        .await;
}

/// Calls about a context that is not there, or not yet, or not any more, are refused one by one.
#[actix::test]
async fn calls_in_the_wrong_order_are_refused() {
    const GONE: Option<ErrorCode> = Some(ErrorCode::InvalidDistributedContextId);
    async fn all(guest: &mut Stranger) {
        let execute = remote_execute(0, &[], &[object(5, HERE)]);
        assert_eq!(guest.ask(execute, &[]).await.err(), GONE);
        assert_eq!(guest.ask(put(3), &[1, 2, 3]).await.err(), GONE);
        assert_eq!(guest.ask(register_function(0, "add"), &[]).await.err(), GONE);
        assert_eq!(guest.ask(CloseContextRequest { context: INDEX }, &[]).await.err(), GONE);
        assert_eq!(guest.ask(KeepAliveRequest { context: INDEX }, &[]).await.err(), GONE);
    }
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = world.guest().await;
            all(&mut guest).await;
            assert!(guest.ask(create_context(1), &[]).await.is_ok());
            let again = guest.ask(create_context(1), &[]).await.err();
            assert_eq!(again, Some(ErrorCode::AlreadyExists));
            // A program that is not registered; an object that is not there; indexes that point nowhere.
            let execute = remote_execute(7, &[], &[object(5, HERE)]);
            assert!(guest.ask(execute, &[]).await.is_err());
            let mut far = remote_execute(u32::MAX, &[], &[]);
            far.time_left_ms = u64::MAX;
            assert!(guest.ask(far, &[]).await.is_err());
            assert!(guest.ask(put(4), &[1, 2, 3]).await.is_err(), "not what its shape takes");
            let shape = TensorMetadata::new(DType::F64, [u64::MAX, u64::MAX]);
            let huge = PutObjectRequest { metadata: shape, ..put(3) };
            assert_eq!(guest.ask(huge, &[1, 2, 3]).await.err(), Some(ErrorCode::InvalidArgument));
            assert!(guest.ask(CloseContextRequest { context: INDEX }, &[]).await.is_ok());
            all(&mut guest).await;
        })
        .await;
}

/// A payload that was announced and never comes keeps its object waiting, and goes with its session or its context; what
/// comes of it for a context that is closed, or another of the same index, reaches nobody.
#[actix::test]
async fn a_payload_that_never_comes_ends_with_its_session() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = world.guest().await;
            assert!(guest.ask(create_context(1), &[]).await.is_ok());
            let bytes = announced(&mut guest, CallId::new(70, 0), LONG);
            guest.write(&bytes).await;
            // Heartbeats only: the payload is missed.
            for _ in 0..4 {
                settle(1).await;
                guest.say(Body::Heartbeat).await;
            }
            guest.is_thrown_out(1).await;
            world.goes_on().await;

            let mut guest = world.guest().await;
            assert!(guest.ask(create_context(1), &[]).await.is_ok());
            let call = CallId::new(70, 0);
            let bytes = announced(&mut guest, call, LONG);
            guest.write(&bytes).await;
            guest.call(CloseContextRequest { context: INDEX }, &[]).await;
            guest.call(create_context(1), &[]).await;
            settle(1).await;
            guest.write(&[piece(call, 0, PIECE_LEN), piece(call, PIECE_LEN as u64, 100)].concat()).await;
            guest.call(GetDevicesRequest {}, &[]).await;
            let mut answers = Vec::new();
            for _ in 0..4 {
                answers.push(guest.answer().await);
            }
            let failed = |frame: &&Frame| matches!(frame.body, Body::Failed { .. });
            assert_eq!(answers.iter().filter(failed).count(), 1, "the put alone: {answers:?}");
        })
        .await;
}

/// Heartbeats keep a session, and cost nothing.
#[actix::test]
async fn heartbeats_alone_are_no_harm() {
    let world = World::new(&[]).await;
    world
        .bears(async |world: &World| {
            let mut guest = world.guest().await;
            for _ in 0..20_000 {
                guest.say(Body::Heartbeat).await;
            }
            world.goes_on().await;
            assert!(guest.ask(GetDevicesRequest {}, &[]).await.is_ok());
            // And silence ends it.
            guest.is_thrown_out(4).await;
        })
        .await;
}
