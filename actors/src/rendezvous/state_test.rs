//! Values and waiters, in every order.

use std::time::{Duration, Instant};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};
use remex_protocol::{
    ErrorCode,
    ids::{InstanceKey, TaskIndex},
};

use super::state::{Datum, RendezvousLimits, State};
use crate::{Error, Result};

const SECOND: Duration = Duration::from_secs(1);

fn key(name: &str) -> InstanceKey {
    name.try_into().unwrap()
}

fn datum(text: &str) -> Datum {
    Datum { from: TaskIndex(1), header: Bytes::new(), buffers: vec![Bytes::copy_from_slice(text.as_bytes())] }
}

/// A state and a clock. Waiters are numbers.
struct Rig {
    state: State<u32>,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self::with(RendezvousLimits::default())
    }

    fn with(limits: RendezvousLimits) -> Self {
        Self { state: State::new(limits), now: crate::testing::instant() }
    }

    fn send(&mut self, name: &str, text: &str, seconds: u32) -> Result<Option<(u32, Datum)>> {
        self.state.send(self.now, &key(name), datum(text), self.now + seconds * SECOND)
    }

    fn receive(&mut self, name: &str, who: u32, seconds: u32) -> Result<Option<(u32, Datum)>> {
        let until = self.now + seconds * SECOND;
        let answer = self.state.receive(self.now, &key(name), (who.into(), who), until, |_| false);
        answer.map_err(|(refused, error)| {
            assert_eq!(refused, who);
            error
        })
    }

    fn pass(&mut self, seconds: u32) -> Vec<(u32, Error)> {
        self.now += seconds * SECOND;
        self.state.expire(self.now)
    }
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> ErrorCode {
    result.unwrap_err().code()
}

#[test]
fn a_value_and_its_receiver_meet_in_both_orders() {
    let mut rig = Rig::new();
    assert_eq!(rig.send("a", "x", 60).unwrap(), None);
    assert_eq!(rig.receive("a", 1, 60).unwrap(), Some((1, datum("x"))));
    assert_eq!(rig.receive("b", 2, 60).unwrap(), None);
    assert_eq!(rig.send("b", "y", 60).unwrap(), Some((2, datum("y"))));
    assert_eq!(rig.state.counts(), (0, 0, 0, 2));
}

/// TFRT §3.5-6: a duplicate key overwrote a value silently, and a second callback the first. Here both are refused and
/// change nothing.
#[test]
fn a_second_user_of_either_side_is_refused() {
    let mut rig = Rig::new();
    rig.send("a", "x", 60).unwrap();
    assert_eq!(code(rig.send("a", "other", 60)), ErrorCode::AlreadyExists);
    assert_eq!(rig.receive("a", 1, 60).unwrap(), Some((1, datum("x"))));
    rig.receive("b", 2, 60).unwrap();
    assert_eq!(code(rig.receive("b", 3, 60)), ErrorCode::AlreadyExists);
    assert_eq!(rig.send("b", "y", 60).unwrap(), Some((2, datum("y"))));
}

/// TFRT §3.5-6: unclaimed values lived for ever. Here they are thrown away when their time is over.
#[test]
fn unclaimed_values_expire() {
    let mut rig = Rig::new();
    rig.send("a", "x", 10).unwrap();
    rig.send("b", "y", 100_000).unwrap();
    assert_eq!(rig.state.earliest(), Some(rig.now + 10 * SECOND));
    assert_eq!(rig.pass(10), []);
    assert_eq!(rig.state.counts(), (0, 1, 1, 0));
    assert_eq!(
        rig.state.earliest(),
        Some(rig.now + 590 * SECOND),
        "no longer than the limit, whatever the sender says"
    );
    rig.pass(590);
    assert_eq!(rig.state.counts(), (0, 0, 0, 0));
    assert_eq!(code(rig.send("a", "x", 0)), ErrorCode::DeadlineExceeded);
}

/// TFRT §3.5-6: a late duplicate was handed to the next user of the key. Here the key stays taken for as long as a
/// duplicate may come.
#[test]
fn a_late_duplicate_reaches_nobody() {
    let mut rig = Rig::new();
    rig.receive("a", 1, 60).unwrap();
    rig.send("a", "x", 30).unwrap();
    rig.pass(29);
    assert_eq!(code(rig.send("a", "x", 1)), ErrorCode::AlreadyExists);
    let error = rig.receive("a", 2, 60).unwrap_err();
    assert!(error.message().contains("use a new key for each exchange"), "{error}");
    rig.pass(1);
    assert_eq!(rig.receive("a", 2, 60).unwrap(), None);
    assert_eq!(rig.send("a", "new", 60).unwrap(), Some((2, datum("new"))));
}

#[test]
fn waiting_receives_end_by_their_deadline() {
    let mut rig = Rig::new();
    rig.receive("a", 1, 5).unwrap();
    rig.receive("b", 2, 9).unwrap();
    let ended = rig.pass(5);
    assert_eq!((ended.len(), ended[0].0, ended[0].1.code()), (1, 1, ErrorCode::DeadlineExceeded));
    assert_eq!(rig.pass(4)[0].0, 2);
    assert_eq!(code(rig.receive("c", 3, 0)), ErrorCode::DeadlineExceeded);
    // The value that comes too late is kept for its own time.
    assert_eq!(rig.send("a", "x", 60).unwrap(), None);
    assert_eq!(rig.state.counts(), (0, 1, 1, 0));
}

#[test]
fn a_cancelled_receive_makes_room_for_another() {
    let mut rig = Rig::new();
    rig.receive("a", 1, 60).unwrap();
    assert_eq!(rig.state.cancel(&key("a"), 7), None, "another ticket");
    assert_eq!(rig.state.cancel(&key("b"), 1), None, "another key");
    assert_eq!(rig.state.cancel(&key("a"), 1), Some(1));
    assert_eq!(rig.receive("a", 2, 60).unwrap(), None);
    // One who went without a word is replaced.
    let until = rig.now + SECOND;
    assert!(rig.state.receive(rig.now, &key("a"), (3, 3), until, |gone| *gone == 2).unwrap().is_none());
    assert_eq!(rig.send("a", "x", 60).unwrap(), Some((3, datum("x"))));
    assert_eq!(rig.state.cancel(&key("a"), 3), None, "it has its value");
}

/// PR-2: what its receiver did not take is there for the next.
#[test]
fn a_value_that_was_not_taken_is_given_back() {
    let mut rig = Rig::new();
    rig.send("a", "x", 60).unwrap();
    rig.receive("a", 1, 60).unwrap();
    rig.state.give_back(&key("a"), datum("x"));
    assert_eq!(rig.state.counts(), (0, 1, 1, 0));
    assert_eq!(rig.receive("a", 2, 60).unwrap(), Some((2, datum("x"))));
    rig.pass(60);
    rig.state.give_back(&key("a"), datum("x"));
    assert_eq!(rig.state.counts(), (0, 0, 0, 0), "its time is over");
}

/// PR-4: every table has its limit, and a refusal changes nothing.
#[test]
fn limits_hold() {
    let limits = RendezvousLimits { waiting: 2, values: 2, bytes: 10, keep: 60 * SECOND, remembered: 2 };
    let mut rig = Rig::with(limits);
    rig.receive("w1", 1, 60).unwrap();
    rig.receive("w2", 2, 60).unwrap();
    assert_eq!(code(rig.receive("w3", 3, 60)), ErrorCode::ResourceExhausted);
    assert_eq!(code(rig.send("v0", "12345678901", 60)), ErrorCode::ResourceExhausted);
    rig.send("v1", "123456", 60).unwrap();
    assert_eq!(code(rig.send("v2", "12345", 60)), ErrorCode::ResourceExhausted);
    rig.send("v2", "1234", 60).unwrap();
    assert_eq!(code(rig.send("v3", "", 60)), ErrorCode::ResourceExhausted);
    assert_eq!(rig.state.counts(), (2, 2, 10, 0));
    rig.receive("v1", 4, 60).unwrap();
    rig.send("w1", "x", 60).unwrap();
    assert_eq!(code(rig.receive("v2", 5, 60)), ErrorCode::ResourceExhausted);
    assert_eq!(code(rig.send("w2", "x", 60)), ErrorCode::ResourceExhausted);
    assert_eq!(rig.state.counts(), (1, 1, 4, 2));
    rig.pass(60);
    assert_eq!(rig.state.counts(), (0, 0, 0, 0));
}

/// PR-3: whoever waits is told.
#[test]
fn closing_gives_all_who_wait() {
    let mut rig = Rig::new();
    rig.receive("a", 1, 60).unwrap();
    rig.receive("b", 2, 60).unwrap();
    rig.send("c", "x", 60).unwrap();
    let mut told = rig.state.close();
    told.sort();
    assert_eq!(told, [1, 2]);
    assert_eq!((rig.state.counts(), rig.state.earliest()), ((0, 0, 0, 0), None));
}

/// PR-1, PR-2: against a model that keeps one list, whatever the order.
#[test]
fn no_value_is_lost_or_doubled_in_any_order() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut rig = Rig::new();
        let (mut sent, mut got, mut waiting) = (0u32, 0, std::collections::BTreeSet::new());
        for step in 0..200u32 {
            let name = format!("k{}", rng.random_range(0..5));
            match rng.random_range(0..4) {
                0 => {
                    if let Ok(met) = rig.send(&name, &step.to_string(), rng.random_range(1..8)) {
                        sent += 1;
                        if let Some((who, _)) = met {
                            got += 1;
                            assert!(waiting.remove(&who), "seed {seed}");
                        }
                    }
                }
                1 => match rig.receive(&name, step, rng.random_range(1..8)) {
                    Ok(Some((who, _))) => {
                        assert_eq!(who, step);
                        got += 1;
                    }
                    Ok(None) => assert!(waiting.insert(step)),
                    Err(_) => {}
                },
                2 => {
                    let who = waiting.first().copied().unwrap_or_default();
                    if let Some(who) = rig.state.cancel(&key(&name), who.into()) {
                        assert!(waiting.remove(&who), "seed {seed}");
                    }
                }
                _ => {
                    for (who, _) in rig.pass(1) {
                        assert!(waiting.remove(&who), "seed {seed}");
                    }
                }
            }
            let (waits, values, _, _) = rig.state.counts();
            assert_eq!(waits, waiting.len(), "seed {seed}");
            assert!(got + values as u32 <= sent, "seed {seed}");
        }
        rig.pass(10);
        assert_eq!(rig.state.counts(), (0, 0, 0, 0), "seed {seed}");
    }
}
