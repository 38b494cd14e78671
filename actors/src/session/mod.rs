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
//! - When the link is lost, the contexts that the session made are closed.

mod actor;
mod messages;

pub use actor::{Session, Upstream};
pub use messages::{Answers, Calls, Change, Control, Controlled, Ended, Exchange, Incoming, Opened, SessionId, Shut};
