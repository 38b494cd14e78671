//! The native programs that `remex serve` has built in.

use remex::{DType, Executable, ProgramError, Signature, Tensor, native};

/// All of them, by name.
pub(crate) fn built_in() -> [(&'static str, Executable); 2] {
    let signature = |text| Signature::symbolic(text).expect("it is a signature");
    let (sum, same) = (signature("a: f32[..], b: f32[..] -> sum: f32[..]"), signature("x: T[..] -> x: T[..]"));
    [
        ("add", native(add).inline().signature(sum)),
        ("identity", native(|inputs| Ok(inputs.to_vec())).inline().signature(same)),
    ]
}

/// The sum of two tensors. What they must be is checked here too, since the signature does not say that the shapes are
/// one.
fn add(inputs: &[Tensor]) -> Result<Vec<Tensor>, ProgramError> {
    let [a, b] = inputs else {
        return Err(ProgramError::invalid(format!("add takes 2 inputs, {} were given", inputs.len())));
    };
    let (of_a, of_b) = (a.metadata(), b.metadata());
    if of_a.dtype != DType::F32 || of_a != of_b {
        let message = format!("add takes two f32 tensors of one shape; these are {of_a} and {of_b}");
        return Err(ProgramError::invalid(message));
    }
    let sum: Vec<f32> = a.elements::<f32>()?.iter().zip(b.elements::<f32>()?).map(|(a, b)| a + b).collect();
    Ok(vec![Tensor::from_slice(of_a.shape.clone(), &sum)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_tensors_of_one_shape_are_added() {
        let tensor = |elements: &[f32]| Tensor::from_slice([2, 2], elements).unwrap();
        let sum = add(&[tensor(&[1., 2., 3., 4.]), tensor(&[10., 20., 30., 40.])]).unwrap();
        assert_eq!(sum, [tensor(&[11., 22., 33., 44.])]);
    }

    #[test]
    fn other_inputs_are_refused_by_what_they_are() {
        fn check(inputs: &[Tensor], expected: &str) {
            let error = add(inputs).unwrap_err();
            assert!(error.message.contains(expected), "{error}");
        }
        let (short, long) = (Tensor::from_slice([1], &[1f32]).unwrap(), Tensor::from_slice([2], &[1f32, 2.]).unwrap());
        let whole = Tensor::from_slice([1], &[1i32]).unwrap();
        check(std::slice::from_ref(&short), "add takes 2 inputs, 1 were given");
        check(&[short.clone(), long], "these are f32[1] and f32[2]");
        check(&[whole.clone(), short], "these are i32[1] and f32[1]");
        check(&[whole.clone(), whole], "two f32 tensors of one shape");
    }
}
