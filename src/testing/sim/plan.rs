//! What befalls frames, links, tasks and programs, and how often.

use std::time::Duration;

use remex_actors::{chance::Chance, executor::Simulated, fabric::simulated::FrameFaults};

/// What befalls a simulated cluster. [`none`](Self::none) is nothing; change its fields for one kind of fault, or let
/// [`random`](Self::random) mix them.
///
/// There is no fault that steps the wall clock: no code reads one, which a test of this repository checks.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultPlan {
    /// What befalls each frame.
    pub frames: FrameFaults,
    /// What befalls links and tasks, and how often.
    pub events: EventRates,
    /// How long what befalls a link or a task lasts: at least, and at most.
    pub lasts: (Duration, Duration),
    /// How long a program on the compute pool takes: at least, and at most.
    pub program: (Duration, Duration),
    /// With this probability a program hangs,
    pub program_stalls: f64,
    /// for so long.
    pub program_stall: Duration,
    /// With this probability a task that could go on lets the others go first.
    pub yields: f64,
}

/// How often in a minute of virtual time something befalls the cluster, on the average. It befalls any task, or any pair of
/// tasks.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct EventRates {
    /// A link breaks and is healed.
    pub breaks: f64,
    /// One direction of a link goes silent, and is healed.
    pub half_opens: f64,
    /// A task's links become slow, and fast again.
    pub slow: f64,
    /// A task stops in good order, and is started again.
    pub stops: f64,
    /// A task is killed, its memory lost, and is started again.
    pub kills: f64,
    /// A task does not run for a while, and goes on.
    pub stalls: f64,
}

impl FaultPlan {
    /// Nothing: frames arrive after 1 ms, programs of the pool take 1 to 10 ms.
    pub fn none() -> Self {
        let ms = Duration::from_millis;
        Self {
            frames: FrameFaults { latency: (ms(1), ms(1)), ..FrameFaults::none() },
            events: EventRates::default(),
            lasts: (ms(50), ms(6_000)),
            program: (ms(1), ms(10)),
            program_stalls: 0.0,
            program_stall: Duration::from_secs(3_600),
            yields: 0.0,
        }
    }

    /// A mixture of kinds and rates that the seed decides: some runs see many kinds, some one, some none.
    pub fn random(seed: u64) -> Self {
        let chance = Chance::seeded(seed);
        let ms = Duration::from_millis;
        // Half of the kinds are left out, so that others have time to do their worst.
        let some = |most: f64| if chance.happens(0.5) { most * chance.below(1..101) as f64 / 100.0 } else { 0.0 };
        let none = Self::none();
        let frames = FrameFaults {
            latency: (ms(chance.below(0..3)), ms(chance.below(3..40))),
            lose: some(0.003),
            delay: some(0.03),
            longest_delay: ms(chance.below(10..4_000)),
            repeat: some(0.003),
            corrupt: some(0.003),
            cut: some(0.003),
        };
        let events = EventRates {
            breaks: some(8.0),
            half_opens: some(4.0),
            slow: some(8.0),
            stops: some(3.0),
            kills: some(5.0),
            stalls: some(8.0),
        };
        let program = (ms(0), ms(chance.below(1..200)));
        Self { frames, events, program, program_stalls: some(0.02), yields: some(0.5), ..none }
    }

    /// How programs of the pool of one task run.
    pub(super) fn pool(&self, chance: Chance) -> Simulated {
        let (shortest, longest) = self.program;
        Simulated { chance, shortest, longest, stalls: self.program_stalls, stall: self.program_stall }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_plan_and_every_kind_occurs_and_is_left_out() {
        assert_eq!(FaultPlan::random(7), FaultPlan::random(7));
        let plans: Vec<_> = (0..50).map(FaultPlan::random).collect();
        let rates: [fn(&FaultPlan) -> f64; 13] = [
            |plan| plan.frames.lose,
            |plan| plan.frames.delay,
            |plan| plan.frames.repeat,
            |plan| plan.frames.corrupt,
            |plan| plan.frames.cut,
            |plan| plan.events.breaks,
            |plan| plan.events.half_opens,
            |plan| plan.events.slow,
            |plan| plan.events.stops,
            |plan| plan.events.kills,
            |plan| plan.events.stalls,
            |plan| plan.program_stalls,
            |plan| plan.yields,
        ];
        for (i, rate) in rates.into_iter().enumerate() {
            assert!(plans.iter().any(|plan| rate(plan) > 0.0) && plans.iter().any(|plan| rate(plan) == 0.0), "{i}");
        }
    }
}
