//! Tasks, their names and where they can be reached.

mod address;
mod config;
mod group;
mod task_name;

pub use address::{Address, AddressError, MAX_ADDRESS};
pub use config::{ClusterConfig, ClusterError, TaskInfo};
pub use group::{CollectiveGroup, GroupError, GroupMembers, MAX_GROUPS, check_groups, resolve_groups};
pub(crate) use task_name::parse_index;
pub use task_name::{TaskName, TaskNameError};
