//! One task: who it is, its contexts, its sessions, its receivers.
//!
//! ```text
//!  Session ──Control──▶ Server ──starts, closes──▶ DistributedContext, ObjectManager   (one each per context)
//!                         │
//!                         └─Directory──▶ RemoteClient, PendingResults                  (one each per receiver)
//! ```
//!
//! # Invariants
//! - A context is made on every task or on none.
//! - A context that a session made lives no longer than the session, and no longer than its idle time-out without a sign
//!   of life.

mod actor;
mod bring_up;
mod connections;
mod contexts;
mod directory;
mod gathering;
mod lanes;
mod listing;
mod live;
mod messages;
mod multi;
mod sessions;
mod start;
mod stats;
mod watch;

pub use actor::Server;
pub use directory::Directory;
pub(crate) use directory::{Trust, own_address};
pub use listing::ListObjects;
pub use live::{ExecutorRecipients, ObjectManagerFactory, RendezvousFactory};
pub use messages::{CloseEverywhere, ContextConfig, ContextMode, CreateContext, Created, Discover, Discovered, Stop};
pub use start::{ServerConfig, Started, Timers, start};
pub use stats::{Inspect, Refusals, ServerStats};
