//! A model from its bytes to its outputs.

use std::fmt;

use remex_protocol::{signature::Signature, tensor::Tensor};

use super::engine::{Engine, EngineKind, Session};
use super::error::{OnnxError, Result};
use super::rten_engine::RtenEngine;
use super::{gate, signature};

/// How a model is compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OnnxOptions {
    /// What computes it. Default: rten.
    pub engine: EngineKind,
    /// Most bytes of a model, and most bytes that its constants may tell operators to make. Default: 1 GiB, as long as all
    /// programs of a context may be together. While it compiles, a model is in memory about three times.
    pub max_bytes: u64,
}

impl Default for OnnxOptions {
    fn default() -> Self {
        Self { engine: EngineKind::default(), max_bytes: 1 << 30 }
    }
}

/// A compiled model. Compiling and running block their thread and may panic inside the engine: call them on the compute
/// pool, under `catch_unwind`. Several threads may run one model at once.
///
/// What cannot be held: a model whose `Loop` never ends keeps its thread, while it runs or, if it loops over constants
/// alone, while it compiles; and a model that asks for more memory than there is ends the process.
pub struct OnnxModel {
    name: String,
    signature: Signature,
    session: Box<dyn Session>,
}

impl OnnxModel {
    /// Compiles a model with the default options.
    pub fn compile(bytes: &[u8]) -> Result<OnnxModel, OnnxError> {
        Self::compile_with(bytes, &OnnxOptions::default())
    }

    /// Compiles a model: through the gate, then through the engine's own checks, then in the engine.
    pub fn compile_with(bytes: &[u8], options: &OnnxOptions) -> Result<OnnxModel, OnnxError> {
        let model = gate::open(bytes, options.max_bytes)?;
        let graph = model.graph.as_ref().ok_or_else(|| OnnxError::Malformed("it has no graph".to_owned()))?;
        let name = graph.name.clone().unwrap_or_default();
        let mut signature = signature::declared(graph)?;
        let session = engine(options.engine)?.compile(model, bytes, &signature)?;
        signature::complete(&mut signature, |name| session.dims(name));
        Ok(OnnxModel { name, signature, session })
    }

    /// The name of its graph; may be empty.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Runs the model. Inputs in the order of the signature; outputs likewise, of the declared element types.
    pub fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, OnnxError> {
        let metadata: Vec<_> = inputs.iter().map(|input| input.metadata().clone()).collect();
        self.signature.infer(&metadata).map_err(OnnxError::Input)?;
        self.session.run(&self.signature, inputs)
    }
}

impl fmt::Debug for OnnxModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |args: &[remex_protocol::signature::Arg]| -> Vec<String> {
            args.iter().map(|arg| format!("{}: {arg}", arg.name)).collect()
        };
        f.debug_struct("OnnxModel")
            .field("inputs", &list(&self.signature.inputs))
            .field("outputs", &list(&self.signature.outputs))
            .finish_non_exhaustive()
    }
}

fn engine(kind: EngineKind) -> Result<Box<dyn Engine>> {
    match kind {
        EngineKind::Rten => Ok(Box::new(RtenEngine)),
        #[cfg(feature = "ort")]
        EngineKind::Ort => Ok(Box::new(super::ort_engine::OrtEngine)),
        #[cfg(not(feature = "ort"))]
        EngineKind::Ort => Err(OnnxError::NoEngine {
            engine: "ort",
            reason: "this program was built without the feature `ort`".to_owned(),
        }),
    }
}

#[cfg(test)]
#[path = "model_test.rs"]
mod tests;
