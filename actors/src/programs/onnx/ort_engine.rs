//! The engine that a user may bring: ONNX Runtime, loaded from the shared library that `ORT_DYLIB_PATH` names.
//!
//! It computes in every element type, and none of the checks that rten needs apply. It reads the model's own bytes with its
//! own reader, which no gate stands before; what damaged models do to it was not measured.
//!
//! **Threads.** All sessions share one pool of ONNX Runtime, with a thread per core, that does not spin when idle: the
//! compute pool and the arbiters need those cores too. The binding lends a session to one caller at a time, so runs of one
//! model wait for each other; runs of different models do not.

use std::{
    borrow::Cow,
    fmt,
    sync::{Mutex, OnceLock, PoisonError},
};

use half::{bf16, f16};
use ort::environment::{Environment, GlobalThreadPoolOptions};
use ort::logging::LogLevel;
use ort::session::{Session as OrtHandle, SessionInputValue};
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType, TensorRef};
use remex_protocol::{
    signature::{Arg, Dim, Signature},
    tensor::{Bool, DType, Element, Shape, Tensor, TensorError},
};

use super::engine::{Engine, Session};
use super::error::{OnnxError, Result};
use super::proto::ModelProto;

/// The variable that names the shared library; the binding's own name for it.
pub(crate) const LIBRARY: &str = "ORT_DYLIB_PATH";

/// Makes sessions of ONNX Runtime.
pub(crate) struct OrtEngine;

struct OrtSession {
    handle: Mutex<OrtHandle>,
}

/// The one environment that the binding allows in a process, or why there is none. The first use decides.
fn environment() -> Result<&'static Environment> {
    static ENVIRONMENT: OnceLock<Result<Environment, String>> = OnceLock::new();
    let made = ENVIRONMENT.get_or_init(|| {
        let path = std::env::var_os(LIBRARY).filter(|path| !path.is_empty()).ok_or_else(|| {
            format!(
                "the environment variable {LIBRARY} does not name the library (libonnxruntime.so, as the PyPI package \
                 onnxruntime has it)"
            )
        })?;
        // The binding would look beside the executable for a relative path.
        let path = std::path::absolute(path).map_err(|error| error.to_string())?;
        let builder = ort::init_from(path).map_err(|error| error.to_string())?;
        let threads = GlobalThreadPoolOptions::default().with_spin_control(false).map_err(|error| error.to_string())?;
        let builder = builder.with_global_thread_pool(threads).with_telemetry(false);
        let environment = builder.build().map_err(|error| error.to_string())?;
        // Errors are returned; the library would print them too.
        environment.set_log_level(LogLevel::Fatal);
        Ok(environment)
    });
    made.as_ref().map_err(|reason| OnnxError::NoEngine { engine: "ort", reason: reason.clone() })
}

impl Engine for OrtEngine {
    fn compile(&self, _model: ModelProto, bytes: &[u8], _signature: &Signature) -> Result<Box<dyn Session>> {
        let failed = |error: &dyn fmt::Display| OnnxError::Compile { engine: "ort", reason: error.to_string() };
        let mut builder = OrtHandle::builder(environment()?).map_err(|error| failed(&error))?;
        let handle = builder.commit_from_memory(bytes).map_err(|error| failed(&error))?;
        Ok(Box::new(OrtSession { handle: Mutex::new(handle) }))
    }
}

impl Session for OrtSession {
    fn run(&self, signature: &Signature, inputs: &[Tensor]) -> Result<Vec<Tensor>> {
        let named = signature.inputs.iter().zip(inputs);
        let values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> =
            named.map(|(arg, tensor)| Ok((Cow::from(&arg.name), to_ort(&arg.name, tensor)?))).collect::<Result<_>>()?;
        // A run that panicked left the session as it was: it only reads it.
        let mut handle = self.handle.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = handle.run(values).map_err(|error| OnnxError::Run(error.to_string()))?;
        let output = |arg: &Arg| match outputs.get(&arg.name) {
            Some(value) => from_ort(arg, value),
            None => Err(differs(arg, &"nothing")),
        };
        signature.outputs.iter().map(output).collect()
    }

    fn dims(&self, _name: &str) -> Option<Vec<Dim>> {
        // The binding tells what the model declares, which is known already.
        None
    }
}

/// Calls a function with the Rust type of an element type; truth values are apart, for ONNX Runtime has them as `bool`.
macro_rules! with_type {
    ($dtype:expr, $function:ident($($argument:expr),*), bool: $bool:expr, other: $other:expr) => {
        match $dtype {
            Some(DType::Bool) => $bool,
            Some(DType::I8) => $function::<i8>($($argument),*),
            Some(DType::U8) => $function::<u8>($($argument),*),
            Some(DType::I16) => $function::<i16>($($argument),*),
            Some(DType::U16) => $function::<u16>($($argument),*),
            Some(DType::I32) => $function::<i32>($($argument),*),
            Some(DType::U32) => $function::<u32>($($argument),*),
            Some(DType::I64) => $function::<i64>($($argument),*),
            Some(DType::U64) => $function::<u64>($($argument),*),
            Some(DType::F16) => $function::<f16>($($argument),*),
            Some(DType::Bf16) => $function::<bf16>($($argument),*),
            Some(DType::F32) => $function::<f32>($($argument),*),
            Some(DType::F64) => $function::<f64>($($argument),*),
            _ => $other,
        }
    };
}

fn to_ort<'a>(name: &str, tensor: &'a Tensor) -> Result<SessionInputValue<'a>> {
    let dims: Option<Vec<i64>> = tensor.shape().dims().iter().map(|&dim| i64::try_from(dim).ok()).collect();
    let dims = dims.ok_or_else(|| OnnxError::Input(format!("input {name:?} has a dimension that is too long")))?;
    let value: Result<_, String> = with_type!(
        Some(tensor.dtype()),
        view(tensor, dims),
        bool: bools(tensor, dims),
        other: Err(format!("{} is not known here", tensor.dtype()))
    );
    value.map_err(|reason| OnnxError::Input(format!("input {name:?}: {reason}")))
}

fn view<T>(tensor: &Tensor, dims: Vec<i64>) -> Result<SessionInputValue<'_>, String>
where
    T: Element + PrimitiveTensorElementType,
{
    let elements: &[T] = match tensor.size_bytes() {
        0 => &[],
        _ => tensor.elements().map_err(|error| error.to_string())?,
    };
    let view = TensorRef::from_array_view((dims, elements)).map_err(|error| error.to_string())?;
    Ok(view.into())
}

fn bools(tensor: &Tensor, dims: Vec<i64>) -> Result<SessionInputValue<'_>, String> {
    let elements = tensor.elements::<Bool>().map_err(|error| error.to_string())?;
    let elements: Vec<bool> = elements.iter().map(|&element| element.into()).collect();
    let owned = ort::value::Tensor::from_array((dims, elements)).map_err(|error| error.to_string())?;
    Ok(owned.into())
}

fn differs(arg: &Arg, found: &dyn fmt::Display) -> OnnxError {
    OnnxError::Output { output: arg.name.clone(), reason: format!("the model declares {arg}, but gave {found}") }
}

fn from_ort(arg: &Arg, value: &DynValue) -> Result<Tensor> {
    let tensor: Result<Tensor, Problem> = with_type!(
        arg.dtype.fixed(),
        copy(value),
        bool: copy_bools(value),
        other: Err(Problem::Type)
    );
    tensor.map_err(|problem| match problem {
        Problem::Type => differs(arg, value.dtype()),
        Problem::Tensor(TensorError::OutOfMemory(_)) => OnnxError::OutOfMemory(arg.name.clone()),
        Problem::Tensor(error) => differs(arg, &error),
    })
}

/// Why an output is not the tensor that it should be.
enum Problem {
    /// It is none, or of another element type.
    Type,
    /// It cannot be a tensor of ours.
    Tensor(TensorError),
}

fn copy<T: Element + PrimitiveTensorElementType>(value: &DynValue) -> Result<Tensor, Problem> {
    let (dims, elements) = value.try_extract_tensor::<T>().map_err(|_| Problem::Type)?;
    Tensor::from_slice(shape(dims)?, elements).map_err(Problem::Tensor)
}

fn copy_bools(value: &DynValue) -> Result<Tensor, Problem> {
    if value.dtype().tensor_type() != Some(TensorElementType::Bool) {
        return Err(Problem::Type);
    }
    let (dims, elements) = value.try_extract_tensor::<bool>().map_err(|_| Problem::Type)?;
    let elements: Vec<Bool> = elements.iter().map(|&element| element.into()).collect();
    Tensor::from_slice(shape(dims)?, &elements).map_err(Problem::Tensor)
}

fn shape(dims: &[i64]) -> Result<Shape, Problem> {
    let dims: Vec<u64> = dims.iter().map(|&dim| u64::try_from(dim).unwrap_or(0)).collect();
    Shape::try_from(dims).map_err(|error| Problem::Tensor(TensorError::Shape(error)))
}

#[cfg(test)]
#[path = "ort_test.rs"]
mod tests;
