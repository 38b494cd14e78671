//! Where calls to a receiver are admitted: once, before anything else (I8).

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU32, Ordering},
};

use remex_protocol::{ErrorCode, handshake::Credits, ids::CallId};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

use super::tickets::Tickets;
use crate::{Error, Result, context::Counted};

/// Two fair first-come-first-served counts, of calls and of their payload bytes, and the tickets of one receiver. Shared
/// by all threads.
#[derive(Debug)]
pub struct Edge {
    receiver: String,
    calls: Semaphore,
    bytes: Semaphore,
    window: AtomicU32,
    tickets: Mutex<Tickets>,
}

/// The credits of one call. Dropping it gives them back.
#[derive(Debug)]
pub struct Admission {
    edge: Arc<Edge>,
    bytes: u32,
    /// The call among those of its context.
    counted: Option<Counted>,
}

impl Admission {
    /// The call is over, for its context too, when this is dropped.
    pub(crate) fn counted(mut self, counted: Counted) -> Self {
        self.counted = Some(counted);
        self
    }
}

impl Edge {
    /// The edge of a receiver that lets so much be in flight.
    pub fn new(receiver: impl Into<String>, credits: Credits) -> Arc<Self> {
        let window = u32::try_from(credits.bytes).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
        Arc::new(Self {
            receiver: receiver.into(),
            calls: Semaphore::new(credits.calls as usize),
            bytes: Semaphore::new(window as usize),
            window: AtomicU32::new(window),
            tickets: Mutex::default(),
        })
    }

    /// Waits for the credits of a call with so many bytes of payload. One that is larger than the window is admitted
    /// when it has all of it.
    pub async fn admit(self: &Arc<Self>, bytes: u64) -> Admission {
        let bytes = self.in_window(bytes);
        let calls = self.calls.acquire().await;
        if bytes > 0 {
            keep(self.bytes.acquire_many(bytes).await);
        }
        keep(calls);
        Admission { edge: self.clone(), bytes, counted: None }
    }

    /// The same without waiting: `Overloaded` if the credits are used up.
    pub fn try_admit(self: &Arc<Self>, bytes: u64) -> Result<Admission> {
        let overloaded = |_: TryAcquireError| {
            let message = "the credits are used up: wait for calls in flight, or use the form that waits";
            Error::from(remex_protocol::RemoteError::new(ErrorCode::Overloaded, message).on_task(&self.receiver))
        };
        let bytes = self.in_window(bytes);
        let calls = self.calls.try_acquire().map_err(overloaded)?;
        if bytes > 0 {
            self.bytes.try_acquire_many(bytes).map_err(overloaded)?.forget();
        }
        calls.forget();
        Ok(Admission { edge: self.clone(), bytes, counted: None })
    }

    /// A name for a call that is about to be sent.
    pub(crate) fn ticket(&self) -> CallId {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The calls were answered: their names may be used again.
    pub(crate) fn give_back(&self, calls: impl IntoIterator<Item = CallId>) {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        calls.into_iter().for_each(|call| tickets.give_back(call));
    }

    fn in_window(&self, bytes: u64) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.window.load(Ordering::Relaxed))
    }
}

// The semaphores are never closed, so that acquiring cannot fail.
fn keep<E>(permit: Result<SemaphorePermit<'_>, E>) {
    if let Ok(permit) = permit {
        permit.forget();
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.edge.calls.add_permits(1);
        if self.bytes > 0 {
            self.edge.bytes.add_permits(self.bytes as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn credits_are_a_bound_and_come_back() {
        let edge = Edge::new("/job:w/task:0", Credits { calls: 2, bytes: 10 });
        let first = edge.admit(4).await;
        let second = edge.try_admit(6).unwrap();
        let error = edge.try_admit(0).unwrap_err();
        assert_eq!((error.code(), error.task()), (ErrorCode::Overloaded, Some("/job:w/task:0")));
        drop(first);
        assert_eq!(edge.try_admit(5).unwrap_err().code(), ErrorCode::Overloaded);
        drop(second);
        assert!(edge.try_admit(10).is_ok());
    }

    #[tokio::test]
    async fn a_call_larger_than_the_window_is_admitted_alone() {
        let edge = Edge::new("w", Credits { calls: 9, bytes: 10 });
        let small = edge.admit(1).await;
        let mut large = Box::pin(edge.admit(1 << 40));
        assert!((&mut large).now_or_never().is_none());
        drop(small);
        let large = large.await;
        assert!(edge.try_admit(1).is_err() && edge.try_admit(0).is_ok());
        drop(large);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_takes_nothing() {
        let edge = Edge::new("w", Credits { calls: 2, bytes: 10 });
        let held = edge.admit(10).await;
        assert!(edge.admit(1).now_or_never().is_none());
        assert!(edge.try_admit(0).is_ok());
        drop(held);
        assert!(edge.try_admit(10).is_ok());
    }
}
