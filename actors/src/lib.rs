//! The actors of remex, and who may say what to whom.
//!
//! ```text
//!  caller ──RemoteExecute──▶ DistributedContext ──Expect──▶ PendingResults
//!    ▲   ids, chain, handles       │                              ▲   │ settles metadata, tensor, chain: once
//!    └─────────(at once)───────────┤Outgoing                      │   ▼
//!                                  ▼                      Replies │  the caller's promises
//!                            RemoteClient ────────────────────────┘
//!                                  │ ▲   frames
//!                     ═════════════╪═╪══════════════ fabric
//!                                  ▼ │ Answers
//!                              Session ──Calls──▶ DistributedContext ──Resolve──▶ ObjectManager
//!                                  ▲                                                  │ inputs ready
//!                                  └── Answers ◀────── Fulfil ◀── Executor ◀────Run───┘
//! ```
//!
//! Each folder is an actor: `mod.rs` says what it is, `messages.rs` what it is told, `actor.rs` is the shell, and what is
//! beside them is its state, which knows no actor, no clock and no socket. An actor holds `Recipient`s of the others.
//! Applications use the crate `remex`, which re-exports what they need.

mod alarm;
pub mod chance;
pub mod client;
pub mod collectives;
pub mod context;
mod deadline;
pub mod envelope;
mod error;
pub mod executor;
pub mod fabric;
mod files;
pub mod handles;
pub mod limits;
pub mod link;
mod machine;
pub mod objects;
pub mod observe;
pub mod ops;
pub mod pending;
pub mod programs;
pub mod promise;
pub mod rendezvous;
pub mod server;
pub mod session;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use error::{Error, Result};
