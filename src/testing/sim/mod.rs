//! Clusters whose links, tasks and programs fail as a seed decides.
//!
//! ```text
//!              SimCluster: one System, one thread, one paused clock
//!  ┌──────────┐  ┌──────────┐  ┌──────────┐
//!  │ task 0   │  │ task 1   │  │ task 2   │   each in a LocalSet of its own: stalled, it is not polled;
//!  │ actors   │  │ actors   │  │ actors   │   killed, it is dropped with all that it holds
//!  └────┬─────┘  └────┬─────┘  └────┬─────┘
//!       ╧═════════════╧═ Network ═══╧          encoded frames: lost, late, repeated, damaged, cut
//!                        ▲
//!              FaultPlan │ seed                what befalls frames, links, tasks and programs
//! ```

mod builder;
mod clock;
mod cluster;
mod node;
mod plan;
mod timetable;

pub use builder::SimClusterBuilder;
pub use cluster::SimCluster;
pub use plan::{EventRates, FaultPlan};
pub use remex_actors::fabric::simulated::{Death, FrameFaults, Slow, Trace};
