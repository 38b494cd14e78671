//! Tasks, their names and where they can be reached.

mod address;
mod config;
mod task_name;

pub use address::{Address, AddressError, MAX_ADDRESS};
pub use config::{ClusterConfig, ClusterError, TaskInfo};
pub(crate) use task_name::parse_index;
pub use task_name::{TaskName, TaskNameError};
