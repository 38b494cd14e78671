//! What can be executed by name: native functions, actors, and what a compiler makes of bytes.
//!
//! User code runs only in the `Executor`, under `catch_unwind` (I9). A program that waits is async and holds no thread;
//! a sync one is given nothing that waits.

mod async_call;
mod call;
mod compiler;
mod entry;
mod error;
mod executable;
mod golden;
#[cfg(feature = "onnx")]
pub mod onnx;
pub(crate) mod registry;

pub use async_call::AsyncCall;
pub use call::{Early, Invoke, Outputs, ProgramCall, Published};
pub use compiler::{Compiler, Compilers, Golden, NativePrograms, Source};
pub use error::ProgramError;
pub(crate) use executable::invoke;
pub use executable::{Body, Executable, Inference, Program, native, native_actor, native_async, native_program};
pub(crate) use golden::check as check_golden;
#[cfg(feature = "onnx")]
pub use onnx::OnnxCompiler;
