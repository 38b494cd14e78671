//! What computes a model: rten, which is built in, or ONNX Runtime, a shared library of the user's.

use remex_protocol::{
    signature::{Dim, Signature},
    tensor::Tensor,
};

use super::error::Result;
use super::proto::ModelProto;

/// Which engine computes a model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EngineKind {
    /// rten: pure Rust, always there. Computes with f32, i32, i8 and u8.
    #[default]
    Rten,
    /// ONNX Runtime, loaded from the shared library that the environment variable `ORT_DYLIB_PATH` names. Faster and
    /// more complete, but not behind the gate's own reader: give it models of known origin only. Needs the feature
    /// `ort`.
    Ort,
}

/// Makes sessions of models that passed the gate.
pub(crate) trait Engine {
    /// Compiles a model. `bytes` are those that `model` was decoded from; `signature` is what it declares.
    fn compile(&self, model: ModelProto, bytes: &[u8], signature: &Signature) -> Result<Box<dyn Session>>;
}

/// A compiled model. Several threads may run it at once.
pub(crate) trait Session: Send + Sync {
    /// Runs the model on inputs that fit its signature; gives its outputs in order.
    fn run(&self, signature: &Signature, inputs: &[Tensor]) -> Result<Vec<Tensor>>;

    /// What the engine knows of a value's dimensions before a run.
    fn dims(&self, name: &str) -> Option<Vec<Dim>>;
}
