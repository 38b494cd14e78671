//! One result that somebody will give, once.

use std::sync::Arc;

use remex_protocol::ErrorCode;

use super::shared::{Shared, Wait};
use crate::{Error, Result};

/// A result that will be there: a value or an error. May be waited for many times, from any runtime and thread; clones
/// share it.
#[derive(Debug)]
pub struct Promise<T>(Arc<Shared<Option<Result<T>>>>);

/// The one who gives a [`Promise`] its result. Dropped without having done so, it gives an error (I1).
#[derive(Debug)]
pub struct Writer<T>(Option<Arc<Shared<Option<Result<T>>>>>);

/// A promise and its writer.
pub fn promise<T>() -> (Writer<T>, Promise<T>) {
    let shared = Arc::new(Shared::new(None));
    (Writer(Some(shared.clone())), Promise(shared))
}

impl<T> Clone for Promise<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone> Promise<T> {
    /// Waits for the result.
    pub async fn get(&self) -> Result<T> {
        Wait::new(self.0.clone(), |result: &Option<Result<T>>| result.clone()).await
    }

    /// The result, if it is there.
    pub fn try_get(&self) -> Option<Result<T>> {
        self.0.read(Clone::clone)
    }
}

impl<T> Writer<T> {
    /// Gives the result.
    pub fn settle(mut self, result: Result<T>) {
        if let Some(shared) = self.0.take() {
            shared.write(|slot| *slot = Some(result));
        }
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.0.take() {
            shared.write(|slot| *slot = Some(Err(abandoned())));
        }
    }
}

/// What a promise fails with when its writer is dropped.
pub(super) fn abandoned() -> Error {
    Error::new(ErrorCode::Internal, "whoever was to answer is gone: the server was stopped or one of its actors died")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I1: a promise settles once, with what its writer gave.
    #[tokio::test]
    async fn a_promise_may_be_waited_for_many_times() {
        let (writer, promise) = promise();
        assert!(promise.try_get().is_none());
        let again = promise.clone();
        writer.settle(Ok(7));
        assert_eq!((promise.get().await.unwrap(), again.get().await.unwrap()), (7, 7));
        assert_eq!(promise.try_get().unwrap().unwrap(), 7);
    }

    /// I1: a dropped writer is an error, never silence.
    #[tokio::test]
    async fn a_dropped_writer_fails_its_promise() {
        let (writer, promise) = promise::<()>();
        drop(writer);
        assert_eq!(promise.get().await.unwrap_err().code(), ErrorCode::Internal);
    }
}
