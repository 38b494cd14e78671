//! Programs, clusters and checks that many tests use.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use remex::{prelude::*, testing::TestCluster, testing::TestClusterBuilder};
use tokio::sync::Semaphore;

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

/// Counts its runs and gives its input back.
pub(crate) fn counter(runs: &Arc<AtomicUsize>) -> remex::Executable {
    let runs = runs.clone();
    native(move |inputs| {
        runs.fetch_add(1, Ordering::Relaxed);
        Ok(vec![inputs[0].clone()])
    })
    .outputs(1)
}

/// Fails, with its code and words.
pub(crate) fn fail() -> remex::Executable {
    native(|_| Err(ProgramError::new(ErrorCode::OutOfRange, "the sky is not the limit"))).outputs(1)
}

/// A program from a vector to a vector of the same length, whose signature says so.
pub(crate) fn same_length(program: remex::Executable) -> remex::Executable {
    let arg = |name: &str| remex::Arg {
        name: name.to_owned(),
        dtype: DType::F32.into(),
        dims: Some(vec![remex::Dim::Symbol("n".to_owned())]),
    };
    program.signature(remex::Signature { inputs: vec![arg("x")], outputs: vec![arg("y")] })
}

/// The same, but only the worker can infer: no signature says it.
pub(crate) fn same_length_by_function(program: remex::Executable) -> remex::Executable {
    program.inputs(1).outputs(1).infer_by(|inputs| Ok(vec![Some(inputs[0].clone())]))
}

/// Tasks that have `add`, `fail`, `panic` and `three`, and what a test adds.
pub(crate) fn builder(tasks: usize) -> TestClusterBuilder {
    TestCluster::builder(tasks)
        .program("add", add())
        .program("fail", fail())
        .program("panic", native(|_| panic!("on purpose")).outputs(1))
        .program("three", native(|inputs| Ok(vec![inputs[0].clone(); 3])))
}

/// Tasks that have `add`, `fail`, `panic` and `three`.
pub(crate) async fn cluster(tasks: usize) -> TestCluster {
    builder(tasks).start().await.unwrap()
}

/// The name of a task.
pub(crate) fn task(i: usize) -> String {
    format!("/job:test/task:{i}")
}

/// The name of a task's device.
pub(crate) fn device(i: usize) -> String {
    format!("/job:test/task:{i}/device:CPU:0")
}

/// Puts a vector on a task.
pub(crate) async fn put(context: &ContextHandle, i: usize, elements: &[f32]) -> ObjectRef {
    context.put(&context.device_of(&task(i)).unwrap(), vector(elements)).await.unwrap()
}

/// Registers a native program on a task.
pub(crate) async fn register(context: &ContextHandle, i: usize, name: &str) -> ProgramHandle {
    context.register(&task(i), RegisterFunction::native(name)).await.unwrap()
}

/// Checks what kind of error it is and that it says what a person needs.
#[track_caller]
pub(crate) fn assert_error(error: &Error, code: ErrorCode, words: &[&str]) {
    assert_eq!(error.code(), code, "{error}");
    for words in words {
        assert!(error.to_string().contains(words), "{words:?} is not in: {error}");
    }
}

/// Ends a test in good order: all of the context is freed, and no task leaves anything behind.
pub(crate) async fn end(cluster: TestCluster, context: ContextHandle) {
    assert_eq!(context.close().await.unwrap(), []);
    cluster.stop().await.unwrap();
}

/// How many contexts, objects and calls there are on a task.
pub(crate) async fn stats(cluster: &TestCluster, i: usize) -> (usize, usize, usize) {
    let stats = cluster.task(i).stats().await.unwrap();
    (stats.contexts, stats.objects, stats.jobs)
}

/// A program that waits until it is let go, and then gives its first input.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Inside>);

struct Inside {
    open: Semaphore,
    begun: AtomicUsize,
    ended: AtomicUsize,
    dropped: AtomicUsize,
    /// First elements of the inputs, in the order of the runs.
    order: Mutex<Vec<f32>>,
}

/// Counts the runs that ended without having been let go.
struct Run<'a>(&'a Inside, bool);

impl Drop for Run<'_> {
    fn drop(&mut self) {
        let count = if self.1 { &self.0.ended } else { &self.0.dropped };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Gate {
    pub(crate) fn new() -> Self {
        let count = AtomicUsize::default;
        let (open, order) = (Semaphore::new(0), Mutex::default());
        Self(Arc::new(Inside { open, begun: count(), ended: count(), dropped: count(), order }))
    }

    pub(crate) fn program(&self) -> remex::Executable {
        let inside = self.0.clone();
        native_async(move |call| {
            let inside = inside.clone();
            async move {
                inside.begun.fetch_add(1, Ordering::Relaxed);
                let first = call.inputs.first().map_or(0.0, |input| elements(input)[0]);
                inside.order.lock().unwrap().push(first);
                let mut run = Run(&inside, false);
                inside.open.acquire().await.unwrap().forget();
                run.1 = true;
                Ok(call.inputs.into_iter().take(1).collect())
            }
        })
        .outputs(1)
    }

    /// Lets so many runs go on.
    pub(crate) fn open(&self, runs: usize) {
        self.0.open.add_permits(runs);
    }

    /// Runs that have begun, have ended by themselves, and were dropped while they waited.
    pub(crate) fn runs(&self) -> (usize, usize, usize) {
        let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
        (count(&self.0.begun), count(&self.0.ended), count(&self.0.dropped))
    }

    pub(crate) fn order(&self) -> Vec<f32> {
        self.0.order.lock().unwrap().clone()
    }
}

/// Compiles numbers in words, one a line, into a program that multiplies by all of them. Counts what it is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scale(Arc<AtomicUsize>);

impl Scale {
    pub(crate) fn compiled(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A program that multiplies.
pub(crate) fn scale(factor: &str) -> RegisterFunction {
    RegisterFunction::new("scale", "scale", factor.to_owned())
}

impl remex::Compiler for Scale {
    fn format(&self) -> &str {
        "scale"
    }

    fn compile(&self, source: &remex::Source) -> Result<remex::Executable, ProgramError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        let text = std::str::from_utf8(&source.bytes).unwrap_or_default();
        if let Some(entry) = &source.entry {
            return Err(ProgramError::new(ErrorCode::NotFound, format!("there is no entry {entry:?}")));
        }
        assert_ne!(text, "panic", "on purpose");
        let mut factor = 1.0;
        for (i, line) in text.lines().enumerate() {
            let malformed = |_| ProgramError::new(ErrorCode::MalformedProgram, format!("{line:?} is not a number"));
            factor *= line.parse::<f32>().map_err(|error| malformed(error).at_line(i + 1))?;
        }
        Ok(same_length(native(move |inputs| {
            let scaled: Vec<_> = inputs[0].elements::<f32>()?.iter().map(|x| x * factor).collect();
            Ok(vec![Tensor::from_slice([scaled.len() as u64], &scaled)?])
        })))
    }
}
