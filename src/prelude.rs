//! What an application needs beside `actix::prelude::*`.

pub use crate::{
    Address, AsyncCall, Chain, ClusterConfig, ContextConfig, ContextHandle, DType, DeviceName, Error, ErrorCode,
    Execution, Invoke, ObjectRef, ProgramError, ProgramHandle, RegisterFunction, RemoteChain, RemoteExecute,
    RemoteExecuteOp, Server, ServerHandle, TaskContext, Tensor, TensorHandle, TensorMetadata, native, native_actor,
    native_async,
};
