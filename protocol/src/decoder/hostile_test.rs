//! Bytes that were damaged, or that no peer of ours would send: none panics, all are refused by name, and what costs one
//! call only leaves the link alone.

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::{
    decoder_test::{announcing, decode, feed, golden, named, piece, some},
    *,
};
use crate::{
    Body, ErrorCode,
    frame::{MAX_ARGS, MAX_TRANSFERS},
    ids::CallId,
};

/// Changes a frame without payload and puts the head's checksum right again.
fn altered(mut bytes: Vec<u8>, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    change(&mut bytes);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..44]), &bytes[HEAD_LEN..]);
    bytes[44..48].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// A frame of this kind with this header.
fn frame_of(kind: u8, flags: u8, header: &[u8]) -> Vec<u8> {
    let head =
        Head { kind, flags, header_len: header.len() as u32, call: CallId::new(3, 1), number: 9, ..Head::default() };
    let mut bytes = [0; HEAD_LEN];
    head.write(&mut bytes, header);
    [&bytes[..], header].concat()
}

#[test]
fn pieces_that_do_not_fit_are_refused() {
    fn check(stream: &[Vec<u8>], expected: &str) {
        let error = decode(&stream.concat()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
    let call = CallId::new(1, 0);
    let payload = some(PIECE_LEN + 10);
    let announced = announcing("put_object", call, payload.len() as u64);
    let cut = |offset, len| piece(call, &payload, offset, len);
    check(&[cut(0, 5)], "no payload was announced for its call");
    check(&[announced.clone(), cut(5, 5)], "a piece of 5 bytes at offset 5 does not fit: it is not the next one");
    check(&[announced.clone(), cut(0, 5), cut(0, 5)], "it is not the next one");
    check(&[announced.clone(), cut(0, 0)], "the payload has not that many bytes left");
    check(&[announced.clone(), cut(0, PIECE_LEN), piece(call, &some(PIECE_LEN + 99), PIECE_LEN, 11)], "not that many");
    check(&[announced.clone(), cut(0, PIECE_LEN), cut(PIECE_LEN, 10), cut(PIECE_LEN, 10)], "no payload was announced");
    check(&[announced.clone(), announced.clone()], "call r1.0 has a payload on its way already");
    check(&[piece(call, &payload, 0, PIECE_LEN + 1)], "a piece of 262145 bytes, at most 262144");
    let flagged = altered(cut(0, 0), |bytes| bytes[1] = flags::PIECES);
    check(&[announced, flagged], "a piece with a header or with flags");
}

#[test]
fn no_more_payloads_than_allowed_arrive_at_one_time() {
    let first = announcing("put_object", CallId::default(), PIECE_LEN as u64 + 1);
    let announced = |i: usize| altered(first.clone(), |bytes| bytes[16..20].copy_from_slice(&(i as u32).to_le_bytes()));
    let mut decoder = Decoder::new(DecoderLimits::OPEN);
    for i in 0..MAX_TRANSFERS {
        assert_eq!(feed(&mut decoder, &announced(i), || usize::MAX).unwrap().len(), 1);
    }
    let error = feed(&mut decoder, &announced(MAX_TRANSFERS), || usize::MAX).unwrap_err();
    assert!(error.to_string().contains("more than 4096 payloads"), "{error}");
}

#[test]
fn damaged_bytes_are_found() {
    for (name, bytes) in golden() {
        let whole = format!("{:?}", decode(&bytes).unwrap());
        let checked = HEAD_LEN + u32::from_le_bytes(bytes[4..8].try_into().unwrap()) as usize;
        let has_crc = bytes[1] & flags::PAYLOAD_CRC != 0;
        for bit in 0..bytes.len() * 8 {
            if bit / 8 >= checked && !has_crc {
                continue;
            }
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // A length that has grown waits for bytes that never come; the heartbeat ends such a link.
            match decode(&damaged) {
                Ok(frames) => assert!(frames.is_empty(), "{name}, bit {bit}: {frames:?} for {whole}"),
                Err(FrameError::Checksum { what, .. }) => assert_eq!(what == "payload", bit / 8 >= checked),
                Err(FrameError::TooLarge { .. }) => assert!((4..16).contains(&(bit / 8))),
                Err(e) => panic!("{name}, bit {bit}: {e}"),
            }
        }
    }
}

#[test]
fn lengths_are_checked_before_the_bytes_they_name_are_awaited() {
    fn check(limits: DecoderLimits, header: u32, payload: u64, expected: &str) {
        let head = Head { kind: 27, header_len: header, payload_len: payload, ..Head::default() };
        let mut bytes = [0; HEAD_LEN];
        head.write(&mut bytes, &[]);
        let mut decoder = Decoder::new(limits);
        let error = feed(&mut decoder, &bytes, || usize::MAX).unwrap_err();
        assert_eq!(error.to_string(), expected);
        assert_eq!(decoder.staged.len(), READ_LEN);
    }
    let (open, handshake) = (DecoderLimits::OPEN, DecoderLimits::HANDSHAKE);
    check(open, 1 << 20 | 1, 0, "a header of 1048577 bytes is over the limit of 1048576");
    check(open, u32::MAX, 0, "a header of 4294967295 bytes is over the limit of 1048576");
    check(open, 0, (16 << 30) + 1, "a payload of 17179869185 bytes is over the limit of 17179869184");
    check(handshake, 65_537, 0, "a header of 65537 bytes is over the limit of 65536");
    check(handshake, 0, 1, "a payload of 1 bytes is over the limit of 0");
}

#[test]
fn limits_change_from_one_frame_to_the_next() {
    let mut decoder = Decoder::new(DecoderLimits::HANDSHAKE);
    assert_eq!(feed(&mut decoder, &named("hello"), || 7).unwrap().len(), 1);
    decoder.set_limits(DecoderLimits::OPEN);
    assert_eq!(feed(&mut decoder, &named("put_object"), || 7).unwrap().len(), 1);
}

#[test]
fn what_is_no_frame_of_this_version_is_refused() {
    fn check(bytes: Vec<u8>, expected: &str) {
        let error = decode(&bytes).unwrap_err().to_string();
        assert_eq!(error, format!("not a frame of this version: {expected}"));
    }
    let heartbeat = || named("heartbeat");
    check(altered(heartbeat(), |bytes| bytes[1] = 0x10), "flags 0x10");
    check(altered(heartbeat(), |bytes| bytes[3] = 1), "reserved bytes [00, 01]");
    check(frame_of(0, 0, &[]), "there is no kind 0");
    check(frame_of(10, 0, &[]), "there is no kind 10");
    check(frame_of(10 | kind::COMPLETED, 0, &[]), "there is no kind 138");
    check(frame_of(kind::HEARTBEAT, 0, &[0xc0]), "a heartbeat with a header");
    check(frame_of(kind::RECEIVED, 0, &[0xc0]), "a Received with a header");
    check(frame_of(23, flags::FAILED, &[]), "kind 23 cannot have failed");
    check(frame_of(9 | kind::COMPLETED, flags::FAILED, &[]), "kind 137 cannot have failed");
    let payload = |bytes: &mut Vec<u8>| bytes[8] = 1;
    check(altered(heartbeat(), payload), "a payload of 1 bytes beside kind 4");
    check(altered(named("remote_execute_failed"), payload), "a payload of 1 bytes beside kind 151");
    let pieces = |bytes: &mut Vec<u8>| (bytes[1], bytes[8]) = (flags::PIECES, 1);
    check(altered(named("cancel"), pieces), "a payload of 1 bytes must not be in pieces");
    check(altered(named("cancel"), |bytes| bytes[11] = 1), "a payload of 16777216 bytes must be in pieces");
    for (kind, name) in [(1, "Hello"), (2, "Welcome"), (3, "Refused"), (6, "Goodbye"), (8, "Metadata"), (9, "Foreseen")]
    {
        let error = decode(&frame_of(kind, 0, &[0xc1])).unwrap_err().to_string();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_call_that_cannot_be_read_is_still_answered() {
    fn check(bytes: &[u8], code: ErrorCode, expected: &str) {
        // The link goes on: what follows is read.
        let frames = decode(&[bytes, &named("heartbeat")].concat()).unwrap();
        let [Frame { call, number, body, .. }, heartbeat] = &frames[..] else { panic!("{frames:?}") };
        assert!(matches!(heartbeat.body, Body::Heartbeat));
        let Body::Undecodable { kind, error } = body else { panic!("{body:?}") };
        assert_eq!((*kind, *call, *number, error.call), (bytes[0], CallId::new(3, 1), 9, Some(*call)));
        assert_eq!(error.code, code);
        assert!(error.message.contains(expected), "{error}");
    }
    check(&frame_of(16, 0, &[0xc1]), ErrorCode::InvalidArgument, "the request is malformed");
    check(&frame_of(16, 0, &[0x90, 0x90]), ErrorCode::InvalidArgument, "1 bytes are left over");
    check(&frame_of(18, 0, &[0x91, 0xce, 0, 1, 0, 0]), ErrorCode::InvalidArgument, "expected u16");
    check(&frame_of(99, 0, &[]), ErrorCode::Unimplemented, "there is no call number 99");
    check(&frame_of(127, 0, &[]), ErrorCode::Unimplemented, "there is no call number 127");
    // An array in an array, and so on.
    check(&frame_of(23, 0, &vec![0x91; MAX_HEADER]), ErrorCode::InvalidArgument, "the request is malformed");
    let inputs = [&[0x96, 0, 0, 0xdd, 0, 0x10, 0, 0][..], &vec![0xc0; 1 << 19]].concat();
    let expected = format!("more than {MAX_ARGS} inputs or outputs in one list");
    check(&frame_of(23, 0, &inputs), ErrorCode::InvalidArgument, &expected);
}

#[test]
fn a_reply_that_cannot_be_read_fails_its_call_alone() {
    fn check(bytes: &[u8], kind: u8, expected: &str) {
        let frames = decode(&[bytes, &named("heartbeat")].concat()).unwrap();
        assert_eq!(frames.len(), 2);
        let Body::Failed { kind: of, error } = &frames[0].body else { panic!("{:?}", frames[0].body) };
        assert_eq!((*of, frames[0].call, error.code), (kind, CallId::new(3, 1), ErrorCode::Internal));
        assert!(error.message.contains(expected), "{error}");
    }
    let nils = [&[0x91, 0xdd, 0, 0x08, 0, 0][..], &vec![0xc0; 1 << 19]].concat();
    check(&frame_of(23 | kind::COMPLETED, 0, &nils), 23, "its reply is malformed: more than 1024 inputs or outputs");
    check(&frame_of(16 | kind::COMPLETED, flags::FAILED, &[0xc0]), 16, "its error is malformed");
    check(&frame_of(99 | kind::COMPLETED, 0, &[]), 99, "the reply of call number 99, which there is not");
}

/// One version answers so what another one asks and it does not know.
#[test]
fn the_failure_of_an_unknown_call_is_read() {
    for kind in [38, 99, 127] {
        let Body::Undecodable { error, .. } = decode(&frame_of(kind, 0, &[])).unwrap()[0].body.clone() else {
            panic!()
        };
        let answer = Frame::new(CallId::new(3, 1), Body::Failed { kind, error: error.clone() });
        let mut bytes = Vec::new();
        crate::encode_frame(&mut bytes, &answer, false).unwrap();
        let frames = decode(&bytes).unwrap();
        let Body::Failed { kind: of, error: told } = &frames[0].body else { panic!("{frames:?}") };
        assert_eq!((*of, told, told.code), (kind, &error, ErrorCode::Unimplemented));
    }
}

#[test]
fn random_bytes_never_panic() {
    let mut rng = SmallRng::seed_from_u64(11);
    let golden = golden();
    let mut answered = 0;
    for round in 0..20_000 {
        let bytes = if round % 2 == 0 {
            // Any header behind a head that is right.
            let mut header = vec![0; rng.random_range(0..80)];
            rng.fill(&mut header[..]);
            frame_of(rng.random(), rng.random_range(0..8), &header)
        } else {
            // A good frame, some bytes of its header others.
            altered(golden[rng.random_range(0..golden.len())].1.clone(), |bytes| {
                for _ in 0..rng.random_range(1..5) {
                    let at = rng.random_range(HEAD_LEN.min(bytes.len() - 1)..bytes.len());
                    bytes[at] = rng.random();
                }
            })
        };
        let mut decoder = Decoder::new(DecoderLimits::OPEN);
        if let Ok(frames) = feed(&mut decoder, &bytes, || usize::MAX) {
            answered += frames.len();
        }
        let mut noise = vec![0; rng.random_range(0..200)];
        rng.fill(&mut noise[..]);
        let _ = feed(&mut Decoder::new(DecoderLimits::OPEN), &noise, || 17);
    }
    assert!(answered > 1000, "only {answered} frames came out: the test tries nothing");
}
