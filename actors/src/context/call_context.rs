//! How a call is made: how long, how often, until when it is wanted.

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use remex_protocol::ErrorCode;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use crate::{Error, Result, deadline};

/// The first pause between two attempts, unless it is said otherwise.
const FIRST_BACKOFF: Duration = Duration::from_millis(50);
/// The longest pause between two attempts, unless it is said otherwise.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// How a call is made: its deadline over all attempts, how often it may be made again, and who can cancel it. By default
/// once, by the context's deadline.
///
/// What may be made again is a read (a fetch), or a call of a program that is [idempotent](CallContext::idempotent) in the
/// caller's judgement; of others only what certainly had no effect ([`Error::is_retryable`]). Nothing is made again unless
/// a number of attempts is given.
#[derive(Clone, Debug)]
pub struct CallContext {
    deadline: Option<Duration>,
    attempts: u32,
    backoff: (Duration, Duration),
    idempotent: bool,
    cancel: Option<CancelHandle>,
}

impl Default for CallContext {
    fn default() -> Self {
        Self { deadline: None, attempts: 1, backoff: (FIRST_BACKOFF, LONGEST_BACKOFF), idempotent: false, cancel: None }
    }
}

impl CallContext {
    /// Once, by the context's deadline.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives up after so long, all attempts and pauses together.
    #[must_use]
    pub fn deadline(mut self, limit: Duration) -> Self {
        self.deadline = Some(limit);
        self
    }

    /// Makes the call at most so often; at least once.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// Pauses between attempts: the first, and the longest. Each is twice the one before, and of that a random part
    /// between the half and the whole, so that callers who failed together do not come back together.
    #[must_use]
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.backoff = (first, longest.max(first));
        self
    }

    /// The call may run twice without harm: it is made again even where it is not known whether it ran.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Gives up when `cancel` says so. One handle may be in many calls.
    #[must_use]
    pub fn cancel_with(mut self, cancel: &CancelHandle) -> Self {
        self.cancel = Some(cancel.clone());
        self
    }

    /// Gives up after so long, unless it says otherwise itself.
    pub(super) fn within(&self, limit: Option<Duration>) -> Self {
        Self { deadline: self.deadline.or(limit), ..self.clone() }
    }

    pub(crate) fn is_repeated(&self) -> bool {
        self.attempts > 1
    }

    /// Makes a call: `attempt` is given what is left of the time. A future that is given up is dropped, which cancels its
    /// call. `seed` decides the pauses.
    pub(crate) async fn run<T, F: Future<Output = Result<T>>>(
        &self,
        default_deadline: Duration,
        reads: bool,
        seed: u64,
        mut attempt: impl FnMut(Duration) -> F,
    ) -> Result<T> {
        let until = deadline::from_now(self.deadline.unwrap_or(default_deadline));
        let attempts = async {
            let mut rng = SmallRng::seed_from_u64(seed);
            let (mut pause, longest) = self.backoff;
            for _ in 1..self.attempts {
                match attempt(until.saturating_duration_since(Instant::now())).await {
                    Err(error) if self.may_repeat(&error, reads) => {
                        let part = pause.mul_f64(rng.random_range(0.5..=1.0));
                        if Instant::now() + part >= until {
                            return Err(error.map(|error| error.through("no time for another attempt")));
                        }
                        sleep_until(Instant::now() + part).await;
                        pause = (pause * 2).min(longest);
                    }
                    outcome => return outcome,
                }
            }
            attempt(until.saturating_duration_since(Instant::now())).await
        };
        match &self.cancel {
            None => attempts.await,
            Some(cancel) => tokio::select! {
                biased;
                () = cancel.cancelled() => Err(Error::new(ErrorCode::Cancelled, "the caller cancelled the call")),
                outcome = attempts => outcome,
            },
        }
    }

    /// Whether a failure says nothing about the next attempt.
    fn may_repeat(&self, error: &Error, reads: bool) -> bool {
        if error.is_retryable() {
            return true;
        }
        let transport = matches!(error.code(), ErrorCode::RpcUnavailable | ErrorCode::Unavailable);
        (reads || self.idempotent) && transport
    }
}

/// Cancels calls that were made with it. Clones are the same handle.
#[derive(Clone, Debug, Default)]
pub struct CancelHandle(Arc<State>);

#[derive(Debug, Default)]
struct State {
    cancelled: AtomicBool,
    wake: Notify,
}

impl CancelHandle {
    /// A handle that has cancelled nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels what was made with it, and what will be.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::Release);
        self.0.wake.notify_waiters();
    }

    /// Waits until it is cancelled.
    async fn cancelled(&self) {
        let mut notified = std::pin::pin!(self.0.wake.notified());
        // Before looking, so that no cancel between the look and the wait is missed.
        notified.as_mut().enable();
        if !self.0.cancelled.load(Ordering::Acquire) {
            notified.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use remex_protocol::{Effect, RemoteError};

    use super::*;

    fn lost(effect: Effect) -> Error {
        RemoteError::new(ErrorCode::RpcUnavailable, "lost").with_effect(effect).into()
    }

    /// Runs `attempts` of which the first `failures` fail; says how often it tried and how long that took.
    async fn run(call: CallContext, reads: bool, failures: u32, error: Error) -> (Result<u32>, u32, Duration) {
        let (tried, begin) = (Cell::new(0), Instant::now());
        let outcome = call.run(Duration::from_secs(60), reads, 7, |_| {
            tried.set(tried.get() + 1);
            let outcome = if tried.get() > failures { Ok(tried.get()) } else { Err(error.clone()) };
            async move { outcome }
        });
        (outcome.await, tried.get(), begin.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_may_be_repeated_is_made_again() {
        let call = CallContext::new().attempts(3);
        let boom = Error::new(ErrorCode::Aborted, "boom");
        assert_eq!(run(CallContext::new(), true, 1, lost(Effect::NotSent)).await.1, 1, "not unless asked for");
        assert_eq!(run(call.clone(), false, 2, lost(Effect::NotSent)).await.0.unwrap(), 3);
        assert_eq!(run(call.clone(), false, 1, lost(Effect::Unknown)).await.1, 1, "it may have run");
        assert_eq!(run(call.clone(), true, 1, lost(Effect::Unknown)).await.1, 2);
        assert_eq!(run(call.clone().idempotent(), false, 1, lost(Effect::Unknown)).await.1, 2);
        assert_eq!(run(call.clone(), true, 1, boom.clone()).await.1, 1, "the program's own failure");
        let (outcome, tried, _) = run(call, true, 9, lost(Effect::NotSent)).await;
        assert_eq!((outcome.unwrap_err().code(), tried), (ErrorCode::RpcUnavailable, 3));
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_grow_and_all_ends_by_the_deadline() {
        let ms = Duration::from_millis;
        let call = CallContext::new().attempts(5).backoff(ms(100), ms(300));
        let (outcome, tried, took) = run(call.clone(), true, 4, lost(Effect::NotSent)).await;
        assert_eq!((outcome.unwrap(), tried), (5, 5));
        assert!(took >= ms(50 + 100 + 150 + 150) && took <= ms(100 + 200 + 300 + 300 + 4), "{took:?}");
        let call = call.attempts(1000).deadline(ms(1000));
        let (outcome, _, took) = run(call, true, 9999, lost(Effect::NotSent)).await;
        assert_eq!(outcome.unwrap_err().code(), ErrorCode::RpcUnavailable);
        assert!(took <= ms(1001), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_handle_cancels_every_call_that_was_made_with_it() {
        let cancel = CancelHandle::new();
        let call = CallContext::new().cancel_with(&cancel);
        let forever = || call.run(Duration::from_secs(60), true, 7, |_| std::future::pending::<Result<()>>());
        let (one, two, ()) = tokio::join!(forever(), forever(), async { cancel.cancel() });
        assert_eq!((one.unwrap_err().code(), two.unwrap_err().code()), (ErrorCode::Cancelled, ErrorCode::Cancelled));
        assert_eq!(forever().await.unwrap_err().code(), ErrorCode::Cancelled, "and what is made later");
    }
}
