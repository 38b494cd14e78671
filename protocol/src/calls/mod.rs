//! One call a file: its request, its reply, and what they promise.

mod cancel;
mod close_context;
mod create_context;
mod delete_objects;
mod export_object;
mod fail_objects;
mod fetch_object;
mod get_devices;
mod import_object;
mod keep_alive;
mod pin_objects;
mod put_object;
mod register_function;
mod remote_execute;
mod remote_execute_op;
mod send_data;
mod send_ready_chains;
mod unregister_function;

pub use cancel::{CancelReply, CancelRequest};
pub use close_context::{CloseContextReply, CloseContextRequest};
pub use create_context::{ContextMode, CreateContextReply, CreateContextRequest};
pub use delete_objects::{DeleteFailure, DeleteMode, DeleteObjectsReply, DeleteObjectsRequest};
pub use export_object::{ExportObjectReply, ExportObjectRequest};
pub use fail_objects::{FailObjectsReply, FailObjectsRequest};
pub use fetch_object::{FetchObjectReply, FetchObjectRequest};
pub use get_devices::{GetDevicesReply, GetDevicesRequest};
pub use import_object::{ImportObjectReply, ImportObjectRequest};
pub use keep_alive::{KeepAliveReply, KeepAliveRequest};
pub use pin_objects::{PinMode, PinObjectsReply, PinObjectsRequest};
pub use put_object::{PutObjectReply, PutObjectRequest};
pub use register_function::{CompileWhen, Golden, RegisterFunctionReply, RegisterFunctionRequest};
pub use remote_execute::{InputRef, Origin, OutputRef, RemoteExecuteReply, RemoteExecuteRequest};
pub use remote_execute_op::{RemoteExecuteOpReply, RemoteExecuteOpRequest};
pub use send_data::{BuffersError, Purpose, SendDataReply, SendDataRequest};
pub use send_ready_chains::{SendReadyChainsReply, SendReadyChainsRequest};
pub use unregister_function::{UnregisterFunctionReply, UnregisterFunctionRequest};
