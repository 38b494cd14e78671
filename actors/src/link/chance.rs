//! Where a link's random numbers come from.

use rand::Rng;

/// Names a session: nobody else may guess it.
pub(crate) fn number() -> u64 {
    // 0 stands for no session.
    rand::rng().random_range(1..=u64::MAX)
}

/// What part of a pause is taken, so that many who lost their links together do not come back together.
pub(crate) fn part() -> f64 {
    rand::rng().random_range(0.5..=1.0)
}
