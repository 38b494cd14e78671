//! The numbers of a server, for the facade that an application's exporter listens to.

use metrics::{counter, gauge};
use remex_actors::server::ServerStats;
use remex_protocol::cluster::TaskName;

/// Sets every gauge and counter of a task.
pub(crate) fn record(task: &TaskName, stats: &ServerStats) {
    let gauges = [
        ("remex_contexts", stats.contexts as f64),
        ("remex_sessions", stats.sessions as f64),
        ("remex_lanes", stats.lanes as f64),
        ("remex_objects", stats.objects as f64),
        ("remex_tombstones", stats.tombstones as f64),
        ("remex_pinned", stats.pinned as f64),
        ("remex_tokens", stats.tokens as f64),
        ("remex_jobs", stats.jobs as f64),
        ("remex_memory_used_bytes", stats.memory_used as f64),
        ("remex_memory_peak_bytes", stats.memory_peak as f64),
        ("remex_memory_limit_bytes", stats.memory_limit as f64),
        ("remex_memory_waiting", stats.memory_waiting as f64),
        ("remex_spilled", stats.spilled as f64),
        ("remex_spilled_bytes", stats.spilled_bytes as f64),
        ("remex_programs", stats.programs as f64),
        ("remex_program_bytes", stats.program_bytes as f64),
        ("remex_receives", stats.receives as f64),
        ("remex_values", stats.values as f64),
        ("remex_value_bytes", stats.value_bytes as f64),
        ("remex_collectives", stats.collectives as f64),
        ("remex_chunks", stats.chunks as f64),
        ("remex_chunk_bytes", stats.chunk_bytes as f64),
    ];
    let task = task.to_string();
    for (name, value) in gauges {
        gauge!(name, "task" => task.clone()).set(value);
    }
    let totals = [
        ("remex_sent_bytes", stats.sent_bytes),
        ("remex_received_bytes", stats.received_bytes),
        ("remex_fetches", stats.fetches),
        ("remex_fetched_bytes", stats.fetched_bytes),
    ];
    for (name, count) in totals {
        counter!(name, "task" => task.clone()).absolute(count);
    }
    let refused = &stats.refused;
    let counters = [
        ("contexts", refused.contexts),
        ("sessions", refused.sessions),
        ("flooded", refused.flooded),
        ("objects", refused.objects),
        ("memory", refused.memory),
        ("programs", refused.programs),
        ("data", refused.data),
        ("collectives", refused.collectives),
        ("calls", refused.calls),
        ("links", refused.links),
        ("handshakes", refused.handshakes),
    ];
    for (limit, count) in counters {
        counter!("remex_refused", "task" => task.clone(), "limit" => limit).absolute(count);
    }
    let spills = [("write", stats.spill_writes), ("read", stats.spill_reads), ("error", stats.spill_errors)];
    for (what, count) in spills {
        counter!("remex_spills", "task" => task.clone(), "what" => what).absolute(count);
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        sync::{
            Arc, Mutex,
            atomic::{AtomicU64, Ordering},
        },
    };

    use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

    use super::*;

    /// Keeps what it is told by name and labels; a gauge's value as the bits of a float.
    #[derive(Default)]
    struct Kept(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

    impl Kept {
        fn slot(&self, key: &Key) -> Arc<AtomicU64> {
            let labels: Vec<_> = key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
            self.0.lock().unwrap().entry(format!("{} {}", key.name(), labels.join(","))).or_default().clone()
        }

        fn bits(&self, name: &str) -> u64 {
            self.0.lock().unwrap()[name].load(Ordering::Relaxed)
        }
    }

    impl Recorder for Kept {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
            Counter::from_arc(self.slot(key))
        }

        fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
            Gauge::from_arc(self.slot(key))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn every_number_reaches_the_recorder() {
        let mut stats = ServerStats::default();
        (stats.objects, stats.memory_used, stats.refused.memory, stats.sent_bytes) = (3, 4096, 7, 11);
        (stats.spilled, stats.spill_errors) = (5, 9);
        let kept = Kept::default();
        metrics::with_local_recorder(&kept, || record(&"/job:w/task:1".parse().unwrap(), &stats));
        let gauge = |name: &str| f64::from_bits(kept.bits(&format!("{name} task=/job:w/task:1")));
        assert_eq!((gauge("remex_objects"), gauge("remex_memory_used_bytes"), gauge("remex_jobs")), (3.0, 4096.0, 0.0));
        assert_eq!(kept.bits("remex_sent_bytes task=/job:w/task:1"), 11);
        assert_eq!(kept.bits("remex_refused task=/job:w/task:1,limit=memory"), 7);
        assert_eq!(gauge("remex_spilled"), 5.0);
        assert_eq!(kept.bits("remex_spills task=/job:w/task:1,what=error"), 9);
        assert_eq!(kept.0.lock().unwrap().len(), 40);
    }
}
