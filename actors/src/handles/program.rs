//! A program that was registered on a task.

use std::sync::{Arc, OnceLock};

use remex_protocol::{
    DeviceName, RemoteError,
    calls::RegisterFunctionReply,
    ids::{DeviceIndex, ProgramIndex, TaskIndex},
    signature::Signature,
    tensor::TensorMetadata,
};

use crate::{Error, Result, context::ContextShared, programs::ProgramError, promise::OutputMetadata};

/// The devices of a program's outputs, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteExecuteSpec {
    /// In the program's order. All must belong to the task that the program runs on.
    pub output_devices: Vec<DeviceName>,
}

/// A program that was registered on a task. Clones share it.
#[derive(Clone, Debug)]
pub struct ProgramHandle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    context: Arc<ContextShared>,
    task: TaskIndex,
    index: ProgramIndex,
    name: Arc<str>,
    /// Which link to the task it was registered on.
    generation: u32,
    outputs: OnceLock<Vec<DeviceIndex>>,
    signature: OnceLock<Signature>,
}

impl ProgramHandle {
    pub(crate) fn new(
        context: Arc<ContextShared>,
        task: TaskIndex,
        index: ProgramIndex,
        name: Arc<str>,
        generation: u32,
    ) -> Self {
        let (outputs, signature) = (OnceLock::new(), OnceLock::new());
        Self(Arc::new(Inner { context, task, index, name, generation, outputs, signature }))
    }

    /// The name that it was registered under.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    pub(crate) fn shared_name(&self) -> Arc<str> {
        self.0.name.clone()
    }

    /// The task that it was registered on.
    pub fn task(&self) -> &remex_protocol::cluster::TaskName {
        self.0.context.task_name(self.0.task)
    }

    /// What it takes and gives, if its format says so and the registration was answered. With it calls settle the metadata of
    /// outputs that follow from inputs whose metadata is known here, before anything is sent.
    pub fn signature(&self) -> Option<&Signature> {
        self.0.signature.get()
    }

    /// The devices of its outputs, if they are known.
    pub fn spec(&self) -> Option<RemoteExecuteSpec> {
        let name = |device: &DeviceIndex| self.0.context.device_name(*device).clone();
        self.0.outputs.get().map(|devices| RemoteExecuteSpec { output_devices: devices.iter().map(name).collect() })
    }

    /// What follows from the inputs of a call with so many outputs, as far as it is known here; the error is what the task will
    /// say. `None` if nothing can be said here: then the task says it.
    pub(crate) fn infer(
        &self,
        inputs: impl Iterator<Item = Option<TensorMetadata>>,
        outputs: usize,
    ) -> Option<Result<OutputMetadata>> {
        let signature = self.signature().filter(|signature| signature.outputs.len() == outputs)?;
        let inputs = inputs.collect::<Option<Vec<_>>>()?;
        let inferred = signature.infer(&inputs).map_err(|message| {
            let error: RemoteError = ProgramError::invalid(message).of_program(self.name());
            Error::from(error.on_task(self.task()))
        });
        Some(inferred.map(OutputMetadata::from_vec))
    }

    pub(crate) fn receiver(&self) -> TaskIndex {
        self.0.task
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    pub(crate) fn generation(&self) -> u32 {
        self.0.generation
    }

    pub(crate) fn index(&self) -> ProgramIndex {
        self.0.index
    }

    pub(crate) fn is_of(&self, context: &Arc<ContextShared>) -> bool {
        Arc::ptr_eq(&self.0.context, context)
    }

    pub(crate) fn output_devices(&self) -> Option<&[DeviceIndex]> {
        self.0.outputs.get().map(Vec::as_slice)
    }

    pub(crate) fn set_outputs(&self, devices: Vec<DeviceIndex>) {
        let _ = self.0.outputs.set(devices);
    }

    /// The registration was answered.
    pub(crate) fn registered(&self, reply: RegisterFunctionReply) {
        if let Some(signature) = reply.signature {
            let _ = self.0.signature.set(signature);
        }
        if let Some(devices) = reply.output_devices {
            self.set_outputs(devices);
        }
    }
}
