//! The cause of an abort, as it travels.

use bytes::Bytes;
use remex_protocol::{ErrorCode, RemoteError};

use crate::Error;

/// The payload of an abort.
pub(super) fn to_bytes(cause: &Error) -> Bytes {
    let mut bytes = Vec::new();
    // An error is numbers and text; if it could not be written the receiver says so.
    let written = remex_protocol::encode(&mut bytes, cause.remote());
    if written.is_ok() { bytes.into() } else { Bytes::new() }
}

/// What a member that aborted said; whatever it said, it is an error.
pub(super) fn from_bytes(bytes: &[u8], member: u16) -> Error {
    let cause = remex_protocol::decode::<RemoteError>(bytes).unwrap_or_else(|error| {
        let message = format!("member {member} gave the collective up and its cause is unreadable: {error}");
        RemoteError::new(ErrorCode::Aborted, message)
    });
    cause.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_comes_back_whole() {
        let cause =
            RemoteError::new(ErrorCode::Internal, "boom").on_task("/job:w/task:2").in_program("f").through("r1.0");
        assert_eq!(from_bytes(&to_bytes(&cause.clone().into()), 2), cause.into());
        assert_eq!(from_bytes(b"nonsense", 2).code(), ErrorCode::Aborted);
    }
}
