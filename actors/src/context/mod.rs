//! One context on one task: devices, programs, and the way from a call to its receiver and from a session to the objects.
//!
//! ```text
//!  callers ──queue, Drain──▶ DistributedContext ──Expect──▶ PendingResults
//!                                  │  ▲   └───────Outgoing─▶ RemoteClient
//!                  Resolve, Bound, │  │ Calls
//!                  Fetched         ▼  │
//!                        ObjectManager  Session
//! ```
//!
//! # Invariants
//! - **I5 (order).** A call's ticket is taken and the call queued under one lock; the queue is emptied in order.
//! - **I7 (validate, then act).** Structure is checked before anything is sent, and again before anything runs.

mod actor;
mod call_context;
mod chains;
mod data;
mod draft;
mod fetching;
mod in_flight;
mod ingress;
mod lifetimes;
mod messages;
mod op;
mod outgoing;
#[cfg(test)]
mod outgoing_test;
mod parked;
mod parts;
mod payload;
mod peer;
mod plan;
mod reach;
mod register;
mod runs;
mod serving;
mod shared;
mod submit;
mod task_context;
mod transfers;

pub(crate) use actor::Parts;
pub use actor::{DistributedContext, Objects};
pub use call_context::{CallContext, CancelHandle};
pub use data::DataRecipients;
pub(crate) use in_flight::Counted;
pub(crate) use messages::Inspect;
pub(crate) use messages::OutputForm;
pub use messages::{CloseContext, Drain, ObjectInput, Refuse, RemoteExecute};
pub use op::RemoteExecuteOp;
pub(crate) use peer::{Link, Peer, PeerLink};
pub(crate) use reach::leave_unanswered;
pub use register::{RegisterFunction, Registering};
pub(crate) use serving::Serving;
pub use shared::{ContextShared, DEFAULT_DEADLINE};
pub(crate) use task_context::RunGuard;
pub use task_context::TaskContext;
