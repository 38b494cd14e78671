//! How frames get from one task to another.
//!
//! A [`Fabric`] dials and listens at [`Address`]es of one scheme. What it gives is a [`Connection`]: two halves that
//! speak [`Frame`]s. Whether there are bytes in between is the fabric's business.
//!
//! ```text
//!  push ──▶ FrameWriter ══ bytes, pieces, or nothing at all ══▶ FrameReader ──▶ frames, many at once
//! ```
//!
//! # Invariants
//! - **FB-1 (order).** Frames arrive in the order in which they were pushed; of a payload in pieces, the frame that
//!   announces it keeps its place.
//! - **FB-2 (small first).** A frame waits for at most one piece of a large payload that was pushed before it; where the link
//!   has a lane, for none.
//! - **FB-3 (all or an error).** What was flushed arrives, or the reader gets an error; never a part of a frame.

#[cfg(any(test, feature = "testing"))]
pub mod conformance;
pub mod direct;
mod lane;
mod local;
mod loopback;
mod outgoing;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
pub mod stream;
mod tcp;
mod traffic;
mod uds;

pub use lane::{Bulk, LaneReader, LaneWriter};
pub use local::TcpOrUnix;
pub use loopback::Loopback;
pub use tcp::Tcp;
pub use traffic::Traffic;
pub use uds::Unix;

use std::{
    fmt, io,
    task::{self, Poll},
};

use futures_util::future::LocalBoxFuture;
use remex_protocol::{CodecError, Frame, FrameError, Transfers, cluster::Address, tensor::BufferPool};

/// A way between tasks: it understands the addresses of one scheme.
///
/// Shared between threads; what it makes stays on the arbiter that asked for it.
pub trait Fabric: fmt::Debug + Send + Sync {
    /// The scheme of its addresses: `tcp`.
    fn scheme(&self) -> &str;

    /// Begins to listen. Fails if something listens there already, or if the address is not one of this fabric.
    fn listen<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Box<dyn Listener>, FabricError>>;

    /// Connects to the listener at `address`. Has no time-out of its own: dropping the future gives up.
    fn dial<'a>(&'a self, address: &'a Address) -> LocalBoxFuture<'a, Result<Connection, FabricError>>;

    /// Connects once more, for a lane: a second connection of a link, for large payloads. `None`: links need no lane here, and
    /// large payloads take turns with other frames. A fabric whose connections come from [`stream`] can have
    /// `Some(self.dial(address))`.
    fn dial_lane<'a>(&'a self, address: &'a Address) -> Option<LocalBoxFuture<'a, Result<Connection, FabricError>>> {
        let _ = address;
        None
    }
}

/// Takes the connections that others dial. Dropping it ends the listening, not the connections.
pub trait Listener: fmt::Debug {
    /// Where it listens really: port 0 has become a port.
    fn address(&self) -> &Address;

    /// The next connection. An error concerns this attempt; the listener can be asked again. Dropping the future loses
    /// no connection.
    fn accept(&mut self) -> LocalBoxFuture<'_, Result<Connection, FabricError>>;
}

/// One end of a connection. Both halves belong to the arbiter on which it was made.
pub struct Connection {
    /// What the other end says.
    pub reader: Box<dyn FrameReader>,
    /// What this end says.
    pub writer: Box<dyn FrameWriter>,
    /// The other end, for messages to people.
    pub peer: String,
    /// Whether the other end is on this machine.
    pub is_local: bool,
}

impl Connection {
    /// Counts what goes through it from now on, if it is one of bytes.
    pub fn count(&mut self, traffic: &Traffic) {
        self.reader.count(traffic);
        self.writer.count(traffic);
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).field("is_local", &self.is_local).finish_non_exhaustive()
    }
}

/// The reading half of a connection.
pub trait FrameReader {
    /// Appends all frames that one read of the stream gave, at least one, to `frames`. Before [`open`](Self::open) it
    /// gives one frame at a time, so that what follows the handshake is judged by the limits that follow it.
    ///
    /// [`FabricError::Closed`] is the peer's orderly end. An error comes alone, after the frames before it; nothing can be
    /// read after it.
    fn poll_read(&mut self, cx: &mut task::Context<'_>, frames: &mut Vec<Frame>) -> Poll<Result<(), FabricError>>;

    /// The handshake is over: larger frames are accepted.
    fn open(&mut self);

    /// A number that grows with the pieces of payloads that come, while some are still to come; `None` while none are, and for
    /// a fabric without pieces. If it does not grow while other frames come, a piece was lost.
    fn pieces(&self) -> Option<u64> {
        None
    }

    /// Where to take memory for payloads from, for a reader that needs any.
    fn use_buffers(&mut self, buffers: &BufferPool) {
        let _ = buffers;
    }

    /// Where to count the bytes that are read, for a reader of bytes.
    fn count(&mut self, traffic: &Traffic) {
        let _ = traffic;
    }

    /// The payloads on their way, which the reader of a lane fills too; `None`: it can have no lane.
    fn transfers(&self) -> Option<Transfers> {
        None
    }

    /// The handshake is over, and this is the reader of a lane: it brings nothing but pieces of these payloads.
    fn into_lane(self: Box<Self>, transfers: &Transfers) -> Option<Box<dyn LaneReader>> {
        let _ = transfers;
        None
    }
}

/// The writing half of a connection.
///
/// `push` may be called between two polls of one flush. The caller sees to it that a flush is polled after a push;
/// nothing is written otherwise.
pub trait FrameWriter {
    /// Takes a frame to be written after those before it. Fails only for what cannot be written (made by a decoder, or
    /// over a limit); the connection then goes on as if it had not been pushed.
    fn push(&mut self, frame: Frame) -> Result<(), FabricError>;

    /// The same for a frame that the caller keeps, perhaps to send it again on another connection. A fabric that encodes
    /// frames need not copy it.
    fn push_kept(&mut self, frame: &Frame) -> Result<(), FabricError> {
        self.push(frame.clone())
    }

    /// Writes what was pushed; `Ready(Ok)` when nothing is left, at once if nothing was pushed.
    fn poll_flush(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), FabricError>>;

    /// Bytes pushed and not yet written.
    fn queued_bytes(&self) -> usize;

    /// Writes what is left and ends the stream: the other end reads `Closed` after the last frame.
    fn poll_close(&mut self, cx: &mut task::Context<'_>) -> Poll<Result<(), FabricError>>;

    /// Where to count the bytes that are written, for a writer of bytes.
    fn count(&mut self, traffic: &Traffic) {
        let _ = traffic;
    }

    /// From now on large payloads of frames that are pushed wait there, for the writer of a lane. False: this writer has none, or
    /// has one already.
    fn divert(&mut self, bulk: &Bulk) -> bool {
        let _ = bulk;
        false
    }

    /// The handshake is over, and this is the writer of a lane: it writes nothing but what waits there.
    fn into_lane(self: Box<Self>, bulk: &Bulk) -> Option<Box<dyn LaneWriter>> {
        let _ = bulk;
        None
    }
}

/// A connection could not be made or cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FabricError {
    /// The system said no. A connection that was open is lost.
    #[error("cannot {doing} {address}: {text}{}", hint(*.kind))]
    Io {
        /// What was tried: `dial`, `listen on`, `read from`, `write to`.
        doing: &'static str,
        /// Whom it concerns: an address, or a connection's peer.
        address: String,
        /// What kind of error.
        kind: io::ErrorKind,
        /// In the system's words.
        text: String,
    },
    /// The fabric does not understand this address. Nothing was tried.
    #[error("{address} cannot be used: {why}")]
    BadAddress {
        /// The address.
        address: Address,
        /// What is wrong, and what would be right.
        why: String,
    },
    /// The peer sent what is not a frame. The connection is lost: close it, dial again.
    #[error("the peer broke the protocol: {0}")]
    Frame(FrameError),
    /// A frame that was pushed cannot be written. It was dropped, the connection goes on.
    #[error("a frame cannot be sent: {0}")]
    Unsendable(String),
    /// The peer ended the stream.
    #[error("the peer closed the connection")]
    Closed,
}

impl FabricError {
    /// An error of the system while `doing` something with `address`.
    pub fn io(doing: &'static str, address: impl fmt::Display, error: &io::Error) -> Self {
        Self::Io { doing, address: address.to_string(), kind: error.kind(), text: error.to_string() }
    }
}

impl From<FrameError> for FabricError {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<CodecError> for FabricError {
    fn from(error: CodecError) -> Self {
        Self::Unsendable(error.to_string())
    }
}

/// What a person can do about it.
fn hint(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => {
            "; is the task running, and does it listen there?"
        }
        io::ErrorKind::AddrInUse => "; stop what listens there, or choose another address",
        io::ErrorKind::PermissionDenied => "; choose an address that this user may use",
        _ => "",
    }
}

/// Whether `address` is one of `scheme`; the error says how such an address is written.
fn is_of_scheme(address: &Address, scheme: &str, form: &str) -> Result<(), FabricError> {
    if address.scheme() == scheme {
        return Ok(());
    }
    Err(FabricError::BadAddress {
        address: address.clone(),
        why: format!("this fabric's addresses are written {form}"),
    })
}

/// Whether an error of `accept` says only that the dialler is gone again.
fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | NotConnected)
}
