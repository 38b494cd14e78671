//! Why a command ends with another status than 0.

use std::{fmt::Display, process::ExitCode};

/// One sentence for stderr, and the status.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// The command was called wrongly: status 2.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { status: 2, message: message.to_string() }
    }

    /// The command was right and could not be done: status 1.
    pub(crate) fn failed(message: impl Display) -> Self {
        Self { status: 1, message: message.to_string() }
    }

    /// What the process ends with.
    pub(crate) fn status(&self) -> u8 {
        self.status
    }

    /// The sentence.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Says so.
    pub(crate) fn report(self) -> ExitCode {
        eprintln!("error: {}", self.message);
        ExitCode::from(self.status)
    }
}

impl From<remex::Error> for Failure {
    fn from(error: remex::Error) -> Self {
        Self::failed(error)
    }
}
