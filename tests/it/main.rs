//! Clusters, calls, the built program and the tree: one binary, linked once.

mod bring_up;
mod calls;
#[cfg(feature = "cli")]
mod cli;
mod expiry;
mod extend;
mod faults;
mod forms;
mod raw;
mod support;
mod threads;
mod tidy;
