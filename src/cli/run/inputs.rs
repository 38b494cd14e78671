//! The inputs of a run: read from files, and held against what the model takes before anything of them is sent.

use std::{
    collections::BTreeMap,
    fs::File,
    path::{Path, PathBuf},
};

use remex::{Signature, Tensor, TensorMetadata, tensor::npy};

use crate::cli::Failure;

/// Tensors by the name of the input.
pub(super) type Inputs = BTreeMap<String, Tensor>;

/// Reads the files.
pub(super) fn read(files: Vec<(String, PathBuf)>) -> Result<Inputs, Failure> {
    let mut inputs = Inputs::new();
    for (name, path) in files {
        let tensor = read_file(&path).map_err(|why| Failure::failed(format!("{}: {why}", path.display())))?;
        if inputs.insert(name.clone(), tensor).is_some() {
            return Err(Failure::usage(format!("--input {name} is given twice: give each input once")));
        }
    }
    Ok(inputs)
}

fn read_file(path: &Path) -> Result<Tensor, String> {
    let mut file = File::open(path).map_err(|error| error.to_string())?;
    // Reading a folder fails with words that do not say what is wrong with it.
    if file.metadata().is_ok_and(|metadata| metadata.is_dir()) {
        return Err("it is a folder, not a .npy file".to_owned());
    }
    npy::read(&mut file).map_err(|error| error.to_string())
}

/// The inputs in the model's order; refused, with what would be right, if they are not what it takes.
pub(super) fn in_order(mut inputs: Inputs, signature: &Signature) -> Result<Vec<Tensor>, Failure> {
    let known = || {
        let all: Vec<_> = signature.inputs.iter().map(|arg| format!("{} ({arg})", arg.name)).collect();
        if all.is_empty() { "none".to_owned() } else { all.join(", ") }
    };
    if let Some(name) = inputs.keys().find(|name| signature.inputs.iter().all(|arg| arg.name != **name)) {
        return Err(Failure::usage(format!("the model has no input {name:?}; its inputs are: {}", known())));
    }
    let mut ordered = Vec::with_capacity(signature.inputs.len());
    for arg in &signature.inputs {
        let tensor = inputs.remove(&arg.name).ok_or_else(|| {
            let name = &arg.name;
            Failure::usage(format!("input {name:?} ({arg}) is missing: give --input {name}=FILE.npy"))
        })?;
        ordered.push(tensor);
    }
    let metadata: Vec<TensorMetadata> = ordered.iter().map(|tensor| tensor.metadata().clone()).collect();
    signature.infer(&metadata).map_err(Failure::usage)?;
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use remex::{Arg, ArgType, DType, Dim};

    use super::*;

    fn signature() -> Signature {
        let arg = |name: &str, dtype, dims: &[Dim]| Arg {
            name: name.to_owned(),
            dtype: ArgType::Fixed(dtype),
            dims: Some(dims.to_vec()),
        };
        let n = || Dim::Symbol("n".to_owned());
        let inputs = vec![arg("x", DType::F32, &[n(), Dim::Fixed(2)]), arg("mask", DType::Bool, &[n()])];
        Signature { inputs, outputs: vec![] }
    }

    fn given(inputs: &[(&str, Tensor)]) -> Result<Vec<Tensor>, Failure> {
        in_order(inputs.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())).collect(), &signature())
    }

    #[test]
    fn inputs_come_in_the_models_order() {
        let (x, mask) = (
            Tensor::from_slice([1, 2], &[1f32, 2.]).unwrap(),
            Tensor::from_slice([1], &[remex::tensor::Bool(1)]).unwrap(),
        );
        let ordered = given(&[("mask", mask.clone()), ("x", x.clone())]).unwrap();
        assert_eq!(ordered, [x, mask]);
    }

    #[test]
    fn what_the_model_does_not_take_is_refused_with_what_it_takes() {
        fn check(inputs: &[(&str, Tensor)], expected: &str) {
            let failure = given(inputs).unwrap_err();
            assert!(failure.status() == 2 && failure.message().contains(expected), "{failure:?}");
        }
        let x = || Tensor::from_slice([1, 2], &[1f32, 2.]).unwrap();
        let mask = |n: usize| Tensor::from_slice([n as u64], &vec![remex::tensor::Bool(1); n]).unwrap();
        let whole = Tensor::from_slice([1, 2], &[1i64, 2]).unwrap();
        check(&[("y", x())], "the model has no input \"y\"; its inputs are: x (f32[n,2]), mask (bool[n])");
        check(&[("x", x())], "input \"mask\" (bool[n]) is missing: give --input mask=FILE.npy");
        check(&[("x", whole), ("mask", mask(1))], "input \"x\" is i64[1,2], but the program takes f32[n,2]");
        check(&[("x", mask(1)), ("mask", mask(1))], "input \"x\" is bool[1], but the program takes f32[n,2]");
        check(&[("x", x()), ("mask", mask(2))], "input \"mask\" is bool[2], but \"n\" is 1");
    }
}
