//! A program that is ready to run.

use std::{
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use actix::Recipient;
use futures_util::future::LocalBoxFuture;
use remex_protocol::{
    ErrorCode,
    signature::Signature,
    tensor::{Tensor, TensorMetadata},
};

use super::{AsyncCall, Invoke, ProgramCall, ProgramError};

/// A sync program that wants more than its inputs: early outputs, baggage, deadline.
pub trait Program: Send + Sync + 'static {
    /// Runs once: reads `call.inputs`, fills `call.outputs`.
    fn run(&self, call: &mut ProgramCall) -> Result<(), ProgramError>;
}

type AsyncFn = dyn Fn(AsyncCall) -> LocalBoxFuture<'static, Result<Vec<Tensor>, ProgramError>> + Send + Sync;

type InferFn = dyn Fn(&[TensorMetadata]) -> Result<Vec<Option<TensorMetadata>>, ProgramError> + Send + Sync;
type CheapFn = dyn Fn(&[TensorMetadata]) -> bool + Send + Sync;

/// How a program runs.
#[derive(Clone)]
pub enum Body {
    /// On the arbiter: for what takes less than 50 µs.
    Inline(Arc<dyn Program>),
    /// On the compute pool.
    Pool(Arc<dyn Program>),
    /// On the arbiter if the function says of its inputs that it takes less than 50 µs, else on the compute pool.
    Sized(Arc<dyn Program>, Arc<CheapFn>),
    /// On the arbiter, waiting now and then.
    Async(Arc<AsyncFn>),
    /// By a user's actor.
    Actor(Recipient<Invoke>),
}

/// How the metadata of a program's outputs follows from that of its inputs.
#[derive(Clone)]
pub enum Inference {
    /// As names, dtypes and lengths say.
    Signature(Arc<Signature>),
    /// As a function says, which also refuses inputs that the program does not take.
    Function(Arc<InferFn>),
}

/// A program that is ready to run: what it does, where it runs, and what is known of its inputs and outputs.
#[derive(Clone)]
pub struct Executable {
    pub(crate) body: Body,
    inference: Option<Inference>,
    inputs: Option<usize>,
    pub(crate) outputs: Option<usize>,
}

/// A program out of a function of tensors. Runs on the compute pool unless it is made [inline](Executable::inline).
pub fn native<F>(run: F) -> Executable
where
    F: Fn(&[Tensor]) -> Result<Vec<Tensor>, ProgramError> + Send + Sync + 'static,
{
    struct Function<F>(F);
    impl<F: Fn(&[Tensor]) -> Result<Vec<Tensor>, ProgramError> + Send + Sync + 'static> Program for Function<F> {
        fn run(&self, call: &mut ProgramCall) -> Result<(), ProgramError> {
            let outputs = (self.0)(&call.inputs)?;
            call.outputs.set_all(outputs)
        }
    }
    native_program(Function(run))
}

/// A program out of a [`Program`]. Runs on the compute pool unless it is made [inline](Executable::inline).
pub fn native_program(program: impl Program) -> Executable {
    Executable::new(Body::Pool(Arc::new(program)))
}

/// A program out of an async function. It runs on the arbiter, holds no thread while it waits, and is dropped at its
/// next await when its call is cancelled. It can ask for its context and call other tasks.
pub fn native_async<F, R>(run: F) -> Executable
where
    F: Fn(AsyncCall) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<Tensor>, ProgramError>> + 'static,
{
    Executable::new(Body::Async(Arc::new(move |call| Box::pin(run(call)))))
}

/// A program that a user's actor runs.
pub fn native_actor(actor: Recipient<Invoke>) -> Executable {
    Executable::new(Body::Actor(actor))
}

impl Executable {
    fn new(body: Body) -> Self {
        Self { body, inference: None, inputs: None, outputs: None }
    }

    /// Runs on the arbiter instead of the pool: for what takes less than 50 µs. What takes longer holds up every other
    /// call of the task; more than a millisecond is logged. Of async programs and actors this changes nothing.
    #[must_use]
    pub fn inline(mut self) -> Self {
        if let Body::Pool(program) = self.body {
            self.body = Body::Inline(program);
        }
        self
    }

    /// Runs on the arbiter when `cheap` says of the inputs that the run takes less than 50 µs, else on the pool. `cheap`
    /// runs on the arbiter. Of async programs and actors this changes nothing.
    #[must_use]
    pub fn inline_if(mut self, cheap: impl Fn(&[TensorMetadata]) -> bool + Send + Sync + 'static) -> Self {
        if let Body::Pool(program) = self.body {
            self.body = Body::Sized(program, Arc::new(cheap));
        }
        self
    }

    /// Says how many inputs there are; a call with another number is refused.
    #[must_use]
    pub fn inputs(mut self, count: usize) -> Self {
        self.inputs = Some(count);
        self
    }

    /// Says how many outputs there are, so that who registers the program need not.
    #[must_use]
    pub fn outputs(mut self, count: usize) -> Self {
        self.outputs = Some(count);
        self
    }

    /// Says what the program takes and gives. Inputs are checked against it before a run; outputs whose dtype and shape
    /// follow from the inputs have their metadata settled before the run.
    #[must_use]
    pub fn signature(mut self, signature: Signature) -> Self {
        (self.inputs, self.outputs) = (Some(signature.inputs.len()), Some(signature.outputs.len()));
        self.inference = Some(Inference::Signature(Arc::new(signature)));
        self
    }

    /// Like [`signature`](Executable::signature), where dtypes and shapes follow in a way that no signature says:
    /// `infer` gives for each output what is known of it, or refuses the inputs. It runs on the arbiter.
    #[must_use]
    pub fn infer_by<F>(mut self, infer: F) -> Self
    where
        F: Fn(&[TensorMetadata]) -> Result<Vec<Option<TensorMetadata>>, ProgramError> + Send + Sync + 'static,
    {
        self.inference = Some(Inference::Function(Arc::new(infer)));
        self
    }

    /// Whether a call with so many inputs and outputs fits it; else why not.
    pub(crate) fn check_arity(&self, inputs: usize, outputs: usize) -> Result<(), String> {
        if let Some(takes) = self.inputs
            && takes != inputs
        {
            return Err(format!("the program takes {takes} inputs, {inputs} were given"));
        }
        match self.outputs {
            Some(gives) if gives != outputs => {
                Err(format!("the program has {gives} outputs, the call names {outputs}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(crate) fn is_async(&self) -> bool {
        matches!(self.body, Body::Async(_))
    }

    /// Whether every run is done on the arbiter.
    pub(crate) fn is_always_inline(&self) -> bool {
        matches!(self.body, Body::Inline(_))
    }

    /// Whether a run with such inputs is done on the arbiter.
    pub(crate) fn is_inline(&self, inputs: &[TensorMetadata]) -> bool {
        match &self.body {
            Body::Inline(_) => true,
            // A function of the user's: its panic is not the actor's (I9).
            Body::Sized(_, cheap) => catch_unwind(AssertUnwindSafe(|| cheap(inputs))).unwrap_or(false),
            Body::Pool(_) | Body::Async(_) | Body::Actor(_) => false,
        }
    }

    /// What names, dtypes and lengths are known of inputs and outputs.
    pub(crate) fn known_signature(&self) -> Option<&Signature> {
        match &self.inference {
            Some(Inference::Signature(signature)) => Some(signature),
            Some(Inference::Function(_)) | None => None,
        }
    }

    /// Whether anything is inferred at all.
    pub(crate) fn infers(&self) -> bool {
        self.inference.is_some()
    }

    /// Checks the inputs and says what is known of the outputs; nothing, if the program says nothing of them.
    pub(crate) fn infer(&self, inputs: &[TensorMetadata]) -> Result<Vec<Option<TensorMetadata>>, ProgramError> {
        match &self.inference {
            None => Ok(Vec::new()),
            Some(Inference::Signature(signature)) => signature.infer(inputs).map_err(ProgramError::invalid),
            Some(Inference::Function(infer)) => catch_unwind(AssertUnwindSafe(|| infer(inputs))).unwrap_or_else(|_| {
                let message = "the program panicked when it was asked what its outputs would be";
                Err(ProgramError::new(ErrorCode::Internal, message))
            }),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Body::Inline(_) => "inline",
            Body::Pool(_) => "pool",
            Body::Sized(..) => "inline or pool",
            Body::Async(_) => "async",
            Body::Actor(_) => "actor",
        })
    }
}

impl fmt::Debug for Inference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Inference::Signature(signature) => signature.fmt(f),
            Inference::Function(_) => f.write_str("function"),
        }
    }
}

impl fmt::Debug for Executable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executable").field("body", &self.body).field("outputs", &self.outputs).finish_non_exhaustive()
    }
}

/// Runs an actor's program.
pub(crate) async fn invoke(actor: Recipient<Invoke>, call: ProgramCall) -> Result<Vec<Tensor>, ProgramError> {
    let invoke =
        Invoke { program: call.program.clone(), inputs: call.inputs, baggage: call.baggage, deadline: call.deadline };
    actor.send(invoke).await.unwrap_or_else(|error| {
        let message = format!("the actor that runs {:?} is gone: {error}", call.program);
        Err(ProgramError::new(ErrorCode::Internal, message))
    })
}
