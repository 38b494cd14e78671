//! A program of a context, by its name: from its bytes to what can run. Pure.

use std::sync::Arc;

use remex_protocol::{
    ErrorCode, RemoteError,
    calls::RegisterFunctionReply,
    ids::{CallId, DeviceIndex},
};
use smallvec::SmallVec;

use super::{
    Executable, Source,
    registry::{Bound, OutputDevices, Registration, ToCompile},
};
use crate::{Result, objects::Binding, session::SessionId};

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Arc<str>,
    pub(super) format: String,
    pub(super) source: Source,
    pub(super) devices: Vec<DeviceIndex>,
    pub(super) default_device: DeviceIndex,
    pub(super) state: State,
    /// How many indexes stand for it.
    pub(super) users: usize,
}

#[derive(Debug)]
pub(super) enum State {
    /// Its bytes are stored; it is compiled at its first call.
    Stored,
    Compiling {
        compilation: u64,
        /// Names under which calls wait that came before the program's bytes.
        aliases: Vec<u64>,
        waiting: Vec<(SessionId, CallId)>,
    },
    Ready(Arc<Executable>),
}

/// The bytes that a program takes.
pub(super) fn size(source: &Source) -> usize {
    let golden = source.golden.iter().flat_map(|golden| golden.inputs.iter().chain(&golden.outputs));
    source.bytes.len() + golden.map(|tensor| tensor.bytes().len()).sum::<usize>()
}

impl Entry {
    pub(super) fn is_same(&self, new: &Registration) -> bool {
        self.format == new.format
            && self.source.entry == new.source.entry
            && self.source.bytes == new.source.bytes
            && self.devices == new.output_devices
    }

    pub(super) fn compile(&mut self, compilations: &mut u64, waiting: Vec<(SessionId, CallId)>) -> ToCompile {
        *compilations += 1;
        self.state = State::Compiling { compilation: *compilations, aliases: Vec::new(), waiting };
        ToCompile { compilation: *compilations, format: self.format.clone(), source: self.source.clone() }
    }

    pub(super) fn check_outputs(&self, program: &Executable) -> Result<()> {
        match program.outputs {
            Some(count) if !self.devices.is_empty() && count != self.devices.len() => {
                let devices = self.devices.len();
                let message = format!("the program has {count} outputs, but devices for {devices} were given");
                Err(RemoteError::new(ErrorCode::InvalidArgument, message).in_program(&self.name).into())
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The devices of the outputs, where they are known.
    pub(super) fn outputs(&self) -> Option<OutputDevices> {
        if !self.devices.is_empty() {
            return Some(SmallVec::from_slice(&self.devices));
        }
        match &self.state {
            State::Ready(program) => program.outputs.map(|count| SmallVec::from_elem(self.default_device, count)),
            State::Stored | State::Compiling { .. } => None,
        }
    }

    pub(super) fn reply(&self) -> RegisterFunctionReply {
        let signature = match &self.state {
            State::Ready(program) => program.known_signature().cloned(),
            State::Stored | State::Compiling { .. } => None,
        };
        RegisterFunctionReply { signature, output_devices: self.outputs().map(SmallVec::into_vec) }
    }

    pub(super) fn bound(&self) -> Bound {
        let binding = match &self.state {
            State::Ready(program) => Binding::Ready(program.clone()),
            State::Compiling { compilation, .. } => Binding::Compiling(*compilation),
            // `find` has just begun to compile it.
            State::Stored => Binding::Compiling(0),
        };
        Bound { name: self.name.clone(), binding, outputs: self.outputs() }
    }
}
