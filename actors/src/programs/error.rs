//! Why a program failed, in its own words.

use std::fmt;

use remex_protocol::{ErrorCode, RemoteError, attrs::AttrError, tensor::TensorError};

/// What a program answers instead of outputs. All outputs of the call that are not published fail with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// What was wrong and what to do.
    pub message: String,
}

impl ProgramError {
    /// A failure of a certain kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The inputs are not what the program takes.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for ProgramError {}

impl From<TensorError> for ProgramError {
    fn from(error: TensorError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<AttrError> for ProgramError {
    fn from(error: AttrError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl From<crate::Error> for ProgramError {
    fn from(error: crate::Error) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<ProgramError> for RemoteError {
    fn from(error: ProgramError) -> Self {
        Self::new(error.code, error.message)
    }
}
