//! Ops: issued on a device, in order with the others of its task.

use std::{sync::Arc, time::Duration};

use actix::Message;
use remex_protocol::{
    DeviceName, RemoteError,
    attrs::{Attr, Attrs},
    frame::{MAX_ARGS, MAX_NAME},
    ids::{DeviceIndex, TaskIndex},
};
use tokio::time::Instant;

use super::{
    ContextShared, ObjectInput,
    draft::{Draft, Target},
    messages::Inputs,
    plan::{check_input, invalid},
};
use crate::{
    Error, Result,
    client::Admission,
    deadline,
    handles::{Chain, Execution},
};

/// Runs an op by its name on a device of some task, after the ops that were issued on that task before.
///
/// As an actix message it is answered when it is admitted, or with `Overloaded` when the receiver's credits are used up.
/// Gives handles for all outputs. Refused, with nothing sent and the order of the others as it was, when it names no device of
/// the context, when its attributes are over a limit, and when an input is of another context. An op that fails fails its
/// outputs, and the ops that were sent behind it with the same cause; those that are issued when the failure is known run again.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Execution>")]
#[must_use = "an op does nothing until it is given to a context"]
pub struct RemoteExecuteOp {
    op: String,
    device: Option<DeviceName>,
    attrs: Attrs,
    inputs: Inputs,
    outputs: usize,
    after: Vec<Chain>,
    deadline: Option<Duration>,
}

impl RemoteExecuteOp {
    /// The op of this name. Without more: no inputs, no attributes, one output.
    pub fn new(op: impl Into<String>) -> Self {
        Self {
            op: op.into(),
            device: None,
            attrs: Attrs::new(),
            inputs: Inputs::new(),
            outputs: 1,
            after: Vec::new(),
            deadline: None,
        }
    }

    /// Where it runs. A [`RemoteOpHandler`](crate::handles::RemoteOpHandler) says it for all of its ops.
    pub fn on(mut self, device: &DeviceName) -> Self {
        self.device = Some(device.clone());
        self
    }

    /// Adds an attribute.
    pub fn attr(mut self, name: impl Into<String>, value: impl Into<Attr>) -> Self {
        self.attrs.set(name, value);
        self
    }

    /// Takes these attributes.
    pub fn attrs(mut self, attrs: Attrs) -> Self {
        self.attrs = attrs;
        self
    }

    /// Adds an input.
    pub fn input(mut self, object: impl Into<ObjectInput>) -> Self {
        self.inputs.push(object.into());
        self
    }

    /// Adds inputs.
    pub fn inputs<I: Into<ObjectInput>>(mut self, objects: impl IntoIterator<Item = I>) -> Self {
        self.inputs.extend(objects.into_iter().map(Into::into));
        self
    }

    /// How many outputs it has. Default 1.
    pub fn outputs(mut self, outputs: usize) -> Self {
        self.outputs = outputs;
        self
    }

    /// Is sent only when the call of `chain` is done, on whatever task. The ops that are issued on this task after it wait
    /// with it.
    pub fn after(mut self, chain: &Chain) -> Self {
        self.after.push(chain.clone());
        self
    }

    /// Gives up after so long, unless it says otherwise itself.
    pub(super) fn within(mut self, limit: Option<Duration>) -> Self {
        self.deadline = self.deadline.or(limit);
        self
    }

    /// Gives up after so long, counted from when it is issued. Default: the context's.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

impl ContextShared {
    /// Issues an op: waits for the receiver's credits, not for the receiver.
    pub async fn execute_op(self: &Arc<Self>, op: RemoteExecuteOp) -> Result<Execution> {
        let begin = Instant::now();
        let (task, device) = self.plan_op(&op)?;
        let deadline = deadline::after(begin, op.deadline.unwrap_or(self.default_deadline));
        let link = self.reach(task, deadline).await?;
        let admission = self.admit(&link, task, deadline).await?;
        self.issue(op, task, device, deadline, admission)
    }

    /// The same without waiting: `Overloaded` if the credits are used up, an error if the task was not reached before.
    pub fn try_execute_op(self: &Arc<Self>, op: RemoteExecuteOp) -> Result<Execution> {
        let (task, device) = self.plan_op(&op)?;
        let admission = self.link(task)?.receiver.edge.try_admit(0)?;
        let deadline = deadline::from_now(op.deadline.unwrap_or(self.default_deadline));
        self.issue(op, task, device, deadline, admission)
    }

    /// Checks an op before anything of it is sent (I7). Only what can be wrong without knowing the op: the task has it.
    fn plan_op(self: &Arc<Self>, op: &RemoteExecuteOp) -> Result<(TaskIndex, DeviceIndex)> {
        let refused = |error: Error| error.map(|error: RemoteError| error.in_program(&op.op));
        let wrong = |message: String| Err(refused(invalid(message)));
        let Some(device) = &op.device else {
            return wrong(format!("op {:?} does not say on which device: use `on`, or an op handler", op.op));
        };
        let device = self.device_index(device)?;
        let task = self.owner(device).unwrap_or_default();
        self.accepts_calls()?;
        if op.op.is_empty() || op.op.len() > MAX_NAME {
            return wrong(format!("an op's name has 1 to {MAX_NAME} bytes, this one {}", op.op.len()));
        }
        if let Err(message) = op.attrs.check() {
            return wrong(message);
        }
        if op.inputs.len() > MAX_ARGS || op.outputs > MAX_ARGS {
            return wrong(format!("a call takes and gives at most {MAX_ARGS} objects"));
        }
        for (i, input) in op.inputs.iter().enumerate() {
            check_input(self, i, input).map_err(refused)?;
        }
        Ok((task, device))
    }

    fn issue(
        self: &Arc<Self>,
        op: RemoteExecuteOp,
        to: TaskIndex,
        device: DeviceIndex,
        deadline: Instant,
        admission: Admission,
    ) -> Result<Execution> {
        self.chains.thread(self, to, |in_chain, out_chain| {
            let outputs = (0..op.outputs).map(|_| self.new_object(device)).collect();
            let draft = Draft {
                to,
                name: op.op.into(),
                target: Target::Op { device, attrs: op.attrs },
                inputs: op.inputs,
                outputs,
                first_handle: 0,
                in_chains: vec![in_chain],
                out_chain: Some(out_chain),
                after: op.after.into(),
                deadline,
                // The task has the op.
                inferred: None,
            };
            self.submit(draft, admission)
        })
    }

    /// Whether the context has a device of this name.
    pub(crate) fn check_device(&self, device: &DeviceName) -> Result<()> {
        self.device_index(device).map(|_| ())
    }
}
