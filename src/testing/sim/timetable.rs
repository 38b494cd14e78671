//! When what befalls whom: drawn, one after the other. Pure.

use std::time::Duration;

use remex_actors::{
    chance::Chance,
    fabric::simulated::{Death, Slow},
};

use super::FaultPlan;

/// Something that befalls a link or a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Break(usize, usize),
    HalfOpen { from: usize, to: usize },
    Slow(usize, Slow),
    Stop(usize),
    Kill(usize, Death),
    Stall(usize),
}

/// An event, the pause before it, and how long it lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) after: Duration,
    pub(super) event: Event,
    pub(super) lasts: Duration,
}

/// Draws the events of a plan.
#[derive(Debug)]
pub(super) struct Timetable {
    chance: Chance,
    plan: FaultPlan,
    tasks: u64,
}

impl Timetable {
    pub(super) fn new(chance: Chance, plan: FaultPlan, tasks: usize) -> Self {
        Self { chance, plan, tasks: tasks as u64 }
    }

    /// The next event; `None` if nothing ever befalls anybody.
    pub(super) fn next(&self) -> Option<Entry> {
        let rates = &self.plan.events;
        let pairs = self.tasks >= 2;
        let of_links = |rate: f64| if pairs { rate } else { 0.0 };
        let rates =
            [of_links(rates.breaks), of_links(rates.half_opens), rates.slow, rates.stops, rates.kills, rates.stalls];
        let all: f64 = rates.iter().sum();
        if all <= 0.0 || self.tasks == 0 {
            return None;
        }
        // Between nothing and twice the mean.
        let mean = 60_000.0 / all;
        let after = Duration::from_millis(self.chance.below(1..(2.0 * mean) as u64 + 2));
        let mut drawn = self.chance.below(0..1_000_000) as f64 / 1e6 * all;
        let kind = rates.iter().position(|rate| {
            drawn -= rate;
            drawn < 0.0
        });
        let one = self.chance.below(0..self.tasks) as usize;
        let other = match pairs {
            true => (one + 1 + self.chance.below(0..self.tasks - 1) as usize) % self.tasks as usize,
            false => one,
        };
        let lasts = self.chance.between(self.plan.lasts.0, self.plan.lasts.1);
        let extra = self.chance.bits();
        let event = match kind {
            Some(0) => Event::Break(one, other),
            Some(1) => Event::HalfOpen { from: one, to: other },
            Some(2) => {
                let latency = Duration::from_millis(extra % 400);
                let bandwidth = (extra & (1 << 20) != 0).then_some(20_000 + (extra >> 32) % 2_000_000);
                Event::Slow(one, Slow { latency, bandwidth })
            }
            Some(3) => Event::Stop(one),
            Some(4) => Event::Kill(one, if extra.is_multiple_of(2) { Death::Reset } else { Death::Silent }),
            _ => Event::Stall(one),
        };
        Some(Entry { after, event, lasts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(change: impl Fn(&mut super::super::EventRates), tasks: usize) -> Vec<Entry> {
        let mut plan = FaultPlan::none();
        change(&mut plan.events);
        let timetable = Timetable::new(Chance::seeded(7), plan, tasks);
        (0..1_000).map_while(|_| timetable.next()).collect()
    }

    #[test]
    fn nothing_befalls_whom_nothing_is_planned_for() {
        assert!(entries(|_| {}, 3).is_empty());
        assert!(entries(|events| events.kills = 1.0, 0).is_empty());
        assert!(entries(|events| events.breaks = 1.0, 1).is_empty(), "there is no link");
    }

    #[test]
    fn only_what_is_planned_occurs_and_as_often_as_planned() {
        let kills = entries(|events| events.kills = 60.0, 3);
        assert!(kills.iter().all(|entry| matches!(entry.event, Event::Kill(0..3, _))));
        let took: Duration = kills.iter().map(|entry| entry.after).sum();
        assert!((900..1_100).contains(&took.as_secs()), "{took:?} for a thousand at one in a second");
        let breaks = entries(|events| events.breaks = 60.0, 3);
        assert!(breaks.iter().all(|entry| matches!(entry.event, Event::Break(a, b) if a != b && a < 3 && b < 3)));
    }

    #[test]
    fn all_kinds_and_all_tasks_have_their_turn() {
        let all = entries(
            |events| {
                *events = super::super::EventRates {
                    breaks: 1.0,
                    half_opens: 1.0,
                    slow: 1.0,
                    stops: 1.0,
                    kills: 1.0,
                    stalls: 1.0,
                };
            },
            3,
        );
        let has = |is: fn(&Event) -> bool| all.iter().any(|entry| is(&entry.event));
        assert!(has(|event| matches!(event, Event::Break(..))) && has(|event| matches!(event, Event::HalfOpen { .. })));
        assert!(has(|event| matches!(event, Event::Slow(..))) && has(|event| matches!(event, Event::Stop(2))));
        assert!(has(|event| matches!(event, Event::Kill(_, Death::Silent))) && has(|event| *event == Event::Stall(0)));
    }
}
