//! A compiler whose programs write down when they run.

use remex::{
    Compiler, Executable, Program, ProgramCall, ProgramError, Source, actors::programs::onnx::OnnxModel, native_program,
};

use super::log::{Log, Step, Who};

/// The names that the stages are registered under.
pub(super) const NAMES: [&str; 2] = ["stage 1", "stage 2"];

/// Compiles ONNX models as a worker does without it, and has each run noted.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) worker: usize,
    pub(super) log: Log,
}

struct Stage {
    model: OnnxModel,
    number: u8,
    worker: usize,
    log: Log,
}

impl Compiler for Watched {
    fn format(&self) -> &str {
        "onnx"
    }

    fn compile(&self, source: &Source) -> Result<Executable, ProgramError> {
        let model = OnnxModel::compile(&source.bytes)?;
        let signature = model.signature().clone();
        let number = if source.name == NAMES[0] { 1 } else { 2 };
        let stage = Stage { model, number, worker: self.worker, log: self.log.clone() };
        Ok(native_program(stage).signature(signature))
    }
}

impl Program for Stage {
    fn run(&self, call: &mut ProgramCall) -> Result<(), ProgramError> {
        let who = Who::Worker(self.worker);
        self.log.now(who, who, Step::Began(self.number), format!("stage {} begins to run", self.number));
        let outputs = self.model.run(&call.inputs);
        self.log.now(who, who, Step::Ended(self.number), format!("stage {} has run", self.number));
        call.outputs.set_all(outputs?)
    }
}
