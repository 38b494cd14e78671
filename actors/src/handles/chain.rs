//! The promise that a call is done.

use std::{
    fmt,
    future::{Future, IntoFuture},
    pin::Pin,
};

use remex_protocol::ids::{CallId, TaskIndex};

use crate::{Result, promise::CallCell};

/// The promise that a call is done: every output is ready or failed. Settles last, after all metadata and tensors of the
/// call. May be awaited many times; dropping it cancels nothing.
#[derive(Clone)]
pub struct Chain {
    pub(crate) cell: CallCell,
    pub(crate) task: TaskIndex,
    pub(crate) call: CallId,
}

impl Chain {
    /// Waits until the call is done.
    pub async fn done(&self) -> Result<()> {
        self.cell.done().await
    }

    /// How the call ended, if it has.
    pub fn try_get(&self) -> Option<Result<()>> {
        self.cell.try_done()
    }

    /// The call's name on the link to its receiver.
    pub fn call(&self) -> CallId {
        self.call
    }
}

impl IntoFuture for Chain {
    type Output = Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.done().await })
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({}, {:?})", self.call, self.try_get())
    }
}
