//! How much memory and how many descriptors a process has.

use std::fs;

use super::Failure;

/// What a process takes at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footprint {
    /// Bytes of memory that are really there.
    pub(super) rss: u64,
    /// Open descriptors.
    pub(super) descriptors: usize,
}

impl Footprint {
    pub(super) fn of(pid: u32) -> Result<Self, Failure> {
        let failed = |e| Failure::failed(format!("the system does not say what process {pid} takes: {e}"));
        let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(failed)?;
        let rss = resident(&status).ok_or_else(|| Failure::failed(format!("/proc/{pid}/status has no VmRSS")))?;
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_err(failed)?.count();
        Ok(Self { rss, descriptors })
    }
}

/// Resident memory in `/proc/PID/status`, in bytes.
fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
}

/// Megabytes, for people.
pub(super) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_found() {
        assert_eq!(resident("Name:\tremex\nVmRSS:\t    2048 kB\nThreads: 3\n"), Some(2 << 20));
        assert_eq!((resident("Name:\tremex\n"), resident("VmRSS:\tmuch\n")), (None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_own_process_has_some() {
        let own = Footprint::of(std::process::id()).unwrap();
        assert!(own.rss > 0 && own.descriptors > 2, "{own:?}");
    }
}
