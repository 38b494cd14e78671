//! A frame: what is said at once on a link. And every limit of the wire.
//!
//! ```text
//! offset  0 kind        u8    what the header holds; see [`kind`]
//!         1 flags       u8    see [`flags`]
//!         2 reserved    u16   zero
//!         4 header len  u32   bytes of msgpack after the head
//!         8 payload len u64   bytes of raw payload; with PIECES the total, which follows in Piece frames
//!        16 call        u32   slot of the call, assigned by its caller; a reply and a piece carry it back
//!        20 generation  u32   use of that slot
//!        24 number      u64   calls and Completed frames are counted from 1 per direction; Piece: offset in bytes;
//!                             else 0
//!        32 ack         u64   highest number of the other direction that the sender has accepted
//!        40 payload crc u32   crc32c of the payload bytes of this frame if PAYLOAD_CRC, else 0
//!        44 crc         u32   crc32c of bytes 0..44 and of the header
//! ```
//!
//! All integers are little-endian.

use bytes::Bytes;

use crate::{
    error::RemoteError,
    handshake::{Hello, Welcome},
    ids::{CallId, ObjectId},
    rpc::{Call, Reply},
    tensor::TensorMetadata,
};

/// Bytes of the head.
pub const HEAD_LEN: usize = 48;
/// Largest header, in bytes.
pub const MAX_HEADER: usize = 1 << 20;
/// Largest header and payload before the handshake is over, in bytes.
pub const MAX_HANDSHAKE: usize = 64 << 10;
/// Largest payload, in bytes.
pub const MAX_PAYLOAD: u64 = 16 << 30;
/// A payload over this many bytes travels as Piece frames of at most as many.
pub const PIECE_LEN: usize = 256 << 10;
/// The same on a lane, where nothing waits behind them.
pub const LANE_PIECE_LEN: usize = 1 << 20;
/// Most payloads that arrive in pieces at one time on one link.
pub const MAX_TRANSFERS: usize = 4096;
/// Most bytes of the payloads that arrive in pieces at one time on one link, together. They take no memory before they
/// come, but room in the address space, of which a process has 2⁴⁷ bytes: without this two links could take all of it.
pub const MAX_ANNOUNCED: u64 = 16 * MAX_PAYLOAD;
/// Most inputs, and most outputs, of a call.
pub const MAX_ARGS: usize = 1024;
/// Most attributes of an op.
pub const MAX_ATTRS: usize = 64;
/// Most elements of one attribute, or bytes of its text.
pub const MAX_ATTR_LEN: usize = 4096;
/// Most elements, and bytes of text, of all attributes of a call together.
pub const MAX_ATTRS_TOTAL: usize = 16_384;
/// Most objects in one `DeleteObjects`.
pub const MAX_DELETES: usize = 16_384;
/// Most objects that one `ListObjects` is answered with.
pub const MAX_LISTED: usize = 1000;
/// Longest name of a program, job, device type, format or tensor, in bytes.
pub const MAX_NAME: usize = 256;
/// Most tasks, and most devices, of a context.
pub const MAX_TASKS: usize = 4096;
/// Most bytes of a call's baggage, keys and values together.
pub const MAX_BAGGAGE: usize = 4096;
/// Most bytes of what a sender of data says beside it.
pub const MAX_DATA_HEADER: usize = 1024;
/// Most bytes of credentials in a Hello.
pub const MAX_CREDENTIALS: usize = 4096;

/// Numbers of the kinds of frames. A call has its own number; the frame that completes it has the same with
/// [`COMPLETED`](kind::COMPLETED) set.
pub mod kind {
    /// The dialler's first frame.
    pub const HELLO: u8 = 1;
    /// The answer to Hello: let us talk.
    pub const WELCOME: u8 = 2;
    /// The answer to Hello: no, and why.
    pub const REFUSED: u8 = 3;
    /// Says nothing but its ack.
    pub const HEARTBEAT: u8 = 4;
    /// A part of a payload.
    pub const PIECE: u8 = 5;
    /// The sender will send nothing more, and why.
    pub const GOODBYE: u8 = 6;
    /// The payload of a call, or of its reply, that came in pieces is whole.
    pub const RECEIVED: u8 = 7;
    /// Metadata of one output of a call that is not completed.
    pub const METADATA: u8 = 8;
    /// Metadata of an object that the receiver of the frame will ask for.
    pub const FORESEEN: u8 = 9;
    /// First number of the calls.
    pub const CALLS: u8 = 16;
    /// Set in the frame that completes a call.
    pub const COMPLETED: u8 = 0x80;
}

/// Bits of the head's flags. Others must be zero.
pub mod flags {
    /// The payload follows in Piece frames of the same call.
    pub const PIECES: u8 = 1;
    /// The head holds a checksum of this frame's payload.
    pub const PAYLOAD_CRC: u8 = 2;
    /// The call failed: the header is a `RemoteError`.
    pub const FAILED: u8 = 4;
    /// Every flag there is.
    pub const ALL: u8 = PIECES | PAYLOAD_CRC | FAILED;
}

/// What is said at once on a link.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The call that it belongs to; zero for frames that belong to none.
    pub call: CallId,
    /// Position among the numbered frames of its direction, from 1; 0 for those that are not numbered.
    pub number: u64,
    /// Highest number of the other direction that the sender has accepted.
    pub ack: u64,
    /// What it says.
    pub body: Body,
    /// Bytes beside it.
    pub payload: Payload,
}

impl Frame {
    /// A frame without number and payload.
    pub fn new(call: CallId, body: Body) -> Self {
        Self { call, number: 0, ack: 0, body, payload: Payload::None }
    }

    /// The same with a payload, unless it is empty.
    #[must_use]
    pub fn with_payload(mut self, payload: Bytes) -> Self {
        self.payload = if payload.is_empty() { Payload::None } else { Payload::Whole(payload) };
        self
    }

    /// Whether frames of this kind are counted: calls and what completes them.
    pub fn is_numbered(&self) -> bool {
        match &self.body {
            Body::Call(_) | Body::Completed(_) | Body::Failed { .. } | Body::Undecodable { .. } => true,
            Body::Hello(_)
            | Body::Welcome(_)
            | Body::Refused(_)
            | Body::Heartbeat
            | Body::Received
            | Body::Goodbye(_)
            | Body::Metadata { .. }
            | Body::Foreseen { .. }
            | Body::ReplyAnnounced
            | Body::PayloadArrived => false,
        }
    }
}

/// What a frame says.
#[derive(Clone, Debug)]
pub enum Body {
    /// The dialler's first frame.
    Hello(Box<Hello>),
    /// Let us talk.
    Welcome(Box<Welcome>),
    /// No, and why.
    Refused(Box<RemoteError>),
    /// Nothing but its ack.
    Heartbeat,
    /// The payload that was announced for this call, or for its reply, has come whole: its sender need not keep it. Said
    /// only in sessions that can be resumed.
    Received,
    /// The sender will send nothing more, and why.
    Goodbye(Box<RemoteError>),
    /// A request.
    Call(Call),
    /// Metadata of output number `output`, before the call is completed.
    Metadata {
        /// Which output, from 0.
        output: u32,
        /// Its element type and shape.
        metadata: TensorMetadata,
    },
    /// Metadata of an object of the sender that somebody has said the other side will fetch; it need not have asked yet.
    Foreseen {
        /// Which.
        object: ObjectId,
        /// Its element type and shape.
        metadata: Box<TensorMetadata>,
    },
    /// The call succeeded. It has no further frames.
    Completed(Reply),
    /// The call failed. It has no further frames.
    Failed {
        /// The kind of the call.
        kind: u8,
        /// Why.
        error: Box<RemoteError>,
    },
    /// Not on the wire: stands in the place, and has the number, of a reply that is handed on later, without a number,
    /// when its payload is whole.
    ReplyAnnounced,
    /// Not on the wire: the payload of an earlier call frame, announced there, has arrived whole.
    PayloadArrived,
    /// Not on the wire: a call whose header could not be decoded. It is answered with the error.
    Undecodable {
        /// The kind of the call.
        kind: u8,
        /// Why.
        error: Box<RemoteError>,
    },
}

/// The bytes beside a frame.
#[derive(Clone, Debug, Default)]
pub enum Payload {
    /// No bytes.
    #[default]
    None,
    /// All of them.
    Whole(Bytes),
    /// So many bytes are on their way in pieces. Only calls are handed on before their payload is whole, so that their
    /// place in the order is kept; replies are held until it is.
    Announced(u64),
}

impl Payload {
    /// Bytes that there are or will be.
    pub fn len(&self) -> u64 {
        match self {
            Payload::None => 0,
            Payload::Whole(bytes) => bytes.len() as u64,
            Payload::Announced(len) => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that are here; none if they are only announced.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Payload::Whole(bytes) => bytes,
            Payload::None | Payload::Announced(_) => Bytes::new(),
        }
    }
}

/// The stream is not what this page says. The link cannot go on: where the next frame begins is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// A checksum does not fit.
    #[error(
        "the checksum of {what} is {actual:#010x}, the head says {expected:#010x}; the bytes were damaged on their way"
    )]
    Checksum {
        /// `head` or `payload`.
        what: &'static str,
        /// What the head says.
        expected: u32,
        /// What the bytes give.
        actual: u32,
    },
    /// A length is over its limit.
    #[error("{what} of {actual} bytes is over the limit of {limit}")]
    TooLarge {
        /// `a header`, `a payload` or `all payloads on their way`.
        what: &'static str,
        /// What the head says.
        actual: u64,
        /// What is allowed.
        limit: u64,
    },
    /// The system has not so much memory.
    #[error("no memory for a payload of {0} bytes")]
    OutOfMemory(u64),
    /// A kind, flag or combination that does not exist.
    #[error("not a frame of this version: {0}")]
    Malformed(String),
    /// A piece that belongs to no announced payload, or not at that offset.
    #[error("a piece of {len} bytes at offset {offset} does not fit: {why}")]
    Piece {
        /// Where it says that it belongs.
        offset: u64,
        /// How long it is.
        len: u64,
        /// What is wrong with that.
        why: &'static str,
    },
}

/// The head, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) header_len: u32,
    pub(crate) payload_len: u64,
    pub(crate) call: CallId,
    pub(crate) number: u64,
    pub(crate) ack: u64,
    pub(crate) payload_crc: u32,
}

impl Head {
    /// Writes the head, with the checksum over it and `header`.
    pub(crate) fn write(&self, to: &mut [u8; HEAD_LEN], header: &[u8]) {
        let kinds = u32::from_le_bytes([self.kind, self.flags, 0, 0]);
        let words = [
            u64::from(kinds) | u64::from(self.header_len) << 32,
            self.payload_len,
            u64::from(self.call.index) | u64::from(self.call.generation) << 32,
            self.number,
            self.ack,
            self.payload_crc.into(),
        ];
        for (to, word) in to.as_chunks_mut().0.iter_mut().zip(words) {
            *to = word.to_le_bytes();
        }
        let crc = crc32c::crc32c_append(crc32c::crc32c(&to[..HEAD_LEN - 4]), header);
        to[HEAD_LEN - 4..].copy_from_slice(&crc.to_le_bytes());
    }

    /// Reads the head; the second value is the checksum that it holds.
    pub(crate) fn read(from: &[u8; HEAD_LEN]) -> (Self, u32) {
        let u32_at = |at: usize| u32::from_le_bytes([from[at], from[at + 1], from[at + 2], from[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let head = Self {
            kind: from[0],
            flags: from[1],
            header_len: u32_at(4),
            payload_len: u64_at(8),
            call: CallId::new(u32_at(16), u32_at(20)),
            number: u64_at(24),
            ack: u64_at(32),
            payload_crc: u32_at(40),
        };
        (head, u32_at(44))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_was_written() {
        let head = Head {
            kind: 23,
            flags: flags::PAYLOAD_CRC,
            header_len: 3,
            payload_len: 1 << 40,
            call: CallId::new(7, 9),
            number: u64::MAX,
            ack: 5,
            payload_crc: 0xdead_beef,
        };
        let mut bytes = [0; HEAD_LEN];
        head.write(&mut bytes, b"abc");
        let (again, crc) = Head::read(&bytes);
        assert_eq!(again, head);
        assert_eq!(crc, crc32c::crc32c_append(crc32c::crc32c(&bytes[..44]), b"abc"));
    }
}
