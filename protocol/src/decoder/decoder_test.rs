//! Streams cut anywhere, and payloads in pieces.
//!
//! The frames are those of `tests/golden`: one of every kind.

use std::fs;

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::*;
use crate::{
    Body, Call, ErrorCode, Reply,
    calls::*,
    encode_frame, encode_piece,
    frame::MAX_DELETES,
    ids::{CallId, ContextIndex, DeviceIndex, ObjectId, ObjectPrefix},
    tensor::ALIGNMENT,
};

/// The frames of the golden files by name, but for the piece and the payload that it belongs to, and what is no frame.
pub(super) fn golden() -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !["piece", "put_object_in_pieces", "serialized_tensor"].contains(&name.as_str()) {
            let text = fs::read_to_string(&path).unwrap();
            let digits = text.lines().skip(1).flat_map(str::split_whitespace);
            all.push((name, digits.map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()));
        }
    }
    all.sort();
    all
}

pub(super) fn named(name: &str) -> Vec<u8> {
    golden().into_iter().find(|(n, _)| n == name).unwrap().1
}

/// Feeds `bytes`, at most `step()` at a time, and gives every frame.
pub(super) fn feed(
    decoder: &mut Decoder,
    mut bytes: &[u8],
    mut step: impl FnMut() -> usize,
) -> Result<Vec<Frame>, FrameError> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let space = decoder.space();
        assert!(!space.is_empty());
        let n = space.len().min(bytes.len()).min(step());
        space[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        decoder.advance(n)?;
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

pub(super) fn decode(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
    feed(&mut Decoder::new(DecoderLimits::OPEN), bytes, || usize::MAX)
}

/// The frame again, as bytes; the checksum of its payload is there if the frame that it came from had one.
fn encode(frame: &Frame, payload_crc: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, frame, payload_crc).unwrap();
    bytes.extend_from_slice(&frame.payload.clone().into_bytes());
    bytes
}

#[test]
fn frames_come_out_however_the_stream_is_cut() {
    let stream: Vec<u8> = golden().into_iter().flat_map(|(_, bytes)| bytes).collect();
    let mut rng = SmallRng::seed_from_u64(0x72656d6578);
    let whole = decode(&stream).unwrap();
    assert_eq!(whole.len(), golden().len());
    for (frame, (name, bytes)) in whole.iter().zip(golden()) {
        let payload_crc = bytes[1] & flags::PAYLOAD_CRC != 0;
        assert_eq!(encode(frame, payload_crc), bytes, "{name}");
    }
    for round in 0..50 {
        let most = if round == 0 { 1 } else { rng.random_range(2..200) };
        let frames = feed(&mut Decoder::new(DecoderLimits::OPEN), &stream, || rng.random_range(1..=most)).unwrap();
        assert_eq!(format!("{frames:?}"), format!("{whole:?}"), "at most {most} bytes at once");
    }
}

#[test]
fn a_long_stream_is_read_in_large_steps() {
    let one = named("remote_execute");
    let stream = one.repeat(5000);
    let mut decoder = Decoder::new(DecoderLimits::OPEN);
    let frames = feed(&mut decoder, &stream, || usize::MAX).unwrap();
    assert_eq!(frames.len(), 5000);
    // A remainder is moved to the front before the space behind it becomes small.
    assert!(decoder.space().len() >= READ_LEN / 2);
    assert_eq!(decoder.staged.len(), READ_LEN);
}

#[test]
fn a_header_larger_than_a_read_is_whole() {
    let objects = vec![an_object(); MAX_DELETES];
    let request = DeleteObjectsRequest { context: ContextIndex(0), objects, mode: DeleteMode::Release };
    let bytes = encode(&Frame::new(CallId::new(1, 0), Body::Call(Call::DeleteObjects(Box::new(request)))), false);
    assert!(bytes.len() > 2 * READ_LEN);
    assert!(matches!(
        &decode(&bytes).unwrap()[0].body,
        Body::Call(Call::DeleteObjects(request)) if request.objects.len() == MAX_DELETES
    ));
}

fn an_object() -> ObjectId {
    ObjectId { prefix: ObjectPrefix(u64::MAX), local: 1, device: DeviceIndex(0) }
}

/// A call, or the reply to one, that announces `len` bytes.
pub(super) fn announcing(name: &str, call: CallId, len: u64) -> Vec<u8> {
    let mut frame = decode(&named(name)).unwrap().remove(0);
    (frame.call, frame.payload) = (call, Payload::Announced(len));
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, &frame, true).unwrap();
    bytes
}

pub(super) fn piece(call: CallId, payload: &[u8], offset: usize, len: usize) -> Vec<u8> {
    let (mut bytes, part) = (Vec::new(), &payload[offset..offset + len]);
    encode_piece(&mut bytes, call, offset as u64, 0, part, true);
    bytes.extend_from_slice(part);
    bytes
}

/// `n` bytes, each round of 251 like the one before.
pub(super) fn some(n: usize) -> Vec<u8> {
    (0..n).map(|i| (i % 251) as u8).collect()
}

#[test]
fn pieces_are_put_together_between_other_frames() {
    let (put, fetched) = (CallId::new(1, 0), CallId::new(2, 5));
    let (a, b) = (some(2 * PIECE_LEN + 7), some(PIECE_LEN + 1));
    let stream = [
        announcing("put_object", put, a.len() as u64),
        announcing("fetch_object_reply", fetched, b.len() as u64),
        piece(put, &a, 0, PIECE_LEN),
        named("heartbeat"),
        piece(fetched, &b, 0, 5),
        piece(put, &a, PIECE_LEN, PIECE_LEN),
        named("put_object"),
        piece(fetched, &b, 5, PIECE_LEN - 4),
        piece(put, &a, 2 * PIECE_LEN, 7),
    ]
    .concat();
    let mut rng = SmallRng::seed_from_u64(3);
    for round in 0..10 {
        let most = [usize::MAX, 100_000, 5000][round % 3];
        let mut decoder = Decoder::new(DecoderLimits::OPEN);
        let frames = feed(&mut decoder, &stream, || rng.random_range(1..=most)).unwrap();
        // The call is handed on at its place in the order, its payload when it is whole; the reply is held, and its place
        // is marked.
        let [call, place, heartbeat, other, reply, arrived] = &frames[..] else { panic!("{frames:?}") };
        assert!(matches!(place.body, Body::ReplyAnnounced));
        assert_eq!((place.call, place.number > 0, reply.number), (fetched, true, 0));
        assert!(matches!(call.body, Body::Call(Call::PutObject(_))));
        assert!(matches!(call.payload, Payload::Announced(len) if len == a.len() as u64));
        assert!(matches!(heartbeat.body, Body::Heartbeat));
        assert_eq!(other.payload.len(), 8);
        assert!(matches!(reply.body, Body::Completed(Reply::FetchObject(_))));
        assert!(matches!(arrived.body, Body::PayloadArrived));
        assert_eq!((call.call, reply.call, arrived.call), (put, fetched, put));
        for (frame, expected) in [(arrived, &a), (reply, &b)] {
            let payload = frame.payload.clone().into_bytes();
            assert!(payload == expected[..], "the payload of {:?} is another", frame.body);
            assert!((payload.as_ptr() as usize).is_multiple_of(ALIGNMENT));
        }
    }
}

#[test]
fn a_payload_is_read_into_the_buffer_that_it_stays_in() {
    let payload = some(PIECE_LEN);
    let mut frame = decode(&named("put_object")).unwrap().remove(0);
    frame = frame.with_payload(Bytes::from(payload.clone()));
    let bytes = encode(&frame, true);
    let mut decoder = Decoder::new(DecoderLimits::OPEN);
    let head = bytes.len() - payload.len();
    assert!(feed(&mut decoder, &bytes[..head], || 10).unwrap().is_empty());
    let place = decoder.space();
    assert_eq!(place.len(), payload.len());
    let at = place.as_ptr();
    let frames = feed(&mut decoder, &bytes[head..], || 1000).unwrap();
    assert_eq!(frames[0].payload.clone().into_bytes().as_ptr(), at);
}

/// A transfer of `payload` in pieces, with a small frame in the middle.
fn transfer(call: CallId, payload: &[u8]) -> Vec<u8> {
    let mut stream = announcing("put_object", call, payload.len() as u64);
    for offset in (0..payload.len()).step_by(PIECE_LEN) {
        stream.extend(piece(call, payload, offset, PIECE_LEN.min(payload.len() - offset)));
        if offset == PIECE_LEN {
            stream.extend(named("heartbeat"));
        }
    }
    stream
}

#[test]
fn the_bytes_of_a_payload_are_not_moved_once_one_is_expected() {
    let (mut decoder, mut rng) = (Decoder::new(DecoderLimits::OPEN), SmallRng::seed_from_u64(4));
    let payload = some(3 * PIECE_LEN + 5);
    let small = named("remote_execute").repeat(20);
    // Nobody knew that it would come: what shared a read with its head is moved.
    let first = [small.clone(), transfer(CallId::new(1, 0), &payload)].concat();
    assert_eq!(feed(&mut decoder, &first, || usize::MAX).unwrap().len(), 23);
    let moved = decoder.moved();
    assert!(moved > 0 && moved < READ_LEN as u64, "{moved}");
    // From then on nothing, however the reads fall, though small frames come between.
    for round in 2..8 {
        let most = if round == 2 { usize::MAX } else { rng.random_range(1..100_000) };
        let again = transfer(CallId::new(round, 0), &payload);
        let frames = feed(&mut decoder, &again, || rng.random_range(1..=most)).unwrap();
        assert!(frames.last().unwrap().payload.clone().into_bytes() == payload[..]);
        assert_eq!(decoder.moved(), moved, "round {round}");
    }
    // Payloads that are not in pieces, one behind the other.
    let mut frame = decode(&named("put_object")).unwrap().remove(0);
    frame = frame.with_payload(Bytes::from(some(10_000)));
    let frames = feed(&mut decoder, &encode(&frame, true).repeat(5), || usize::MAX).unwrap();
    assert_eq!((frames.len(), decoder.moved()), (5, moved));
    // Small frames are read by the hundred again.
    feed(&mut decoder, &small, || usize::MAX).unwrap();
    assert!(decoder.space().len() > READ_LEN / 2);
}

#[test]
fn only_what_a_peer_may_say_is_encoded() {
    let mut out = b"before".to_vec();
    let arrived = Frame::new(CallId::default(), Body::PayloadArrived);
    assert!(encode_frame(&mut out, &arrived, false).is_err());
    let failures = vec![
        DeleteFailure {
            object: an_object(),
            error: crate::RemoteError::new(ErrorCode::NotFound, "m".repeat(4096)),
        };
        300
    ];
    let reply = Reply::DeleteObjects(DeleteObjectsReply { failures });
    let large = Frame::new(CallId::default(), Body::Completed(reply));
    let error = encode_frame(&mut out, &large, false).unwrap_err();
    assert!(error.0.contains("is over the limit of 1048576"), "{error}");
    assert_eq!(out, b"before");
}
