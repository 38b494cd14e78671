//! What the collectives have in common: chunks come, chunks go, and in the end there is a result.

use std::fmt;

use bytes::Bytes;
use remex_protocol::{
    ErrorCode,
    collective::ChunkHeader,
    tensor::{AlignedBuf, BufferPool, Tensor, TensorMetadata},
};

use crate::{Error, Result};

/// A chunk to send.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The member that gets it.
    pub(super) to: u16,
    /// What the tensor is that it belongs to.
    pub(super) metadata: TensorMetadata,
    pub(super) step: u16,
    pub(super) part: u16,
    pub(super) offset: u64,
    pub(super) payload: Bytes,
}

/// A chunk that came from a member.
#[derive(Debug)]
pub(super) struct Came<'a> {
    pub(super) from: u16,
    pub(super) header: &'a ChunkHeader,
    pub(super) payload: Bytes,
}

/// One member's share of a collective of at least two.
pub(super) trait Work: fmt::Debug + Send {
    /// The next chunk that it sends of its own accord; `None` when there are no more. After an error it is not used again.
    fn begin(&mut self) -> Result<Option<Outgoing>>;

    /// Takes a chunk; perhaps there is one to send now. After an error it is not used again.
    fn take(&mut self, came: Came<'_>) -> Result<Option<Outgoing>>;

    /// Whether all has come that it waits for.
    fn is_whole(&self) -> bool;

    /// Whether the result is there only when the others have taken what was sent.
    fn ends_with_its_sends(&self) -> bool {
        false
    }

    /// The result, once it is whole.
    fn finish(&mut self) -> Result<Option<Tensor>>;

    /// A member that it waits for.
    fn lacks(&self) -> u16;
}

/// Where a member stands in the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) me: u16,
    pub(super) members: u16,
}

impl Place {
    /// Whom it sends to.
    pub(super) fn next(self) -> u16 {
        self.back(self.members - 1)
    }

    /// Who sends to it.
    pub(super) fn previous(self) -> u16 {
        self.back(1)
    }

    /// The member so many places before it; fewer than the ring is long.
    pub(super) fn back(self, places: u16) -> u16 {
        let n = u32::from(self.members);
        // Below `members`, so it fits.
        ((u32::from(self.me) + n - u32::from(places)) % n) as u16
    }
}

/// What a member says is not what this one does.
pub(super) fn differs(message: String) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

/// A chunk that no member of this version sends.
pub(super) fn malformed(came: &Came<'_>, why: impl fmt::Display) -> Error {
    let ChunkHeader { step, part, offset, .. } = came.header;
    let message = format!(
        "member {} sent a chunk that does not belong here ({why}): step {step}, part {part}, offset {offset}",
        came.from
    );
    Error::new(ErrorCode::InvalidArgument, message)
}

/// Room for so many bytes, all of which will be written.
pub(super) fn room(buffers: &BufferPool, len: Option<u64>) -> Result<AlignedBuf> {
    let none = || Error::new(ErrorCode::ResourceExhausted, "no memory for the collective");
    let len = len.and_then(|len| usize::try_from(len).ok()).ok_or_else(none)?;
    buffers.take(len).ok_or_else(none)
}

/// The tensor that was put together.
pub(super) fn tensor(metadata: TensorMetadata, data: Bytes) -> Result<Tensor> {
    Tensor::from_bytes(metadata, data).map_err(|error| Error::new(ErrorCode::InvalidArgument, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_closes() {
        let place = Place { me: 0, members: 3 };
        assert_eq!((place.next(), place.previous(), place.back(2)), (1, 2, 1));
        let place = Place { me: u16::MAX - 1, members: u16::MAX };
        assert_eq!((place.next(), place.previous(), place.back(u16::MAX - 1)), (0, u16::MAX - 2, 0));
    }
}
