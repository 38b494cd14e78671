//! What a frame's header says.

use crate::{
    Call, CodecError, ErrorCode, RemoteError, Reply, Rpc,
    calls::{DeleteObjectsRequest, RemoteExecuteRequest},
    codec,
    frame::{Body, FrameError, Head, flags, kind},
    hot,
};

/// Reads a header whose checksum was right.
///
/// A call or a reply that cannot be read costs that call and not the link: head and lengths are sound, so the next
/// frame begins where they say.
pub(super) fn decode_body(head: &Head, header: &[u8]) -> Result<Body, FrameError> {
    let completed = head.kind & kind::COMPLETED != 0;
    let of = head.kind & !kind::COMPLETED;
    if head.flags & flags::FAILED != 0 {
        // Of a call that this version does not know too: so is it answered by one that does not know it either.
        if !completed || of < kind::CALLS {
            return Err(FrameError::Malformed(format!("kind {} cannot have failed", head.kind)));
        }
        let error = codec::decode(header).unwrap_or_else(|e| unreadable(head, "error", &e));
        return Ok(Body::Failed { kind: of, error: Box::new(error) });
    }
    let malformed = |what: &'static str| move |e: CodecError| FrameError::Malformed(format!("{what}: {e}"));
    const EXECUTE: u8 = RemoteExecuteRequest::KIND;
    const EXECUTED: u8 = RemoteExecuteRequest::KIND | kind::COMPLETED;
    const DELETE: u8 = DeleteObjectsRequest::KIND;
    const DELETED: u8 = DeleteObjectsRequest::KIND | kind::COMPLETED;
    match head.kind {
        EXECUTE if let Some(request) = hot::decode_request(header) => Ok(Body::Call(request.into_call())),
        EXECUTED if let Some(reply) = hot::decode_reply(header) => Ok(Body::Completed(Reply::RemoteExecute(reply))),
        DELETE if let Some(request) = hot::decode_delete(header) => Ok(Body::Call(request.into_call())),
        DELETED if let Some(reply) = hot::decode_deleted(header) => Ok(Body::Completed(Reply::DeleteObjects(reply))),
        kind::HELLO => codec::decode_named(header).map(Body::Hello).map_err(malformed("Hello")),
        kind::WELCOME => codec::decode_named(header).map(Body::Welcome).map_err(malformed("Welcome")),
        kind::REFUSED => codec::decode_named(header).map(Body::Refused).map_err(malformed("Refused")),
        kind::HEARTBEAT if header.is_empty() => Ok(Body::Heartbeat),
        kind::RECEIVED if header.is_empty() => Ok(Body::Received),
        kind::RECEIVED => Err(FrameError::Malformed("a Received with a header".to_owned())),
        kind::HEARTBEAT => Err(FrameError::Malformed("a heartbeat with a header".to_owned())),
        kind::GOODBYE => codec::decode(header).map(Body::Goodbye).map_err(malformed("Goodbye")),
        kind::METADATA => {
            let (output, metadata) = codec::decode(header).map_err(malformed("Metadata"))?;
            Ok(Body::Metadata { output, metadata })
        }
        kind::FORESEEN => {
            let (object, metadata) = codec::decode(header).map_err(malformed("Foreseen"))?;
            Ok(Body::Foreseen { object, metadata })
        }
        _ if completed => match Reply::decode(of, header) {
            Some(Ok(reply)) => Ok(Body::Completed(reply)),
            Some(Err(e)) => Ok(Body::Failed { kind: of, error: Box::new(unreadable(head, "reply", &e)) }),
            None if of >= kind::CALLS => {
                let message = format!("the call was answered with the reply of call number {of}, which there is not");
                let error = Box::new(RemoteError::new(ErrorCode::Internal, message).of_call(head.call));
                Ok(Body::Failed { kind: of, error })
            }
            None => Err(unknown(head)),
        },
        _ => match Call::decode(head.kind, header) {
            Some(Ok(call)) => Ok(Body::Call(call)),
            Some(Err(e)) => {
                let message = format!("the request is malformed: {e}");
                Ok(undecodable(head, ErrorCode::InvalidArgument, message))
            }
            None if head.kind >= kind::CALLS => {
                let message = format!("there is no call number {}", head.kind);
                Ok(undecodable(head, ErrorCode::Unimplemented, message))
            }
            None => Err(unknown(head)),
        },
    }
}

fn unknown(head: &Head) -> FrameError {
    FrameError::Malformed(format!("there is no kind {}", head.kind))
}

/// What the caller of a call whose answer cannot be read is told. The call may well have run.
fn unreadable(head: &Head, what: &str, e: &CodecError) -> RemoteError {
    let message = format!("the call was answered, but its {what} is malformed: {e}");
    RemoteError::new(ErrorCode::Internal, message).of_call(head.call)
}

fn undecodable(head: &Head, code: ErrorCode, message: String) -> Body {
    Body::Undecodable { kind: head.kind, error: Box::new(RemoteError::new(code, message).of_call(head.call)) }
}
