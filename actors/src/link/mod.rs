//! One connection in use: frames numbered, acknowledged, gathered and written; silence noticed.
//!
//! `RemoteClient` has the dialling end and `Session` the accepting one; both own a `Link` and hear of it by the same
//! two messages, [`Arrived`] and [`LinkLost`].
//!
//! # Invariants
//! - **I5 (order).** Frames are written in the order of `Link::push`, and handed on in the order of the wire.
//! - **I6 (nothing skipped).** A gap or a repeat in the numbers ends the link.
//! - **I8 (liveness).** A link on which nothing was heard for [`LOST_AFTER`] is lost.

mod handshake;
mod io;
mod messages;
mod numbering;

pub use handshake::{Identity, welcome};
pub(crate) use handshake::{Refusal, dial, greet};
pub(crate) use io::Link;
pub use io::{HEARTBEAT, LOST_AFTER};
pub use messages::{Arrived, LinkLost};
