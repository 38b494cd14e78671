//! Why a program failed, in its own words.

use std::fmt;

use remex_protocol::{Effect, ErrorCode, RemoteError, attrs::AttrError, tensor::TensorError};

/// What a program answers instead of outputs. All outputs of the call that are not published fail with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// What was wrong and what to do.
    pub message: String,
    /// What failed first, where that was a call that the program made.
    cause: Option<Box<RemoteError>>,
}

impl ProgramError {
    /// A failure of a certain kind.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), cause: None }
    }

    /// Says in which line of the source, from 1, the cause is: for compilers.
    #[must_use]
    pub fn at_line(self, line: usize) -> Self {
        Self { message: format!("line {line}: {}", self.message), ..self }
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
        let cause = Some(Box::new(error.remote().clone()));
        Self { cause, ..Self::new(error.code(), error.to_string()) }
    }
}

impl ProgramError {
    /// The error of a run of `program`: the first cause, if that was another call, else this.
    pub(crate) fn of_program(self, program: &str) -> RemoteError {
        match self.cause {
            // Whatever is known of the inner call: this one has run.
            Some(cause) => cause.through(program).with_effect(Effect::Unknown),
            None => RemoteError::new(self.code, self.message).in_program(program),
        }
    }
}
