//! Runs programs on other processes and machines from an actix application: actors, typed messages, tensor handles.
//! A call gives its outputs' ids, a chain and tensor handles at once; the data stays on the worker until it is fetched.
//!
//! ```text
//!      your application                                                  a worker
//!  ┌────────────────────────┐        RemoteExecute(ids)        ┌──────────────────────────┐
//!  │ ContextHandle::execute ├─────────────────────────────────▶│ inputs ready? run program│
//!  │   Chain, TensorHandle  │◀──── dtype, shape: when known ───┤   outputs: objects here  │
//!  │   handle.metadata()    │◀──── done, or the first cause ───┤      │                   │
//!  │   handle.fetch()       │◀──── bytes: only when asked ─────┤      │ bytes, directly   │
//!  └────────────────────────┘                                  └──────┼───────────────────┘
//!                                                                     ▼
//!                                                              another worker that needs them
//! ```
//!
//! A worker and a client in one process, connected by TCP:
//!
//! ```
//! use remex::prelude::*;
//!
//! #[actix::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let double = native(|inputs| {
//!         let doubled: Vec<f32> = inputs[0].elements()?.iter().map(|x: &f32| 2.0 * x).collect();
//!         Ok(vec![Tensor::from_slice(inputs[0].shape().clone(), &doubled)?])
//!     });
//!     let worker = Server::builder().task("/job:worker/task:0").listen("tcp://127.0.0.1:0");
//!     let worker = worker.program("double", double.outputs(1)).start().await?;
//!     let address = worker.address().cloned().ok_or("the worker does not listen")?;
//!     let cluster = ClusterConfig::new().with(worker.task().clone(), address)?;
//!
//!     let client = Server::builder().start().await?;
//!     let context = client.create_context(ContextConfig::new(cluster)).await?;
//!     let double = context.register("/job:worker/task:0", RegisterFunction::native("double")).await?;
//!     let device = context.device_of("/job:worker/task:0")?;
//!     let x = context.put(&device, Tensor::from_slice([3], &[1f32, 2.0, 3.0])?).await?;
//!     let call = context.execute(RemoteExecute::new(&double).input(&x).handles(1)).await?;
//!     assert_eq!(call.handles[0].metadata().await?.to_string(), "f32[3]");
//!     assert_eq!(call.handles[0].fetch().await?.elements::<f32>()?, [2.0, 4.0, 6.0]);
//!
//!     client.stop().await?;
//!     Ok(worker.stop().await?)
//! }
//! ```
//!
//! # What is where
//!
//! - [`Server::builder`] makes a task's server, [`ServerHandle`] is how it is used, [`ContextHandle`] is one execution
//!   environment on several tasks; what is done in it are the methods of [`TaskContext`], which programs can ask for too:
//!   register, put, execute, fetch, delete, cancel.
//! - [`RemoteExecute`] is a call; [`Execution`] is what it gives at once: [`Chain`], [`ObjectRef`]s, [`TensorHandle`]s.
//! - [`native`], [`native_async`], [`native_program`] and [`native_actor`] make programs; [`Compiler`] makes them from
//!   bytes.
//! - [`Error`] names the first cause: code, message, task, program, call, and the calls that it came through.
//! - [`prelude`] is the short list to glob beside `actix::prelude::*`.
//! - [`guide`] has the chapters: the life of a call, what is promised, how to extend it, how to run it, the wire.
//! - [`protocol`] is what crosses a wire; [`actors`] are the actors and their messages.
//! - `testing` (with the feature of that name): clusters in one process, on a paused clock.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `cli` | yes | the program `remex`; a library user turns it off with `default-features = false` |
//! | `config` | yes | clusters in TOML files: `ClusterFile` |
//! | `onnx` | yes | ONNX models as programs, compiled on the worker with rten |
//! | `ops` | yes | the base set of ops on tensors: arithmetic, matmul, reductions, data movement, random numbers |
//! | `metrics` | no | the numbers of a server as gauges and counters of the crate `metrics`: `ServerHandle::record_metrics` |
//! | `ort` | no | ONNX Runtime as a second engine, from the shared library that `ORT_DYLIB_PATH` names |
//! | `ndarray` | with `ops` | conversion between [`Tensor`] and `ndarray` arrays |
//! | `testing` | no | `testing::TestCluster`, `testing::SimCluster` and probes |
//!
//! # Non-goals
//!
//! - Scheduling: the caller says which task runs a program. Nothing is placed, balanced or started elsewhere by itself.
//! - Shipping Rust code: a worker runs programs that it was built with, and those that a [`Compiler`] of its makes out
//!   of data.
//! - Durable objects: an object lives in the memory of one process, for as long as its context does.
//! - Messages between arbitrary actors of several processes: what crosses the wire is the fixed set of calls in
//!   [`protocol::calls`].
//! - An open network: whoever can reach a worker's address can run its programs. See [`guide::operating`].

mod builder;
#[cfg(feature = "config")]
mod config;
pub mod guide;
mod handle;
#[cfg(feature = "metrics")]
mod metrics;
pub mod prelude;
#[cfg(feature = "testing")]
pub mod testing;

pub use builder::{Server, ServerBuilder};
#[cfg(feature = "config")]
pub use config::{ClusterFile, ConfigError};
pub use handle::{ContextHandle, ServerHandle};
pub use remex_actors as actors;
pub use remex_actors::{
    Error, Result,
    collectives::Group,
    context::{
        CallContext, CancelHandle, DistributedContext, ObjectInput, RegisterFunction, Registering, RemoteExecute,
        RemoteExecuteOp, TaskContext,
    },
    handles::{
        Chain, Execution, ObjectRef, ProgramHandle, RemoteChain, RemoteExecuteSpec, RemoteOpHandler, RemoteTensor,
        Scope, TensorHandle,
    },
    limits::{ObjectLimits, ProgramLimits, TaskLimits},
    objects::{MemoryLimits, SpillStore, WhenFull},
    observe::{Event, Observed, SessionEvent, What},
    ops::{Op, OpRegistry},
    programs::{
        AsyncCall, Compiler, Executable, Golden, Invoke, Program, ProgramCall, ProgramError, Source, native,
        native_actor, native_async, native_program,
    },
    rendezvous::{Datum, Receiving, RendezvousLimits},
    server::{ContextConfig, ContextMode, Discovered, ServerStats},
};
pub use remex_protocol as protocol;
pub use remex_protocol::{
    DeviceName, ErrorCode,
    attrs::{Attr, Attrs},
    cluster::{Address, ClusterConfig, CollectiveGroup, TaskName},
    collective::Reduction,
    handshake::Credits,
    ids::{ObjectId, ObjectToken},
    signature::{Arg, ArgType, Dim, Signature, SignatureError, Term},
    tensor::{self, DType, Shape, Tensor, TensorMetadata},
};
