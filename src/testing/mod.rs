//! Clusters in one process, for tests.

mod cluster;
mod sim;
mod threads;

pub use cluster::{TestCluster, TestClusterBuilder};
pub use remex_actors::testing::Probe;
pub use sim::{Death, EventRates, FaultPlan, FrameFaults, SimCluster, SimClusterBuilder, Slow, Trace};
pub use threads::ThreadCluster;
