//! Clusters, calls, the built program and the tree: one binary, linked once.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod bring_up;
mod calls;
#[cfg(feature = "cli")]
mod cli;
mod coordinator;
mod expiry;
mod extend;
mod faults;
mod forms;
mod multi_client;
mod order;
mod raw;
mod reach;
mod retry;
mod support;
mod threads;
mod tidy;
