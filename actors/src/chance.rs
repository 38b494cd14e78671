//! Where a task's chance comes from: incarnations, ids, hash seeds, jitter.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};

/// The one source of chance of a task. Clones draw from the same source.
///
/// What is drawn by the system's means cannot be foretold by a peer; what is drawn from a seed can, and is for
/// simulations.
#[derive(Clone, Default)]
pub struct Chance(Option<Arc<Mutex<SmallRng>>>);

impl Chance {
    /// Chance by the system's means.
    pub fn of_system() -> Self {
        Self(None)
    }

    /// The same draws for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Arc::new(Mutex::new(SmallRng::seed_from_u64(seed)))))
    }

    /// A source of its own, whose seed is drawn from this one. One by the system's means gives another of that kind.
    #[must_use]
    pub fn split(&self) -> Self {
        match &self.0 {
            None => Self(None),
            Some(_) => Self::seeded(self.bits()),
        }
    }

    /// 64 bits.
    pub fn bits(&self) -> u64 {
        self.draw(|rng| rng.random(), |rng| rng.random())
    }

    /// A number of a range that is not empty.
    pub fn below(&self, range: Range<u64>) -> u64 {
        self.draw(|rng| rng.random_range(range.clone()), |rng| rng.random_range(range.clone()))
    }

    /// Whether something happens that happens with this probability: never at 0, always at 1.
    pub fn happens(&self, probability: f64) -> bool {
        let drawn = self.bits() >> 11;
        // 53 bits, as many as an f64 holds.
        (drawn as f64) < probability * (1u64 << 53) as f64
    }

    /// A duration between two, both possible, in whole milliseconds where they are.
    pub fn between(&self, shortest: Duration, longest: Duration) -> Duration {
        let span = longest.saturating_sub(shortest).as_millis() as u64;
        shortest + Duration::from_millis(self.below(0..span + 1))
    }

    fn draw<T>(
        &self,
        system: impl FnOnce(&mut rand::rngs::ThreadRng) -> T,
        seeded: impl FnOnce(&mut SmallRng) -> T,
    ) -> T {
        match &self.0 {
            None => system(&mut rand::rng()),
            Some(rng) => seeded(&mut rng.lock().unwrap_or_else(PoisonError::into_inner)),
        }
    }
}

impl fmt::Debug for Chance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Chance(seeded)" } else { "Chance(of the system)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits(chance: &Chance) -> [u64; 3] {
        [chance.bits(), chance.bits(), chance.bits()]
    }

    #[test]
    fn a_seed_gives_the_same_draws_again_and_the_system_does_not() {
        assert_eq!(bits(&Chance::seeded(7)), bits(&Chance::seeded(7)));
        assert_ne!(bits(&Chance::seeded(7)), bits(&Chance::seeded(8)));
        assert_eq!(bits(&Chance::seeded(7).split()), bits(&Chance::seeded(7).split()));
        assert_ne!(bits(&Chance::of_system()), bits(&Chance::of_system()));
        assert_ne!(bits(&Chance::of_system().split()), bits(&Chance::of_system().split()));
    }

    #[test]
    fn clones_draw_from_one_source() {
        let (one, all) = (Chance::seeded(7), bits(&Chance::seeded(7)));
        let other = one.clone();
        assert_eq!([one.bits(), other.bits(), one.bits()], all);
    }

    #[test]
    fn probabilities_and_bounds_are_kept() {
        let chance = Chance::seeded(7);
        let ms = Duration::from_millis;
        assert!((0..100).all(|_| !chance.happens(0.0) && chance.happens(1.0)));
        let often = (0..10_000).filter(|_| chance.happens(0.25)).count();
        assert!((2_200..2_800).contains(&often), "{often}");
        let drawn: Vec<_> = (0..100).map(|_| chance.between(ms(2), ms(4))).collect();
        assert!([2, 3, 4].iter().all(|x| drawn.contains(&ms(*x))), "{drawn:?}");
        assert_eq!(drawn.iter().max(), Some(&ms(4)));
        assert_eq!(chance.between(ms(5), ms(2)), ms(5));
    }
}
