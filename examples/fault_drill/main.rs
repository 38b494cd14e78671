//! Random work under random faults, seed after seed: nothing hangs, nothing runs twice, nothing grows.
//!
//! Each seed is a cluster of five tasks in one thread, on virtual time: two clients call three workers (pipelines, programs that call,
//! ops, collectives, puts, fetches, deletes, cancels, registrations), while frames are lost, late, repeated, damaged and cut, links
//! break, tasks stall, stop and die. What comes out is counted outside of the cluster.
//!
//! ```text
//! $ cargo run --release --example fault_drill -- --seeds 1000
//! $ cargo run --release --example fault_drill -- --seed 4711 --trace trace.txt
//! ```
//!
//! Ends with status 1 if something does not hold, and prints the line that shows it again.

#![allow(clippy::print_stdout, reason = "an example speaks to whoever runs it")]

mod drill;

use std::{
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Instant,
};

use drill::{Outcome, PROBLEM, Totals, Wrong};

/// So many seeds unless it is said otherwise.
const SEEDS: u64 = 10;
/// So many lines of a trace are printed.
const SHOWN: usize = 60;

/// What was asked for.
struct Asked {
    first: u64,
    seeds: u64,
    trace: Option<String>,
}

fn asked() -> Result<Asked, String> {
    let mut asked = Asked { first: 1, seeds: SEEDS, trace: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next().ok_or_else(|| format!("{word} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{word} {value}: {error}"));
        match &*word {
            "--seeds" => asked.seeds = number()?,
            "--first" => asked.first = number()?,
            "--seed" => (asked.first, asked.seeds) = (number()?, 1),
            "--trace" => asked.trace = Some(value),
            _ => return Err(format!("{word}? Say --seeds N, --first N, --seed N, --trace FILE")),
        }
    }
    Ok(asked)
}

fn main() -> ExitCode {
    let asked = match asked() {
        Ok(asked) => asked,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    #[allow(clippy::disallowed_methods, reason = "how long the drill takes is real time")]
    let begin = Instant::now();
    let (totals, failed) = all(&asked);
    println!("{} seeds, from {}, in {:.1} s", asked.seeds, asked.first, begin.elapsed().as_secs_f64());
    print!("{totals}");
    match failed {
        None => ExitCode::SUCCESS,
        Some(seed) => {
            println!("seed {seed} failed; show it again with");
            println!("  cargo run --release --example fault_drill -- --seed {seed} --trace trace.txt");
            ExitCode::FAILURE
        }
    }
}

/// Drills all seeds, on as many threads as there are cores; gives the totals and the least seed that failed.
fn all(asked: &Asked) -> (Totals, Option<u64>) {
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let result = Mutex::new((Totals::default(), None::<u64>));
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(asked.seeds as usize);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !failed.load(Ordering::Relaxed) {
                    let nth = next.fetch_add(1, Ordering::Relaxed);
                    if nth >= asked.seeds {
                        return;
                    }
                    let outcome = drill::run(asked.first.wrapping_add(nth), Wrong::Nothing);
                    let holds = outcome.totals.hold() && outcome.problems.is_empty();
                    let mut result = result.lock().unwrap_or_else(PoisonError::into_inner);
                    result.0.add(&outcome.totals);
                    if !holds {
                        failed.store(true, Ordering::Relaxed);
                        result.1 = Some(result.1.map_or(outcome.seed, |other| other.min(outcome.seed)));
                        tell(&outcome);
                    }
                    keep_trace(asked, &outcome);
                }
            });
        }
    });
    result.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn tell(outcome: &Outcome) {
    println!("seed {}:", outcome.seed);
    outcome.problems.iter().for_each(|problem| println!("  {problem}"));
    let trace = outcome.trace.to_string();
    let lines: Vec<_> = trace.lines().collect();
    let end = lines.iter().position(|line| line.contains(PROBLEM)).map_or(lines.len(), |at| at + 1);
    println!("its trace up to there:");
    lines[end.saturating_sub(SHOWN)..end].iter().for_each(|line| println!("{line}"));
}

fn keep_trace(asked: &Asked, outcome: &Outcome) {
    if let Some(file) = &asked.trace
        && let Err(error) = std::fs::write(file, outcome.trace.to_string())
    {
        eprintln!("the trace was not written to {file}: {error}");
    }
}
