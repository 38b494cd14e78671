//! Ops on one device.

use std::sync::Arc;

use remex_protocol::DeviceName;

use super::Execution;
use crate::{
    Result,
    context::{ContextShared, RemoteExecuteOp},
};

/// Issues ops on one device. Ops on all devices of a task run in the order in which they are issued, each when the one
/// before it is done; nothing is waited for in between. Clones are the same handler.
#[derive(Clone, Debug)]
pub struct RemoteOpHandler {
    context: Arc<ContextShared>,
    device: DeviceName,
}

impl RemoteOpHandler {
    /// For a device of the context; an error if it has none of that name.
    pub fn new(context: &Arc<ContextShared>, device: &DeviceName) -> Result<Self> {
        context.check_device(device)?;
        Ok(Self { context: context.clone(), device: device.clone() })
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
