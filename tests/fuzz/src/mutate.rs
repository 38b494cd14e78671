//! Inputs that are nearly right.

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};

/// Longest input that is made, in bytes: longer ones find nothing that these do not, and take longer.
const MAX_LEN: usize = 8 << 10;

/// Numbers at which a length turns from good to bad.
const EXTREMES: [u64; 20] = [
    0,
    1,
    31,
    33,
    47,
    127,
    128,
    255,
    1_025,
    4_097,
    16_385,
    (64 << 10) + 1,
    (256 << 10) + 1,
    (1 << 20) + 1,
    i32::MAX as u64,
    u32::MAX as u64,
    (16 << 30) + 1,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// What begins a value of msgpack that holds others, or that claims to be long.
const CONTAINERS: [&[u8]; 12] = [
    &[0x91],
    &[0x81, 0xa1, b'x'],
    &[0x9f],
    &[0x8f],
    &[0xdc, 0xff, 0xff],
    &[0xdd, 0xff, 0xff, 0xff, 0xff],
    &[0xdf, 0xff, 0xff, 0xff, 0xff],
    &[0xdb, 0xff, 0xff, 0xff, 0xff],
    &[0xc6, 0xff, 0xff, 0xff, 0xff],
    &[0xc9, 0xff, 0xff, 0xff, 0xff, 0x01],
    &[0xc7, 0xff, 0x7f],
    &[0xc1],
];

/// Makes inputs out of others. The same seed makes the same ones.
#[derive(Debug)]
pub struct Mutator<'a> {
    corpus: &'a [Vec<u8>],
    rng: SmallRng,
}

impl<'a> Mutator<'a> {
    /// Mutates these, of which there must be one at least.
    pub fn new(seed: u64, corpus: &'a [Vec<u8>]) -> Self {
        assert!(!corpus.is_empty(), "there is nothing to mutate");
        Self { corpus, rng: SmallRng::seed_from_u64(seed) }
    }

    /// The next input.
    pub fn next_input(&mut self) -> Vec<u8> {
        let mut input = self.pick().to_vec();
        input.truncate(MAX_LEN);
        for _ in 0..self.rng.random_range(1..=4) {
            self.mutate(&mut input);
        }
        input.truncate(MAX_LEN);
        input
    }

    fn pick(&mut self) -> &'a [u8] {
        self.corpus.choose(&mut self.rng).map_or(&[], Vec::as_slice)
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.rng.random_range(0..=input.len());
        let some = self.rng.random_range(1..=16).min(input.len() - at);
        match self.rng.random_range(0..11) {
            0 | 1 if at < input.len() => input[at] ^= 1 << self.rng.random_range(0..8),
            2 if at < input.len() => input[at] = self.rng.random(),
            3 => input.truncate(at),
            4 => drop(input.drain(at..at + some)),
            5 => {
                let again = input[at..at + some].to_vec();
                input.splice(at..at, again);
            }
            6 => {
                let other = self.pick();
                let from = self.rng.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            7 | 8 => self.set_number(input, at),
            9 => {
                let container = *CONTAINERS.choose(&mut self.rng).unwrap_or(&CONTAINERS[0]);
                let times = if self.rng.random_ratio(1, 8) { self.rng.random_range(1..1_000) } else { 1 };
                input.splice(at..at, container.repeat(times));
            }
            _ => input.insert(at, self.rng.random()),
        }
    }

    /// Writes an extreme number over what is there, in one of the widths and byte orders of lengths.
    fn set_number(&mut self, input: &mut [u8], at: usize) {
        let number = *EXTREMES.choose(&mut self.rng).unwrap_or(&0);
        let width = *[1, 2, 4, 8].choose(&mut self.rng).unwrap_or(&1);
        let little = number.to_le_bytes();
        let mut bytes = little[..width].to_vec();
        if self.rng.random() {
            bytes.reverse();
        }
        for (to, from) in input[at..].iter_mut().zip(bytes) {
            *to = from;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_inputs_and_another_makes_others() {
        let corpus = [b"some bytes to begin with".to_vec(), vec![0x91; 40]];
        let make = |seed| {
            let mut mutator = Mutator::new(seed, &corpus);
            (0..200).map(|_| mutator.next_input()).collect::<Vec<_>>()
        };
        assert_eq!(make(1), make(1));
        assert_ne!(make(1), make(2));
        let changed = make(1).iter().filter(|input| !corpus.contains(input)).count();
        assert!(changed > 150, "{changed} of 200 were changed");
    }
}
