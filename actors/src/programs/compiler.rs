//! What makes a program out of bytes.

use std::{collections::BTreeMap, fmt, sync::Arc};

use bytes::Bytes;
use remex_protocol::{ErrorCode, tensor::Tensor};

use super::{Executable, ProgramError};

/// A program as it was registered.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name that it is registered under.
    pub name: String,
    /// Which function inside it; what that means is the format's.
    pub entry: Option<String>,
    /// Its bytes.
    pub bytes: Bytes,
    /// Inputs and the outputs that they must give, tried once when it is compiled.
    pub golden: Option<Golden>,
}

/// Inputs and the outputs that they must give.
#[derive(Clone, Debug)]
pub struct Golden {
    /// In order.
    pub inputs: Vec<Tensor>,
    /// In order.
    pub outputs: Vec<Tensor>,
    /// Largest allowed difference of an element: `|a - b| <= tolerance * max(1, |b|)`.
    pub tolerance: f64,
}

/// Compiles programs of one format. Runs on the compute pool; a panic fails the registration (I9).
pub trait Compiler: fmt::Debug + Send + Sync + 'static {
    /// The name of the format: `onnx`.
    fn format(&self) -> &str;

    /// Makes the program. Fails with `MalformedProgram`, `CompilationFailed` or `NotFound` (no such entry); a format that has
    /// lines says in which the cause is ([`ProgramError::at_line`]).
    fn compile(&self, source: &Source) -> Result<Executable, ProgramError>;
}

/// The compilers of a task, by format.
#[derive(Clone, Debug, Default)]
pub struct Compilers(Arc<BTreeMap<String, Arc<dyn Compiler>>>);

impl Compilers {
    /// One for each format; of two for one format the last one counts.
    pub fn new(compilers: impl IntoIterator<Item = Arc<dyn Compiler>>) -> Self {
        let named = compilers.into_iter().map(|compiler| (compiler.format().to_owned(), compiler));
        Self(Arc::new(named.collect()))
    }

    /// The one for a format.
    pub fn find(&self, format: &str) -> crate::Result<Arc<dyn Compiler>> {
        self.0.get(format).cloned().ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(String::as_str).collect();
            let message = format!("this task compiles {}, not {format:?}", known.join(", "));
            crate::Error::new(ErrorCode::NotFound, message)
        })
    }
}

/// Finds the programs that a task was started with. Its format is `native`.
#[derive(Debug, Default)]
pub struct NativePrograms(pub BTreeMap<String, Executable>);

impl Compiler for NativePrograms {
    fn format(&self) -> &str {
        "native"
    }

    fn compile(&self, source: &Source) -> Result<Executable, ProgramError> {
        let entry = source.entry.as_deref().unwrap_or(&source.name);
        self.0.get(entry).cloned().ok_or_else(|| {
            let known: Vec<_> = self.0.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            ProgramError::new(ErrorCode::NotFound, format!("this task has no native program {entry:?}; it has {known}"))
        })
    }
}
