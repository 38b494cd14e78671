//! The objects of one context on one task: made, awaited, used, given up.
//!
//! ```text
//!            reserve            settle                       give up
//!  (nothing) ───────▶ Pending ───────▶ Ready | Failed ──────────────▶ (nothing)
//!      │                 ▲    └──────────── give up ──▶ tombstone ──▶ (nothing)
//!      └──▶ Expected ────┘                                settle
//! ```
//!
//! # Invariants
//! - **I3 (reserved).** A call that names outputs fills or poisons each of them, together, but for those that the program
//!   published one by one.
//! - **I4 (states).** `Pending → Ready | Failed`, once. A failed object gives its cause at once.
//! - **I4a (origin).** An unknown object is `NotFound` at once if it should be here, and waited for otherwise.
//! - **I8 (bounded).** Objects take no more memory than the task's budget; a call that needs some takes all of it in one step
//!   when it could otherwise run, in order of arrival, and holds none while it waits.
//!   What nobody uses may go to disk meanwhile, if there is one: a value on disk is Ready, and comes back when it is used.
//! - **I7 (validate, then act).** A refused call changes nothing but its unused outputs.

mod actor;
mod behind;
#[cfg(test)]
mod behind_test;
mod budget;
mod disk;
mod endings;
mod entry;
mod folder;
mod jobs;
mod lifetimes;
#[cfg(test)]
mod lifetimes_test;
mod listing;
mod memory;
#[cfg(test)]
mod memory_test;
mod messages;
mod parts;
#[cfg(test)]
mod parts_test;
mod pressure;
mod puts;
mod replicas;
mod reserving;
#[cfg(test)]
mod rig;
mod runs;
#[cfg(test)]
mod runs_test;
mod spill;
mod spilled;
mod spilling;
mod store;
#[cfg(test)]
mod store_test;
mod table;
mod tokens;

pub use actor::{Neighbours, ObjectManager};
pub use budget::{MemoryLimits, WhenFull};
pub(crate) use disk::Disk;
pub use disk::{SpillConfig, SpillStore, SpillTo};
pub use jobs::Caller;
pub use listing::{List, Listed};
pub(crate) use memory::{Account, Holds};
pub use memory::{MemoryBudget, MemoryFreed, MemoryUse};
pub use messages::{
    Binding, Bound, Close, Fetched, Finished, Foreseen, Fulfil, Inspect, Resolve, Run, SessionEnded, Stats, Step, Want,
    Wanted,
};
pub use parts::Part;
pub use pressure::SpillOut;
pub use table::Value;
