//! When a lost connection is dialled again, and until when. Pure: time and chance are passed in.

use std::time::{Duration, Instant};

use crate::link::LOST_AFTER;

/// The first pause after an attempt that failed; each is twice the one before.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// The attempts to connect again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    window: Duration,
    /// When it was lost; `None`: nothing is lost.
    since: Option<Instant>,
    /// When to give up.
    limit: Duration,
    pause: Duration,
    /// What had got through when the connection was lost last.
    progress: (u64, u64),
}

impl Backoff {
    /// Tries for so long after a loss.
    pub(super) fn new(window: Duration) -> Self {
        Self { window, since: None, limit: window, pause: Duration::ZERO, progress: (0, 0) }
    }

    /// A connection that has `lasted` so long is lost. One that got nothing through is no end of the loss before: else a
    /// peer that always breaks off at the same frame would be dialled for ever. Whether this is another loss.
    pub(super) fn lost(&mut self, now: Instant, lasted: Duration, progress: (u64, u64)) -> bool {
        let is_new = lasted >= LOST_AFTER || progress != self.progress || self.since.is_none();
        self.progress = progress;
        if is_new {
            (self.since, self.limit, self.pause) = (Some(now), self.window, Duration::ZERO);
        }
        is_new
    }

    /// Gives up so long after the loss, and not before.
    pub(super) fn prolong(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// How long to wait before the next attempt; the first one is made at once. `None`: the window is over. `part` of a
    /// pause is taken.
    pub(super) fn next(&mut self, now: Instant, part: f64) -> Option<Duration> {
        let left = self.left(now)?;
        let pause = self.pause.mul_f64(part);
        self.pause = (self.pause * 2).clamp(FIRST, LONGEST);
        Some(pause.min(left))
    }

    /// What is left of the window; `None`: nothing.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        (self.since? + self.limit).checked_duration_since(now).filter(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::instant;

    /// All attempts after a loss, each of which fails at once.
    fn attempts(backoff: &mut Backoff, mut now: Instant) -> Vec<Duration> {
        let mut pauses = Vec::new();
        while let Some(pause) = backoff.next(now, 1.0) {
            now += pause;
            pauses.push(pause);
        }
        pauses
    }

    #[test]
    fn pauses_grow_and_fill_the_window() {
        let (start, mut backoff) = (instant(), Backoff::new(Duration::from_secs(5)));
        assert_eq!(backoff.next(start, 1.0), None, "nothing is lost");
        backoff.lost(start, LOST_AFTER, (0, 0));
        let pauses: Vec<_> = attempts(&mut backoff, start).iter().map(Duration::as_millis).collect();
        assert_eq!(pauses, [0, 50, 100, 200, 400, 800, 1000, 1000, 1000, 450]);
        backoff.lost(start, LOST_AFTER, (0, 0));
        backoff.next(start, 0.5);
        assert_eq!(backoff.next(start, 0.5), Some(Duration::from_millis(25)));
    }

    /// I6: what cannot get through is given up, however often it is connected meanwhile.
    #[test]
    fn a_connection_that_gets_nothing_through_does_not_begin_the_window_anew() {
        let (start, second) = (instant(), Duration::from_secs(1));
        let mut backoff = Backoff::new(5 * second);
        backoff.lost(start, second, (3, 4));
        backoff.lost(start + 4 * second, second, (3, 4));
        assert_eq!(backoff.left(start + 4 * second), Some(second));
        backoff.lost(start + 4 * second, second, (3, 5));
        assert_eq!(backoff.left(start + 4 * second), Some(5 * second));
        backoff.lost(start + 8 * second, LOST_AFTER, (3, 5));
        assert_eq!(backoff.left(start + 8 * second), Some(5 * second));
        assert_eq!(backoff.left(start + 13 * second), None);
        backoff.prolong(30 * second);
        assert!(!backoff.lost(start + 13 * second, second, (3, 5)));
        assert_eq!(backoff.left(start + 13 * second), Some(25 * second));
        assert!(backoff.lost(start + 14 * second, second, (4, 5)));
        assert_eq!(backoff.left(start + 14 * second), Some(5 * second));
    }
}
