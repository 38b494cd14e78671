//! The budget: what is granted, to whom, and in which order.

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::*;

fn budget(bytes: u64) -> Budget {
    Budget::new(MemoryLimits { bytes, ..MemoryLimits::default() })
}

fn in_line(asked: Result<Asked, NoRoom>) -> u64 {
    match asked {
        Ok(Asked::InLine(place)) => place,
        other => panic!("not in line: {other:?}"),
    }
}

fn woken(contexts: &[u64]) -> Woken {
    Woken { contexts: contexts.to_vec(), room: false }
}

/// I8: what fits is granted at once, what may fit later waits, what never fits is refused.
#[test]
fn requests_are_granted_wait_or_are_refused() {
    let mut budget = budget(100);
    assert_eq!(budget.ask(1, 60), Ok(Asked::Granted));
    let place = in_line(budget.ask(2, 50));
    assert_eq!(budget.ask(2, 101), Err(NoRoom::Never { limit: 100 }));
    assert_eq!(budget.counts(), (60, 60, 1, 1), "who waits holds nothing");
    assert_eq!(budget.claim(place), None);
    assert_eq!(budget.free(1, 60), woken(&[2]));
    assert_eq!((budget.granted(2), budget.granted(1)), (vec![place], vec![]));
    assert_eq!((budget.claim(place), budget.claim(place)), (Some(50), None));
    assert_eq!(budget.counts(), (50, 60, 0, 1));
}

/// I8: nobody overtakes, not even a small request that would fit.
#[test]
fn the_line_is_served_in_order_of_arrival() {
    let mut budget = budget(100);
    assert_eq!(budget.ask(1, 90), Ok(Asked::Granted));
    let (large, small) = (in_line(budget.ask(1, 50)), in_line(budget.ask(2, 5)));
    assert_eq!(budget.free(1, 30), woken(&[]), "the large one is the first");
    assert_eq!(budget.free(1, 20), woken(&[1, 2]));
    assert_eq!((budget.claim(large), budget.claim(small)), (Some(50), Some(5)));
}

#[test]
fn a_full_context_holds_up_no_other() {
    let mut budget = Budget::new(MemoryLimits { bytes: 100, context_bytes: 40, ..MemoryLimits::default() });
    assert_eq!(budget.ask(1, 41), Err(NoRoom::Never { limit: 40 }));
    assert_eq!(budget.ask(1, 40), Ok(Asked::Granted));
    let place = in_line(budget.ask(1, 1));
    assert_eq!(budget.ask(2, 40), Ok(Asked::Granted));
    assert_eq!(budget.free(2, 10), woken(&[]));
    assert_eq!(budget.free(1, 10), woken(&[1]));
    assert_eq!(budget.claim(place), Some(1));
}

#[test]
fn who_goes_away_lets_the_next_go_on() {
    let mut budget = budget(100);
    assert_eq!(budget.ask(1, 80), Ok(Asked::Granted));
    let (first, second) = (in_line(budget.ask(1, 50)), in_line(budget.ask(2, 20)));
    assert_eq!(budget.withdraw(first), woken(&[2]));
    assert_eq!(budget.withdraw(second), woken(&[]), "granted and not claimed: free again");
    assert_eq!(budget.withdraw(second), woken(&[]));
    assert_eq!(budget.counts(), (80, 100, 0, 0));
}

#[test]
fn who_needs_less_keeps_the_place() {
    let mut budget = budget(100);
    assert_eq!(budget.ask(1, 80), Ok(Asked::Granted));
    let (first, second) = (in_line(budget.ask(1, 50)), in_line(budget.ask(2, 10)));
    assert_eq!(budget.shrink(first, 60), woken(&[]), "it does not grow");
    assert_eq!(budget.shrink(first, 15), woken(&[1]));
    assert_eq!(budget.shrink(first, 5), woken(&[2]), "granted by now: the rest is free");
    assert_eq!((budget.claim(first), budget.claim(second)), (Some(5), Some(10)));
}

/// I8: outputs of unknown size are counted when they are there; until that is made up for nothing is granted.
#[test]
fn what_is_taken_may_exceed_the_budget() {
    let mut budget = budget(100);
    budget.take(1, 130);
    assert!(budget.is_over());
    in_line(budget.ask(1, 0));
    in_line(budget.ask(1, 1));
    assert_eq!(budget.free(1, 20), Woken::default());
    assert_eq!(budget.free(1, 20), Woken { contexts: vec![1], room: true });
    assert!(!budget.is_over());
}

/// I8: the two ways of refusing, each with its own reason.
#[test]
fn a_full_budget_or_a_full_line_refuses() {
    let limits = MemoryLimits { bytes: 10, when_full: WhenFull::Fail, ..MemoryLimits::default() };
    let mut budget = Budget::new(limits);
    assert_eq!(budget.ask(1, 10), Ok(Asked::Granted));
    assert_eq!(budget.ask(1, 1), Err(NoRoom::Full { used: 10, limit: 10 }));
    let mut budget = Budget::new(MemoryLimits { when_full: WhenFull::Wait, waiting: 1, ..limits });
    assert_eq!(budget.ask(1, 10), Ok(Asked::Granted));
    in_line(budget.ask(1, 1));
    assert_eq!(budget.ask(1, 1), Err(NoRoom::LineFull));
    assert_eq!(budget.counts(), (10, 10, 1, 1));
}

/// I8: whatever is asked, freed and withdrawn, the sum is right, within the limits, and nobody is forgotten.
#[test]
fn the_sum_is_right_in_any_order() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut budget = Budget::new(MemoryLimits { bytes: 100, context_bytes: 70, ..MemoryLimits::default() });
        let mut held: Vec<(u64, u64)> = Vec::new();
        let mut waiting: Vec<(u64, u64)> = Vec::new();
        for _ in 0..200 {
            match rng.random_range(0..4) {
                0 | 1 => {
                    let (context, bytes) = (rng.random_range(0..3), rng.random_range(0..50));
                    match budget.ask(context, bytes) {
                        Ok(Asked::Granted) => held.push((context, bytes)),
                        Ok(Asked::InLine(place)) => waiting.push((context, place)),
                        Err(error) => panic!("seed {seed}: {error:?}"),
                    }
                }
                2 if !held.is_empty() => {
                    let (context, bytes) = held.swap_remove(rng.random_range(0..held.len()));
                    budget.free(context, bytes);
                }
                _ if !waiting.is_empty() => {
                    let (_, place) = waiting.swap_remove(rng.random_range(0..waiting.len()));
                    budget.withdraw(place);
                }
                _ => {}
            }
            waiting.retain(|(context, place)| match budget.claim(*place) {
                Some(bytes) => {
                    held.push((*context, bytes));
                    false
                }
                None => true,
            });
            let sum = |of: u64| held.iter().filter(|(context, _)| *context == of).map(|(_, bytes)| bytes).sum::<u64>();
            assert_eq!(budget.counts().0, (0..3).map(sum).sum::<u64>(), "seed {seed}");
            assert!(budget.counts().0 <= 100 && (0..3).all(|of| sum(of) <= 70), "seed {seed}");
            assert_eq!(budget.counts().2, waiting.len(), "seed {seed}");
        }
        held.drain(..).for_each(|(context, bytes)| drop(budget.free(context, bytes)));
        while let Some((context, place)) = waiting.pop() {
            let Some(bytes) = budget.claim(place) else {
                waiting.insert(0, (context, place));
                continue;
            };
            budget.free(context, bytes);
        }
        assert_eq!((budget.counts().0, budget.counts().2), (0, 0), "seed {seed}");
    }
}

/// I8: what must go for those in line: for as many as fit together, and for contexts with budgets of their own.
#[test]
fn what_is_lacking_is_known() {
    let mut budget = Budget::new(MemoryLimits { bytes: 100, context_bytes: 60, ..MemoryLimits::default() });
    assert_eq!(budget.lack(), None);
    budget.take(1, 50);
    budget.take(2, 45);
    assert_eq!((budget.lack(), budget.lacks(1, 5), budget.lacks(1, 20), budget.lacks(3, 20)), (None, 0, 15, 15));
    in_line(budget.ask(1, 20));
    assert_eq!(budget.lack(), Some(Lack { task: 15, contexts: vec![(1, 10)] }));
    in_line(budget.ask(3, 60));
    in_line(budget.ask(3, 60));
    assert_eq!(
        budget.lack(),
        Some(Lack { task: 75, contexts: vec![(1, 10)] }),
        "not for the last: it waits for others"
    );
    let mut budget = self::budget(100);
    budget.take(1, 130);
    assert_eq!(budget.lack(), Some(Lack { task: 30, contexts: vec![] }), "nobody is in line, and it is too much");
}

/// I8: one who needs more than he was granted gives it back and keeps his place before those who came later.
#[test]
fn one_who_needs_more_keeps_his_place() {
    let mut budget = budget(100);
    budget.take(1, 100);
    let (first, second) = (in_line(budget.ask(1, 10)), in_line(budget.ask(2, 20)));
    assert_eq!(budget.free(1, 10), woken(&[1]));
    assert_eq!(budget.claim(first), Some(10));
    assert_eq!(budget.again(first, 1, 10, 101), Err(NoRoom::Never { limit: 100 }));
    assert_eq!(budget.again(first, 1, 10, 40), Ok(woken(&[])));
    assert_eq!(budget.free(1, 30), woken(&[1]), "the second has to wait for the first");
    assert_eq!((budget.claim(first), budget.claim(second)), (Some(40), None));
    assert_eq!(budget.free(1, 20), woken(&[2]));
}

/// I8: those who wait in vain are told so, once.
#[test]
fn those_who_wait_in_vain_are_told() {
    let mut budget = budget(10);
    budget.take(1, 10);
    let places: Vec<_> = [1, 2, 1].into_iter().map(|context| in_line(budget.ask(context, 3))).collect();
    assert_eq!(budget.deny(), [1, 2]);
    assert_eq!(budget.withdraw(places[2]), woken(&[]));
    assert_eq!((budget.take_denied(1), budget.take_denied(1)), (vec![(places[0], 3)], vec![]));
    assert_eq!((budget.take_denied(2), budget.counts()), (vec![(places[1], 3)], (10, 10, 0, 3)));
}
