//! ONNX models, from the gate to the compiled program.

use remex::actors::programs::onnx::{OnnxModel, OnnxOptions};

use crate::memory;

/// Largest model that is taken.
const MAX_BYTES: u64 = 1 << 20;
/// What compiling may ask for at once: what an operator makes of constants, at most 2²⁸ elements of 8 bytes.
const LARGEST: usize = 2 << 30;

/// The input is a model. The program is not run: what it computes and how long it takes is its author's business.
pub(super) fn run(input: &[u8]) {
    let mut options = OnnxOptions::default();
    options.max_bytes = MAX_BYTES;
    let (model, usage) = memory::measure(|| OnnxModel::compile_with(input, &options));
    assert!(usage.largest <= LARGEST, "{} bytes came, {usage:?}", input.len());
    match model {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(model) => {
            let signature = model.signature();
            assert!(signature.inputs.iter().chain(&signature.outputs).all(|arg| arg.name.len() <= 256));
        }
    }
}
