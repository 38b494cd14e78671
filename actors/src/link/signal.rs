//! Wakes one task of the same thread.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    task::{Poll, Waker},
};

/// Given any number of times, taken once. For one task: who takes it last is woken.
///
/// A link looks at two of these for each write, and one that may be given on any thread costs ten times as much to look at.
#[derive(Debug, Default)]
pub(super) struct Signal {
    given: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Signal {
    pub(super) fn give(&self) {
        if !self.given.replace(true)
            && let Some(waker) = self.waker.take()
        {
            waker.wake();
        }
    }

    /// Waits until it is given, if it was not since it was taken last.
    pub(super) async fn take(&self) {
        poll_fn(|cx| {
            if self.given.take() {
                return Poll::Ready(());
            }
            let mut waker = self.waker.borrow_mut();
            match &mut *waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => *waker = Some(cx.waker().clone()),
            }
            Poll::Pending
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn what_was_given_is_taken_once() {
        let signal = Signal::default();
        assert!(signal.take().now_or_never().is_none());
        signal.give();
        signal.give();
        assert!(signal.take().now_or_never().is_some());
        assert!(signal.take().now_or_never().is_none());
    }

    #[tokio::test]
    async fn who_waits_is_woken() {
        let signal = Signal::default();
        let give = async { signal.give() };
        tokio::join!(biased; signal.take(), give);
    }
}
