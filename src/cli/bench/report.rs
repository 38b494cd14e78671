//! The line that a measurement prints.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::{Args, Failure, meter::Cost};

/// One figure and what belongs to it.
#[derive(Debug)]
pub(super) struct Report(Map<String, Value>);

impl Report {
    pub(super) fn new(value: f64, unit: &str) -> Self {
        let mut fields = Map::new();
        fields.insert("value".to_owned(), rounded(value));
        fields.insert("unit".to_owned(), json!(unit));
        Self(fields)
    }

    /// Adds a figure.
    pub(super) fn with(mut self, name: &str, value: f64) -> Self {
        self.0.insert(name.to_owned(), rounded(value));
        self
    }

    /// Adds the processor time of each side, in microseconds a call.
    pub(super) fn with_cost(mut self, cost: &Cost, calls: usize) -> Self {
        for (name, time) in [("cpu_us_client", cost.client), ("cpu_us_server", cost.worker)] {
            if let Some(time) = time {
                self = self.with(name, time.as_secs_f64() * 1e6 / calls as f64);
            }
        }
        self
    }

    /// Prints it as one line of JSON.
    pub(super) fn print(mut self, args: &Args) -> Result<(), Failure> {
        self.0.insert("system".to_owned(), json!(args.system()));
        self.0.insert("workload".to_owned(), json!(format!("{:?}", args.workload)));
        let printed = writeln!(io::stdout().lock(), "{}", Value::Object(self.0));
        printed.map_err(|e| Failure::failed(format!("cannot print: {e}")))
    }
}

fn rounded(value: f64) -> Value {
    let value = (value * 1000.0).round() / 1000.0;
    if value.fract() == 0.0 && value.abs() < 1e15 { json!(value as i64) } else { json!(value) }
}

/// The middle one; of an even number the later of the two.
pub(super) fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Microseconds within which this part of the calls was answered. The times are sorted.
pub(super) fn at(times: &[Duration], part: f64) -> f64 {
    let index = (times.len().saturating_sub(1) as f64 * part) as usize;
    times.get(index).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_one_is_taken() {
        let of = |times: &[u64]| median(times.iter().copied().map(Duration::from_millis).collect()).as_millis();
        assert_eq!((of(&[3, 1, 2]), of(&[4, 1, 3, 2]), of(&[9]), of(&[])), (2, 3, 9, 0));
    }

    #[test]
    fn a_part_of_the_calls_is_answered_by_a_time() {
        let times: Vec<Duration> = (1..=101).map(Duration::from_micros).collect();
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|part| at(&times, part).round()), [1.0, 51.0, 100.0, 101.0]);
        assert_eq!(at(&[], 0.5), 0.0);
    }

    #[test]
    fn figures_have_three_decimals_and_counts_none() {
        assert_eq!((rounded(1.23456), rounded(100_000.0)), (json!(1.235), json!(100_000)));
    }
}
