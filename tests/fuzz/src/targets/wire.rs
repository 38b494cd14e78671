//! Frames as bytes, written by hand as `guide/wire.md` describes them, and a decoder fed as a socket feeds it.

use remex_protocol::{Body, Decoder, DecoderLimits, Frame, FrameError, Payload, encode_frame, frame::HEAD_LEN};

const PAYLOAD_CRC: u8 = 2;
const PIECES: u8 = 1;

/// A frame with this header and no payload, whose checksum is right.
pub(super) fn frame(kind: u8, flags: u8, header: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_LEN];
    (bytes[0], bytes[1]) = (kind, flags);
    bytes[4..8].copy_from_slice(&(header.len() as u32).to_le_bytes());
    bytes[16] = 3;
    bytes[24] = 9;
    bytes.extend_from_slice(header);
    mend(&mut bytes);
    bytes
}

/// Puts the checksums of a stream of frames right, as far as its lengths lead: else no change of a frame would come
/// further than its checksum.
pub(super) fn mend(stream: &mut [u8]) {
    let mut at = 0usize;
    // A payload may be said to be longer than memory is.
    while let Some(head) = at.checked_add(HEAD_LEN).and_then(|end| stream.get(at..end)) {
        let flags = head[1];
        let header_len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        let payload_len = head[8..16].iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let is_inline = flags & PIECES == 0;
        let payload_at = at + HEAD_LEN + header_len;
        let end = usize::try_from(payload_len).ok().filter(|_| is_inline).and_then(|len| payload_at.checked_add(len));
        if let Some(payload) = end.and_then(|end| stream.get(payload_at..end)).filter(|_| flags & PAYLOAD_CRC != 0) {
            let crc = crc32c::crc32c(payload).to_le_bytes();
            stream[at + 40..at + 44].copy_from_slice(&crc);
        }
        let Some(header) = stream.get(at + HEAD_LEN..payload_at) else { return };
        let crc = crc32c::crc32c_append(crc32c::crc32c(&stream[at..at + 44]), header);
        stream[at + 44..at + 48].copy_from_slice(&crc.to_le_bytes());
        at = match end {
            Some(end) => end,
            None if !is_inline => payload_at,
            None => return,
        };
    }
}

/// What a decoder makes of a stream whose reads are as long as `step` says: frames, and then perhaps an error.
pub(super) fn decode(
    limits: DecoderLimits,
    mut bytes: &[u8],
    mut step: impl FnMut() -> usize,
) -> (Vec<Frame>, Option<FrameError>) {
    let (mut decoder, mut frames) = (Decoder::new(limits), Vec::new());
    while !bytes.is_empty() {
        let space = decoder.space();
        assert!(!space.is_empty(), "a decoder always has room");
        let n = space.len().min(bytes.len()).min(step().max(1));
        space[..n].copy_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        if let Err(error) = decoder.advance(n) {
            return (frames, Some(error));
        }
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, None)
}

/// A frame that has bytes must mean the same when it is written and read again, and be written the same way again.
pub(super) fn must_come_back(frame: &Frame) {
    let has_bytes = !matches!(frame.body, Body::PayloadArrived | Body::ReplyAnnounced | Body::Undecodable { .. });
    let Payload::None = frame.payload else { return };
    if !has_bytes {
        return;
    }
    let mut bytes = Vec::new();
    encode_frame(&mut bytes, frame, false).expect("what was read can be written");
    let (again, error) = decode(DecoderLimits::OPEN, &bytes, || usize::MAX);
    assert_eq!(error, None, "what was written can be read: {frame:?}");
    assert_eq!(again.len(), 1, "one frame was written: {frame:?}");
    assert_eq!(format!("{:?}", again[0]), format!("{frame:?}"), "it means the same");
    let mut twice = Vec::new();
    encode_frame(&mut twice, &again[0], false).expect("what was read can be written");
    assert_eq!(twice, bytes, "and is written the same way");
}
