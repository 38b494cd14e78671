//! The dialling end of a link: one per receiver, for all contexts of a server.
//!
//! ```text
//!  DistributedContext ──Outgoing──▶ RemoteClient ══ frames ══▶ the receiver's Session
//!                                       │ ◀══════ frames ══════
//!                                       └──Replies, Lost──▶ PendingResults
//! ```
//!
//! # Invariants
//! - **I5 (order).** What is given in `Outgoing` goes out in that order.
//! - **I8 (admitted once).** A call takes its credits at the [`Edge`], before anything else; behind it nothing blocks.
//! - **I6 (once).** A connection that is lost is dialled again for the reconnect window; the session goes on where both
//!   ends are. After the window all that was under way fails, and the session is kept until its lease is over; where the
//!   peer has forgotten the session, what lived in it is lost.

mod actor;
mod backoff;
#[cfg(test)]
mod belated_test;
#[cfg(test)]
mod death_test;
mod dialling;
mod edge;
mod lane;
mod messages;
mod receiver;
mod stall;
mod tickets;

pub use actor::{RemoteClient, Route};
pub use edge::{Admission, Edge};
pub use messages::{Connect, Hangup, LinkEvent, LinkUp, Outgoing, Subscribe};
pub use receiver::Receiver;
pub(crate) use receiver::{Indexes, died, is_unanswered};
