//! Points in time that callers and peers name, however far away.

use std::time::Duration;

use tokio::time::Instant;

/// As good as never; adding more could overflow the clock.
pub(crate) const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

/// So long after `begin`.
pub(crate) fn after(begin: Instant, limit: Duration) -> Instant {
    begin + limit.min(FAR)
}

/// So long from now.
pub(crate) fn from_now(limit: Duration) -> Instant {
    after(Instant::now(), limit)
}

/// What is left until `deadline`, in milliseconds, rounded up, so that a receiver does not give up before its sender.
pub(crate) fn left_ms(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    left.as_micros().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}
