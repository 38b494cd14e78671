//! What a peer can answer instead of a result: a closed, numbered set of codes, and the cause they travel with.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::CallId;

/// Most entries kept in [`RemoteError::via`]; older ones are kept, newer ones dropped.
pub const MAX_VIA: usize = 16;

/// Longest message that is kept, in bytes; the rest is cut off at a character boundary.
pub const MAX_MESSAGE: usize = 4096;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal,)*) => {
        /// Why a call failed. Travels as its number.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(into = "u8", try_from = "u8")]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $name = $number,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the numbers.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$name,)*];

            /// The name as it is written in code.
            pub fn name(self) -> &'static str {
                match self { $(ErrorCode::$name => stringify!($name),)* }
            }
        }

        impl TryFrom<u8> for ErrorCode {
            type Error = String;

            fn try_from(number: u8) -> Result<Self, String> {
                match number {
                    $($number => Ok(ErrorCode::$name),)*
                    _ => Err(format!("{number} is not the number of an error code")),
                }
            }
        }
    };
}

codes! {
    /// The call was cancelled, by its caller or because its context was closed.
    Cancelled = 1,
    /// Something failed and nothing more is known.
    Unknown = 2,
    /// The request can never be right, whatever the state.
    InvalidArgument = 3,
    /// The deadline of the call or of an object's producer has passed.
    DeadlineExceeded = 4,
    /// What the request names does not exist.
    NotFound = 5,
    /// What the request wants to make exists already.
    AlreadyExists = 6,
    /// The caller may not do this.
    PermissionDenied = 7,
    /// A limit was reached.
    ResourceExhausted = 8,
    /// The request is right but not in this state (a closed context).
    FailedPrecondition = 9,
    /// The work was given up because another part of it failed.
    Aborted = 10,
    /// A value is outside its range.
    OutOfRange = 11,
    /// The receiver does not know how to do this.
    Unimplemented = 12,
    /// A bug: a promise of this system or of a program was broken.
    Internal = 13,
    /// The task cannot serve now.
    Unavailable = 14,
    /// Data that existed is gone.
    DataLoss = 15,
    /// The caller did not prove who it is.
    Unauthenticated = 16,
    /// The transport cancelled the call.
    RpcCancelled = 17,
    /// The transport gave up on the call by its deadline.
    RpcDeadlineExceeded = 18,
    /// The link to the task is down; [`RemoteError::effect`] says whether the call may have run.
    RpcUnavailable = 19,
    /// The transport failed and nothing more is known.
    RpcUnknown = 20,
    /// The context has no device of that name.
    DeviceNotFound = 21,
    /// The cluster has no task of that name.
    TaskNotFound = 22,
    /// The name is taken by a program of other bytes.
    RemoteFunctionAlreadyExists = 23,
    /// The program's bytes are not what its format says.
    MalformedProgram = 24,
    /// The program is well formed but cannot be compiled here.
    CompilationFailed = 25,
    /// The task has no context of that id.
    InvalidDistributedContextId = 26,
    /// The task has a context of that id already.
    DistributedContextAlreadyExists = 27,
    /// The receiver's credits are used up; nothing was sent.
    Overloaded = 28,
}

impl From<ErrorCode> for u8 {
    fn from(code: ErrorCode) -> u8 {
        code as u8
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is known about the effect of a call that failed in the transport.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8", try_from = "u8")]
pub enum Effect {
    /// Nothing is known: the call may have run.
    #[default]
    Unknown,
    /// The call did not leave this task.
    NotSent,
    /// The call reached its receiver and was refused before anything ran.
    NotRun,
}

impl From<Effect> for u8 {
    fn from(effect: Effect) -> u8 {
        match effect {
            Effect::Unknown => 0,
            Effect::NotSent => 1,
            Effect::NotRun => 2,
        }
    }
}

impl TryFrom<u8> for Effect {
    type Error = String;

    fn try_from(number: u8) -> Result<Self, String> {
        match number {
            0 => Ok(Effect::Unknown),
            1 => Ok(Effect::NotSent),
            2 => Ok(Effect::NotRun),
            _ => Err(format!("{number} is not the number of an effect")),
        }
    }
}

/// The first cause of a failure, as every promise and object that fails of it reports it.
///
/// ```text
/// code u8 | message str | task str or nil | program str or nil | call [index u32, generation u32] or nil | effect u8 | via [str]
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteError {
    /// What kind of failure.
    pub code: ErrorCode,
    /// What was wrong and what to do, for a person. At most [`MAX_MESSAGE`] bytes.
    pub message: String,
    /// The task where it happened (`/job:worker/task:1`), if it is known.
    pub task: Option<String>,
    /// The program that failed, if one did.
    pub program: Option<String>,
    /// The call that failed first, as its caller numbers it.
    pub call: Option<CallId>,
    /// Whether the call may have had an effect.
    pub effect: Effect,
    /// The calls that the cause came through, the first cause's neighbour first; at most [`MAX_VIA`].
    #[serde(deserialize_with = "crate::bounded::via")]
    pub via: Vec<String>,
}

impl RemoteError {
    /// An error that names nothing but itself.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE {
            let mut end = MAX_MESSAGE;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
        }
        Self { code, message, task: None, program: None, call: None, effect: Effect::Unknown, via: Vec::new() }
    }

    /// Names the task, unless one is named already: the first cause stays.
    #[must_use]
    pub fn on_task(mut self, task: impl fmt::Display) -> Self {
        self.task.get_or_insert_with(|| task.to_string());
        self
    }

    /// Names the program, unless one is named already.
    #[must_use]
    pub fn in_program(mut self, program: &str) -> Self {
        self.program.get_or_insert_with(|| program.to_owned());
        self
    }

    /// Names the call, unless one is named already.
    #[must_use]
    pub fn of_call(mut self, call: CallId) -> Self {
        self.call.get_or_insert(call);
        self
    }

    /// Says what is known of the call's effect.
    #[must_use]
    pub fn with_effect(mut self, effect: Effect) -> Self {
        self.effect = effect;
        self
    }

    /// Adds a call that this cause came through.
    #[must_use]
    pub fn through(mut self, step: impl Into<String>) -> Self {
        if self.via.len() < MAX_VIA {
            self.via.push(step.into());
        }
        self
    }

    /// Whether the same call may be sent again without fear that it ran twice.
    pub fn is_retryable(&self) -> bool {
        match self.code {
            ErrorCode::Overloaded => true,
            ErrorCode::RpcUnavailable | ErrorCode::Unavailable => self.effect != Effect::Unknown,
            ErrorCode::Cancelled
            | ErrorCode::Unknown
            | ErrorCode::InvalidArgument
            | ErrorCode::DeadlineExceeded
            | ErrorCode::NotFound
            | ErrorCode::AlreadyExists
            | ErrorCode::PermissionDenied
            | ErrorCode::ResourceExhausted
            | ErrorCode::FailedPrecondition
            | ErrorCode::Aborted
            | ErrorCode::OutOfRange
            | ErrorCode::Unimplemented
            | ErrorCode::Internal
            | ErrorCode::DataLoss
            | ErrorCode::Unauthenticated
            | ErrorCode::RpcCancelled
            | ErrorCode::RpcDeadlineExceeded
            | ErrorCode::RpcUnknown
            | ErrorCode::DeviceNotFound
            | ErrorCode::TaskNotFound
            | ErrorCode::RemoteFunctionAlreadyExists
            | ErrorCode::MalformedProgram
            | ErrorCode::CompilationFailed
            | ErrorCode::InvalidDistributedContextId
            | ErrorCode::DistributedContextAlreadyExists => false,
        }
    }
}

impl fmt::Display for RemoteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        let mut sep = " (";
        let mut part = |f: &mut fmt::Formatter<'_>, what: &str, value: &dyn fmt::Display| {
            let done = write!(f, "{sep}{what} {value}");
            sep = ", ";
            done
        };
        if let Some(program) = &self.program {
            part(f, "program", program)?;
        }
        if let Some(task) = &self.task {
            part(f, "task", task)?;
        }
        if let Some(call) = &self.call {
            part(f, "call", call)?;
        }
        if !self.via.is_empty() {
            part(f, "via", &self.via.join(" <- "))?;
        }
        if sep == ", " { f.write_str(")") } else { Ok(()) }
    }
}

impl std::error::Error for RemoteError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_travels_as_its_number() {
        for &code in ErrorCode::ALL {
            assert_eq!(ErrorCode::try_from(u8::from(code)), Ok(code));
        }
        assert_eq!(ErrorCode::ALL.len(), 28);
        assert!(ErrorCode::try_from(0).is_err());
        assert!(ErrorCode::try_from(29).is_err());
    }

    #[test]
    fn the_first_cause_stays() {
        let error = RemoteError::new(ErrorCode::Internal, "boom").on_task("/job:a/task:0").on_task("/job:a/task:1");
        assert_eq!(error.task.as_deref(), Some("/job:a/task:0"));
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let error = RemoteError::new(ErrorCode::Unknown, "ä".repeat(MAX_MESSAGE));
        assert!(error.message.len() <= MAX_MESSAGE);
    }

    #[test]
    fn display_names_all_that_is_known() {
        let error = RemoteError::new(ErrorCode::NotFound, "no such object").on_task("/job:w/task:1").in_program("f");
        assert_eq!(error.to_string(), "NotFound: no such object (program f, task /job:w/task:1)");
    }
}
