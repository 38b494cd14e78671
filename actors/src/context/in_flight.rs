//! How many calls of a context are not answered yet.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// A count that can be waited for.
#[derive(Debug, Default)]
pub(crate) struct InFlight {
    calls: AtomicUsize,
    none_left: Notify,
}

/// One call. It is over when this is dropped.
#[derive(Debug)]
pub(crate) struct Counted(Arc<InFlight>);

impl InFlight {
    pub(crate) fn enter(self: &Arc<Self>) -> Counted {
        self.calls.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }

    /// Waits until no call is in flight.
    pub(crate) async fn none(&self) {
        let mut notified = std::pin::pin!(self.none_left.notified());
        loop {
            // Before looking, so that no end between the look and the wait is missed.
            notified.as_mut().enable();
            if self.calls.load(Ordering::Acquire) == 0 {
                return;
            }
            notified.as_mut().await;
            notified.set(self.none_left.notified());
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if self.0.calls.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.none_left.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn the_wait_ends_with_the_last_call() {
        let calls = Arc::new(InFlight::default());
        assert!(calls.none().now_or_never().is_some());
        let (first, second) = (calls.enter(), calls.enter());
        let mut none = Box::pin(calls.none());
        assert!((&mut none).now_or_never().is_none());
        drop(first);
        assert!((&mut none).now_or_never().is_none());
        drop(second);
        none.await;
    }
}
