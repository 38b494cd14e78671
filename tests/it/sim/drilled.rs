//! The drill's work on a few seeds, and the drill's checker on what is wrong on purpose.

use super::drill::{self, Totals, Wrong};

/// I1, I2, I3, I4, I5: whatever befalls frames, links, tasks and programs, every promise settles by its deadline, nothing runs twice, what
/// was answered is there, and nothing is left behind.
#[test]
fn thirty_seeds_hold() {
    let mut totals = Totals::default();
    for seed in 1..=30 {
        let outcome = drill::run(seed, Wrong::Nothing);
        let held = outcome.totals.hold() && outcome.problems.is_empty();
        assert!(held, "seed {seed}: {:#?}\n{}\n{}", outcome.problems, outcome.totals, outcome.trace.tail(60));
        totals.add(&outcome.totals);
    }
    assert!(totals.calls > 3_000 && totals.answered > 500 && totals.executed > 500, "too little was tried:\n{totals}");
}

/// Runs seeds until the drill finds something.
fn found(wrong: Wrong, is: impl Fn(&Totals) -> bool) {
    let found = (1..=20).map(|seed| drill::run(seed, wrong)).find(|outcome| is(&outcome.totals));
    let outcome = found.unwrap_or_else(|| panic!("{wrong:?} was not found in 20 seeds"));
    assert!(!outcome.totals.hold() && !outcome.problems.is_empty(), "{outcome:?}");
}

#[test]
fn the_drill_finds_what_runs_twice() {
    found(Wrong::RunsTwice, |totals| totals.twice > 0);
}

#[test]
fn the_drill_finds_what_leaks() {
    found(Wrong::Leaks, |totals| totals.leaked > 0);
}

#[test]
fn the_drill_finds_wrong_values() {
    found(Wrong::Lies, |totals| totals.wrong > 0);
}

#[test]
fn the_drill_finds_effects_that_are_lost_after_an_answer() {
    found(Wrong::Loses, |totals| totals.lost > 0);
}
