//! Every target with every seed, and with many mutations of them.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::thread;

#[cfg(feature = "worker")]
use remex_fuzz::all;
use remex_fuzz::{
    Target,
    memory::{self, Counting},
    mutate::Mutator,
    seeds,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Says which input it was, if one panics.
struct Culprit<'a> {
    target: &'a str,
    which: String,
    input: &'a [u8],
}

impl Drop for Culprit<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let hex: String = self.input.iter().take(2_000).map(|byte| format!("{byte:02x}")).collect();
            eprintln!("target {}, {}, {} bytes: {hex}", self.target, self.which, self.input.len());
        }
    }
}

fn run(target: Target, which: String, input: &[u8]) {
    let culprit = Culprit { target: target.name, which, input };
    (target.run)(input);
    drop(culprit);
}

/// The seeds of a target, and then what mutations with this seed make of them.
fn check(name: &str, seed: u64) {
    let target = remex_fuzz::targets::named(name);
    let (names, corpus): (Vec<_>, Vec<_>) = seeds::of(name).unwrap().into_iter().unzip();
    for (which, input) in names.into_iter().zip(&corpus) {
        run(target, which, input);
    }
    let mut mutator = Mutator::new(seed, &corpus);
    for round in 0..target.rounds {
        let input = mutator.next_input();
        run(target, format!("seed {seed}, round {round}"), &input);
    }
}

macro_rules! targets {
    ($($(#[$when:meta])? $test:ident: $name:ident $seed:literal,)*) => {
        $($(#[$when])? #[test] fn $test() { check(stringify!($name), $seed); })*

        #[cfg(feature = "worker")]
        #[test]
        fn every_target_is_tried() {
            let tried = [$(stringify!($name)),*];
            let there: Vec<_> = all().iter().map(|target| target.name).collect();
            assert_eq!(there, tried);
        }
    };
}

targets! {
    frames_say_one_thing_however_they_are_cut: frames 1,
    a_handshake_is_understood_or_refused: handshake 2,
    every_call_is_read_or_answered: calls 3,
    a_reply_costs_its_call_at_most: replies 4,
    chunks_of_collectives_are_read_or_refused: chunks 5,
    names_are_read_as_they_are_written: names 6,
    files_of_numpy_are_read_the_same_in_both_ways: npy 7,
    there_is_one_way_to_write_a_tensor: tensors 8,
    #[cfg(feature = "worker")]
    mistakes_in_a_configuration_are_explained: config 9,
    #[cfg(feature = "worker")]
    models_are_compiled_or_refused: onnx 10,
}

/// The limits that the targets check mean nothing unless memory is counted.
#[test]
fn memory_is_counted() {
    let (kept, usage) = memory::measure(|| {
        drop(vec![1u8; 5_000]);
        let kept = vec![1u8; 3_000];
        drop(vec![1u8; 1_000]);
        kept
    });
    assert_eq!((kept.len(), usage.largest, usage.peak), (3_000, 5_000, 5_000));
}
