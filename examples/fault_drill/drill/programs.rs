//! What the tasks of a drill can do. Every program gives its call's number plus the sum of its inputs' first elements, so that a
//! caller knows what it must be.

use std::time::Duration;

use remex::{Attrs, Op, OpRegistry, Program, ProgramCall, Reduction, ServerBuilder, native_program, prelude::*};

use super::{Wrong, ledger::Ledger};

/// The baggage with a call's number.
pub(super) const NUMBER: &str = "number";
/// The baggage with how long a program waits, in milliseconds.
pub(super) const WAIT: &str = "wait";
/// The baggage with a collective's name, or with the task that a program calls.
pub(super) const WITH: &str = "with";
/// The baggage with the number of a program's own call.
pub(super) const INNER: &str = "inner";
/// The group of all workers.
pub(super) const GROUP: &str = "workers";
/// One run in so many is done twice, where that is wanted.
const SELDOM: u64 = 20;

/// Gives a worker its programs. Called in the worker.
pub(super) fn of(ledger: &Ledger, wrong: Wrong, server: ServerBuilder) -> ServerBuilder {
    let mut ops = OpRegistry::empty();
    // The name is free.
    let _ = ops.register(Note(ledger.clone()));
    server
        .ops(ops)
        .program("add", native_program(Add(ledger.clone(), wrong)).outputs(1))
        .program("wait", wait(ledger.clone()))
        .program("reduce", reduce(ledger.clone()))
        .program("relay", relay(ledger.clone()))
}

/// A value, as programs give it.
pub(super) fn tensor(value: i64, elements: usize) -> Result<Tensor, remex::tensor::TensorError> {
    let mut all = vec![0; elements.max(1)];
    all[0] = value;
    Tensor::from_slice([all.len() as u64], &all)
}

/// The value of a tensor.
pub(super) fn value(tensor: &Tensor) -> Option<i64> {
    tensor.elements::<i64>().ok()?.first().copied()
}

fn sum(number: u64, inputs: &[Tensor]) -> i64 {
    inputs.iter().filter_map(value).fold(number as i64, i64::wrapping_add)
}

fn word<'a>(baggage: &'a [(String, String)], key: &str) -> Result<&'a str, ProgramError> {
    let found = baggage.iter().find(|(name, _)| name == key);
    found.map(|(_, value)| &**value).ok_or_else(|| ProgramError::invalid(format!("the call has no baggage {key:?}")))
}

fn number(baggage: &[(String, String)], key: &str) -> Result<u64, ProgramError> {
    word(baggage, key)?.parse().map_err(|error| ProgramError::invalid(format!("{key}: {error}")))
}

fn invalid(error: impl std::fmt::Display) -> ProgramError {
    ProgramError::invalid(error.to_string())
}

/// On the pool.
struct Add(Ledger, Wrong);

impl Program for Add {
    fn run(&self, call: &mut ProgramCall) -> Result<(), ProgramError> {
        let number = number(&call.baggage, NUMBER)?;
        self.0.ran(number);
        if self.1 == Wrong::RunsTwice && number.is_multiple_of(SELDOM) {
            self.0.ran(number);
        }
        let made = sum(number, &call.inputs);
        let made = if self.1 == Wrong::Lies && number.is_multiple_of(SELDOM) { made + 1 } else { made };
        call.outputs.set(0, tensor(made, 4).map_err(invalid)?)
    }
}

/// On the arbiter, and it waits.
fn wait(ledger: Ledger) -> remex::Executable {
    native_async(move |call: AsyncCall| {
        let ledger = ledger.clone();
        async move {
            let (number, ms) = (number(&call.baggage, NUMBER)?, number(&call.baggage, WAIT)?);
            ledger.ran(number);
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(vec![tensor(sum(number, &call.inputs), 4).map_err(invalid)?])
        }
    })
    .outputs(1)
}

/// All workers together: each gives its number, and has the sum of all.
fn reduce(ledger: Ledger) -> remex::Executable {
    native_async(move |call: AsyncCall| {
        let ledger = ledger.clone();
        async move {
            let number = number(&call.baggage, NUMBER)?;
            ledger.ran(number);
            let group = call.context()?.collective(GROUP)?;
            let own = tensor(sum(number, &call.inputs), 3).map_err(invalid)?;
            Ok(vec![group.all_reduce(Reduction::Sum, word(&call.baggage, WITH)?, own).await?])
        }
    })
    .outputs(1)
}

/// Has another task do it.
fn relay(ledger: Ledger) -> remex::Executable {
    native_async(move |call: AsyncCall| {
        let ledger = ledger.clone();
        async move {
            let (own, inner) = (number(&call.baggage, NUMBER)?, number(&call.baggage, INNER)?);
            ledger.ran(own);
            let (context, to) = (call.context()?, word(&call.baggage, WITH)?);
            let add = context.register(to, RegisterFunction::native("add")).await?;
            let device = context.device_of(to)?;
            let mine = context.put(&device, tensor(sum(own, &call.inputs), 2).map_err(invalid)?).await?;
            let there = RemoteExecute::new(&add).input(&mine).handles(1).baggage(NUMBER, inner.to_string());
            let there = context.execute(there).await?;
            Ok(vec![there.handles[0].fetch().await?])
        }
    })
    .outputs(1)
}

/// An op that gives the number in its attribute.
struct Note(Ledger);

impl Op for Note {
    fn name(&self) -> &str {
        "note"
    }

    fn infer(&self, _: &[TensorMetadata], _: &Attrs) -> Result<Vec<Option<TensorMetadata>>, ProgramError> {
        Ok(vec![Some(TensorMetadata::new(DType::I64, [1]))])
    }

    fn run(&self, inputs: &[Tensor], attrs: &Attrs) -> Result<Vec<Tensor>, ProgramError> {
        let number = *attrs.int(NUMBER).map_err(invalid)? as u64;
        self.0.ran(number);
        Ok(vec![tensor(sum(number, inputs), 1).map_err(invalid)?])
    }
}
