//! What tests of one actor need.

mod die;
mod probe;

pub use die::{Die, DieSessions};
pub use probe::Probe;

/// Some instant, for state that is told the time.
pub fn instant() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}
