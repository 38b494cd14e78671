//! Where data that is sent by a key and whoever waits for it meet, whichever comes first.
//!
//! ```text
//!           send                      receive
//!  (free) ───────▶ value ───────────────────────────┐
//!     │              │ its time is over: thrown away ▼
//!     │              └──────────▶ (free)         claimed ──▶ (free)
//!     │                                             ▲    the sender's time is over
//!     └──────────▶ waiting ─────────────────────────┘
//!        receive      │           send
//!                     └──▶ (free): deadline, cancel
//! ```
//!
//! A key names one exchange. After a value was claimed its key is remembered until the sender's deadline: until then a
//! late duplicate is refused, and so is a new receiver, which could be given one. Use a new key for each exchange.
//!
//! # Invariants
//! - **PR-1 (one side).** For a key, a value is held or one receiver waits, never both.
//! - **PR-2 (once).** A value goes to exactly one live receiver; one that gave up before it took the value gives it back.
//! - **PR-3 (no silent loss).** When the context closes or the actor dies, whoever waits gets an error.
//! - **PR-4 (bounded).** What waits, what is unclaimed and what is remembered have limits and deadlines.

mod actor;
mod answer;
mod messages;
mod receiving;
mod state;
#[cfg(test)]
mod state_test;

pub use actor::Rendezvous;
pub use answer::Answer;
pub use messages::{Arrival, CancelReceive, Close, DataArrived, GiveBack, Inspect, Receive, RendezvousStats, SendData};
pub use receiving::{Receiving, RendezvousRecipients};
pub use state::{Datum, RendezvousLimits};
