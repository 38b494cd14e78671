//! Runs user code so that its panics stay with it (I9).

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use remex_protocol::{ErrorCode, RemoteError, tensor::Tensor};

use crate::{
    Error, Result,
    programs::{Compiler, Executable, Program, ProgramCall, ProgramError, Source, check_golden},
};

// With `panic = "abort"` a program's panic would end the task, and every promise with it.
#[cfg(panic = "abort")]
compile_error!("remex contains the panics of programs and cannot do so with panic = \"abort\"");

/// Runs a sync program.
pub(super) fn run(program: &dyn Program, mut call: ProgramCall) -> Result<Vec<Tensor>> {
    let name = call.program.clone();
    // What a program leaves half done is its own; the call's outputs are thrown away with the panic.
    match catch_unwind(AssertUnwindSafe(|| program.run(&mut call).map(|()| call))) {
        Ok(Ok(call)) => call.outputs.finish().map_err(|error| failed(error, &name)),
        Ok(Err(error)) => Err(failed(error, &name)),
        Err(panic) => Err(panicked(&*panic, &name)),
    }
}

/// Compiles a program and tries it on its golden inputs.
pub(super) fn compile(compiler: &dyn Compiler, source: &Source) -> Result<Arc<Executable>> {
    let made = catch_unwind(AssertUnwindSafe(|| {
        let executable = compiler.compile(source)?;
        if let Some(golden) = &source.golden {
            check_golden(&source.name, &executable, golden)?;
        }
        Ok(executable)
    }));
    match made {
        Ok(Ok(executable)) => Ok(Arc::new(executable)),
        Ok(Err(error)) => Err(failed(error, &source.name)),
        Err(panic) => {
            let message = format!("the compiler panicked: {}", words(&*panic));
            Err(RemoteError::new(ErrorCode::CompilationFailed, message).in_program(&source.name).into())
        }
    }
}

pub(super) fn failed(error: ProgramError, program: &str) -> Error {
    error.of_program(program).into()
}

pub(super) fn panicked(panic: &(dyn Any + Send), program: &str) -> Error {
    let message = format!("the program panicked: {}", words(panic));
    RemoteError::new(ErrorCode::Internal, message).in_program(program).into()
}

fn words(panic: &(dyn Any + Send)) -> &str {
    match (panic.downcast_ref::<&str>(), panic.downcast_ref::<String>()) {
        (Some(words), _) => words,
        (None, Some(words)) => words,
        (None, None) => "without words",
    }
}
