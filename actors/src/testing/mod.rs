//! What tests of one actor need.

mod die;
mod probe;
mod spill;

pub use die::{Die, DieSessions};
pub use probe::Probe;
pub use spill::MemorySpill;

/// Some instant, for state that is told the time.
pub fn instant() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
