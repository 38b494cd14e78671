//! Tokio's paused clock, brought to the beginning of one of its milliseconds.

use std::time::Duration;

use tokio::time::{Instant, advance, sleep};

const MS: Duration = Duration::from_millis(1);

/// Pauses the clock, unless it is, and lets it stand where a timer of so many whole milliseconds rings after exactly so many.
///
/// Tokio's timers ring in whole milliseconds since the runtime began, rounded up; where in a millisecond the clock was
/// paused is an accident, and would decide about timers that are no whole milliseconds long.
pub(super) async fn stand_still() {
    if !is_paused() {
        tokio::time::pause();
    }
    // The longest sleep that rings at the next millisecond ends exactly there.
    let (mut known, mut limit) = (Duration::ZERO, MS + Duration::from_nanos(1));
    while limit - known > Duration::from_nanos(1) {
        let tried = known + (limit - known) / 2;
        let begin = Instant::now();
        sleep(tried).await;
        if begin.elapsed() <= MS { known = tried } else { limit = tried }
    }
    advance(known).await;
}

/// Tokio does not say it; a clock that runs does not show the same nanosecond so often.
fn is_paused() -> bool {
    let now = Instant::now();
    (0..1_000).all(|_| Instant::now() == now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn timers_ring_when_they_should() {
        stand_still().await;
        for ns in [0, 1, 300, 999_999] {
            advance(Duration::from_nanos(ns)).await;
            // Once more: it is paused already.
            stand_still().await;
            for ms in [1, 2, 7, 100] {
                let begin = Instant::now();
                let rang = tokio::time::timeout(ms * MS, std::future::pending::<()>()).await;
                assert!(rang.is_err());
                assert_eq!(begin.elapsed(), ms * MS, "after {ns} ns");
            }
        }
    }
}
