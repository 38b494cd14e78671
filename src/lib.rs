//! Runs programs on other processes and machines from an actix application: actors, typed messages, tensor handles.

mod builder;
mod handle;
pub mod prelude;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::{Server, ServerBuilder};
pub use handle::{ContextHandle, ServerHandle};
pub use remex_actors as actors;
pub use remex_actors::{
    Error, Result,
    context::{DistributedContext, ObjectInput, RegisterFunction, Registering, RemoteExecute},
    handles::{Chain, Execution, ObjectRef, ProgramHandle, RemoteExecuteSpec, RemoteTensor, TensorHandle},
    observe::{Event, Observed, What},
    programs::{
        Compiler, Executable, Golden, Invoke, Program, ProgramCall, ProgramError, Source, native, native_actor,
        native_async, native_program,
    },
    server::{ContextConfig, Discovered, ServerStats},
};
pub use remex_protocol as protocol;
pub use remex_protocol::{
    DeviceName, ErrorCode,
    cluster::{Address, ClusterConfig, TaskName},
    handshake::Credits,
    signature::{Arg, Dim, Signature},
    tensor::{self, DType, Shape, Tensor, TensorMetadata},
};
