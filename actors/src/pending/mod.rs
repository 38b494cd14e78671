//! Where reply, loss, expiry and cancel race to settle what was promised of a call.
//!
//! ```text
//!  DistributedContext ──Expect──▶ PendingResults ◀──Replies, Lost── RemoteClient
//!                                     │ settles metadata, tensor, chain: once
//!                                     ▼
//!                            the caller's promises
//! ```
//!
//! # Invariants
//! - **I1 (settled).** Every promise settles exactly once, within its deadline; when this actor dies its writers are
//!   dropped, and that settles them.
//! - **I2 (together).** All promises of a failed call fail in one turn with one cause. What a receiver said of an output stands:
//!   an answer that differs from it, or does not fit the call, fails the call with `Internal`.
//! - A slot and its credits are used again only when the call was answered or its link was lost.

mod actor;
mod expectations;
mod messages;

pub use actor::{Attach, PendingResults};
pub use messages::{Ahead, Cancelled, Early, Expect, Expectation, Lost, Promised, Replies};
