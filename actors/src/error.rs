//! The error of every promise and call: a first cause, shared by all that fails of it.

use std::{fmt, sync::Arc};

use remex_protocol::{Effect, ErrorCode, RemoteError, ids::CallId};

/// Why something failed. Clones share the cause.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Arc<RemoteError>);

/// What most functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that names nothing but itself.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        RemoteError::new(code, message).into()
    }

    /// What kind of failure.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// What was wrong and what to do.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The task where it happened, if it is known.
    pub fn task(&self) -> Option<&str> {
        self.0.task.as_deref()
    }

    /// The program that failed, if one did.
    pub fn program(&self) -> Option<&str> {
        self.0.program.as_deref()
    }

    /// The call that failed first, as its caller numbers it.
    pub fn call(&self) -> Option<CallId> {
        self.0.call
    }

    /// The calls that the cause came through, the first cause's neighbour first.
    pub fn via(&self) -> &[String] {
        &self.0.via
    }

    /// Whether a call that failed in the transport may have run.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Whether the same call may be made again without fear that it runs twice.
    pub fn is_retryable(&self) -> bool {
        self.0.is_retryable()
    }

    /// All that is known, as it travels.
    pub fn remote(&self) -> &RemoteError {
        &self.0
    }

    /// The same cause with something added.
    #[must_use]
    pub fn map(self, change: impl FnOnce(RemoteError) -> RemoteError) -> Self {
        Self(Arc::new(change(Arc::unwrap_or_clone(self.0))))
    }
}

impl From<RemoteError> for Error {
    fn from(error: RemoteError) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({})", self.0)
    }
}

impl std::error::Error for Error {}
