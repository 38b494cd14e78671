//! How much memory the machine has, as far as it says.

use std::fs;

/// The budget of a task that was not told one: half of what the machine has, or the process's group of processes if that
/// may have less; `None` where nobody says.
pub(crate) fn half_of_memory() -> Option<u64> {
    let machine = total(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let group = fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    Some(smaller(machine, group.as_deref()) / 2)
}

/// Bytes of memory in `/proc/meminfo`.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// A group without a limit says `max`.
fn smaller(machine: u64, group: Option<&str>) -> u64 {
    group.and_then(|limit| limit.trim().parse().ok()).map_or(machine, |limit: u64| limit.min(machine))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_of_machine_and_group_counts() {
        let meminfo = "MemTotal:        8138664 kB\nMemFree:          501232 kB\n";
        assert_eq!(total(meminfo), Some(8_138_664 * 1024));
        assert_eq!((total("MemFree: 1 kB\n"), total("MemTotal: much\n")), (None, None));
        assert_eq!((smaller(100, None), smaller(100, Some("max\n"))), (100, 100));
        assert_eq!((smaller(100, Some("60\n")), smaller(100, Some("600\n"))), (60, 100));
    }
}
