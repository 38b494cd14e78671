//! What a caller has at once: references to objects, and promises about them. `Send + Sync`, cheap to clone, usable from
//! any runtime and thread.

mod chain;
mod execution;
mod known;
mod object_ref;
mod op_handler;
mod program;
mod remote_chain;
mod scope;
mod tensor_handle;

pub use chain::Chain;
pub use execution::Execution;
pub use object_ref::ObjectRef;
pub use op_handler::RemoteOpHandler;
pub use program::{ProgramHandle, RemoteExecuteSpec};
pub use remote_chain::RemoteChain;
pub use scope::Scope;
pub(crate) use scope::ScopeObjects;
pub use tensor_handle::{RemoteTensor, TensorHandle};
