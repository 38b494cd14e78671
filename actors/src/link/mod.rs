//! One connection in use, and its lane for large payloads: frames numbered, acknowledged, gathered and written; silence
//! noticed. And what outlives it: the ledger of the session.
//!
//! `RemoteClient` has the dialling end and `Session` the accepting one; both own a ledger, and a `Link` while there is a
//! connection, and hear of it by the same messages, [`Arrived`] and [`LinkLost`].
//!
//! # Invariants
//! - **I5 (order).** Frames are written in the order of `Link::push`, and handed on in the order of the wire.
//! - **I6 (once).** A gap or a repeat in the numbers ends the connection; the next one goes on where the ledgers of both
//!   ends say. A frame counts as accepted when its owner has it, so that what an old connection still had to say is
//!   dropped and comes again.
//! - **I8 (liveness).** A link on which nothing was heard for [`LOST_AFTER`] is lost; what comes on its lane is not heard.

mod chance;
mod handshake;
mod io;
mod lane;
#[cfg(test)]
mod lane_test;
mod ledger;
#[cfg(test)]
mod ledger_test;
#[cfg(test)]
mod link_test;
mod messages;
mod signal;

pub(crate) use chance::{number, part};
pub use handshake::{Identity, Place, welcome};
pub(crate) use handshake::{Refusal, answer, dial, greet};
pub(crate) use io::{Ends, Link};
pub use io::{HEARTBEAT, LOST_AFTER, SUSPECT_AFTER};
pub(crate) use ledger::Ledger;
pub use ledger::Point;
pub use messages::{Arrived, LinkLost, Silence};
