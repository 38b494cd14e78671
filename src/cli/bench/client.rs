//! The client's side: a context with the worker, and what the calls refer to.

use remex::{
    ClusterConfig, ContextConfig, ContextHandle, DType, Execution, ObjectRef, ProgramHandle, RegisterFunction,
    RemoteExecute, Server, ServerHandle, Tensor, TensorMetadata,
};

use super::{
    Failure,
    process::Process,
    worker::{BULK, SMALL, TASK},
};

/// A context, and two objects on the worker.
#[derive(Debug)]
pub(super) struct Client {
    server: ServerHandle,
    pub(super) context: ContextHandle,
    small: ProgramHandle,
    pub(super) bulk: ProgramHandle,
    first: ObjectRef,
    second: ObjectRef,
}

impl Client {
    /// Everything that is done once, before anything is measured.
    pub(super) async fn connect(worker: &Process) -> Result<Self, Failure> {
        let mut cluster = ClusterConfig::new();
        cluster.add(TASK.parse().map_err(Failure::failed)?, Some(worker.address.clone())).map_err(Failure::failed)?;
        let server = Server::builder().prefer_unix(false).start().await?;
        let context = server.create_context(ContextConfig::new(cluster)).await?;
        let small = context.register(TASK, RegisterFunction::native(SMALL)).await?;
        let bulk = context.register(TASK, RegisterFunction::native(BULK)).await?;
        let device = context.device_of(TASK)?;
        let matrix = Tensor::zeros(TensorMetadata::new(DType::F32, [1024, 1024])).map_err(Failure::failed)?;
        let first = context.put(&device, matrix.clone()).await?;
        let second = context.put(&device, matrix).await?;
        Ok(Self { server, context, small, bulk, first, second })
    }

    /// Sends a small call of the two objects. What is measured is what a user's call does: admission, ids, promises,
    /// frames there and back, tables on both sides, and the release of the output when its handle is dropped.
    pub(super) async fn call(&self) -> remex::Result<Execution> {
        self.call_with(&self.first).await
    }

    /// Sends a small call with another first input.
    pub(super) async fn call_with(&self, first: &ObjectRef) -> remex::Result<Execution> {
        let call = RemoteExecute::new(&self.small).input(first).input(&self.second).handles(1);
        self.context.execute(call).await
    }

    /// Ends the context on both sides.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.context.close().await?;
        Ok(self.server.stop().await?)
    }
}

/// Waits until the dtype and shape of a call's output are known, and gives up its handles.
pub(super) async fn metadata(call: Execution) -> Result<(), Failure> {
    let Some(handle) = call.handles.first() else {
        return Err(Failure::failed("a call that asked for one handle has got none"));
    };
    let metadata = handle.metadata().await?;
    if metadata.shape.dims() != [1024, 1024] {
        return Err(Failure::failed(format!("the worker answered {metadata} instead of f32 [1024, 1024]")));
    }
    Ok(())
}
