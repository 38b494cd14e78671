//! What two tasks say first, in named form, so that tasks of different versions can tell each other so.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{cluster::TaskName, frame, ids::Incarnation};

/// The first word of every connection.
pub const MAGIC: &str = "remex";
/// The version that this crate speaks.
pub const VERSION: Version = Version { major: 0, minor: 1 };
/// Calls that may be in flight on a link, unless configured.
pub const DEFAULT_CALL_CREDITS: u32 = 4096;
/// Bytes of call payload that may be in flight on a link, unless configured.
pub const DEFAULT_BYTE_CREDITS: u64 = 64 << 20;

/// A version of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Version {
    /// Grows when old peers can no longer be understood.
    pub major: u16,
    /// Grows with every change of the wire.
    pub minor: u16,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Sent by the dialler as its first frame; answered with [`Welcome`] or `Refused`.
///
/// A map with the fields' names as keys. Unknown keys are passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`MAGIC`].
    pub magic: String,
    /// Newest version that the sender speaks.
    pub version: Version,
    /// Oldest version that the sender speaks.
    pub oldest: Version,
    /// Which run of the task this is.
    pub incarnation: Incarnation,
    /// Who dials.
    pub task: TaskName,
    /// Grows with every connection of a session, from 1. A frame of an older epoch is dropped.
    pub epoch: u64,
    /// Names the session among those of the sender: random, so that nobody else can resume it. 0: it ends with this
    /// connection, and nothing is kept to be sent again.
    #[serde(default)]
    pub session: u64,
    /// A session that the sender has given up and this one stands for: it is ended first. 0: none.
    #[serde(default)]
    pub replaces: u64,
    /// How long the sender tries to connect again when the connection is lost, in milliseconds.
    #[serde(default)]
    pub window_ms: u64,
    /// Highest numbered frame of the other side that the sender has accepted in this session; 0 in a fresh one.
    pub resume: u64,
    /// Numbers of those of them whose payload, which came in pieces, is not whole. They are sent again.
    #[serde(default, deserialize_with = "crate::bounded::unfinished")]
    pub unfinished: Vec<u64>,
    /// The connection is to be the lane of this session's connection of this epoch: the number that its [`Welcome`] gave. 0: it is
    /// a connection of its own.
    #[serde(default)]
    pub lane: u64,
    /// What the sender accepts.
    pub limits: Limits,
    /// Proof of who the sender is; meaning and length are the application's (at most
    /// `MAX_CREDENTIALS` bytes).
    #[serde(serialize_with = "serde_bytes::serialize", deserialize_with = "crate::bounded::credentials")]
    pub credentials: Vec<u8>,
}

/// The answer to [`Hello`] of a task that will talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version that both will speak.
    pub version: Version,
    /// Which run of the answering task this is.
    pub incarnation: Incarnation,
    /// Who answers.
    pub task: TaskName,
    /// The epoch of the Hello.
    pub epoch: u64,
    /// Whether the session of the Hello was there and goes on; else it begins now, with nothing accepted.
    #[serde(default)]
    pub resumed: bool,
    /// Highest call that was accepted in this session; the dialler goes on after it.
    pub resume: u64,
    /// Numbers of those of them whose payload, which came in pieces, is not whole. They are sent again.
    #[serde(default, deserialize_with = "crate::bounded::unfinished")]
    pub unfinished: Vec<u64>,
    /// How long the session lives there without a connection, in milliseconds; 0: it ends with its connection.
    #[serde(default)]
    pub lease_ms: u64,
    /// What the Hello of a lane for this connection must say: random, so that nobody else can give it one. 0: it can have none.
    #[serde(default)]
    pub lane: u64,
    /// How much the dialler may have in flight.
    pub credits: Credits,
    /// What the sender accepts.
    pub limits: Limits,
}

/// How much a caller may have in flight on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credits {
    /// Calls.
    pub calls: u32,
    /// Bytes of their payloads. A call with more is sent when it is the only one that counts.
    pub bytes: u64,
}

impl Default for Credits {
    fn default() -> Self {
        Self { calls: DEFAULT_CALL_CREDITS, bytes: DEFAULT_BYTE_CREDITS }
    }
}

/// What the sender of a handshake accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Largest header, in bytes.
    pub header_bytes: u32,
    /// Largest payload, in bytes.
    pub payload_bytes: u64,
    /// Most inputs, and most outputs, of a call.
    pub arguments: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: frame::MAX_HEADER as u32,
            payload_bytes: frame::MAX_PAYLOAD,
            arguments: frame::MAX_ARGS as u32,
        }
    }
}
