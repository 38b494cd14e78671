//! ONNX models as programs of a task.

use remex_protocol::ErrorCode;

use super::{OnnxError, OnnxModel, OnnxOptions};
use crate::programs::{Compiler, Executable, Program, ProgramCall, ProgramError, Source, native_program};

/// Compiles ONNX models. Its format is `onnx`; a model is one function, so a source has no entry, or the graph's name.
#[derive(Clone, Debug, Default)]
pub struct OnnxCompiler {
    options: OnnxOptions,
}

impl OnnxCompiler {
    /// A compiler with other options than the defaults.
    pub fn new(options: OnnxOptions) -> Self {
        Self { options }
    }
}

impl Compiler for OnnxCompiler {
    fn format(&self) -> &str {
        "onnx"
    }

    fn compile(&self, source: &Source) -> Result<Executable, ProgramError> {
        let model = OnnxModel::compile_with(&source.bytes, &self.options)?;
        if let Some(entry) = source.entry.as_deref().filter(|entry| *entry != model.name()) {
            let message = format!("the model has no function {entry:?}: its graph is named {:?}", model.name());
            return Err(ProgramError::new(ErrorCode::NotFound, message));
        }
        let signature = model.signature().clone();
        Ok(native_program(model).signature(signature))
    }
}

impl Program for OnnxModel {
    fn run(&self, call: &mut ProgramCall) -> Result<(), ProgramError> {
        let outputs = OnnxModel::run(self, &call.inputs)?;
        call.outputs.set_all(outputs)
    }
}

impl From<OnnxError> for ProgramError {
    fn from(error: OnnxError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}
