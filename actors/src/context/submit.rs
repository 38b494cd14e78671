//! Calls on their caller's thread: checked, admitted, queued.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use remex_protocol::{
    DeviceName, ErrorCode, Reply, Rpc,
    ids::{CallId, TaskIndex},
};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use super::{
    CallContext, ContextShared, ObjectInput, OutputForm, PeerLink, RemoteExecute,
    draft::{Draft, Target},
    ingress::{Queued, QueuedCall},
    parked::ParkedCall,
    plan::{Plan, invalid},
};
use crate::{
    Error, Result,
    client::Admission,
    deadline,
    handles::{Chain, Execution, ObjectRef, RemoteChain, TensorHandle},
    pending::Promised,
    promise::{Promise, call_cell, promise},
};

impl ContextShared {
    /// Runs a program: waits for the receiver's credits, not for the receiver.
    pub async fn execute(self: &Arc<Self>, execute: RemoteExecute) -> Result<Execution> {
        let begin = Instant::now();
        let plan = self.plan(&execute)?;
        let link = self.link(plan.receiver)?;
        let deadline = deadline::after(begin, execute.parts.deadline.unwrap_or(self.default_deadline));
        let admission = self.admit(&link, plan.receiver, deadline).await?;
        self.send(execute, plan, deadline, admission)
    }

    /// Waits for the credits of a call without a payload.
    pub(super) async fn admit(&self, link: &PeerLink, receiver: TaskIndex, deadline: Instant) -> Result<Admission> {
        let edge = &link.receiver.edge;
        match edge.try_admit(0) {
            Ok(admission) => Ok(admission),
            Err(_) => timeout_at(deadline, edge.admit(0)).await.map_err(|_| not_admitted(self, receiver)),
        }
    }

    /// The same as [`execute`](Self::execute) without waiting: `Overloaded` if the credits are used up.
    pub fn try_execute(self: &Arc<Self>, execute: RemoteExecute) -> Result<Execution> {
        let plan = self.plan(&execute)?;
        let admission = self.link(plan.receiver)?.receiver.edge.try_admit(0)?;
        let deadline = deadline::from_now(execute.parts.deadline.unwrap_or(self.default_deadline));
        self.send(execute, plan, deadline, admission)
    }

    /// Runs a program and waits until it is done; makes the call again where `call` allows it, with new ids each time.
    pub async fn execute_with(self: &Arc<Self>, execute: RemoteExecute, call: &CallContext) -> Result<Execution> {
        if matches!(execute.parts.form, OutputForm::Given(_)) && call.is_repeated() {
            let message = "outputs into ids of the caller cannot be made twice: ask for one attempt, or for new ids";
            return Err(invalid(message.to_owned()));
        }
        let attempt = |left| {
            let execute = execute.clone().deadline(left);
            async move {
                let execution = self.execute(execute).await?;
                let Chain { task: to, call, .. } = execution.chain;
                let mut guard = CancelOnDrop { context: self, to, call, answered: false };
                let done = execution.chain.done().await;
                guard.answered = true;
                done.map(|()| execution)
            }
        };
        call.run(self.default_deadline, false, self.seed(), attempt).await
    }

    /// Queues a call that was checked and admitted.
    fn send(
        self: &Arc<Self>,
        execute: RemoteExecute,
        Plan { receiver, devices }: Plan,
        deadline: Instant,
        admission: Admission,
    ) -> Result<Execution> {
        let execute = *execute.parts;
        let (outputs, handles) = match execute.form {
            OutputForm::New { handles } => {
                (devices.iter().map(|device| self.new_object(*device)).collect::<SmallVec<_>>(), handles)
            }
            OutputForm::Given(objects) => {
                let handles = objects.len();
                (SmallVec::from_vec(objects), handles)
            }
        };
        let out_chain = match execute.out_chain {
            true => Some(RemoteChain::new(self.new_object(self.first_device(receiver)?))),
            false => None,
        };
        let known = execute.inputs.iter().map(|input| match input {
            ObjectInput::Ref(object) => object.metadata(),
            ObjectInput::Id(_) => None,
        });
        let inferred = execute.program.infer(known, outputs.len());
        self.submit(
            Draft {
                to: receiver,
                name: execute.program.shared_name(),
                target: Target::Program { index: execute.program.index(), baggage: execute.baggage },
                inputs: execute.inputs,
                first_handle: outputs.len() - handles,
                outputs,
                in_chains: execute.in_chains,
                out_chain,
                after: execute.after.into(),
                deadline,
                inferred,
            },
            admission,
        )
    }

    /// Queues a call; one that is to come after others is kept until these are done.
    pub(super) fn submit(self: &Arc<Self>, mut draft: Draft, admission: Admission) -> Result<Execution> {
        let link = self.link(draft.to)?;
        let (receiver, index) = (&link.receiver, link.index);
        let (mut writer, cell) = call_cell(draft.outputs.len());
        let (task, first_handle) = (draft.to, draft.first_handle);
        let (outputs, remote_chain) =
            (draft.outputs.iter().cloned().collect::<SmallVec<[ObjectRef; 1]>>(), draft.out_chain.clone());
        // Known or refused before a frame is sent. What is refused is sent all the same: the task refuses it too, and with it
        // fails the outputs for whoever else waits for them (I3).
        let refused = match draft.inferred.take() {
            Some(Ok(inferred)) => {
                writer.infer(inferred);
                None
            }
            Some(Err(error)) => Some(error),
            None => None,
        };
        let known = outputs.iter().enumerate().filter(|(i, _)| *i >= first_handle || cell.is_known(*i));
        known.for_each(|(i, object)| object.set_made_by(&cell, i));
        let promise = |call| match refused {
            Some(error) => {
                writer.complete(Err(error.map(|error| error.of_call(call))));
                Promised::Nothing
            }
            None => Promised::Call(writer),
        };
        let admission = Some(admission.counted(self.in_flight.enter()));
        let call = if draft.after.is_empty() {
            let (holds, body, mut deleted) = (draft.holds(), draft.call(self, index), Vec::new());
            let call = self.ingress.push_call(&receiver.edge, |call| {
                // Under the lock of the queue: whoever sees it named queues behind this.
                deleted.extend(draft.made().filter(|object| !object.set_named()).map(ObjectRef::id));
                let deadline = draft.deadline.into_std();
                let (to, payload, promised) = (draft.to, Bytes::new(), promise(call));
                Queued::Call(Box::new(QueuedCall { to, call, body, payload, deadline, promised, admission, holds }))
            });
            // Nobody will release what was deleted before it was made: it goes behind the call that makes it.
            deleted.into_iter().for_each(|object| self.ingress.push_release(draft.to, object));
            call
        } else {
            let own = cell.clone();
            self.ingress.push_call(&receiver.edge, |call| {
                Queued::Parked(Box::new(ParkedCall { draft, call, own, promised: promise(call), admission }))
            })
        };
        let handle = |(i, object): (usize, &ObjectRef)| TensorHandle {
            object: object.clone(),
            cell: cell.clone(),
            output: i + first_handle,
        };
        let handles = outputs[first_handle..].iter().enumerate().map(handle).collect();
        Ok(Execution { handles, chain: Chain { cell, task, call }, outputs, remote_chain })
    }

    /// Gives up on a call: its promises fail with `Cancelled` now, unless they have settled.
    pub fn cancel(&self, chain: &Chain) {
        self.ingress.push_cancel(chain.task, chain.call);
    }

    /// An id on a device. Nothing is sent.
    pub fn allocate(self: &Arc<Self>, device: &DeviceName) -> Result<ObjectRef> {
        self.device_index(device).map(|device| self.new_object(device))
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
        self.accepts_calls()?;
        let edge = self.link(to)?.receiver.edge.clone();
        let admit = edge.admit(payload.len() as u64);
        let admission = timeout_at(deadline, admit).await.map_err(|_| {
            let message = format!("{} was not admitted by its deadline: the receiver is busy", R::NAME);
            Error::from(
                remex_protocol::RemoteError::new(ErrorCode::DeadlineExceeded, message).on_task(self.task_name(to)),
            )
        })?;
        self.link(to)?;
        let (writer, answer) = promise();
        let (body, deadline, holds) = (request.into_call(), deadline.into_std(), holds.into_boxed_slice());
        let (promised, admission) = (Promised::Answer(writer), Some(admission.counted(self.in_flight.enter())));
        let call = self.ingress.push_call(&edge, |call| {
            Queued::Call(Box::new(QueuedCall { to, call, body, payload, deadline, promised, admission, holds }))
        });
        Ok((call, answer))
    }
}

fn not_admitted(context: &ContextShared, receiver: TaskIndex) -> Error {
    let message = "the call was not admitted by its deadline: the receiver is busy";
    let error = remex_protocol::RemoteError::new(ErrorCode::DeadlineExceeded, message);
    error.on_task(context.task_name(receiver)).with_effect(remex_protocol::Effect::NotSent).into()
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
