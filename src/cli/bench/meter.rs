//! Wall time, and processor time of both processes.

use std::{fs, time::Duration};

use tokio::time::Instant;

use super::process::Process;

/// The kernel counts processor time for `/proc/PID/stat` in units of 10 ms, on every architecture.
const TICK: Duration = Duration::from_millis(10);

/// When a measurement began.
#[derive(Debug)]
pub(super) struct Meter {
    began: Instant,
    worker: u32,
    client_cpu: Option<Duration>,
    worker_cpu: Option<Duration>,
}

/// What it took.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) wall: Duration,
    /// Processor time of all threads; `None` where the system does not say.
    pub(super) client: Option<Duration>,
    pub(super) worker: Option<Duration>,
}

impl Meter {
    pub(super) fn start(worker: &Process) -> Self {
        let (client_cpu, worker_cpu) = (cpu(std::process::id()), cpu(worker.id()));
        Self { began: Instant::now(), worker: worker.id(), client_cpu, worker_cpu }
    }

    pub(super) fn stop(&self) -> Cost {
        let wall = self.began.elapsed();
        let since = |before: Option<Duration>, pid| Some(cpu(pid)?.saturating_sub(before?));
        let client = since(self.client_cpu, std::process::id());
        Cost { wall, client, worker: since(self.worker_cpu, self.worker) }
    }
}

/// Processor time that a process has used: to the nanosecond where the kernel keeps that for each thread.
fn cpu(pid: u32) -> Option<Duration> {
    exact(pid).or_else(|| counted(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
}

fn exact(pid: u32) -> Option<Duration> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        total += text.split(' ').next()?.parse::<u64>().ok()?;
    }
    // A kernel that keeps no such statistics says zero.
    (total > 0).then(|| Duration::from_nanos(total))
}

/// User and system time in a line of `/proc/PID/stat`.
fn counted(stat: &str) -> Option<Duration> {
    // The second field is a name in parentheses that may hold anything; utime and stime are the 14th and 15th.
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u32>().ok()?.checked_add(fields.get(12)?.parse().ok()?)?;
    Some(TICK * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_move_the_fields() {
        let line = "4242 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 0 0 20 0 1 0";
        assert_eq!(counted(line), Some(Duration::from_millis(1750)));
        assert_eq!(counted("4242 (a) S 1 2"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn work_is_seen_on_the_own_process() {
        let before = cpu(std::process::id()).unwrap();
        let mut x = 1u64;
        while cpu(std::process::id()).unwrap() < before + TICK {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
        assert!(cpu(0).is_none(), "there is no process 0");
    }
}
