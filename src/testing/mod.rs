//! Clusters in one process, for tests.

mod cluster;
mod threads;

pub use cluster::{TestCluster, TestClusterBuilder};
pub use remex_actors::testing::Probe;
pub use threads::ThreadCluster;
