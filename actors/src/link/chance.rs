//! Where a link's random numbers come from.

use crate::chance::Chance;

/// Names a session: nobody else may guess it.
pub(crate) fn number(chance: &Chance) -> u64 {
    // 0 stands for no session.
    chance.below(1..u64::MAX)
}

/// What part of a pause is taken, so that many who lost their links together do not come back together.
pub(crate) fn part(chance: &Chance) -> f64 {
    0.5 + chance.below(0..501) as f64 / 1000.0
}
