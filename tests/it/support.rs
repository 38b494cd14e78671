//! Programs and clusters that many tests use.

use remex::{prelude::*, testing::TestCluster};

/// A vector of numbers.
pub(crate) fn vector(elements: &[f32]) -> Tensor {
    Tensor::from_slice([elements.len() as u64], elements).unwrap()
}

/// What is in a vector.
pub(crate) fn elements(tensor: &Tensor) -> Vec<f32> {
    tensor.elements::<f32>().unwrap().to_vec()
}

/// Adds its inputs, element by element.
pub(crate) fn add() -> remex::Executable {
    native(|inputs| {
        let mut sum = inputs[0].elements::<f32>()?.to_vec();
        for input in &inputs[1..] {
            sum.iter_mut().zip(input.elements::<f32>()?).for_each(|(a, b)| *a += b);
        }
        Ok(vec![Tensor::from_slice([sum.len() as u64], &sum)?])
    })
    .outputs(1)
}

/// Fails, with its code and words.
pub(crate) fn fail() -> remex::Executable {
    native(|_| Err(ProgramError::new(ErrorCode::OutOfRange, "the sky is not the limit"))).outputs(1)
}

/// Tasks that have `add`, `fail` and `panic`.
pub(crate) async fn cluster(tasks: usize) -> TestCluster {
    let cluster = TestCluster::builder(tasks)
        .program("add", add())
        .program("fail", fail())
        .program("panic", native(|_| panic!("on purpose")).outputs(1))
        .program("three", native(|inputs| Ok(vec![inputs[0].clone(); 3])));
    cluster.start().await.unwrap()
}

/// The name of a task.
pub(crate) fn task(i: usize) -> String {
    format!("/job:test/task:{i}")
}

/// Puts a vector on a task.
pub(crate) async fn put(context: &ContextHandle, i: usize, elements: &[f32]) -> ObjectRef {
    context.put(&context.device_of(&task(i)).unwrap(), vector(elements)).await.unwrap()
}

/// Registers a native program on a task.
pub(crate) async fn register(context: &ContextHandle, i: usize, name: &str) -> ProgramHandle {
    context.register(&task(i), RegisterFunction::native(name)).await.unwrap()
}
