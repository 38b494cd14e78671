//! Tries a program on inputs whose outputs are known.

use std::sync::Arc;

use remex_protocol::{
    ErrorCode,
    tensor::{Bool, DType, Element, Tensor},
};
use tokio::time::Instant;

use super::{Body, Executable, Outputs, ProgramCall, ProgramError, compiler::Golden};

/// Runs a sync program on the golden inputs and compares. `CompilationFailed` names the output and element that differ.
/// Async programs and actors are not tried: they may wait, and this runs on the pool.
pub(crate) fn check(name: &str, executable: &Executable, golden: &Golden) -> Result<(), ProgramError> {
    let wrong = |why: String| ProgramError::new(ErrorCode::CompilationFailed, format!("the golden check: {why}"));
    let (Body::Inline(program) | Body::Pool(program) | Body::Sized(program, _)) = &executable.body else {
        return Err(wrong("only sync programs can be tried; register without golden tensors".to_owned()));
    };
    let mut call = ProgramCall {
        program: name.into(),
        inputs: golden.inputs.clone(),
        outputs: Outputs::new(golden.outputs.len(), 0, None),
        baggage: Vec::new(),
        deadline: Instant::now(),
        cancelled: Arc::default(),
    };
    program.run(&mut call).map_err(|error| wrong(error.to_string()))?;
    let outputs = call.outputs.finish().map_err(|error| wrong(error.to_string()))?;
    for (i, (actual, expected)) in outputs.iter().zip(&golden.outputs).enumerate() {
        if actual.metadata() != expected.metadata() {
            return Err(wrong(format!("output {i} is {}, not {}", actual.metadata(), expected.metadata())));
        }
        if let Some((at, a, b)) = difference(actual, expected, golden.tolerance) {
            return Err(wrong(format!("output {i} is {a} at element {at}, not {b}")));
        }
    }
    Ok(())
}

/// The first element that differs by more than is allowed. Tensors of one dtype and shape.
fn difference(actual: &Tensor, expected: &Tensor, tolerance: f64) -> Option<(usize, f64, f64)> {
    let (a, b) = (numbers(actual), numbers(expected));
    a.into_iter().zip(b).enumerate().find_map(|(at, (a, b))| {
        // Not a number is only right where it is expected; infinities must be the same.
        let same = a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= tolerance * b.abs().max(1.0);
        (!same).then_some((at, a, b))
    })
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    fn read<T: Element>(tensor: &Tensor, number: impl Fn(T) -> f64) -> Vec<f64> {
        tensor.elements::<T>().map(|elements| elements.iter().copied().map(number).collect()).unwrap_or_default()
    }
    match tensor.dtype() {
        DType::Bool => read::<Bool>(tensor, |x| f64::from(x.0)),
        DType::I8 => read::<i8>(tensor, f64::from),
        DType::U8 => read::<u8>(tensor, f64::from),
        DType::I16 => read::<i16>(tensor, f64::from),
        DType::U16 => read::<u16>(tensor, f64::from),
        DType::I32 => read::<i32>(tensor, f64::from),
        DType::U32 => read::<u32>(tensor, f64::from),
        DType::I64 => read::<i64>(tensor, |x| x as f64),
        DType::U64 => read::<u64>(tensor, |x| x as f64),
        DType::F16 => read::<half::f16>(tensor, f64::from),
        DType::Bf16 => read::<half::bf16>(tensor, f64::from),
        DType::F32 => read::<f32>(tensor, f64::from),
        DType::F64 => read::<f64>(tensor, |x| x),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs::native;

    #[test]
    fn a_program_that_gives_other_numbers_is_refused() {
        fn check_with(factor: f32) -> Result<(), ProgramError> {
            let double = native(move |inputs| {
                let x: Vec<f32> = inputs[0].elements::<f32>()?.iter().map(|x| x * factor).collect();
                Ok(vec![Tensor::from_slice([2], &x)?])
            });
            let golden = Golden {
                inputs: vec![Tensor::from_slice([2], &[1.0f32, 1000.0])?],
                outputs: vec![Tensor::from_slice([2], &[2.0f32, 2000.0])?],
                tolerance: 1e-4,
            };
            check("double", &double, &golden)
        }
        assert!(check_with(2.0).is_ok() && check_with(2.0001).is_ok());
        assert!(check_with(3.0).unwrap_err().message.contains("3 at element 0, not 2"));
        assert!(check_with(f32::NAN).is_err());
    }
}
