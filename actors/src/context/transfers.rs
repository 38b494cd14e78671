//! What a caller does with objects: puts, fetches, deletes, fails them. Runs on the caller's thread.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use remex_protocol::{DeviceName, ErrorCode, calls::*, frame::MAX_DELETES, ids::TaskIndex, tensor::Tensor};

use super::{CallContext, ContextShared, plan::invalid};
use crate::{Error, Result, deadline, handles::ObjectRef};

impl ContextShared {
    /// Stores a tensor on a device and waits until it is there.
    pub async fn put(
        self: &Arc<Self>,
        device: &DeviceName,
        tensor: Tensor,
        limit: Option<Duration>,
    ) -> Result<ObjectRef> {
        let device = self.device_index(device)?;
        let object = self.new_object(device);
        let (index, left) = self.enter(object.owner(), limit).await?;
        let request = PutObjectRequest { context: index, object: object.id(), metadata: tensor.metadata().clone() };
        object.set_named();
        object.set_metadata(tensor.metadata().clone());
        self.ask(object.owner(), request, tensor.bytes().clone(), Some(left), vec![]).await?;
        Ok(object)
    }

    /// Brings an object's data here. Waits until it is ready.
    pub async fn fetch(self: &Arc<Self>, object: &ObjectRef, limit: Option<Duration>) -> Result<Tensor> {
        if !object.is_of(self) {
            return Err(invalid(format!("object {} is of another context", object.id())));
        }
        object.check_lives()?;
        let (index, limit) = self.enter(object.owner(), limit).await?;
        let request = FetchObjectRequest {
            context: index,
            object: object.id(),
            origin: object.origin(object.owner()),
            time_left_ms: limit.min(deadline::FAR).as_millis() as u64,
        };
        let (reply, data) = self.ask(object.owner(), request, Bytes::new(), Some(limit), vec![object.clone()]).await?;
        Tensor::from_bytes(reply.metadata, data).map_err(|error| {
            Error::new(ErrorCode::DataLoss, format!("object {} did not arrive whole: {error}", object.id()))
        })
    }

    /// The same, as often as `call` allows: a fetch changes nothing.
    pub async fn fetch_with(self: &Arc<Self>, object: &ObjectRef, call: &CallContext) -> Result<Tensor> {
        call.run(self.default_deadline, true, self.seed(), |left| self.fetch(object, Some(left))).await
    }

    /// Deletes objects, whoever still refers to them: calls that wait for them fail with `Cancelled`. Gives those that
    /// could not be deleted, each with its error; the others are deleted all the same.
    pub async fn delete(
        self: &Arc<Self>,
        objects: &[ObjectRef],
        limit: Option<Duration>,
    ) -> Result<Vec<DeleteFailure>> {
        let mut failures = Vec::new();
        for task in 0..self.peers.len() {
            let task = TaskIndex(task as u16);
            let mut of_task: Vec<_> = objects.iter().filter(|object| object.owner() == task).collect();
            of_task.retain(|object| match object.check_lives() {
                Ok(()) => true,
                Err(error) => {
                    failures.push(DeleteFailure { object: object.id(), error: error.remote().clone() });
                    false
                }
            });
            for chunk in of_task.chunks(MAX_DELETES) {
                let (context, left) = self.enter(task, limit).await?;
                let request = DeleteObjectsRequest {
                    context,
                    objects: chunk.iter().map(|object| object.id()).collect(),
                    mode: DeleteMode::Delete,
                };
                chunk.iter().for_each(|object| object.set_deleted());
                failures.extend(self.ask(task, request, Bytes::new(), Some(left), vec![]).await?.0.failures);
            }
        }
        Ok(failures)
    }

    /// Says that nobody will make these objects: who waits for one of them, and who uses it later, fails with `cause`.
    /// For ids that the caller allocated and gave away. Gives those that could not be failed, because they are in use,
    /// each with its error.
    pub async fn fail_objects(
        self: &Arc<Self>,
        objects: &[ObjectRef],
        cause: &Error,
        limit: Option<Duration>,
    ) -> Result<Vec<DeleteFailure>> {
        let mut failures = Vec::new();
        if let Some(object) = objects.iter().find(|object| !object.is_of(self)) {
            return Err(invalid(format!("object {} is of another context", object.id())));
        }
        for task in (0..self.peers.len()).map(|task| TaskIndex(task as u16)) {
            let of_task: Vec<_> = objects.iter().filter(|object| object.owner() == task).collect();
            for chunk in of_task.chunks(MAX_DELETES) {
                let (context, left) = self.enter(task, limit).await?;
                let request = FailObjectsRequest {
                    context,
                    objects: chunk.iter().map(|object| object.id()).collect(),
                    cause: cause.remote().clone(),
                };
                chunk.iter().for_each(|object| _ = object.set_named());
                failures.extend(self.ask(task, request, Bytes::new(), Some(left), vec![]).await?.0.failures);
            }
        }
        Ok(failures)
    }
}
