//! Collectives over the groups of a context.
//!
//! ```text
//!  caller ──Join──▶ Collectives ──────────▶ Collective ──SendChunk──▶ (links)
//!                      ▲ names, runs,        ▲  │ one a run: chunks in, chunks out
//!        ChunkArrived ─┘ what came early ────┘  └──▶ the caller's promise, once
//! ```
//!
//! Every member of a group calls the same collective under the same name; its uses of that name are counted, so that two
//! in a row do not mix. Data goes round a ring in chunks that are combined and sent on as soon as they are there.
//!
//! # Invariants
//! - **CO-1 (once).** A caller gets one result or one error, by the deadline.
//! - **CO-2 (one cause).** Whoever fails first in its own view tells all others; each keeps the first cause that it sees,
//!   and whoever has finished keeps the result.
//! - **CO-3 (checked).** What a chunk says of operation, type, shape, step and place is compared before its data is
//!   looked at; a difference is an error for all, never a wrong result.
//! - **CO-4 (new).** The input is not written to.
//! - **CO-5 (bounded).** What is sent and not taken, and what came before its run was joined, have limits and deadlines.

mod actor;
#[cfg(test)]
mod actor_test;
mod barrier;
mod broadcast;
mod cause;
mod collective;
#[cfg(test)]
mod faults_test;
mod gather;
mod group;
mod member;
mod messages;
mod numbers;
mod plan;
mod reduce;
mod runs;
#[cfg(test)]
mod simulated;
#[cfg(test)]
mod simulated_test;
mod work;

pub use actor::Collectives;
pub use group::{CollectiveRecipients, Group};
pub use messages::{ArrivedChunk, ChunkArrived, Close, CollectiveStats, Inspect, Join, SendChunk, TaskLost};
use messages::{Chunks, Ended, GiveUp};
pub use runs::CollectiveLimits;
