//! What is checked of a call on its caller's thread, before it is admitted (I7).

use std::sync::Arc;

use remex_protocol::{
    DeviceName, ErrorCode,
    frame::{MAX_ARGS, MAX_BAGGAGE},
    ids::{DeviceIndex, TaskIndex},
};
use smallvec::SmallVec;

use super::{ContextShared, ObjectInput, OutputForm, RemoteExecute, messages::Parts};
use crate::{Error, Result, handles::ObjectRef};

/// The devices of a call's outputs.
pub(super) type OutputDevices = SmallVec<[DeviceIndex; 4]>;

/// A call that was checked.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) receiver: TaskIndex,
    pub(super) devices: OutputDevices,
}

pub(super) fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

impl ContextShared {
    /// Checks a call before anything is sent (I7).
    pub(super) fn plan(self: &Arc<Self>, RemoteExecute { parts: execute }: &RemoteExecute) -> Result<Plan> {
        let program = &execute.program;
        if !program.is_of(self) {
            return Err(invalid(format!("program {:?} was registered in another context", program.name())));
        }
        let receiver = program.receiver();
        self.accepts_calls()?;
        self.link_of(program)?;
        let spec = match &execute.spec {
            Some(spec) => Some(OutputDevices::from_vec(self.device_indexes(&spec.output_devices)?)),
            None => program.output_devices().map(OutputDevices::from_slice),
        };
        let devices = match (&execute.form, spec) {
            (OutputForm::New { .. }, Some(devices)) => devices,
            (OutputForm::New { .. }, None) => {
                let name = program.name();
                return Err(invalid(format!("program {name:?} does not say how many outputs it has: give a spec")));
            }
            (OutputForm::Given(objects), spec) => {
                let given: OutputDevices = objects.iter().map(|object| object.id().device).collect();
                self.check_given(objects, spec.as_deref(), &given)?;
                given
            }
        };
        if let OutputForm::New { handles } = execute.form
            && handles > devices.len()
        {
            let outputs = devices.len();
            return Err(invalid(format!("handles for the last {handles} outputs were asked for, there are {outputs}")));
        }
        if execute.inputs.len() > MAX_ARGS || devices.len() > MAX_ARGS {
            return Err(invalid(format!("a call takes and gives at most {MAX_ARGS} objects")));
        }
        let baggage: usize = execute.baggage.iter().map(|(key, value)| key.len() + value.len()).sum();
        if baggage > MAX_BAGGAGE {
            return Err(invalid(format!("the baggage has {baggage} bytes, at most {MAX_BAGGAGE} are allowed")));
        }
        for &device in &devices {
            if self.owner(device) != Some(receiver) {
                let (device, receiver) = (self.device_name(device), self.task_name(receiver));
                return Err(invalid(format!(
                    "output device {device} is not one of {receiver}, which runs the program"
                )));
            }
        }
        self.check_inputs(execute)?;
        self.check_chains(execute, receiver)?;
        Ok(Plan { receiver, devices })
    }

    fn check_given(
        self: &Arc<Self>,
        objects: &[ObjectRef],
        spec: Option<&[DeviceIndex]>,
        given: &[DeviceIndex],
    ) -> Result<()> {
        if let Some(object) = objects.iter().find(|object| !object.is_of(self)) {
            return Err(invalid(format!("output {} is of another context", object.id())));
        }
        match spec {
            Some(spec) if spec.len() != given.len() => {
                Err(invalid(format!("{} output ids were given, the spec has {} outputs", given.len(), spec.len())))
            }
            Some(spec) => match spec.iter().zip(given).position(|(a, b)| a != b) {
                Some(i) => {
                    let (id, spec) = (self.device_name(given[i]), self.device_name(spec[i]));
                    Err(invalid(format!("the id given for output {i} is on {id}, the spec says {spec}")))
                }
                None => Ok(()),
            },
            None => Ok(()),
        }
    }

    fn check_inputs(self: &Arc<Self>, execute: &Parts) -> Result<()> {
        execute.inputs.iter().enumerate().try_for_each(|(i, input)| check_input(self, i, input))
    }

    /// A chain that a call runs after is of its receiver: between tasks `after` orders.
    fn check_chains(self: &Arc<Self>, execute: &Parts, receiver: TaskIndex) -> Result<()> {
        for (i, chain) in execute.in_chains.iter().enumerate() {
            if !chain.object().is_of(self) {
                return Err(invalid(format!("in-chain {i}, {}, is of another context", chain.id())));
            }
            chain.object().check_lives()?;
            if chain.object().owner() != receiver {
                let (task, receiver) = (chain.task(), self.task_name(receiver));
                let message =
                    format!("in-chain {i} is on {task}, the call goes to {receiver}: use `after` between tasks");
                return Err(invalid(message));
            }
        }
        if execute.in_chains.len() > MAX_ARGS {
            return Err(invalid(format!("a call comes after at most {MAX_ARGS} chains")));
        }
        Ok(())
    }

    pub(crate) fn device_indexes(&self, names: &[DeviceName]) -> Result<Vec<DeviceIndex>> {
        names.iter().map(|name| self.device_index(name)).collect()
    }
}

/// Whether an input can be meant.
pub(super) fn check_input(context: &Arc<ContextShared>, i: usize, input: &ObjectInput) -> Result<()> {
    match input {
        ObjectInput::Ref(object) if !object.is_of(context) => {
            Err(invalid(format!("input {i}, {}, is of another context", object.id())))
        }
        ObjectInput::Id(id) if context.owner(id.device).is_none() => {
            let message = format!("input {i}, {id}, is on a device that the context does not have");
            Err(Error::new(ErrorCode::DeviceNotFound, message))
        }
        ObjectInput::Ref(object) => object.check_lives(),
        ObjectInput::Id(_) => Ok(()),
    }
}
