//! Ops on one device.

use remex_protocol::DeviceName;

use super::Execution;
use crate::{
    Result,
    context::{RemoteExecuteOp, TaskContext},
};

/// Issues ops on one device. Ops on all devices of a task run in the order in which they are issued, each when the one
/// before it is done; nothing is waited for in between. Clones are the same handler.
#[derive(Clone, Debug)]
pub struct RemoteOpHandler {
    context: TaskContext,
    device: DeviceName,
}

impl RemoteOpHandler {
    /// For a device of the context.
    pub(crate) fn new(context: TaskContext, device: DeviceName) -> Self {
        Self { context, device }
    }

    /// Where its ops run.
    pub fn device(&self) -> &DeviceName {
        &self.device
    }

    /// Issues an op on this device: resolves when it is admitted, with handles for all of its outputs.
    pub async fn execute(&self, op: RemoteExecuteOp) -> Result<Execution> {
        self.context.execute_op(op.on(&self.device)).await
    }

    /// The same without waiting for credits: `Overloaded` if the receiver's are used up.
    pub fn try_execute(&self, op: RemoteExecuteOp) -> Result<Execution> {
        self.context.try_execute_op(op.on(&self.device))
    }
}
