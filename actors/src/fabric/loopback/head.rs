//! What a frame's head tells somebody who looks on.

use remex_protocol::{
    Call,
    frame::{HEAD_LEN, flags, kind},
    ids::CallId,
};

/// The first frame of `bytes`, if it is there whole. Its writer is ours, so its lengths are true.
pub(in crate::fabric) fn first_frame(bytes: &[u8]) -> Option<&[u8]> {
    let head = bytes.first_chunk::<HEAD_LEN>()?;
    let header = u64_at(head, 4) & u64::from(u32::MAX);
    let payload = if head[1] & flags::PIECES == 0 { u64_at(head, 8) } else { 0 };
    bytes.get(..HEAD_LEN + (header + payload) as usize)
}

/// What a frame is, by its head: kind, call, and of a piece its offset.
pub(in crate::fabric) fn describe(frame: &[u8]) -> String {
    let Some(head) = frame.first_chunk::<HEAD_LEN>() else {
        return "no frame".to_owned();
    };
    let number = head[0] & !kind::COMPLETED;
    let name = match number {
        kind::HELLO => "Hello",
        kind::WELCOME => "Welcome",
        kind::REFUSED => "Refused",
        kind::HEARTBEAT => "Heartbeat",
        kind::PIECE => "Piece",
        kind::GOODBYE => "Goodbye",
        kind::METADATA => "Metadata",
        kind::FORESEEN => "Foreseen",
        _ => Call::name_of(number).unwrap_or("unknown"),
    };
    let what = match (head[0] & kind::COMPLETED != 0, head[1] & flags::FAILED != 0) {
        (false, _) => "",
        (true, false) => "Completed ",
        (true, true) => "Failed ",
    };
    let call = u64_at(head, 16);
    let call = CallId::new(call as u32, (call >> 32) as u32);
    match number {
        kind::PIECE => format!("Piece {call} at {}", u64_at(head, 24)),
        _ if call == CallId::default() => format!("{what}{name}"),
        _ => format!("{what}{name} {call}"),
    }
}

fn u64_at(head: &[u8; HEAD_LEN], at: usize) -> u64 {
    head[at..at + 8].iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
