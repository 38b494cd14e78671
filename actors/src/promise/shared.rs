//! A value that one side changes and any number of tasks, on any thread, wait for.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use smallvec::SmallVec;

/// The value, and who is to be woken when it changes.
#[derive(Debug, Default)]
pub(crate) struct Shared<S> {
    inner: Mutex<Inner<S>>,
}

#[derive(Debug, Default)]
struct Inner<S> {
    value: S,
    wakers: SmallVec<[Option<Waker>; 1]>,
    /// How often all were woken: a place in `wakers` is somebody's only within one round.
    round: u32,
}

impl<S> Shared<S> {
    pub(crate) fn new(value: S) -> Self {
        Self { inner: Mutex::new(Inner { value, wakers: SmallVec::new(), round: 0 }) }
    }

    pub(crate) fn read<R>(&self, look: impl FnOnce(&S) -> R) -> R {
        look(&self.lock().value)
    }

    /// Changes the value and wakes all who wait.
    pub(crate) fn write<R>(&self, change: impl FnOnce(&mut S) -> R) -> R {
        let mut inner = self.lock();
        let result = change(&mut inner.value);
        let wakers = std::mem::take(&mut inner.wakers);
        inner.round = inner.round.wrapping_add(1);
        drop(inner);
        for waker in wakers.into_iter().flatten() {
            waker.wake();
        }
        result
    }

    // The value is never left half changed: no closure that is given here calls foreign code.
    fn lock(&self) -> MutexGuard<'_, Inner<S>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until `look` finds what it looks for.
#[derive(Debug)]
pub(crate) struct Wait<S, F> {
    shared: Arc<Shared<S>>,
    look: F,
    place: Option<(u32, usize)>,
}

impl<S, F> Wait<S, F> {
    pub(crate) fn new(shared: Arc<Shared<S>>, look: F) -> Self {
        Self { shared, look, place: None }
    }
}

impl<S, R, F: Fn(&S) -> Option<R> + Unpin> Future for Wait<S, F> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<R> {
        let this = &mut *self;
        let mut inner = this.shared.lock();
        if let Some(found) = (this.look)(&inner.value) {
            return Poll::Ready(found);
        }
        let round = inner.round;
        let place = match this.place.filter(|(of, _)| *of == round) {
            Some((_, place)) => place,
            None => match inner.wakers.iter().position(Option::is_none) {
                Some(free) => free,
                None => {
                    inner.wakers.push(None);
                    inner.wakers.len() - 1
                }
            },
        };
        inner.wakers[place] = Some(cx.waker().clone());
        this.place = Some((round, place));
        Poll::Pending
    }
}

impl<S, F> Drop for Wait<S, F> {
    fn drop(&mut self) {
        let Some((round, place)) = self.place else { return };
        let mut inner = self.shared.lock();
        if inner.round == round
            && let Some(waker) = inner.wakers.get_mut(place)
        {
            *waker = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn who_gave_up_waiting_leaves_nothing_behind() {
        let shared = Arc::new(Shared::new(0));
        for _ in 0..100 {
            let mut wait = Wait::new(shared.clone(), |n: &i32| (*n > 0).then_some(*n));
            assert!((&mut wait).now_or_never().is_none());
        }
        assert!(shared.lock().wakers.len() <= 1);
    }

    #[tokio::test]
    async fn all_who_wait_are_woken() {
        let shared = Arc::new(Shared::new(0));
        let waits: Vec<_> = (1..4)
            .map(|least| tokio::spawn(Wait::new(shared.clone(), move |n: &i32| (*n >= least).then_some(*n))))
            .collect();
        tokio::task::yield_now().await;
        for n in 1..4 {
            shared.write(|value| *value = n);
            tokio::task::yield_now().await;
        }
        for (i, wait) in waits.into_iter().enumerate() {
            assert_eq!(wait.await.unwrap(), i as i32 + 1);
        }
        assert_eq!(Wait::new(shared, |n: &i32| Some(*n)).now_or_never(), Some(3));
    }
}
