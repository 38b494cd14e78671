//! What happens to frames on their way: drawn for each, by probabilities.

use std::{fmt, time::Duration};

use crate::chance::Chance;

/// How links treat frames. A probability is of one frame: 0.01 is one in a hundred.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameFaults {
    /// Each frame takes so long, at least and at most, in whole milliseconds. Frames of one direction never overtake.
    pub latency: (Duration, Duration),
    /// The frame vanishes.
    pub lose: f64,
    /// The frame takes longer by up to [`longest_delay`](Self::longest_delay), and what comes behind it waits.
    pub delay: f64,
    /// The longest that a frame is delayed.
    pub longest_delay: Duration,
    /// The frame arrives twice.
    pub repeat: f64,
    /// One bit of the frame is turned over.
    pub corrupt: f64,
    /// The connection is reset in the middle of the frame.
    pub cut: f64,
}

impl FrameFaults {
    /// None, and no latency.
    pub fn none() -> Self {
        Self {
            latency: (Duration::ZERO, Duration::ZERO),
            lose: 0.0,
            delay: 0.0,
            longest_delay: Duration::from_millis(500),
            repeat: 0.0,
            corrupt: 0.0,
            cut: 0.0,
        }
    }

    /// Draws what happens to a frame of so many bytes. Draws as often whatever comes out.
    pub(super) fn fate(&self, chance: &Chance, len: usize) -> Fate {
        let (drawn, place) = (chance.bits(), chance.bits());
        let latency = chance.between(self.latency.0, self.latency.1);
        let drawn = (drawn >> 11) as f64 / (1u64 << 53) as f64;
        let mut above = 0.0;
        let mut is = |probability: f64| {
            above += probability;
            drawn < above
        };
        let kind = match len as u64 {
            0 => Kind::Pass,
            _ if is(self.lose) => Kind::Lost,
            len if is(self.cut) => Kind::Cut { after: place % len },
            len if is(self.corrupt) => Kind::Corrupt { bit: place % (8 * len) },
            _ if is(self.repeat) => Kind::Repeated,
            _ if is(self.delay) => {
                let longest = self.longest_delay.as_millis().max(1) as u64;
                Kind::Delayed { by: Duration::from_millis(1 + place % longest) }
            }
            _ => Kind::Pass,
        };
        Fate { latency, kind }
    }
}

/// What happens to one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) latency: Duration,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pass,
    Lost,
    Delayed {
        by: Duration,
    },
    Repeated,
    Corrupt {
        bit: u64,
    },
    Cut {
        after: u64,
    },
    /// Not drawn: the link is silent in this direction.
    Silenced,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let latency = self.latency.as_millis();
        match self.kind {
            Kind::Pass => write!(f, "+{latency} ms"),
            Kind::Lost => f.write_str("LOST"),
            Kind::Delayed { by } => write!(f, "+{latency} ms, DELAYED by {} ms", by.as_millis()),
            Kind::Repeated => write!(f, "+{latency} ms, REPEATED"),
            Kind::Corrupt { bit } => write!(f, "+{latency} ms, CORRUPT in bit {bit}"),
            Kind::Cut { after } => write!(f, "+{latency} ms, CUT after {after} B"),
            Kind::Silenced => f.write_str("SILENCED"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(faults: &FrameFaults) -> Vec<Kind> {
        let chance = Chance::seeded(7);
        (0..2_000).map(|_| faults.fate(&chance, 10).kind).collect()
    }

    #[test]
    fn without_faults_every_frame_passes_at_once() {
        assert!(kinds(&FrameFaults::none()).iter().all(|kind| *kind == Kind::Pass));
        assert_eq!(FrameFaults::none().fate(&Chance::seeded(7), 10).latency, Duration::ZERO);
    }

    #[test]
    fn each_probability_is_that_of_its_fault() {
        let rate = 0.1;
        let all =
            FrameFaults { lose: rate, delay: rate, repeat: rate, corrupt: rate, cut: rate, ..FrameFaults::none() };
        let kinds = kinds(&all);
        let count = |is: fn(&Kind) -> bool| kinds.iter().filter(|kind| is(kind)).count();
        let counts = [
            count(|kind| matches!(kind, Kind::Lost)),
            count(|kind| matches!(kind, Kind::Delayed { .. })),
            count(|kind| matches!(kind, Kind::Repeated)),
            count(|kind| matches!(kind, Kind::Corrupt { bit } if *bit < 80)),
            count(|kind| matches!(kind, Kind::Cut { after } if *after < 10)),
        ];
        assert!(counts.iter().all(|count| (140..260).contains(count)), "{counts:?} of 2000");
    }

    #[test]
    fn latency_and_delay_keep_their_bounds() {
        let ms = Duration::from_millis;
        let faults = FrameFaults { latency: (ms(2), ms(5)), delay: 1.0, longest_delay: ms(3), ..FrameFaults::none() };
        let chance = Chance::seeded(7);
        for _ in 0..100 {
            let Fate { latency, kind } = faults.fate(&chance, 10);
            assert!((ms(2)..=ms(5)).contains(&latency));
            assert!(matches!(kind, Kind::Delayed { by } if (ms(1)..=ms(3)).contains(&by)), "{kind:?}");
        }
    }
}
