//! What a program is handed when it runs, and what it hands back.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use actix::{Message, Recipient};
use remex_protocol::tensor::{Tensor, TensorMetadata};
use tokio::time::Instant;

use super::ProgramError;
use crate::envelope::post;

/// One run of a program.
#[derive(Debug)]
pub struct ProgramCall {
    /// The name that the program was registered under.
    pub program: Arc<str>,
    /// Its inputs, in order.
    pub inputs: Vec<Tensor>,
    /// Where its outputs go.
    pub outputs: Outputs,
    /// The caller's key-values.
    pub baggage: Vec<(String, String)>,
    /// When the caller gives up.
    pub deadline: Instant,
    pub(crate) cancelled: Arc<AtomicBool>,
}

impl ProgramCall {
    /// A run of its own, for tests.
    #[cfg(test)]
    pub(crate) fn sample(program: &str, inputs: Vec<Tensor>, outputs: usize) -> Self {
        let (program, baggage, deadline) = (program.into(), Vec::new(), Instant::now());
        Self { program, inputs, outputs: Outputs::new(outputs, 0, None), baggage, deadline, cancelled: Arc::default() }
    }

    /// Whether the caller has given up. A long sync program asks now and then, and returns early: nobody wants its
    /// result.
    pub fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

/// The outputs of one run. Those that are still empty when the program returns fail.
#[derive(Debug)]
pub struct Outputs {
    slots: Vec<Option<Tensor>>,
    /// Names the run to whoever keeps its outputs.
    job: u64,
    early: Option<Arc<Recipient<Published>>>,
}

impl Outputs {
    pub(crate) fn new(count: usize, job: u64, early: Option<Arc<Recipient<Published>>>) -> Self {
        Self { slots: vec![None; count], job, early }
    }

    /// How many the call names.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether the call names none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Gives output `output`, to be seen when the program is done. Given twice, the last one counts.
    pub fn set(&mut self, output: usize, tensor: Tensor) -> Result<(), ProgramError> {
        let len = self.slots.len();
        *self.slots.get_mut(output).ok_or_else(|| no_such_output(output, len))? = Some(tensor);
        Ok(())
    }

    /// Gives output `output`, to be seen and used at once, whatever becomes of the rest.
    pub fn publish(&mut self, output: usize, tensor: Tensor) -> Result<(), ProgramError> {
        self.set(output, tensor.clone())?;
        self.tell(output, Early::Tensor(tensor));
        Ok(())
    }

    /// Says what output `output` will be, before it is there.
    pub fn metadata(&mut self, output: usize, metadata: TensorMetadata) -> Result<(), ProgramError> {
        if output >= self.slots.len() {
            return Err(no_such_output(output, self.slots.len()));
        }
        self.tell(output, Early::Metadata(metadata));
        Ok(())
    }

    /// Gives all outputs, in order.
    pub fn set_all(&mut self, tensors: Vec<Tensor>) -> Result<(), ProgramError> {
        if tensors.len() != self.slots.len() {
            let message = format!("the program gave {} outputs, the call names {}", tensors.len(), self.slots.len());
            return Err(ProgramError::new(remex_protocol::ErrorCode::Internal, message));
        }
        self.slots = tensors.into_iter().map(Some).collect();
        Ok(())
    }

    /// What was given, if it is all there.
    pub(crate) fn finish(self) -> Result<Vec<Tensor>, ProgramError> {
        let missing = self.slots.iter().position(Option::is_none);
        match missing {
            None => Ok(self.slots.into_iter().flatten().collect()),
            Some(output) => {
                let message = format!("the program returned without giving output {output}");
                Err(ProgramError::new(remex_protocol::ErrorCode::Internal, message))
            }
        }
    }

    fn tell(&self, output: usize, what: Early) {
        if let Some(early) = &self.early {
            post(early, Published { job: self.job, output, what });
        }
    }
}

fn no_such_output(output: usize, len: usize) -> ProgramError {
    let message = format!("the program gave output {output}, the call names {len}");
    ProgramError::new(remex_protocol::ErrorCode::Internal, message)
}

/// Something is known of an output before the program is done. Sent to the `ObjectManager`.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Published {
    /// The run.
    pub job: u64,
    /// Which output, from 0.
    pub output: usize,
    /// What is known.
    pub what: Early,
}

/// What is known of an output.
#[derive(Debug)]
pub enum Early {
    /// What it will be.
    Metadata(TensorMetadata),
    /// All of it.
    Tensor(Tensor),
}

/// What a user's actor that serves as a program is sent. It answers with as many outputs as the call names.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Vec<Tensor>, ProgramError>")]
pub struct Invoke {
    /// The name that the program was registered under.
    pub program: Arc<str>,
    /// Its inputs, in order.
    pub inputs: Vec<Tensor>,
    /// The caller's key-values.
    pub baggage: Vec<(String, String)>,
    /// When the caller gives up.
    pub deadline: Instant,
}
