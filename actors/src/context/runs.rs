//! Calls that run something, as the serving side checks them before anything runs or is stored (I7).

use std::{sync::Arc, time::Instant};

use remex_protocol::{
    ErrorCode, RemoteError, Rpc,
    calls::*,
    ids::{CallId, DeviceIndex, ObjectId},
};

use super::serving::{Served, Serving, no_such_device, until};
use crate::{
    Error, Result,
    objects::{Binding, Run, Step},
    programs::registry::ToCompile,
    session::SessionId,
};

impl Serving {
    pub(super) fn execute(
        &mut self,
        session: SessionId,
        at: Instant,
        call: CallId,
        mut request: Box<RemoteExecuteRequest>,
        served: &mut Served,
    ) {
        let released = std::mem::take(&mut request.released);
        match self.check_execute(session, at, call, &mut request) {
            Ok((run, compile)) => {
                served.compile.extend(compile);
                served.steps.push(Step::Run(run));
            }
            Err(error) => {
                let name = self.registry.name(session, request.program);
                let error = error.map(|error| error.in_program(&name));
                let made = request.outputs.iter().map(|output| output.object).chain(request.out_chain);
                served.steps.push(self.refuse_run(call, RemoteExecuteRequest::KIND, made, error));
            }
        }
        if !released.is_empty() {
            served.steps.push(Step::Release { objects: released });
        }
    }

    pub(super) fn execute_op(&self, at: Instant, call: CallId, request: RemoteExecuteOpRequest, served: &mut Served) {
        let made: Vec<_> = request.outputs.iter().map(|output| output.object).chain(request.out_chain).collect();
        let op = request.op.clone();
        let step = match self.check_op(at, call, request) {
            Ok(run) => Step::Run(Box::new(run)),
            Err(error) => {
                let error = error.map(|error| error.in_program(&op));
                self.refuse_run(call, RemoteExecuteOpRequest::KIND, made.into_iter(), error)
            }
        };
        served.steps.push(step);
    }

    fn refuse_run(&self, call: CallId, kind: u8, made: impl Iterator<Item = ObjectId>, error: Error) -> Step {
        let error = error.map(|error| error.on_task(&self.task).of_call(call));
        // On a device of another task nothing is poisoned: that task knows nothing of this call.
        let outputs = made.filter(|object| self.own_device(*object).is_ok()).collect();
        Step::Refuse { call, kind, outputs, error }
    }

    fn check_execute(
        &mut self,
        session: SessionId,
        at: Instant,
        call: CallId,
        request: &mut RemoteExecuteRequest,
    ) -> Result<(Box<Run>, Option<ToCompile>)> {
        self.check_made(request.outputs.iter().map(|output| output.object).chain(request.out_chain))?;
        self.localise(&mut request.inputs)?;
        self.localise_chains(&mut request.in_chains)?;
        let (bound, compile) = self.registry.find(session, request.program)?;
        if let Some(devices) = &bound.outputs {
            self.check_outputs(&bound.name, devices, request)?;
        }
        if let Binding::Ready(program) = &bound.binding {
            program.check_arity(request.inputs.len(), request.outputs.len()).map_err(|message| {
                Error::from(RemoteError::new(ErrorCode::InvalidArgument, message).in_program(&bound.name))
            })?;
        }
        let lane = request.outputs.first().map_or(0, |output| self.lane(output.object.device));
        let run = Box::new(Run {
            call,
            kind: RemoteExecuteRequest::KIND,
            name: bound.name,
            program: bound.binding,
            lane,
            inputs: std::mem::take(&mut request.inputs),
            outputs: std::mem::take(&mut request.outputs),
            in_chains: std::mem::take(&mut request.in_chains),
            out_chain: request.out_chain,
            deadline: until(at, request.time_left_ms),
            baggage: std::mem::take(&mut request.baggage),
            readers: self.readers(&request.readers),
        });
        Ok((run, compile))
    }

    /// An op is a program that is made for one call.
    fn check_op(&self, at: Instant, call: CallId, mut request: RemoteExecuteOpRequest) -> Result<Run> {
        self.check_made(request.outputs.iter().map(|output| output.object).chain(request.out_chain))?;
        if !self.is_own(request.device) {
            let message = format!("{} is not a device of this task: an op runs on one", request.device);
            return Err(Error::new(ErrorCode::DeviceNotFound, message));
        }
        self.localise(&mut request.inputs)?;
        self.localise_chains(&mut request.in_chains)?;
        let (given, made) = (request.inputs.len(), request.outputs.len());
        let program = self.ops.bind(&request.op, request.attrs, given, made)?;
        Ok(Run {
            call,
            kind: RemoteExecuteOpRequest::KIND,
            name: request.op.into(),
            program: Binding::Ready(Arc::new(program)),
            lane: self.lane(request.device),
            inputs: request.inputs,
            outputs: request.outputs,
            in_chains: request.in_chains,
            out_chain: request.out_chain,
            deadline: until(at, request.time_left_ms),
            baggage: Vec::new(),
            readers: Vec::new(),
        })
    }

    /// The sessions of tasks that will fetch outputs, as far as there are any.
    fn readers(&self, readers: &[Reader]) -> Vec<(u32, SessionId)> {
        if readers.is_empty() {
            return Vec::new();
        }
        let sessions = self.sessions_of_tasks();
        let session = |reader: &Reader| sessions.get(&reader.task).map(|session| (reader.output, *session));
        readers.iter().filter_map(session).collect()
    }

    fn lane(&self, device: DeviceIndex) -> u16 {
        self.devices[device.position()].1
    }

    fn check_made(&self, mut made: impl Iterator<Item = ObjectId>) -> Result<()> {
        made.try_for_each(|object| self.own_device(object))
    }

    /// Checks inputs, and says where they come from as this task sees it.
    fn localise(&self, inputs: &mut [InputRef]) -> Result<()> {
        for input in inputs {
            if input.object.device.position() >= self.devices.len() {
                return Err(no_such_device(input.object));
            }
            input.origin = self.local(input.origin)?;
        }
        Ok(())
    }

    fn localise_chains(&self, chains: &mut [InputRef]) -> Result<()> {
        self.localise(chains)?;
        match chains.iter().find(|chain| matches!(chain.origin, Origin::Owner(_))) {
            None => Ok(()),
            Some(InputRef { object, .. }) => {
                let message = format!("chain {object} is of another task: chains order work on their own task only");
                Err(Error::new(ErrorCode::InvalidArgument, message))
            }
        }
    }

    fn check_outputs(&self, name: &str, devices: &[DeviceIndex], request: &RemoteExecuteRequest) -> Result<()> {
        let wrong =
            |message: String| Err(Error::from(RemoteError::new(ErrorCode::InvalidArgument, message).in_program(name)));
        if devices.len() != request.outputs.len() {
            let (has, named) = (devices.len(), request.outputs.len());
            return wrong(format!("the program has {has} outputs, the call names {named}"));
        }
        let differs = devices.iter().zip(&request.outputs).position(|(device, output)| *device != output.object.device);
        match differs {
            Some(i) => {
                let (named, spec) = (request.outputs[i].object.device, devices[i]);
                wrong(format!("output {i} is named on device {named}, the registration says {spec}"))
            }
            None => Ok(()),
        }
    }
}
