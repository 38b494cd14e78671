//! How many connections a task has accepted, and what one too many is told.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use remex_protocol::{Body, ErrorCode, Frame, RemoteError, cluster::TaskName, ids::CallId};
use tokio::time::timeout;

use crate::fabric::Connection;

/// One too many is listened to for so long before it is told.
const PATIENCE: Duration = Duration::from_secs(1);
/// Connections beyond the limit that are greeted all the same: who comes back to a session needs no more room than it has.
const GREETED: usize = 64;
/// Connections that are told so at one time; others are cut without a word.
const TOLD: usize = 64;

/// Counts accepted connections, from before their handshake.
#[derive(Debug)]
pub(super) struct Connections {
    limit: usize,
    open: AtomicUsize,
    told: AtomicUsize,
    refused: AtomicU64,
}

/// One of them. It counts until this is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    of: Arc<Connections>,
    is_own: bool,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, open: AtomicUsize::new(0), told: AtomicUsize::new(0), refused: AtomicU64::new(0) })
    }

    /// How many were refused.
    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// A slot for one more, until it is known what it is for; `None` if there is none. A task's connection to itself always
    /// has one.
    pub(super) fn enter(self: &Arc<Self>, is_own: bool) -> Option<Slot> {
        let before = self.open.fetch_add(1, Ordering::Relaxed);
        let slot = Slot { of: self.clone(), is_own };
        if is_own || before < self.limit.saturating_add(GREETED) {
            return Some(slot);
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        None
    }

    fn too_many(&self) -> RemoteError {
        let message = format!("the task has {} connections, which is the limit: close some", self.limit);
        RemoteError::new(ErrorCode::ResourceExhausted, message)
    }

    /// Tells who dialled that there are too many.
    pub(super) async fn refuse(self: Arc<Self>, mut connection: Connection, task: &TaskName) {
        if self.told.fetch_add(1, Ordering::Relaxed) < TOLD {
            let error = self.too_many().on_task(task);
            let told = async {
                // Who is cut off before he has been heard might not hear why.
                let mut frames = Vec::new();
                poll_fn(|cx| connection.reader.poll_read(cx, &mut frames)).await?;
                connection.writer.push(Frame::new(CallId::default(), Body::Refused(Box::new(error))))?;
                poll_fn(|cx| connection.writer.poll_flush(cx)).await?;
                poll_fn(|cx| connection.writer.poll_close(cx)).await
            };
            let _ = timeout(PATIENCE, told).await;
        }
        self.told.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Slot {
    /// Whether it is for a task's connection to itself.
    pub(super) fn is_own(&self) -> bool {
        self.is_own
    }

    /// Whether a session may begin with it.
    pub(super) fn check_room(&self) -> Result<(), RemoteError> {
        if self.is_own || self.of.open.load(Ordering::Relaxed) <= self.of.limit {
            return Ok(());
        }
        self.of.refused.fetch_add(1, Ordering::Relaxed);
        Err(self.of.too_many())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.of.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I8: the limit is a limit, and a connection that ends makes room.
    #[test]
    fn a_slot_that_is_dropped_is_free() {
        let connections = Connections::new(2);
        let mut slots: Vec<_> = (0..2 + GREETED).map(|_| connections.enter(false).unwrap()).collect();
        assert!(connections.enter(false).is_none());
        assert!(connections.enter(true).unwrap().check_room().is_ok(), "the task's own");
        assert_eq!(slots[0].check_room().unwrap_err().code, ErrorCode::ResourceExhausted);
        slots.truncate(2);
        assert!(slots[0].check_room().is_ok());
        assert!(connections.enter(false).unwrap().check_room().is_err());
        slots.pop();
        assert!(connections.enter(false).unwrap().check_room().is_ok());
        assert_eq!(connections.refused(), 3);
    }

    /// I8: of a crowd that is too many some are told so, and for a second; the others cost nothing.
    #[tokio::test]
    async fn no_more_are_told_at_one_time_than_the_limit() {
        tokio::time::pause();
        let (connections, task) = (Connections::new(1), "/job:w/task:0".parse().unwrap());
        let begin = tokio::time::Instant::now();
        let refused = (0..TOLD + 10).map(async |_| {
            // Nobody speaks, and nobody reads.
            let (here, _there) = tokio::io::duplex(16);
            let (reader, writer) = tokio::io::split(here);
            let connection = crate::fabric::stream::connection(reader, writer, "a pipe".to_owned(), true, false);
            connections.clone().refuse(connection, &task).await;
            begin.elapsed() >= PATIENCE
        });
        let waited = futures_util::future::join_all(refused).await;
        assert_eq!(waited.iter().filter(|waited| **waited).count(), TOLD);
        assert_eq!(connections.told.load(Ordering::Relaxed), 0);
    }
}
