//! The engine that is built in: rten.
//!
//! rten computes with f32, i32, i8 and u8 only: it takes 64-bit integers and truth values as i32 and gives them so. Here
//! they are narrowed with a check and widened back. Element types that rten would compute less exactly than declared
//! (f64, f16) are refused where a user would see it, at inputs and outputs; inside a model they are f32. Inside a model
//! 64-bit integers are computed in 32 bits, and wrap where they do not fit.
//!
//! **Threads.** A run is carried out on rten's own pool, one for the process, with a thread per physical core (the
//! variable `RTEN_NUM_THREADS` sets another number); the thread that called waits. So however many threads of the compute
//! pool run models at once, no more threads compute than there are cores, and a single run uses all of them. A pool per
//! run would make a single run as slow as one core, or put several threads on each core when many run.

use remex_protocol::{
    signature::{Dim, Signature},
    tensor::{DType, Tensor},
};
use rten::{DataType, Dimension, LoadError, Model, ModelOptions, RunErrorKind, ValueType};

use super::engine::{Engine, Session};
use super::error::{OnnxError, Result, refused};
use super::proto::ModelProto;
use super::{convert, gate, mend, opset, signature};

/// Makes sessions of rten.
pub(crate) struct RtenEngine;

/// A model that rten has loaded.
pub(crate) struct RtenSession {
    model: Model,
}

impl Engine for RtenEngine {
    fn compile(&self, model: ModelProto, _bytes: &[u8], signature: &Signature) -> Result<Box<dyn Session>> {
        for (what, arg) in
            signature.inputs.iter().map(|arg| ("input", arg)).chain(signature.outputs.iter().map(|arg| ("output", arg)))
        {
            if let Some(dtype) = arg.dtype.fixed().filter(|&dtype| !is_computed(dtype)) {
                return refused(format!(
                    "{what} {:?} is {dtype}, and the engine computes with f32, i32, i8 and u8 (i64 and bool are taken as \
                     i32); convert it to one of them in the model",
                    arg.name
                ));
            }
        }
        Ok(Box::new(load(model)?))
    }
}

/// Loads a model that passed the gate, whatever its inputs and outputs are.
pub(crate) fn load(mut model: ModelProto) -> Result<RtenSession> {
    opset::check_model(&model)?;
    mend::mend(&mut model);
    opset::check_mended(&model)?;
    let sealed = gate::seal(&model);
    // What follows reads names and shapes only; rten gets its own copy of the data.
    let initializers = model.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    initializers.for_each(|tensor| tensor.raw_data = None);
    let loaded = ModelOptions::with_all_ops()
        .load(sealed)
        .map_err(|error| OnnxError::Compile { engine: "rten", reason: reason(&model, &error) })?;
    opset::check_loaded(&model, &loaded)?;
    Ok(RtenSession { model: loaded })
}

/// What rten says, with the operator of the node that it names.
fn reason(model: &ModelProto, error: &LoadError) -> String {
    let text = error.to_string();
    let Some(name) = error.node() else { return text };
    let mut nodes = model.graph.iter().flat_map(|graph| &graph.node);
    let said = text.strip_prefix(&format!("in node \"{name}\": ")).unwrap_or(&text);
    match nodes.find(|node| node.name.as_deref() == Some(name)) {
        Some(node) => format!("{}: {said}", node.label()),
        None => text,
    }
}

fn is_computed(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::I32 | DType::I8 | DType::U8 | DType::I64 | DType::Bool)
}

impl RtenSession {
    /// Whether a value is known to be of f32.
    pub(crate) fn is_float(&self, name: &str) -> bool {
        let info = self.model.find_node(name).and_then(|id| self.model.node_info(id));
        info.and_then(|info| info.dtype()) == Some(ValueType::Tensor(DataType::Float))
    }
}

impl Session for RtenSession {
    fn run(&self, signature: &Signature, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let mut values = Vec::with_capacity(inputs.len());
        for ((arg, tensor), &id) in signature.inputs.iter().zip(inputs).zip(self.model.input_ids()) {
            values.push((id, convert::to_rten(&arg.name, tensor)?));
        }
        let outputs = self.model.run(values, self.model.output_ids(), None).map_err(|error| match error.kind() {
            RunErrorKind::InvalidInput | RunErrorKind::OperatorError => OnnxError::Run(error.to_string()),
            // The gate saw to the names and their order: the engine broke its promise.
            _ => OnnxError::Engine { engine: "rten", reason: error.to_string() },
        })?;
        let outputs = signature.outputs.iter().zip(outputs);
        outputs.map(|(arg, value)| convert::from_rten(arg, &value)).collect()
    }

    fn dims(&self, name: &str) -> Option<Vec<Dim>> {
        let info = self.model.node_info(self.model.find_node(name)?)?;
        let dim = |dim: Dimension| match dim {
            Dimension::Fixed(len) => Dim::Fixed(len as u64),
            // rten's names for lengths that it does not know; a model that uses them itself loses nothing but a hint.
            Dimension::Symbolic(name) if name.starts_with("unknown_") || name.starts_with("unnamed_") => Dim::Any,
            Dimension::Symbolic(name) if signature::is_name(&name) => Dim::Symbol(name),
            Dimension::Symbolic(_) => Dim::Any,
        };
        Some(info.shape()?.into_iter().map(dim).collect())
    }
}
