//! The accepting end of a link: serves one caller.
//!
//! ```text
//!  RemoteClient ══ frames ══▶ Session ──Calls──▶ DistributedContext
//!               ◀══ frames ══    ▲ │
//!                        Answers─┘ └──Control──▶ Server
//! ```
//!
//! # Invariants
//! - **I5 (order).** What came is handed on in order; behind a call that concerns the server everything waits for its
//!   answer.
//! - A call of a context that the session has not opened is refused.
//! - **I6 (once).** A session that can be resumed outlives its connection by its lease: calls go on, their replies are kept
//!   until they are acknowledged. Which calls it has had is said by their numbers, so that none is taken twice.
//! - When the session ends, the contexts that it made are closed; so they are when its actor dies (I9).
//! - **I8 (bounded).** What waits for the server's answer, and replies that are kept, have limits; past them the session ends.

mod actor;
mod door;
mod ending;
mod held;
mod messages;
mod routing;
#[cfg(test)]
mod session_test;

pub use actor::{Session, Upstream};
pub use door::Door;
pub use held::{MAX_HELD_FRAMES, MAX_KEPT_REPLIES};
pub use messages::{
    Answers, Attach, Calls, Change, Control, Controlled, End, Ended, Exchange, Incoming, Opened, Resume, SessionId,
    Shut,
};
pub(crate) use routing::context_of;
