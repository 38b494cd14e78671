//! How many bytes a task has sent and received.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

/// Counts the bytes of all connections of a task, heads and payloads alike, as they go through its streams, and what was wrong with
/// what came. What a task says to
/// itself goes through none. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    sent: AtomicU64,
    received: AtomicU64,
    unreadable: AtomicU64,
    broken: AtomicU64,
    refused: AtomicU64,
    lanes: AtomicUsize,
}

/// A lane that is open: it counts until this is dropped.
#[derive(Debug)]
pub(super) struct OpenLane(Traffic);

impl Drop for OpenLane {
    fn drop(&mut self) {
        self.0.0.lanes.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Traffic {
    /// Bytes that were written.
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Bytes that were read.
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// Calls that came and were not read: they are over a limit, or make no sense.
    pub fn unreadable(&self) -> u64 {
        self.0.unreadable.load(Ordering::Relaxed)
    }

    /// Connections that ended because the other end broke the protocol, or went over a limit of a frame.
    pub fn broken(&self) -> u64 {
        self.0.broken.load(Ordering::Relaxed)
    }

    /// Connections of which nothing came: who dialled was refused, or did not speak in time.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Links that have a connection of their own for large payloads, dialled and accepted.
    pub fn lanes(&self) -> usize {
        self.0.lanes.load(Ordering::Relaxed)
    }

    pub(super) fn open_lane(&self) -> OpenLane {
        self.0.lanes.fetch_add(1, Ordering::Relaxed);
        OpenLane(self.clone())
    }

    /// So many more calls were not read.
    pub fn add_unreadable(&self, calls: usize) {
        self.0.unreadable.fetch_add(calls as u64, Ordering::Relaxed);
    }

    /// One more connection was ended.
    pub fn add_broken(&self) {
        self.0.broken.fetch_add(1, Ordering::Relaxed);
    }

    /// One more connection was refused.
    pub fn add_refused(&self) {
        self.0.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// So many more were written.
    pub fn add_sent(&self, bytes: usize) {
        self.0.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many more were read.
    pub fn add_received(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
