//! What a caller asks of a context: checked, admitted, queued. Runs on the caller's thread.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use remex_protocol::{
    Call, DeviceName, ErrorCode, Reply, Rpc,
    calls::*,
    frame::{MAX_ARGS, MAX_BAGGAGE},
    ids::{CallId, DeviceIndex, ObjectId, TaskIndex},
    tensor::Tensor,
};
use tokio::time::Instant;

use super::{ContextShared, ObjectInput, OutputForm, RemoteExecute, ingress::QueuedCall};
use crate::{
    Error, Result,
    client::Admission,
    deadline,
    handles::{Chain, Execution, ObjectRef, TensorHandle},
    pending::Promised,
    promise::{Promise, call_cell, promise},
};

fn invalid(message: String) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

impl ContextShared {
    /// Runs a program: waits for the receiver's credits, not for the receiver.
    pub async fn execute(self: &Arc<Self>, execute: RemoteExecute) -> Result<Execution> {
        let begin = Instant::now();
        let plan = self.plan(&execute)?;
        let edge = &self.link(plan.receiver)?.receiver.edge;
        let deadline = deadline::after(begin, execute.deadline.unwrap_or(self.default_deadline));
        let admission = match edge.try_admit(0) {
            Ok(admission) => admission,
            Err(_) => tokio::time::timeout_at(deadline, edge.admit(0)).await.map_err(|_| not_admitted(self, &plan))?,
        };
        self.send(execute, plan, deadline, admission)
    }

    /// The same without waiting: `Overloaded` if the credits are used up.
    pub fn try_execute(self: &Arc<Self>, execute: RemoteExecute) -> Result<Execution> {
        let plan = self.plan(&execute)?;
        let admission = self.link(plan.receiver)?.receiver.edge.try_admit(0)?;
        let deadline = deadline::from_now(execute.deadline.unwrap_or(self.default_deadline));
        self.send(execute, plan, deadline, admission)
    }

    /// Checks a call before anything is sent (I7).
    fn plan(self: &Arc<Self>, execute: &RemoteExecute) -> Result<Plan> {
        let program = &execute.program;
        if !program.is_of(self) {
            return Err(invalid(format!("program {:?} was registered in another context", program.name())));
        }
        let receiver = program.receiver();
        self.link(receiver)?;
        let spec = match &execute.spec {
            Some(spec) => Some(self.device_indexes(&spec.output_devices)?),
            None => program.output_devices().map(<[_]>::to_vec),
        };
        let devices = match (&execute.form, spec) {
            (OutputForm::New { .. }, Some(devices)) => devices,
            (OutputForm::New { .. }, None) => {
                let name = program.name();
                return Err(invalid(format!("program {name:?} does not say how many outputs it has: give a spec")));
            }
            (OutputForm::Given(objects), spec) => {
                let given: Vec<_> = objects.iter().map(|object| object.id().device).collect();
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

    fn check_inputs(self: &Arc<Self>, execute: &RemoteExecute) -> Result<()> {
        for (i, input) in execute.inputs.iter().enumerate() {
            match input {
                ObjectInput::Ref(object) if !object.is_of(self) => {
                    return Err(invalid(format!("input {i}, {}, is of another context", object.id())));
                }
                ObjectInput::Id(id) if self.owner(id.device).is_none() => {
                    let message = format!("input {i}, {id}, is on a device that the context does not have");
                    return Err(Error::new(ErrorCode::DeviceNotFound, message));
                }
                ObjectInput::Ref(_) | ObjectInput::Id(_) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn device_indexes(&self, names: &[DeviceName]) -> Result<Vec<DeviceIndex>> {
        names.iter().map(|name| self.device_index(name)).collect()
    }

    /// Queues a call that was checked and admitted.
    fn send(
        self: &Arc<Self>,
        execute: RemoteExecute,
        Plan { receiver, devices }: Plan,
        deadline: Instant,
        admission: Admission,
    ) -> Result<Execution> {
        let link = self.link(receiver)?;
        let mut holds = Vec::new();
        let inputs = execute.inputs.iter().map(|input| match input {
            ObjectInput::Ref(object) => {
                if object.owner() != receiver {
                    holds.push(object.clone());
                }
                InputRef { object: object.id(), origin: object.origin(receiver) }
            }
            ObjectInput::Id(id) => InputRef { object: *id, origin: self.origin_of(*id, receiver) },
        });
        let inputs = inputs.collect();
        let (outputs, handles) = match execute.form {
            OutputForm::New { handles } => {
                (devices.iter().map(|device| self.new_object(*device)).collect::<Vec<_>>(), handles)
            }
            OutputForm::Given(objects) => {
                let handles = objects.len();
                (objects, handles)
            }
        };
        let first_handle = outputs.len() - handles;
        outputs.iter().for_each(ObjectRef::set_named);
        let refs = outputs.iter().enumerate();
        let refs = refs.map(|(i, object)| OutputRef { object: object.id(), need_metadata: i >= first_handle });
        let request = Box::new(RemoteExecuteRequest {
            context: link.index,
            program: execute.program.index(),
            inputs,
            outputs: refs.collect(),
            time_left_ms: time_left_ms(deadline),
            baggage: execute.baggage,
        });
        let (writer, cell) = call_cell(outputs.len());
        let call = self.ingress.push_call(&link.receiver.edge, |call| QueuedCall {
            to: receiver,
            call,
            body: Call::RemoteExecute(request),
            payload: Bytes::new(),
            deadline: deadline.into_std(),
            promised: Promised::Call(writer),
            admission: Some(admission),
            holds,
        });
        let handle = |(i, object): (usize, &ObjectRef)| TensorHandle {
            object: object.clone(),
            cell: cell.clone(),
            output: i + first_handle,
        };
        let handles = outputs[first_handle..].iter().enumerate().map(handle).collect();
        Ok(Execution { handles, chain: Chain { cell, task: receiver, call }, outputs })
    }

    fn origin_of(&self, id: ObjectId, receiver: TaskIndex) -> Origin {
        match self.owner(id.device) {
            Some(owner) if owner != receiver => Origin::Owner(owner),
            Some(_) | None => Origin::Anywhere,
        }
    }

    /// Gives up on a call: its promises fail with `Cancelled` now, unless they have settled.
    pub fn cancel(&self, chain: &Chain) {
        self.ingress.push_cancel(chain.task, chain.call);
    }

    /// An id on a device. Nothing is sent.
    pub fn allocate(self: &Arc<Self>, device: &DeviceName) -> Result<ObjectRef> {
        self.device_index(device).map(|device| self.new_object(device))
    }

    /// Stores a tensor on a device and waits until it is there.
    pub async fn put(
        self: &Arc<Self>,
        device: &DeviceName,
        tensor: Tensor,
        limit: Option<Duration>,
    ) -> Result<ObjectRef> {
        let device = self.device_index(device)?;
        let object = self.new_object(device);
        let index = self.link(object.owner())?.index;
        let request = PutObjectRequest { context: index, object: object.id(), metadata: tensor.metadata().clone() };
        object.set_named();
        self.ask(object.owner(), request, tensor.bytes().clone(), limit, vec![]).await?;
        Ok(object)
    }

    /// Brings an object's data here. Waits until it is ready.
    pub async fn fetch(self: &Arc<Self>, object: &ObjectRef, limit: Option<Duration>) -> Result<Tensor> {
        if !object.is_of(self) {
            return Err(invalid(format!("object {} is of another context", object.id())));
        }
        let limit = limit.unwrap_or(self.default_deadline);
        let request = FetchObjectRequest {
            context: self.link(object.owner())?.index,
            object: object.id(),
            origin: object.origin(object.owner()),
            time_left_ms: limit.min(deadline::FAR).as_millis() as u64,
        };
        let (reply, data) = self.ask(object.owner(), request, Bytes::new(), Some(limit), vec![object.clone()]).await?;
        Tensor::from_bytes(reply.metadata, data).map_err(|error| {
            Error::new(ErrorCode::DataLoss, format!("object {} did not arrive whole: {error}", object.id()))
        })
    }

    /// Deletes objects, whoever still refers to them: calls that wait for them fail with `Cancelled`. Gives those that
    /// could not be deleted, each with its error; the others are deleted all the same.
    pub async fn delete(self: &Arc<Self>, objects: &[ObjectRef]) -> Result<Vec<DeleteFailure>> {
        let mut failures = Vec::new();
        for task in 0..self.peers.len() {
            let task = TaskIndex(task as u16);
            let of_task: Vec<_> = objects.iter().filter(|object| object.owner() == task).collect();
            for chunk in of_task.chunks(remex_protocol::frame::MAX_DELETES) {
                let request = DeleteObjectsRequest {
                    context: self.link(task)?.index,
                    objects: chunk.iter().map(|object| object.id()).collect(),
                    mode: DeleteMode::Delete,
                };
                chunk.iter().for_each(|object| object.set_deleted());
                failures.extend(self.ask(task, request, Bytes::new(), None, vec![]).await?.0.failures);
            }
        }
        Ok(failures)
    }

    /// Makes a call and waits for its answer. A call with a payload takes credits.
    pub(crate) async fn ask<R: Rpc>(
        self: &Arc<Self>,
        to: TaskIndex,
        request: R,
        payload: Bytes,
        limit: Option<Duration>,
        holds: Vec<ObjectRef>,
    ) -> Result<(R::Reply, Bytes)> {
        let deadline = deadline::from_now(limit.unwrap_or(self.default_deadline));
        let (call, answer) = self.begin(to, request, payload, deadline, holds).await?;
        let mut guard = CancelOnDrop { context: self, to, call, answered: false };
        let answer = answer.get().await;
        guard.answered = true;
        let (reply, data): (Reply, Bytes) = answer?;
        let wrong = || Error::new(ErrorCode::Internal, format!("{} was answered with another call's reply", R::NAME));
        R::reply(reply).map(|reply| (reply, data)).ok_or_else(wrong)
    }

    pub(crate) async fn begin<R: Rpc>(
        self: &Arc<Self>,
        to: TaskIndex,
        request: R,
        payload: Bytes,
        deadline: Instant,
        holds: Vec<ObjectRef>,
    ) -> Result<(CallId, Promise<(Reply, Bytes)>)> {
        let edge = self.link(to)?.receiver.edge.clone();
        let admit = edge.admit(payload.len() as u64);
        let admission = tokio::time::timeout_at(deadline, admit).await.map_err(|_| {
            let message = format!("{} was not admitted by its deadline: the receiver is busy", R::NAME);
            Error::from(
                remex_protocol::RemoteError::new(ErrorCode::DeadlineExceeded, message).on_task(self.task_name(to)),
            )
        })?;
        self.link(to)?;
        let (writer, answer) = promise();
        let call = self.ingress.push_call(&edge, |call| QueuedCall {
            to,
            call,
            body: request.into_call(),
            payload,
            deadline: deadline.into_std(),
            promised: Promised::Answer(writer),
            admission: Some(admission),
            holds,
        });
        Ok((call, answer))
    }
}

/// A call that was checked.
struct Plan {
    receiver: TaskIndex,
    devices: Vec<DeviceIndex>,
}

fn not_admitted(context: &ContextShared, plan: &Plan) -> Error {
    let message = "the call was not admitted by its deadline: the receiver is busy";
    let error = remex_protocol::RemoteError::new(ErrorCode::DeadlineExceeded, message);
    error.on_task(context.task_name(plan.receiver)).with_effect(remex_protocol::Effect::NotSent).into()
}

/// What is left of a deadline, rounded up, so that the receiver does not give up before the sender.
pub(crate) fn time_left_ms(deadline: Instant) -> u64 {
    let left = deadline.saturating_duration_since(Instant::now());
    left.as_micros().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

/// Gives up on a call whose caller has gone.
struct CancelOnDrop<'a> {
    context: &'a ContextShared,
    to: TaskIndex,
    call: CallId,
    answered: bool,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.context.ingress.push_cancel(self.to, self.call);
        }
    }
}
