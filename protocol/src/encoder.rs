//! Frames into bytes.

use crate::{
    Call, Reply, Rpc,
    calls::{DeleteObjectsRequest, RemoteExecuteRequest},
    codec::{self, CodecError},
    frame::{Body, Frame, HEAD_LEN, Head, MAX_HEADER, PIECE_LEN, flags, kind},
    hot,
    ids::CallId,
};

/// Appends the head and header of a frame. Its payload, which is not copied, goes after them as it is; or, if it is
/// longer than [`PIECE_LEN`], in [pieces](encode_piece).
///
/// Fails for what never leaves a task (`PayloadArrived`, `Undecodable`) and for a header over [`MAX_HEADER`], which every
/// peer would refuse together with the link; then nothing is appended.
pub fn encode_frame(out: &mut Vec<u8>, frame: &Frame, payload_crc: bool) -> Result<(), CodecError> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_LEN]);
    let encoded = encode_body(out, &frame.body).and_then(|kind| match out.len() - start - HEAD_LEN {
        len if len <= MAX_HEADER => Ok(kind),
        len => Err(CodecError(format!("a header of {len} bytes is over the limit of {MAX_HEADER}"))),
    });
    let kind = match encoded {
        Ok(kind) => kind,
        Err(error) => {
            out.truncate(start);
            return Err(error);
        }
    };
    let mut head = Head {
        kind,
        flags: if matches!(frame.body, Body::Failed { .. }) { flags::FAILED } else { 0 },
        header_len: (out.len() - start - HEAD_LEN) as u32,
        payload_len: frame.payload.len(),
        call: frame.call,
        number: frame.number,
        ack: frame.ack,
        payload_crc: 0,
    };
    if head.payload_len > PIECE_LEN as u64 {
        head.flags |= flags::PIECES;
    } else if payload_crc && let crate::Payload::Whole(payload) = &frame.payload {
        head.flags |= flags::PAYLOAD_CRC;
        head.payload_crc = crc32c::crc32c(payload);
    }
    seal(&mut out[start..], &head);
    Ok(())
}

/// Appends the head of a piece of `piece.len()` bytes that belongs at `offset` of a call's payload. The bytes
/// themselves, which are not copied, go after it.
pub fn encode_piece(out: &mut Vec<u8>, call: CallId, offset: u64, ack: u64, piece: &[u8], payload_crc: bool) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_LEN]);
    let (flags, crc) = if payload_crc { (flags::PAYLOAD_CRC, crc32c::crc32c(piece)) } else { (0, 0) };
    let head = Head {
        kind: kind::PIECE,
        flags,
        header_len: 0,
        payload_len: piece.len() as u64,
        call,
        number: offset,
        ack,
        payload_crc: crc,
    };
    seal(&mut out[start..], &head);
}

fn seal(frame: &mut [u8], head: &Head) {
    if let Some((to, header)) = frame.split_first_chunk_mut::<HEAD_LEN>() {
        head.write(to, header);
    }
}

fn encode_body(out: &mut Vec<u8>, body: &Body) -> Result<u8, CodecError> {
    match body {
        Body::Hello(hello) => codec::encode_named(out, hello).map(|()| kind::HELLO),
        Body::Welcome(welcome) => codec::encode_named(out, welcome).map(|()| kind::WELCOME),
        Body::Refused(error) => codec::encode_named(out, error).map(|()| kind::REFUSED),
        Body::Heartbeat => Ok(kind::HEARTBEAT),
        Body::Received => Ok(kind::RECEIVED),
        Body::Goodbye(error) => codec::encode(out, error).map(|()| kind::GOODBYE),
        Body::Call(Call::RemoteExecute(request)) if hot::encode_request(out, request) => Ok(RemoteExecuteRequest::KIND),
        Body::Call(Call::DeleteObjects(request)) => {
            hot::encode_delete(out, request);
            Ok(DeleteObjectsRequest::KIND)
        }
        Body::Call(call) => call.encode(out).map(|()| call.kind()),
        Body::Metadata { output, metadata } => codec::encode(out, &(output, metadata)).map(|()| kind::METADATA),
        Body::Foreseen { object, metadata } => codec::encode(out, &(object, metadata)).map(|()| kind::FORESEEN),
        Body::Completed(Reply::RemoteExecute(reply)) => {
            hot::encode_reply(out, reply);
            Ok(RemoteExecuteRequest::KIND | kind::COMPLETED)
        }
        Body::Completed(reply) => reply.encode(out).map(|()| reply.kind() | kind::COMPLETED),
        Body::Failed { kind, error } => codec::encode(out, error).map(|()| kind | kind::COMPLETED),
        Body::PayloadArrived | Body::ReplyAnnounced | Body::Undecodable { .. } => {
            Err(CodecError("this frame is made by a decoder and has no bytes".to_owned()))
        }
    }
}
