//! What lengths alone cost: memory that is asked for and memory that is touched are not the same.
//!
//! A process of its own, since it looks at the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::fs;

use remex_protocol::{
    Body, Call, Decoder, DecoderLimits, Frame, FrameError, Payload,
    calls::PutObjectRequest,
    encode_frame,
    frame::{MAX_ANNOUNCED, MAX_PAYLOAD, MAX_TRANSFERS},
    ids::{CallId, ContextIndex, DeviceIndex, ObjectId, ObjectPrefix},
    tensor::{DType, TensorMetadata},
};

/// Bytes of the process that are in memory.
fn resident() -> u64 {
    let pages: u64 = fs::read_to_string("/proc/self/statm").unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    // Where pages are larger this says less than it should, for both of two looks.
    pages * 4096
}

/// A call that says that so many bytes will follow.
fn announcement(call: u32, len: u64) -> Vec<u8> {
    let request = PutObjectRequest {
        context: ContextIndex(0),
        object: ObjectId { prefix: ObjectPrefix(1), local: 1, device: DeviceIndex(0) },
        metadata: TensorMetadata::new(DType::U8, [len]),
    };
    let mut frame = Frame::new(CallId::new(call, 0), Body::Call(Call::PutObject(Box::new(request))));
    frame.payload = Payload::Announced(len);
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, &frame, false).unwrap();
    bytes
}

fn feed(decoder: &mut Decoder, mut bytes: &[u8]) -> Result<(), FrameError> {
    while !bytes.is_empty() {
        let space = decoder.space();
        let n = space.len().min(bytes.len());
        space[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        decoder.advance(n)?;
        while decoder.next_frame()?.is_some() {}
    }
    Ok(())
}

/// I8: payloads that are announced take no memory before they come, and no more of the address space than is allowed:
/// two strangers could have all of it otherwise, and the process would end for want of it.
#[test]
fn announced_payloads_cost_nothing_until_they_come() {
    // A length whose buffer is of the heap, and one that comes from the system.
    for len in [(4 << 20) - 1, 4 << 20, 32 << 20] {
        let before = resident();
        let mut decoder = Decoder::new(DecoderLimits::OPEN);
        for call in 0..MAX_TRANSFERS.min((MAX_ANNOUNCED / len) as usize) as u32 {
            feed(&mut decoder, &announcement(call, len)).unwrap();
        }
        let touched = resident().saturating_sub(before);
        // A page or two for each: where it begins, what the allocator notes beside it.
        assert!(touched < 64 << 20, "{touched} bytes for lengths of {len} alone");
    }
    let mut decoder = Decoder::new(DecoderLimits::OPEN);
    for call in 0..(MAX_ANNOUNCED / MAX_PAYLOAD) as u32 {
        match feed(&mut decoder, &announcement(call, MAX_PAYLOAD)) {
            // A machine may say no before.
            Err(FrameError::OutOfMemory(_)) => return,
            other => other.unwrap(),
        }
    }
    let error = feed(&mut decoder, &announcement(9_999, 1 << 20)).unwrap_err();
    assert!(matches!(error, FrameError::TooLarge { limit: MAX_ANNOUNCED, .. }), "{error}");
    let mut other = Decoder::new(DecoderLimits::OPEN);
    feed(&mut other, &announcement(0, 1 << 20)).unwrap();
}
