//! What can be wrong with a model, its inputs or a run.

use remex_protocol::ErrorCode;

/// A model could not be compiled, cut or run. Nothing was changed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// The bytes are not an ONNX model, or one that contradicts itself.
    #[error("not a well-formed ONNX model: {0}")]
    Malformed(String),
    /// The model is larger, or asks for more, than a limit allows.
    #[error("the ONNX model is too large: {0}")]
    TooLarge(String),
    /// The model needs what this engine has not, or is known to compute wrongly.
    #[error("this ONNX model is refused: {0}")]
    Refused(String),
    /// The engine could not compile the model.
    #[error("the ONNX model does not compile with {engine}: {reason}")]
    Compile {
        /// The engine's name.
        engine: &'static str,
        /// What the engine said.
        reason: String,
    },
    /// The engine is not built in, or its shared library cannot be loaded.
    #[error("the ONNX engine {engine} is not to be had: {reason}")]
    NoEngine {
        /// The engine's name.
        engine: &'static str,
        /// What is missing, and how to get it.
        reason: String,
    },
    /// The inputs are not what the model takes.
    #[error("{0}")]
    Input(String),
    /// An element of an input is outside what the engine can hold.
    #[error("input {input:?}: element {index} is {value}, but the engine computes with 32-bit integers")]
    OutOfRange {
        /// The input's name.
        input: String,
        /// The element, counted from 0 in row-major order.
        index: usize,
        /// Its value.
        value: i64,
    },
    /// The model failed on these inputs.
    #[error("the ONNX model failed on these inputs: {0}")]
    Run(String),
    /// The engine broke a promise of its own: a bug of the engine.
    #[error("the ONNX engine {engine} failed: {reason}")]
    Engine {
        /// The engine's name.
        engine: &'static str,
        /// What the engine said.
        reason: String,
    },
    /// The engine gave something else than the model declares: a wrong declaration, or a bug of the engine.
    #[error("output {output:?}: {reason}")]
    Output {
        /// The output's name.
        output: String,
        /// What differs.
        reason: String,
    },
    /// The system has not so much memory.
    #[error("no memory for output {0:?}")]
    OutOfMemory(String),
    /// The model cannot be cut there.
    #[error("the ONNX model cannot be cut: {0}")]
    Cut(String),
}

impl OnnxError {
    /// The code that a peer is answered with.
    pub fn code(&self) -> ErrorCode {
        match self {
            OnnxError::Malformed(_) => ErrorCode::MalformedProgram,
            OnnxError::TooLarge(_) | OnnxError::OutOfMemory(_) => ErrorCode::ResourceExhausted,
            OnnxError::Refused(_) => ErrorCode::Unimplemented,
            OnnxError::Compile { .. } => ErrorCode::CompilationFailed,
            OnnxError::NoEngine { .. } => ErrorCode::FailedPrecondition,
            OnnxError::Input(_) | OnnxError::Run(_) | OnnxError::Cut(_) => ErrorCode::InvalidArgument,
            OnnxError::OutOfRange { .. } => ErrorCode::OutOfRange,
            OnnxError::Engine { .. } | OnnxError::Output { .. } => ErrorCode::Internal,
        }
    }
}

pub(crate) type Result<T, E = OnnxError> = std::result::Result<T, E>;

pub(crate) fn malformed<T>(reason: impl Into<String>) -> Result<T> {
    Err(OnnxError::Malformed(reason.into()))
}

pub(crate) fn refused<T>(reason: impl Into<String>) -> Result<T> {
    Err(OnnxError::Refused(reason.into()))
}

pub(crate) fn too_large<T>(reason: impl Into<String>) -> Result<T> {
    Err(OnnxError::TooLarge(reason.into()))
}
