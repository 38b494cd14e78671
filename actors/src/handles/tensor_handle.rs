//! The promises about one output.

use std::{fmt, path::Path, time::Duration};

use remex_protocol::{
    DeviceName,
    cluster::TaskName,
    ids::ObjectId,
    tensor::{Tensor, TensorMetadata},
};

use super::ObjectRef;
use crate::{Result, promise::CallCell};

/// What is promised about one output of a call: its metadata as soon as it is known, and its readiness. The data stays on
/// its worker until [`fetch`](Self::fetch).
#[derive(Clone)]
pub struct TensorHandle {
    pub(crate) object: ObjectRef,
    pub(crate) cell: CallCell,
    /// Which of the cell's outputs.
    pub(crate) output: usize,
}

/// A tensor that is ready on its worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteTensor {
    /// Its id.
    pub id: ObjectId,
    /// Element type and shape.
    pub metadata: TensorMetadata,
    /// The task that has it.
    pub task: TaskName,
    /// Bytes of its data.
    pub size_bytes: u64,
}

impl TensorHandle {
    /// The device that the tensor is made on.
    pub fn device(&self) -> &DeviceName {
        self.object.device()
    }

    /// The object; holding the handle holds it.
    pub fn object(&self) -> &ObjectRef {
        &self.object
    }

    /// Element type and shape, as soon as they are known: with a program that can infer, before it has run.
    pub async fn metadata(&self) -> Result<TensorMetadata> {
        self.cell.metadata(self.output).await
    }

    /// The same, if it is known by now.
    pub fn try_metadata(&self) -> Option<Result<TensorMetadata>> {
        self.cell.try_metadata(self.output)
    }

    /// Waits until the value is ready on its worker. Moves no data.
    pub async fn tensor(&self) -> Result<RemoteTensor> {
        self.cell.ready(self.output).await.map(|metadata| self.remote(metadata))
    }

    /// The same, if it is ready by now.
    pub fn try_tensor(&self) -> Option<Result<RemoteTensor>> {
        Some(self.cell.try_ready(self.output)?.map(|metadata| self.remote(metadata)))
    }

    /// Brings the data here, within the context's deadline. Waits until it is ready.
    pub async fn fetch(&self) -> Result<Tensor> {
        self.object.context().fetch(&self.object, None).await
    }

    /// The same within `deadline` from now.
    pub async fn fetch_within(&self, deadline: Duration) -> Result<Tensor> {
        self.object.context().fetch(&self.object, Some(deadline)).await
    }

    /// Writes the data into a `.npy` or `.safetensors` file, part by part, as
    /// [`fetch_to_file`](crate::context::TaskContext::fetch_to_file) does.
    pub async fn save(&self, path: impl AsRef<Path>) -> Result<TensorMetadata> {
        self.object.context().fetch_to_file(&self.object, path.as_ref(), None).await
    }

    /// The same, where each part may take so long.
    pub async fn save_within(&self, path: impl AsRef<Path>, deadline: Duration) -> Result<TensorMetadata> {
        self.object.context().fetch_to_file(&self.object, path.as_ref(), Some(deadline)).await
    }

    fn remote(&self, metadata: TensorMetadata) -> RemoteTensor {
        let size_bytes = metadata.size_bytes().unwrap_or_default();
        RemoteTensor { id: self.object.id(), metadata, task: self.object.task().clone(), size_bytes }
    }
}

impl fmt::Debug for TensorHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorHandle({:?}, {:?})", self.object, self.try_metadata())
    }
}
